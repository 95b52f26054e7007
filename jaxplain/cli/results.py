"""What `jaxplain explain` shows and writes for an image: a table, and a figure, the raw maps and a record."""

import json
import os
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import jaxplain as jp
from jaxplain.cli.errors import writing
from jaxplain.cli.methods import at_a_layer
from jaxplain.cli.tables import show


class Reference(NamedTuple):
    """What fam compares with: an image as it was named, the photograph, what the net sees of it, its embedding (C,)."""

    image: str
    photo: Any
    x: Any
    embedding: np.ndarray


class Question(NamedTuple):
    """What is asked of every image: the model, its methods compiled, and the classes (None: each image's top one).

    Segments are of a segmenter, and about so many.
    """

    model: Any
    methods: dict[str, Callable[..., Any]]
    layer: str
    targets: tuple[int, ...] | None
    against: int | None
    segmenter: tuple[str, int] | None
    reference: Reference | None


class Answer(NamedTuple):
    """What came out for one image: probabilities and scores (n,), maps {method: (K, ...)} for K classes, seconds.

    `labels` (S, S) are its segments; `common` is how similar the reference is, and the map (h, w) on it.
    """

    probabilities: np.ndarray
    scores: np.ndarray
    classes: tuple[int, ...]
    against: int | None
    maps: dict[str, np.ndarray]
    seconds: dict[str, float]
    labels: np.ndarray | None
    common: tuple[float, np.ndarray] | None


def _score(answer, k):
    """What is explained: the class's logit, or by how much it is above the rival's."""
    return float(answer.scores[k] - (0 if answer.against is None else answer.scores[answer.against]))


def _label(categories, answer, k):
    against = "" if answer.against is None else f"\nrather than {categories[answer.against]}"
    return f"{categories[k]}{against}: score {_score(answer, k):.2f} (p = {answer.probabilities[k]:.2g})"


def _top(answer, count=5):
    return [int(k) for k in np.argsort(-answer.scores, kind="stable")[:count]]


def print_table(image: str, categories: tuple[str, ...], answer: Answer) -> None:
    """Prints the top five classes, and the explained ones if they are not among them."""
    top = _top(answer)

    def row(k):
        numbers = f"{answer.probabilities[k]:.3f}", f"{answer.scores[k]:.2f}"
        return categories[k], str(k), *numbers, "yes" if k in answer.classes else ""

    rows = map(row, [*top, *(k for k in answer.classes if k not in top)])
    show(("class", "index", "probability", "logit", "explained"), rows, title=image)


def write(question: Question, answer: Answer, photo: Any, image: str, path: Path) -> None:
    """The figure, the maps and the record: all three or none."""
    named = {f"{name}_{k}": answer.maps[name][i] for name in answer.maps for i, k in enumerate(answer.classes)}
    if answer.labels is not None:
        named["segments"] = answer.labels
    record = json.dumps(_record(question, answer, photo, image), indent=2, ensure_ascii=False)
    with writing(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".") as folder:
            beside = Path(folder) / path.name
            jp.figure(_panels(question, answer, photo), title=_title(question, image), path=f"{beside}.png")
            np.savez_compressed(f"{beside}.npz", **named)
            # A surrogate, which stands for a byte of a file name that is no UTF-8, is escaped as JSON does it.
            Path(f"{beside}.json").write_text(record, encoding="utf-8", errors="backslashreplace")
            for kind in ("png", "npz", "json"):
                os.replace(f"{beside}.{kind}", f"{path}.{kind}")


def _title(question, image):
    name = Path(image).name.encode(errors="replace").decode()
    return f"{name}  ·  {question.model.spec.name}  ·  {question.model.weights.source}"


