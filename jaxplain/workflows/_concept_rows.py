"""Attributions to concepts beside those to random concepts: one row a number, and how rows are drawn and written.

A number is significant where it is larger than those of the random concepts that were fitted beside the concept: by p
values of `jaxplain.stats.compare`, corrected by Holm for all numbers that are shown together.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxplain.render import Groups, Panel
from jaxplain.stats import compare, holm, null_band
from jaxplain.workflows._concepts import Provenance
from jaxplain.workflows._files import Writer, csv_writer, json_writer

LEVEL = 0.05


class ConceptRow(NamedTuple):
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
    def significant(self) -> bool:
        """Whether the number is more than random concepts have."""
        return self.p_holm < LEVEL

    @property
    def label(self) -> str:
        """The concept's name, and whether the layer recognises it."""
        return self.concept if self.recognised else f"{self.concept} (not recognised)"

    @property
    def marked(self) -> str:
        """The number, with a star where it is more than random concepts have."""
        return f"{self.value:.3f}{' *' * self.significant}"


def row(
    provenance: Provenance, layer: str, name: str, target: int, value: float, nulls: np.ndarray, sample: np.ndarray
) -> ConceptRow:
    """A number beside null numbers (m,), which it is compared with as a sample (1,)."""
    low, high = map(float, null_band(nulls))
    p = float(compare(sample, nulls, test=provenance.options["test"]))
    known = recognised(provenance, layer, name)
    return ConceptRow(layer, name, target, known, value, None, None, None, low, high, p, p)


def corrected(rows: Sequence[ConceptRow]) -> tuple[ConceptRow, ...]:
    """The rows with p values that are corrected for all of them."""
    adjusted = holm([row.p for row in rows])
    return tuple(row._replace(p_holm=float(p)) for row, p in zip(rows, adjusted, strict=True))


def recognised(provenance: Provenance, layer: str, name: str) -> bool:
    """Whether the layer tells the concept's images from random ones."""
    concept = provenance.concepts[name].concepts[layer]
    return bool(concept.high > concept.low)


def bars(title: str, rows: Sequence[ConceptRow], labels: Mapping[int, str], top: float) -> Groups:
    """Attributions at one layer: a group of bars for each concept, a series for each class."""
    series = {label: [row for row in rows if row.target == k] for k, label in labels.items()}
    first = next(iter(series.values()))

    def column(value: Callable[[ConceptRow], Any]) -> dict[str, np.ndarray]:
        return {label: np.array([value(row) for row in some]).T for label, some in series.items()}

    return Groups(
        title,
        [row.label.replace(" (", "\n(") for row in first],
        column(lambda row: row.value),
        "share of the class's evidence\n* beyond chance, corrected for all bars",
        errors=None if first[0].low is None else column(lambda row: (row.low, row.high)),
        bands=column(lambda row: (row.null_low, row.null_high)),
        band="95 % of random concepts, not corrected",
        marks=column(lambda row: row.significant),
        top=top,
    )


def if_absent(shares: np.ndarray) -> str:
    """What a panel's title adds where the classes' shares of the evidence are 0, and so all bars."""
    return "" if np.any(shares > 0) else "\nno evidence for it: all bars are 0"


def examples(provenance: Provenance) -> list[Panel]:
    """Images that the concepts were fitted to, a panel for each concept."""
    return [
        Panel(f"{name}:\nimages it was fitted to", _montage(one.examples)) for name, one in provenance.concepts.items()
    ]


def caption(subject: str, errors: Mapping[str, float]) -> str:
    """A table's title: what is explained, and how its numbers are read."""
    return (
        f"{subject}\n* more than random concepts have, p-value < {LEVEL} after Holm's correction; "
        f"completeness error at most {max(errors.values()):.1%}"
    )


def title(subject: str, provenance: Provenance) -> str:
    """A figure's title: what is explained, the model and its weights."""
    text = f"{subject}  ·  {provenance.model}  ·  {provenance.weights.source}"
    return text.encode(errors="replace").decode()


def writers(
    provenance: Provenance,
    rows: Sequence[ConceptRow],
    classes: Mapping[int, str],
    errors: Mapping[str, float],
    facts: Mapping[str, Any],
) -> dict[str, Writer]:
    """All numbers (.csv), and a record with further facts (.json)."""
    columns = "class", *ConceptRow._fields
    cells = [(classes[row.target], *row) for row in rows]
    return {".csv": csv_writer(columns, cells), ".json": json_writer({**_record(provenance, rows, errors), **facts})}


def _record(provenance, rows, errors):
    return {
        "model": provenance.model,
        "weights": provenance.weights._asdict(),
        "concepts": {name: _facts(one) for name, one in provenance.concepts.items()},
        "options": provenance.options,
        "conventions": {
            "value": "attribution by integrated gradients from zero activations, of logits: a share of the class's "
            "evidence, whose largest class has 1",
            "null": "the central 95 % of the values of concepts of random images",
            "p": f"one-sided, by a {provenance.options['test']} test against them; p_holm is corrected for all rows",
        },
        "completeness_error": errors,
        "attributions": [row._asdict() for row in rows],
    }


def _facts(fitted):
    layers = {layer: {"low": float(c.low), "high": float(c.high)} for layer, c in fitted.concepts.items()}
    return {"images": fitted.images, "random": fitted.random, "seed": fitted.seed, "layers": layers}


def _montage(pictures):
    """Four pictures, or the first again where there are fewer, as one."""
    four = [pictures[i % len(pictures)] for i in range(4)]
    return np.concatenate([np.concatenate(four[:2], axis=1), np.concatenate(four[2:], axis=1)])
