"""What `jaxplain concept` shows and writes: figures, every number, and records.

A number is significant where it is larger than those of the random concepts that were fitted beside the concept: by p
values of `significance.compare`, corrected by Holm for all numbers that are shown together.
"""

import csv
import json
import os
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import jaxplain as jp
from jaxplain.cli.errors import writing
from jaxplain.cli.tables import show
from jaxplain.stats import compare, holm, interval, null_band

LEVEL = 0.05
ByConcept = dict[str, dict[str, np.ndarray]]  # by layer and name of the concept


class Local(NamedTuple):
    """One image: probabilities (n,), maps {layer: (k, h, w)}, values (K,) of K classes and null values (draws, K).

    The classes' shares {layer: (K,)} are what the attributions are parts of, and `errors` the largest completeness
    errors by layer.
    """

    classes: tuple[int, ...]
    probabilities: np.ndarray
    maps: dict[str, np.ndarray]
    values: ByConcept
    nulls: ByConcept
    shares: dict[str, np.ndarray]
    errors: dict[str, float]


class Global(NamedTuple):
    """One class over N images: their names and predicted classes, values (N,), null values (draws, N), and errors."""

    target: int
    images: list[str]
    predicted: list[int]
    values: ByConcept
    nulls: ByConcept
    errors: dict[str, float]


class Row(NamedTuple):
    """One number with its null band and p values; `low` and `high` are an interval's ends, None without one."""

    layer: str
    concept: str
    target: int
    recognised: bool
    value: float
    deviation: float | None
    low: float | None
    high: float | None
    null_low: float
    null_high: float
    p: float
    p_holm: float

    @property
    def starred(self) -> bool:
        return self.p_holm < LEVEL


def print_local(answer: Local, home: Any, image: str, test: str) -> None:
    """Prints a row for each layer and concept, a column for each class."""
    rows, categories = _local_rows(answer, home, test), home.model.spec.categories
    columns = ["layer", "concept", *(f"{categories[k]}\np = {answer.probabilities[k]:.2g}" for k in answer.classes)]
    table: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        table.setdefault((row.layer, _called(row)), []).append(_starred(row))
    show(columns, [(*key, *cells) for key, cells in table.items()], title=f"{image}\n{_note(answer.errors)}")


def print_global(answer: Global, home: Any, test: str) -> None:
    """Prints a row for each layer and concept."""

    def cells(row):
        band = f"{row.null_low:.3f} to {row.null_high:.3f}"
        return row.layer, _called(row), _starred(row), f"{row.deviation:.3f}", f"{row.low:.3f} to {row.high:.3f}", band

    columns = "layer", "concept", "mean", "deviation", "interval", "random concepts"
    title = f"{_class(answer, home)}\n{_note(answer.errors)}"
    show(columns, map(cells, _global_rows(answer, home, test)), title=title)


def write_local(answer: Local, home: Any, photo: Any, image: str, path: Path, options: dict[str, Any]) -> None:
    """The figure, the numbers and the record of one image: all or none."""
    rows = _local_rows(answer, home, options["test"])
    record = {
        "image": image,
        "classes": [
            {"index": k, "class": home.model.spec.categories[k], "probability": float(answer.probabilities[k])}
            for k in answer.classes
        ],
        "shares": {layer: share.tolist() for layer, share in answer.shares.items()},
    }
    title = f"{Path(image).name}  ·  {_title(home)}"
    _write(path, home, options, answer.errors, rows, record, _local_panels(answer, home, photo, rows), title)


def write_global(answer: Global, home: Any, folder: str, path: Path, options: dict[str, Any]) -> None:
    """The figure, the numbers and the record of a class: all or none."""
    rows = _global_rows(answer, home, options["test"])
    record = {
        "folder": folder,
        "class": {"index": answer.target, "class": home.model.spec.categories[answer.target]},
        "images": [
            {"image": name, "predicted": k, "values": {layer: {c: float(v[i]) for c, v in some.items()}
             for layer, some in answer.values.items()}}
            for i, (name, k) in enumerate(zip(answer.images, answer.predicted, strict=True))
        ],
    }  # fmt: skip
    title = f"{_class(answer, home)}  ·  {_title(home)}"
    _write(path, home, options, answer.errors, rows, record, _global_panels(answer, home, rows), title)


def _local_rows(answer, home, test):
    return _corrected(
        [
            _row(home, layer, name, k, float(values[i]), answer.nulls[layer][name][:, i], values[[i]], test)
            for layer, named in answer.values.items()
            for name, values in named.items()
            for i, k in enumerate(answer.classes)
        ]
    )


def _global_rows(answer, home, test):
    def one(layer, name, values):
        means, found = answer.nulls[layer][name].mean(axis=1), interval(values)
        row = _row(home, layer, name, answer.target, float(found.mean), means, values.mean(keepdims=True), test)
        return row._replace(deviation=float(found.deviation), low=float(found.low), high=float(found.high))

    return _corrected([one(layer, name, v) for layer, named in answer.values.items() for name, v in named.items()])


def _row(home, layer, name, target, value, nulls, sample, test):
    """A number beside null numbers (draws,), which it is compared with as a sample (1,)."""
    low, high = map(float, null_band(nulls))
    p = float(compare(sample, nulls, test=test))
    return Row(layer, name, target, _recognised(home, layer, name), value, None, None, None, low, high, p, p)


def _corrected(rows):
    """The rows with p values that are corrected for all of them."""
    return [row._replace(p_holm=float(p)) for row, p in zip(rows, holm([row.p for row in rows]), strict=True)]


