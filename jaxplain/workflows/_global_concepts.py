"""What concepts count for in a class, over images of it."""

import functools
import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, SupportsIndex

import jax
import jax.numpy as jnp
import numpy as np

from jaxplain._types import Note, Rule, Test
from jaxplain.models import Failed, Levels, Model, Track, find_target, normalised, untracked
from jaxplain.stats import interval
from jaxplain.transform import batched
from jaxplain.workflows._concept_rows import (
    ConceptRow,
    bars,
    caption,
    corrected,
    examples,
    if_absent,
    row,
    title,
    writers,
)
from jaxplain.workflows._concepts import (
    ByConcept,
    ConceptOrFile,
    Provenance,
    attributed,
    attribution,
    check_either_way,
    checked,
    class_name,
    stacked,
)
from jaxplain.workflows._images import Reading, image_name, images_in, noted, read_batches
from jaxplain.workflows._result import Result, Table
from jaxplain.workflows._running import computed
from jaxplain.workflows._targets import covectors

BATCH = 4  # images at a time


@dataclass(frozen=True, eq=False, repr=False)
class GlobalConcepts(Result):
    """Concepts of one class over N images: attributions `values` {layer: {concept: (N,)}}, and what they mean.

    `nulls` {layer: {concept: (m, N)}} are the attributions of m random concepts, `shares` {layer: (N,)} what all of the
    class's evidence is of the top class's, 0 where there is none. `predicted` (N,) the images' top
    classes, `errors` the largest completeness errors by layer. A row of `rows` has the mean attribution with its
    deviation, an interval of two standard errors, and its p values. `notes` are by an image's name what was chosen for
    it, where it leaves something open.
    """

    target: int
    category: str
    folder: str | None
    images: tuple[str, ...]
    predicted: np.ndarray
    values: ByConcept
    nulls: ByConcept
    shares: Mapping[str, np.ndarray]
    errors: dict[str, float]
    rows: tuple[ConceptRow, ...]
    provenance: Provenance
    notes: Mapping[str, list[str]] = field(default_factory=dict)

    def __repr__(self) -> str:
        concepts = ", ".join(self.provenance.concepts)
        return f"GlobalConcepts({self.subject}: {concepts} at {', '.join(self.values)})"

    @property
    def subject(self) -> str:
        """The class, and over how many images."""
        return f"{self.category}: mean of {len(self.images)} images"

    def table(self) -> Table:
        """The mean attributions: a row for each layer and concept."""
        columns = "layer", "concept", "mean", "deviation", "interval", "random concepts"
        rows = (
            (row.layer, row.label, row.marked, f"{row.deviation:.3f}", f"{row.low:.3f} to {row.high:.3f}",
             f"{row.null_low:.3f} to {row.null_high:.3f}")
            for row in self.rows
        )  # fmt: skip
        return Table(caption(self.subject, self.errors), columns, tuple(rows))

    def _panels(self):
        """A panel for each layer, and below them the concepts' own images."""
        top = 1.15 * max(max(row.high or 0.0, row.null_high) for row in self.rows) or 1.0
        labels = {self.target: f"mean of {len(self.images)} images, ± 2 standard errors"}

        def panel(layer):
            return bars(
                f"at {layer}{if_absent(self.shares[layer])}",
                [row for row in self.rows if row.layer == layer],
                labels,
                top,
            )

        return [[panel(layer) for layer in self.values], examples(self.provenance)]

    def _title(self):
        return title(self.subject, self.provenance)

    def _writers(self):
        facts = {
            "folder": self.folder,
            "class": {"index": self.target, "class": self.category},
            "notes": self.notes,
            "images": [self._image(i) for i in range(len(self.images))],
        }
        return writers(self.provenance, self.rows, {self.target: self.category}, self.errors, facts)

    def _image(self, i):
        values = {layer: {name: float(v[i]) for name, v in named.items()} for layer, named in self.values.items()}
        return {"image": self.images[i], "predicted": int(self.predicted[i]), "values": values}


def global_concepts(
    model: Model,
    images: Any,
    concepts: ConceptOrFile | Sequence[ConceptOrFile],
    target: str | SupportsIndex,
    *,
    steps: int = 50,
    rule: Rule = "trapezoid",
    test: Test = "welch",
    background: str | None = None,
    levels: Levels | None = None,
    failed: Failed | None = None,
    track: Track = untracked,
) -> GlobalConcepts:
    """What concepts count for in a class: the mean over N images of their attributions (N,), beside random concepts'.

    `images` are a folder or a sequence of images of the class, which `target` names or numbers; `concepts` are what
    fit_concept returns, or its files. Options are those of explain_concepts, and for unreadable files of fit_concept.

        global_concepts(model, "photos/walls", ["dots.concept", "checks.concept"], "stone wall")
    """
    model = model.reading(background, levels)
    provenance = checked(model, concepts, steps, rule, test)
    asked = find_target(target, model.spec.categories)
    check_either_way(model, [asked])
    k = asked.index
    reading = Reading(failed, track)
    files, notes, predicted, attributions = _explained(model, provenance, images_in(images), asked, reading)
    numbers = attributed(provenance, attributions)
    shares = {layer: np.asarray(each.share) for layer, each in attributions.items()}
    if not any(np.any(share > 0) for share in shares.values()):
        what = f"No image has any evidence for {class_name(model, asked)!r}, so that all attributions are 0"
        warnings.warn(f"{what}: give images of that class, or name the one that they are of.", Note, stacklevel=2)
    return GlobalConcepts(
        target=k,
        category=class_name(model, asked),
        folder=os.fspath(images) if isinstance(images, str | os.PathLike) else None,
        images=tuple(Path(image_name(file)).name for file in files),
        predicted=predicted,
        shares=shares,
        rows=_rows(provenance, k, numbers.values, numbers.nulls),
        provenance=provenance,
        notes=notes,
        **numbers._asdict(),
    )


def _explained(model, provenance, images, asked, reading):
    """The images that can be read, their notes, predicted classes (N,), and {layer: Attribution of (N, k + m)}."""
    _, concepts = stacked(provenance)
    (classes,) = jax.eval_shape(model.net, model.spec.image).shape
    (target,), files, notes, parts = covectors([asked], classes), [], [], []
    for batch in read_batches(images, model.spec, BATCH, reading, "explaining"):
        inputs = model.net, model.normalise, batch.levels, target, concepts
        found = computed(functools.partial(_attributions, integral=provenance.integral), *inputs)
        files += batch.images
        notes += batch.notes
        parts.append(jax.tree.map(lambda a: a[: len(batch.images)], found))  # noqa: B023
    return files, noted(files, notes), *jax.tree.map(lambda *arrays: np.concatenate(arrays), *parts)


@functools.partial(jax.jit, static_argnames="integral")
def _attributions(net, normalise, levels, target, concepts, *, integral):
    """The images' predicted classes (B,), and {layer: Attribution (B, k + m)}."""
    X = normalised(normalise, levels)
    explain = batched(attribution(integral))
    targets = jnp.broadcast_to(target, (len(X), *target.shape))
    return jnp.argmax(jax.vmap(net)(X), axis=-1), explain(net, X, targets, concepts=concepts)


def _rows(provenance, k, values, nulls):
    def one(layer, name, found):
        mean, deviation, low, high = map(float, interval(found))
        means, sample = nulls[layer][name].mean(axis=1), found.mean(keepdims=True)
        return row(provenance, layer, name, k, mean, means, sample)._replace(deviation=deviation, low=low, high=high)

    return corrected([one(layer, name, found) for layer, named in values.items() for name, found in named.items()])
