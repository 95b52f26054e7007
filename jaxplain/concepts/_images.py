"""Concepts fitted to images, which know their network, its parameters, its preprocessing, and their layers.

Images are (N, S, S, C) uint8 levels, as model.levels gives them.
"""

import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxplain.concepts._activations import LayerActivations
from jaxplain.concepts._fitting import fit_concept
from jaxplain.concepts._nulls import null_concepts
from jaxplain.explain import Concept

EXAMPLES, EXAMPLE_SIDE = 4, 96
PREPROCESSING = ("input_size", "resize", "mean", "std", "interpolation")


class Fitted(NamedTuple):
    """A concept at each of some layers, with null concepts (samples, C) beside it, and what it belongs to.

    `parameters` is the sha256 of the net's. There were so many `images` of the concept and `random` ones, and
    `examples` (n, side, side, 3) uint8 are some of the first.
    """

    name: str
    model: str
    parameters: str
    preprocessing: dict[str, Any]
    images: int
    random: int
    seed: int
    concepts: dict[str, Concept]
    nulls: dict[str, Concept]
    examples: np.ndarray

    def __repr__(self) -> str:
        layers, counts = ", ".join(self.concepts), f"{self.images} images and {self.random} random ones"
        return f"<concept {self.name!r} of {self.model} at {layers}, fitted to {counts}>"


def fit_images(
    name: str, model: Any, images: np.ndarray, random: np.ndarray, layers: Sequence[str], *, nulls: int, seed: int
) -> Fitted:
    """The concept that images show and random ones do not, at each layer, with so many null concepts of random images.

    ValueError for fewer than 2 images and 4 random ones, for images that are in both, and as `fit_concept` has it.
    """
    few = min(len(images) - 2, len(random) - 4)
    if few < 0:
        raise ValueError(
            f"There are {len(images)} images of {name!r} and {len(random)} random ones, but at least 2 and 4 are "
            "expected, and 30 or more of each make a good concept."
        )
    both = {image.tobytes() for image in images} & {image.tobytes() for image in random}
    if both:
        raise ValueError(
            f"{len(both)} of the images are among the random ones too, as the network sees them: a concept is what "
            "tells the two apart, so remove them from one of the folders."
        )
    concepts, null = {}, {}
    for layer in layers:
        ours, theirs = (LayerActivations(model, layer, some) for some in (images, random))
        concepts[layer] = fit_concept(ours, theirs)
        null[layer] = null_concepts(theirs, nulls, seed=seed, size=min(len(images), len(random) // 2))
    spec = model.spec._asdict()
    preprocessing = {key: _plain(spec[key]) for key in PREPROCESSING}
    examples = _small(images[:EXAMPLES])
    counts = len(images), len(random)
    return Fitted(name, model.spec.name, fingerprint(model.net), preprocessing, *counts, seed, concepts, null, examples)


def fingerprint(net: Any) -> str:
    """The sha256 of a net's parameters, in the order of its leaves."""
    digest = hashlib.sha256()
    for leaf in jax.tree.leaves(net):
        digest.update(np.ascontiguousarray(leaf).view(np.uint8).data)  # bfloat16 has no buffer of its own
    return digest.hexdigest()


def check_model(fitted: Fitted, model: Any, parameters: str) -> None:
    """Raises ValueError unless the concept was fitted in this model, with these parameters and this preprocessing."""
    if fitted.model != model.spec.name:
        raise ValueError(
            f"The concept {fitted.name!r} was fitted in {fitted.model}, but the model is {model.spec.name}: directions "
            "of one network mean nothing in another, so fit it again."
        )
    if fitted.parameters != parameters:
        raise ValueError(
            f"The concept {fitted.name!r} was fitted in {fitted.model} with other weights than "
            f"{model.weights.source}: name those with --weights, or fit it again."
        )
    spec = model.spec._asdict()
    other = [key for key in PREPROCESSING if _plain(spec[key]) != fitted.preprocessing.get(key)]
    if other:
        raise ValueError(
            f"The concept {fitted.name!r} was fitted with another preprocessing ({', '.join(other)}): fit it again."
        )


def _plain(value):
    """A tuple as the list that JSON makes of it."""
    return list(value) if isinstance(value, tuple) else value


def _small(images):
    from PIL import Image

    side = EXAMPLE_SIDE, EXAMPLE_SIDE
    if images.shape[-1] != 3:
        images = np.repeat(images.mean(-1, keepdims=True).round().astype(np.uint8), 3, -1)  # as grey
    return np.stack([np.asarray(Image.fromarray(image).resize(side, Image.Resampling.BICUBIC)) for image in images])
