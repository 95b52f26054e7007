"""Photographs explained layer by layer: what clusters of channels look at, and how much each counts for a class."""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from jaxplain._types import Clustering, Threshold
from jaxplain.features import Features, layer_features
from jaxplain.models import Asked, Failed, Levels, Model, Notes, normalised, probability, seen
from jaxplain.postprocess import upsample
from jaxplain.render import Panel
from jaxplain.workflows._explanation import short
from jaxplain.workflows._files import Writer, file_name, json_writer
from jaxplain.workflows._images import as_given, each, image_name, photos, reading_of
from jaxplain.workflows._layers import feature_layers
from jaxplain.workflows._recorded import weights_of
from jaxplain.workflows._result import Result, Table
from jaxplain.workflows._targets import asked_of, covectors

SEED = 432  # of the authors

_prepared = jax.jit(lambda normalise, levels: normalised(normalise, levels[None])[0])


@dataclass(frozen=True, eq=False, repr=False)
class FeatureExplanation(Result):
    """One image's features for a class: {layer: Features}, shallow to deep, heaviest clusters first.

    `seen` (448, 448, 3) uint8 is what the network sees, `score` the class's output, `probability` its probability, None
    where outputs are scores. `asked` are the options.
    """

    image: Any
    seen: np.ndarray
    model: Model
    target: Asked
    score: float
    probability: float | None
    layers: Mapping[str, Features]
    asked: Mapping[str, Any]
    notes: Notes = ()

    _columns, _side = 6, 1.75

    def __repr__(self) -> str:
        return f"FeatureExplanation({file_name(image_name(self.image))!r}: {self._class}, {len(self.layers)} layers)"

    @property
    def _class(self):
        return self.target.name(self.model.spec.categories)

    def _title(self) -> str:
        odds = "" if self.probability is None else f", probability {short(self.probability)}"
        file = file_name(image_name(self.image))
        return f"{file}  ·  {self.model.spec.name}  ·  what counts for {self._class}{odds}: percent of each layer"

    def _panels(self) -> Sequence[Sequence[Panel | None]]:
        """The photograph, and below it a column for each layer."""
        most = max(1, *(_clusters(found) for found in self.layers.values()))
        rows = [[self._panel(layer, found, k) for layer, found in self.layers.items()] for k in range(most)]
        return [[Panel("what the network sees", self.seen)], *rows]

    def _panel(self, layer, found, k):
        """The photograph seen through a cluster: black where its map is 0."""
        if k >= _clusters(found):
            return None if k else Panel(f"{layer}\nno channel speaks for it", np.zeros((1, 1, 3), np.uint8))
        light = np.clip(upsample(found.maps[k], self.seen.shape[:2], "cubic"), 0, 1)[..., None]
        channels = int((found.cluster == k).sum())
        title = f"{layer}: {found.weights[k]:.1f} %\n{channels} channel{'s' * (channels != 1)}"
        return Panel(title, np.round(self.seen * light).astype(np.uint8))

    def table(self) -> Table:
        """A row a layer: its channels, those in clusters, and the clusters' weights in percent of the layer."""
        rows = []
        for layer, (cluster, weights, _) in self.layers.items():
            shown = "  ".join(f"{weight:.1f}" for weight in weights if weight > 0) or "none"
            rows.append((layer, str(len(cluster)), str(int((cluster >= 0).sum())), shown))
        columns = ("layer", "channels", "in clusters", "percent of each cluster")
        return Table(f"{image_name(self.image)}: {self._class}", columns, tuple(rows))

    def _writers(self) -> Mapping[str, Writer]:
        arrays = {
            f"{layer}/{name}": value for layer, found in self.layers.items() for name, value in found._asdict().items()
        }
        return {".npz": lambda path: np.savez_compressed(path, **arrays), ".json": json_writer(self.record)}

    @property
    def record(self) -> dict[str, Any]:
        """Everything but the arrays: what was asked, of what, and the clusters' weights."""
        return {
            "image": image_name(self.image),
            "model": self.model.spec.name,
            "weights": weights_of(self.model),
            "target": {"index": self.target.index, "class": self._class, "score": self.score}
            | {"probability": self.probability},
            "layers": {
                layer: {"weights": [round(float(w), 3) for w in found.weights if w > 0], "maps": found.maps.shape[1:]}
                for layer, found in self.layers.items()
            },
            "arrays": "in the .npz, named LAYER/cluster (each channel's, -1 of a dropped one), LAYER/weights (percent) "
            "and LAYER/maps (in [0, 1])",
            "notes": list(self.notes),
            "asked": dict(self.asked),
        }


def features(
    model: Model,
    images: Any,
    *,
    target: Any = None,
    layers: str | Sequence[str] | None = None,
    clustering: Clustering = "tsne",
    max_clusters: int = 8,
    guided: bool = True,
    threshold: Threshold = "scaled",
    seed: int = SEED,
    background: str | None = None,
    levels: Levels | None = None,
    failed: Failed | None = None,
) -> Any:
    """The FeatureExplanation of an image; of a list or tuple of images a list, of an iterator an iterator.

    `target` is the name or index of a class, or "not " and one, by default each image's top class. `layers` are by
    default the model's `spec.feature_layers`, or else its `layers`; the other options are those of `layer_features`,
    with `seed` for its key. `background` and `levels` are those of `Model.reading`. An image that cannot be explained
    raises its error, or is left out after failed(image, error).

        features(load("efficientnet_lite0"), "sample:chelsea", target="tabby")
    """
    model = model.reading(background, levels)
    chosen = feature_layers(model, layers)
    asked = None if target is None else _one(target, model.spec.categories)
    options = {
        "layers": chosen, "clustering": clustering, "max_clusters": max_clusters, "guided": guided,
        "threshold": threshold,
    }  # fmt: skip
    settings = {"target": asked and list(asked), "seed": seed, **options, **reading_of(model.spec)}
    answer = functools.partial(_answer, model, asked, seed, options, settings)
    return as_given(images, lambda images: each(answer, photos(model, images), failed))


def _answer(model, asked, seed, options, settings, photo):
    if not np.isfinite(photo.outputs).all():
        raise ValueError("The network's outputs are not finite: look at its weights.")
    one = asked or Asked(int(np.argmax(photo.outputs)))
    (covector,) = covectors([one], len(photo.outputs))
    x = _prepared(model.normalise, photo.levels)
    found = layer_features(model.net, x, covector, key=jax.random.key(seed), **options)
    return FeatureExplanation(
        image=photo.image,
        seen=seen(photo.opened, model.spec),
        model=model,
        target=one,
        score=float(covector @ photo.outputs),
        probability=None if model.outputs == "scores" else float(probability(photo.outputs, covector, model.outputs)),
        layers={layer: jax.tree.map(np.asarray, features) for layer, features in found.items()},
        asked=settings,
        notes=photo.notes,
    )


def _one(target, categories):
    one, *more = asked_of(target, categories)
    if more:
        raise ValueError(f"There are {1 + len(more)} targets, but one is expected: ask for one after the other.")
    return one


def _clusters(found):
    """How many clusters a layer has."""
    return int((np.asarray(found.weights) > 0).sum())
