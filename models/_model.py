"""A network with its weights, ready to explain photographs."""

import os
from collections.abc import Iterable
from typing import Any, NamedTuple, SupportsIndex

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial
from jaxtyping import Array, Float, UInt8
from PIL import Image

from jaxplain._types import OutputKind
from jaxplain.models import _preprocess
from jaxplain.models._categories import find_target
from jaxplain.models._outputs import output_kind, probabilities, probable
from jaxplain.models._pipeline import Failed, batches, normalised
from jaxplain.models._spec import Spec
from jaxplain.net import Net
from jaxplain.target import one_hot
from jaxplain.weights_convert import save

PREPROCESSING_FIELDS = ("input_size", "resize", "mean", "std", "interpolation")

_AT_ONCE = 32  # images that are decoded into one batch
_normalised = jax.jit(normalised)
_outputs = jax.jit(lambda net, x: net(x))


class Weights(NamedTuple):
    """Where weights came from: the file's or folder's name, and the sha256 of the file they were converted from.

    `notes` are what was chosen without being asked for, such as one of a checkpoint's state dicts, or is a guess.
    """

    source: str
    sha256: str | None
    notes: tuple[str, ...] = ()


class Prediction(NamedTuple):
    """One class of a network for an image: its name and index, its probability, and the output itself.

    The probability is what Spec.outputs says, and None where outputs are scores.
    """

    category: str
    index: int
    probability: float | None
    output: float