def _panels(question, answer, photo):
    """A row for each class, a column for each method; before them the photograph, with what the network sees framed."""
    from jaxplain.render import Bars, Panel

    categories, box, top = question.model.spec.categories, question.model.placement(photo), _top(answer)
    seen, columns = _seen(photo, box), [_column(question, answer, name) for name in answer.maps]
    photograph = Panel("photograph, and the part\nthat the network sees", np.asarray(photo), box=box)
    bars = Bars("probabilities", [categories[k] for k in top], [answer.probabilities[k] for k in top])
    rows = [
        [
            panel
            for method, (name, heats, scales) in zip(answer.maps, columns, strict=True)
            for panel in [
                Panel(f"{name}\n{_of(method, answer) or label}", seen, heats[row], scale=scales[row]),
                *_beside(question, answer, method, seen, row),
            ]
        ]
        for row, label in enumerate(_label(categories, answer, k) for k in answer.classes)
    ]
    if len(rows) == 1:
        return [[photograph, *rows[0], bars]]
    before = [photograph, bars, *[None] * len(rows)]
    return [[first, *row] for first, row in zip(before, rows, strict=False)]


def _of(method, answer):
    """What a method is about if not a class."""
    return f"similarity to the reference: {answer.common[0]:.3f}" if method == "fam" else None


def _beside(question, answer, method, seen, row):
    """What is shown beside a method's map: the segments that it keeps, or the reference."""
    from jaxplain.render import Panel, outlined

    if method == "secam":
        labels = answer.labels
        heat, size = answer.maps[method][row], int(labels.max()) + 1
        kept = np.asarray(jp.keep_segments(heat, labels, size))
        large = [_enlarged(a, seen) for a in (labels, kept)]
        shown = np.where(large[1][..., None], outlined(seen, large[0]), 0).astype(np.uint8)
        every = outlined(seen, large[0])
        title = f"{size} segments of {question.segmenter[0]}"
        return [Panel(title, every), Panel("the most important ones:\nabove 0.8 of the largest mean", shown)]
    if method == "fam":
        reference = question.reference
        picture = _seen(reference.photo, question.model.placement(reference.photo))
        name = Path(reference.image).name.encode(errors="replace").decode()
        return [Panel(f"the reference {name}\nwith the same channels' weights", picture, answer.common[1])]
    return []


def _enlarged(labels, picture):
    """Labels (h, w) at a picture's size, each pixel's the nearest one."""
    rows, columns = (np.arange(n) * m // n for n, m in zip(picture.shape, labels.shape, strict=False))
    return labels[rows[:, None], columns]


def _column(question, answer, name):
    """A method's title, its maps (K, h, w) to draw, and their scales, which are all signed or all not.

    Of attributions to single pixels a few stand far out, and the colours end before them.
    """
    heats = answer.maps[name]
    heats = heats.sum(-1) if heats.ndim == 4 else heats
    title, percentile = (f"{name} at {question.layer}", 100.0) if at_a_layer(name) else (name, 99.5)
    signed = bool(heats.min() < 0)
    return title, heats, [jp.scale_of(heat, signed=signed, percentile=percentile) for heat in heats]


def _seen(photo, box, side=448):
    """The part of the photograph that the network sees, in the detail that the photograph has."""
    return np.asarray(photo.resize((side, side), box=box))


def _more(question, answer, method):
    """What a method was given beside the image and the target."""
    if method == "secam":
        return {"segmenter": question.segmenter[0], "segments": int(answer.labels.max()) + 1}
    if method == "fam":
        return {"reference": question.reference.image, "similarity": {"cosine": answer.common[0]}}
    return {}


def _record(question, answer, photo, image):
    spec = question.model.spec

    def row(k):
        values = {"probability": float(answer.probabilities[k]), "logit": float(answer.scores[k])}
        return {"index": k, "class": spec.categories[k]} | values

    return {
        "image": image,
        "size": list(photo.size),
        "seen": list(question.model.placement(photo)),
        "model": spec.name,
        "weights": question.model.weights._asdict(),
        "methods": {
            name: {"layer": question.layer if at_a_layer(name) else None} | _more(question, answer, name)
            for name in answer.maps
        },
        "targets": [row(k) | {"score": _score(answer, k)} for k in answer.classes],
        "against": None if answer.against is None else row(answer.against),
        "predictions": [row(k) for k in _top(answer)],
        "maps": "in the .npz, named METHOD_INDEX: raw, signed, at the method's own resolution",
        "seconds": {name: round(value, 4) for name, value in answer.seconds.items()},
        "versions": {name: version(name) for name in ("jaxplain", "jax", "flax", "numpy")},
    }