def _recognised(home, layer, name):
    concept = home.concepts[name].concepts[layer]
    return bool(concept.high > concept.low)


def _called(row):
    return row.concept if row.recognised else f"{row.concept} (not recognised)"


def _starred(row):
    return f"{row.value:.3f}{' *' if row.starred else ''}"


def _note(errors):
    return (
        f"* more than random concepts have, p < {LEVEL} after Holm's correction; "
        f"completeness error at most {max(errors.values()):.1%}"
    )


def _class(answer, home):
    return f"{home.model.spec.categories[answer.target]}: mean of {len(answer.images)} images"


def _title(home):
    return f"{home.model.spec.name}  ·  {home.model.weights.source}"


def _local_panels(answer, home, photo, rows):
    """The photograph and the concepts' own images, and below them the attributions and the maps at each layer."""
    from jaxplain.render import Panel

    box, names = home.model.placement(photo), list(home.concepts)
    seen = np.asarray(photo.resize((448, 448), box=box))
    first = [Panel("photograph, and the part\nthat the network sees", np.asarray(photo), box=box)]
    first += [Panel(f"{name}:\nimages it was fitted to", _montage(home.concepts[name].examples)) for name in names]

    def overlay(layer, name):
        if name not in home.layers[layer]:
            return None
        heat = answer.maps[layer][home.layers[layer].index(name)]
        known = "" if _recognised(home, layer, name) else "\nnot recognised: 0 everywhere"
        return Panel(f"{name} at {layer}{known}", seen, heat, scale=(0.0, 1.0))

    top = 1.1 * max(max(row.value, row.null_high) for row in rows) or 1.0
    labels = {k: f"{home.model.spec.categories[k]} (p = {answer.probabilities[k]:.2g})" for k in answer.classes}
    return [
        first,
        *(
            [
                _bars(f"what counts for a class at {layer}", layer, rows, labels, top),
                *(overlay(layer, n) for n in names),
            ]
            for layer in home.layers
        ),
    ]


def _bars(title, layer, rows, labels, top):
    """Attributions at a layer: a group of bars for each concept, a series for each class."""
    from jaxplain.render import Groups

    mine = {label: [row for row in rows if row.layer == layer and row.target == k] for k, label in labels.items()}

    def columns(*fields):
        return {label: np.array([[getattr(row, f) for row in some] for f in fields]) for label, some in mine.items()}

    first = next(iter(mine.values()))
    return Groups(
        title,
        [_called(row).replace(" (", "\n(") for row in first],
        {label: found[0] for label, found in columns("value").items()},
        "share of the class's evidence  (* beyond chance)",
        errors=None if first[0].low is None else columns("low", "high"),
        bands=columns("null_low", "null_high"),
        band="random concepts, 95 %",
        marks={label: found[0] for label, found in columns("starred").items()},
        top=top,
    )


def _global_panels(answer, home, rows):
    """A panel for each layer, and below them the concepts' own images."""
    from jaxplain.render import Panel

    top = 1.15 * max(max(row.high, row.null_high) for row in rows) or 1.0
    labels = {answer.target: f"mean of {len(answer.images)} images, ± 2 standard errors"}
    bars = [_bars(f"at {layer}", layer, rows, labels, top) for layer in home.layers]
    examples = [
        Panel(f"{name}:\nimages it was fitted to", _montage(one.examples)) for name, one in home.concepts.items()
    ]
    return [bars, examples]


def _montage(examples):
    """Four pictures, or the first again where there are fewer, as one."""
    four = [examples[i % len(examples)] for i in range(4)]
    return np.concatenate([np.concatenate(four[:2], axis=1), np.concatenate(four[2:], axis=1)])


def _write(path, home, options, errors, rows, record, panels, title):
    """path.png, .csv and .json, all or none."""
    text = json.dumps(_record(home, options, errors, rows) | record, indent=1, ensure_ascii=False)
    with writing(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".") as folder:
            beside = Path(folder) / path.name
            with open(f"{beside}.csv", "w", newline="", encoding="utf-8", errors="backslashreplace") as file:
                csv.writer(file).writerows([("class", *Row._fields), *(_cells(home, row) for row in rows)])
            # A surrogate, which stands for a byte of a file name that is no UTF-8, is escaped as JSON does it.
            Path(f"{beside}.json").write_text(text, encoding="utf-8", errors="backslashreplace")
            jp.figure(panels, title=title.encode(errors="replace").decode(), path=f"{beside}.png")
            for kind in ("png", "csv", "json"):
                os.replace(f"{beside}.{kind}", f"{path}.{kind}")


def _cells(home, row):
    return home.model.spec.categories[row.target], *row


def _record(home, options, errors, rows):
    def fitted(one):
        def scales(concept):
            return {"low": float(concept.low), "high": float(concept.high)}

        layers = {layer: scales(concept) for layer, concept in one.concepts.items()}
        return {"images": one.images, "random": one.random, "seed": one.seed, "layers": layers}

    return {
        "model": home.model.spec.name,
        "weights": home.model.weights._asdict(),
        "concepts": {name: fitted(one) for name, one in home.concepts.items()},
        "options": options,
        "conventions": {
            "value": "attribution by integrated gradients from zero activations, of logits: a share of the class's "
            "evidence, whose largest class has 1",
            "null": "the central 95 % of the values of concepts of random images",
            "p": f"one-sided, by a {options['test']} test against them; p_holm is corrected for all rows",
        },
        "completeness_error": errors,
        "attributions": [row._asdict() for row in rows],
        "versions": {name: version(name) for name in ("jaxplain", "jax", "flax", "numpy")},
    }