class Model(NamedTuple):
    """A net, and what it expects of its images.

    An image is a path, "sample:NAME", a PIL image or a uint8 array.

        model = load("efficientnet_lite0")
        model.predict("sample:coffee")[0].category                              # 'espresso'
        x = model.prepare("sample:coffee")                                      # (224, 224, 3)
        heat = jax.jit(jaxplain.saliency)(model.net, x, model.target("espresso"))       # (224, 224)
    """

    net: Net
    spec: Spec
    weights: Weights

    def __repr__(self) -> str:
        spec = self.spec
        return (
            f"Model({spec.name}, weights {self.weights.source}, {len(spec.categories)} outputs, "
            f"{spec.input_size} x {spec.input_size} pixels)"
        )

    def reading(self, background: str | None = None, levels: _preprocess.Levels | None = None) -> "Model":
        """The model that sees transparent parts on a background, and levels (low, high) of deep images black and white.

        The background is a colour's name, or "opaque", which ignores transparency; levels may be a text, "0,4095". What
        is None stays as it is: by default white, and the range of the image's format. Weights are saved without either.

            model = load("efficientnet_lite0").reading(background="black", levels=(0, 4095))
        """
        given = {
            "background": _preprocess.checked_background(background),
            "levels": _preprocess.checked_levels(levels),
        }
        return self._replace(spec=self.spec._replace(**{k: v for k, v in given.items() if v is not None}))

    def open(self, image: Any) -> Image.Image:
        """The whole image as a PIL image, upright and in mode RGB; see `jaxplain.models.open_image`."""
        spec = self.spec
        return _preprocess.open_image(image, background=spec.background, levels=spec.levels)

    def levels(self, image: Any) -> UInt8[np.ndarray, "S S C"]:
        """The image in uint8 levels from 0 to 255, resized and cropped to the network's input size S."""
        return _preprocess.levels(image, self.spec)

    def pixels(self, image: Any) -> Float[Array, "S S C"]:
        """The image in [0, 1], resized and cropped to the network's input size S."""
        return jnp.asarray(_preprocess.pixels(image, self.spec))

    @property
    def normalise(self) -> Partial:
        """The function from pixels (S, S, C) in [0, 1] to the net's input: (pixels - mean) / std."""
        return Partial(_preprocess.normalise, jnp.asarray(self.spec.mean), jnp.asarray(self.spec.std))

    def prepare(self, image: Any) -> Float[Array, "S S C"]:
        """The net's input for an image: normalise(pixels(image))."""
        return self.normalise(self.pixels(image))

    def prepare_all(self, images: Iterable[Any], *, failed: Failed | None = None) -> Float[Array, "B S S C"]:
        """The net's inputs for images, which are decoded in threads: each row is `prepare` of an image.

        An image that cannot be read raises its error, or is left out after failed(image, error).

            X = model.prepare_all(["sample:coffee", "sample:chelsea"])              # (2, 224, 224, 3)
        """
        found = [np.empty((0, *self.spec.image.shape), np.uint8)]
        for batch in batches(images, self.spec, _AT_ONCE, failed=failed):
            found.append(batch.levels[: len(batch.images)])
        return _normalised(self.normalise, np.concatenate(found))

    def predict(self, image: Any, k: int = 5) -> tuple[Prediction, ...]:
        """The k classes with the largest outputs, best first; all of them where there are fewer.

        Equal outputs come in the order of the classes.

            best, *_ = model.predict("sample:coffee")
            print(f"{best.category} {best.probability:.0%}")                    # espresso 96%
        """
        if k < 1:
            raise ValueError(f"k is {k}, but predict gives at least one class; give a whole number from 1.")
        outputs = np.asarray(_outputs(self.net, self.prepare(image)))
        odds = None if self.spec.outputs == "scores" else probabilities(outputs, self.spec.outputs)
        best = np.argsort(-outputs, kind="stable")[:k].tolist()
        names = self.spec.categories
        return tuple(Prediction(names[i], i, None if odds is None else float(odds[i]), float(outputs[i])) for i in best)

    def target(self, category: str | SupportsIndex) -> Float[Array, " n"]:
        """The covector (n,) of a class, given by its name, by words that only one name contains, or by its index.

        That of "not " and a class is the negative. ValueError with the nearest names where no class or several are
        meant.
        """
        return self.targets(category)[0]

    def targets(self, *categories: str | SupportsIndex) -> Float[Array, "K n"]:
        """The covectors (K, n) of K classes.

        Each is given as for `target`.

            targets = model.targets("espresso", "cup")                              # (2, 1000)
        """
        found = [find_target(category, self.spec.categories) for category in categories]
        signs = jnp.asarray([one.sign for one in found], jnp.float32)[:, None]
        return signs * one_hot(np.array([one.index for one in found], int), len(self.spec.categories))

    @property
    def outputs(self) -> OutputKind:
        """What the net's outputs are; ValueError where they cannot be that."""
        count = len(self.spec.categories) or jax.eval_shape(self.net, self.spec.image).size
        return output_kind(self.spec.outputs, count)

    @property
    def probable(self) -> Net:
        """The net whose outputs (n,) are probabilities, of the input that `prepare` makes; ValueError for scores.

        probable = before(model.probable, model.normalise)                      # of pixels
        """
        return probable(self.net, self.spec.outputs)

    @property
    def record(self) -> dict[str, Any]:
        """What is stored beside the parameters: where they came from, their categories and preprocessing."""
        spec = self.spec._asdict()
        return {
            "architecture": spec["name"],
            "source": _shown(self.weights.source),
            "sha256": self.weights.sha256,
            "categories": list(spec["categories"]),
            "outputs": self.outputs,
            "preprocessing": {name: spec[name] for name in PREPROCESSING_FIELDS},
            "notes": [*map(_shown, self.weights.notes)],
        }

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Writes the parameters and the record to a new or empty folder, which load(name, folder) reads.

        ValueError if the folder is neither, or if the net is not one of float32 parameters as `load` makes it.
        """
        params = self.parameters
        if any(leaf.dtype != jnp.float32 for leaf in jax.tree.leaves(params)):
            raise ValueError(self._no_parameters)
        save(folder, jax.tree.map(np.asarray, params), self.record)

    @property
    def parameters(self) -> dict[str, Any]:
        """The net's parameters, a nested dict; ValueError if the net is not one as `load` makes it."""
        match getattr(self.net, "args", ()):
            case ({"params": params}, inputs) if not inputs:
                return params
            case _:
                raise ValueError(self._no_parameters)

    @property
    def _no_parameters(self) -> str:
        return (
            f"This {self.spec.name} is cast or wrapped, expected the net that load gives in float32: load it without "
            "dtype, and save that."
        )

    def placement(self, image: Any) -> tuple[float, float, float, float]:
        """The box (left, top, right, bottom) of the upright original, in its pixels, that the net sees."""
        return _preprocess.placement(image, self.spec)


def _shown(text):
    """The text with escapes in place of what cannot be printed."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
