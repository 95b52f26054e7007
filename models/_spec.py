"""What a network expects of its images, and what its outputs are called.

Sizes are in pixels, `mean` and `std` are per channel of pixels in [0, 1]: of RGB, or of grey where they are one.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxplain._types import OutputKind


class Spec(NamedTuple):
    """The facts that travel with a network's weights.

    `resize` is the length of the image's shorter side before the central `input_size` x `input_size` crop, and
    `interpolation` names PIL's filter for it. `categories` are the outputs' names.
    `cam_layer` is where class activation maps are taken if nobody says otherwise; `layers` are the ends of the
    network's stages, shallow to deep, and `feature_layers` those whose features are explained: the deepest 70 % of the
    blocks, or of the convolutions where there are no blocks. `outputs` says what the outputs are: "softmax" of classes
    that exclude each other, "sigmoid" of labels, or "scores" without probabilities; None is sigmoid for one output,
    softmax for more. `background` is the colour behind transparent parts, and `levels` are the levels of deep images
    that are black and white; None where neither was asked for. See `Model.reading`.
    """

    name: str
    input_size: int
    resize: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str = "bilinear"
    categories: tuple[str, ...] = ()
    cam_layer: str = ""
    layers: tuple[str, ...] = ()
    outputs: OutputKind | None = None
    background: str | None = None
    levels: tuple[float | int, float | int] | None = None
    feature_layers: tuple[str, ...] = ()

    def __repr__(self) -> str:
        size = f"{self.input_size} x {self.input_size} pixels of {self.resize}"
        return f"Spec({self.name}, {size}, {len(self.categories)} categories, cam_layer {self.cam_layer!r})"

    @property
    def channels(self) -> int:
        """How many channels an image has: 3 for RGB, 1 for grey; of others there are no image files."""
        return len(self.mean)

    @property
    def image(self) -> jax.ShapeDtypeStruct:
        """The shape and dtype of the net's input."""
        return jax.ShapeDtypeStruct((self.input_size, self.input_size, self.channels), jnp.float32)
