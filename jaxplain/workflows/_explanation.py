"""What `explain` returns: an image's maps, and what they are of."""

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from jaxplain._types import OutputKind
from jaxplain.methods import Method
from jaxplain.models import Asked, Model, Prediction, notes_of, probabilities, probability, seen
from jaxplain.postprocess import keep_segments
from jaxplain.render import Bars, Panel, outlined, scale_of
from jaxplain.workflows._files import Writer, file_name, json_writer
from jaxplain.workflows._images import image_name
from jaxplain.workflows._recorded import weights_of
from jaxplain.workflows._result import Result, Table
from jaxplain.workflows._targets import covectors


class Reference(NamedTuple):
    """What an image is compared with: its name, the photograph, the net's input, embeddings {layer: (C,)}."""

    image: str
    photo: Any
    x: Any
    embeddings: dict[str, Any]


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Explanation(Result):
    """One image explained.

    `targets` are the K explained classes, each with the sign -1 where it is anything but the class, `outputs` (n,) are
    the net's, and `kind` says what these are. `maps` {method: (K, ...)} are raw, signed where the method is, at its own
    resolution; `segments` (S, S) are labels, or None; `seconds` are those of each method, and `similarities` {layer:
    (similarity, map on the reference)}. Shown in notebooks as its `figure()`; `save(path)` writes the figure, the maps
    (.npz) and the record (.json).
    """

    image: Any
    photo: Any
    model: Model
    targets: tuple[Asked, ...]
    against: int | None
    outputs: np.ndarray
    kind: OutputKind
    rows: Mapping[str, tuple[Method, str | None]]
    segmenter: str
    reference: Reference | None
    seconds: Mapping[str, float]
    settings: Mapping[str, Any]
    maps: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    segments: np.ndarray | None = None
    similarities: Mapping[str, tuple[float, np.ndarray]] = dataclasses.field(default_factory=dict)

    def with_maps(self, maps: Any, segments: Any, similarities: Any) -> "Explanation":
        """The Explanation with its maps."""
        return dataclasses.replace(self, maps=maps, segments=segments, similarities=similarities)

    def __repr__(self) -> str:
        named = ", ".join(self._name(target) for target in self.targets)
        return f"Explanation({file_name(image_name(self.image))!r}: {named}, by {', '.join(self.rows)})"

    @property
    def classes(self) -> tuple[int, ...]:
        """The indices (K,) of the targets' classes."""
        return tuple(target.index for target in self.targets)

    @property
    def probabilities(self) -> np.ndarray | None:
        """The probabilities (n,) of the classes, None where outputs are scores."""
        return None if self.kind == "scores" else probabilities(self.outputs, self.kind)

    def top(self, count: int = 5) -> tuple[Prediction, ...]:
        """The classes with the largest outputs, best first."""
        return tuple(map(self.prediction, np.argsort(-self.outputs, kind="stable")[:count].tolist()))

    def prediction(self, k: int, sign: int = 1) -> Prediction:
        """A class's name, index, probability and output; with the sign -1 those of anything but the class."""
        asked = Asked(k, sign)
        (target,) = covectors([asked], len(self.outputs))
        odds = None if self.kind == "scores" else float(probability(self.outputs, target, self.kind))
        return Prediction(self._name(asked), k, odds, float(sign * self.outputs[k]))

    def score(self, k: int, sign: int = 1) -> float:
        """What is explained: the class's output, or by how much it is above that of the class it is held against."""
        return float(sign * self.outputs[k] - (0 if self.against is None else self.outputs[self.against]))

    def _name(self, asked):
        return asked.name(self.model.spec.categories)

    def table(self) -> Table:
        """The top five classes, and the explained ones that are not among them."""
        shown = dict.fromkeys([*(Asked(p.index) for p in self.top()), *self.targets])
        rows = tuple((*self._cells(self.prediction(*asked)), "yes" * (asked in self.targets)) for asked in shown)
        numbers = ("score",) if self.kind == "scores" else ("probability", "logit")
        return Table(image_name(self.image), ("class", "index", *numbers, "explained"), rows)

    def _cells(self, p):
        odds = () if p.probability is None else (short(p.probability),)
        return p.category, str(p.index), *odds, f"{p.output:.2f}"

    @property
    def record(self) -> dict[str, Any]:
        """Everything but the maps: what was asked, of what, and what came out beside them."""
        model, box = self.model, self.model.placement(self.photo)
        return {
            "image": image_name(self.image),
            "size": list(self.photo.size),
            "seen": list(box),
            "model": model.spec.name,
            "weights": weights_of(model),
            "outputs": self.kind,
            "methods": {name: self._method(name) for name in self.rows},
            "targets": [_entry(self.prediction(*each)) | {"score": self.score(*each)} for each in self.targets],
            "against": None if self.against is None else _entry(self.prediction(self.against)),
            "predictions": [_entry(p) for p in self.top()],
            "maps": "in the .npz, named METHOD_INDEX, or METHOD_not_INDEX of what is anything but a class: raw, signed "
            "where the method is, at the method's own resolution",
            "notes": list(notes_of(self.photo)),
            "seconds": {name: round(value, 4) for name, value in self.seconds.items()},
            "asked": dict(self.settings),
        }

    def _method(self, name):
        row, layer = self.rows[name]
        facts: dict[str, Any] = {"layer": layer, "options": dict(row.options)}
        if "segments" in row.needs and self.segments is not None:
            facts |= {"segmenter": self.segmenter, "segments": int(self.segments.max()) + 1}
        if row.target == "reference" and self.reference is not None and layer is not None:
            similarity = row.options.get("similarity", "cosine")
            facts |= {"reference": self.reference.image, "similarity": {similarity: self.similarities[layer][0]}}
        return facts

    def _title(self) -> str:
        return f"{file_name(image_name(self.image))}  ·  {self.model.spec.name}  ·  {self.model.weights.source}"

    def _writers(self) -> Mapping[str, Writer]:
        named = [f"{'not_' * (target.sign < 0)}{target.index}" for target in self.targets]
        arrays = {f"{name}_{k}": heats[i] for name, heats in self.maps.items() for i, k in enumerate(named)}
        if self.segments is not None:
            arrays["segments"] = self.segments
        return {".npz": lambda path: np.savez_compressed(path, **arrays), ".json": json_writer(self.record)}

    def _panels(self):
        """A row for each class, a column for each method; before them the photograph, with what the net sees framed.

        Maps that are of no class are in the first row alone.
        """
        box, top = self.model.placement(self.photo), self.top()
        picture = seen(self.photo, self.model.spec)
        photograph = Panel("photograph, and the part\nthat the network sees", np.asarray(self.photo), box=box)
        values = [p.output if p.probability is None else p.probability for p in top]
        title = "scores" if self.kind == "scores" else "probabilities"
        bars = Bars(title, [p.category for p in top], values)
        rows = [[p for name in self.maps for p in self._column(name, picture, i)] for i in range(len(self.targets))]
        if len(rows) == 1:
            return [[photograph, *rows[0], bars]]
        before = [photograph, bars, *[None] * len(rows)]
        return [[first, *row] for first, row in zip(before, rows, strict=False)]

    def _column(self, name, picture, i):
        """A method's map of one class, and what is shown beside it.

        Of attributions to single pixels a few stand far out, and the colours end before them.
        """
        row, layer = self.rows[name]
        if i and row.target in ("none", "reference"):
            return [None] * len(self._column(name, picture, 0))
        heat = self.maps[name][i]
        heat = heat.sum(-1) if heat.ndim == 3 else heat
        percentile = 99.5 if row.output in ("pixels", "channels") else 100.0
        title = row.name if layer is None else f"{row.name} at {layer}"
        scale = scale_of(heat, signed=row.signed, relative=row.relative, percentile=percentile)
        beside = self._kept(heat, picture) if "segments" in row.needs else self._compared(row, layer)
        return [Panel(f"{title}\n{self._label(row, layer, i)}", picture, heat, scale=scale), *beside]

    def _label(self, row, layer, i):
        if row.target == "none":
            return "whatever the class"
        if row.target == "reference":
            return f"similarity to the reference: {self.similarities[layer][0]:.3f}"
        p = self.prediction(*self.targets[i])
        against = "" if self.against is None else f"\nrather than {self.model.spec.categories[self.against]}"
        odds = "" if p.probability is None else f", probability {p.probability:.3g}"
        return f"{p.category}{against}: score {self.score(*self.targets[i]):.2f}{odds}"

    def _kept(self, heat, picture):
        """The segments, and those with the largest means."""
        labels = np.asarray(self.segments)
        size = int(labels.max()) + 1
        kept = np.asarray(keep_segments(heat, labels, size))
        large, shown = (_enlarged(a, picture) for a in (labels, kept))
        lines = outlined(picture, large)
        return [
            Panel(f"{size} segments of {self.segmenter}", lines),
            Panel("the most important ones:\nabove 0.8 of the largest mean", np.where(shown[..., None], lines, 0)),
        ]

    def _compared(self, row, layer):
        """The reference, with the same channels' weights."""
        if row.target != "reference" or self.reference is None:
            return []
        photo = self.reference.photo
        picture = seen(photo, self.model.spec)
        title = f"the reference {file_name(self.reference.image)}\nwith the same weights"
        return [
            Panel(
                title, picture, self.similarities[layer][1], scale=scale_of(self.similarities[layer][1], signed=False)
            )
        ]


def short(value: float) -> str:
    """A number in a few digits, of small ones the first two."""
    return f"{value:.3f}" if value == 0 or 0.001 <= abs(value) < 1000 else f"{value:.2g}"


def _entry(p):
    facts = {"index": p.index, "class": p.category}
    return facts | ({"score": p.output} if p.probability is None else {"probability": p.probability, "logit": p.output})


def _enlarged(labels, picture):
    """Labels (h, w) at a picture's size, each pixel's the nearest one."""
    rows, columns = (np.arange(n) * m // n for n, m in zip(picture.shape, labels.shape, strict=False))
    return labels[rows[:, None], columns]
