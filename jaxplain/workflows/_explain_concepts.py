"""Where concepts are seen in an image, and how much of each class's evidence they account for."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, SupportsIndex

import jax
import numpy as np

from jaxplain._types import Rule, Test
from jaxplain.explain import concept_map
from jaxplain.models import Asked, Failed, Levels, Model, Notes, normalised, probability, seen
from jaxplain.render import Panel
from jaxplain.transform import over_classes
from jaxplain.workflows._concept_rows import (
    ConceptRow,
    bars,
    caption,
    corrected,
    examples,
    if_absent,
    recognised,
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
from jaxplain.workflows._files import file_name
from jaxplain.workflows._images import as_given, each, image_name, photos
from jaxplain.workflows._result import Result, Table
from jaxplain.workflows._running import Watch, computed, reporting
from jaxplain.workflows._targets import asked_of, covectors

CLASSES = 3  # that are explained where none is named

Targets = str | SupportsIndex | Sequence[str | SupportsIndex]


@dataclass(frozen=True, eq=False, repr=False)
class ConceptExplanation(Result):
    """Concepts in one image: where layers see them, and their attributions to K classes.

    `classes` are {index: name} of the K classes, with `probabilities` (K,), None where outputs are scores. `maps`
    {layer: {concept: (h, w)}} are in [0, 1]. `values` {layer: {concept: (K,)}} are attributions, parts of the classes'
    `shares` {layer: (K,)}, and `nulls` {layer: {concept: (m, K)}} those of m random concepts. `errors` are the largest
    completeness errors by layer. A row of `rows` has one attribution with its p values.
    `notes` say what was chosen for an image that leaves something open.
    """

    image: str
    photograph: np.ndarray
    seen: np.ndarray
    box: tuple[float, float, float, float]
    classes: dict[int, str]
    probabilities: np.ndarray | None
    maps: ByConcept
    values: ByConcept
    nulls: ByConcept
    shares: dict[str, np.ndarray]
    errors: dict[str, float]
    rows: tuple[ConceptRow, ...]
    provenance: Provenance
    notes: Notes = ()

    def __repr__(self) -> str:
        concepts, classes = ", ".join(self.provenance.concepts), ", ".join(self.classes.values())
        return f"ConceptExplanation({self.image}: {concepts} at {', '.join(self.maps)} for {classes})"

    def table(self) -> Table:
        """The attributions: a row for each layer and concept, a column for each class."""
        columns = "layer", "concept", *(f"{name}\n{odds}".rstrip() for name, odds in self._named().values())
        cells: dict[tuple[str, str], list[str]] = {}
        for one in self.rows:
            cells.setdefault((one.layer, one.label), []).append(one.marked)
        return Table(caption(self.image, self.errors), columns, tuple((*key, *some) for key, some in cells.items()))

    def _named(self):
        """{index: (name, probability in words)} of the classes."""
        odds = [""] * len(self.classes)
        if self.probabilities is not None:
            odds = [f"probability {probability:.3g}" for probability in self.probabilities]
        return {k: both for k, *both in zip(self.classes, self.classes.values(), odds, strict=True)}

    def _panels(self):
        """The photograph and the concepts' own images, and below them the attributions and the maps at each layer."""
        first = Panel("photograph, and the part\nthat the network sees", self.photograph, box=self.box)
        top = 1.1 * max(max(row.value, row.null_high) for row in self.rows) or 1.0
        return [
            [first, *examples(self.provenance)],
            *([self._bars(layer, top), *self._overlays(layer)] for layer in self.maps),
        ]

    def _bars(self, layer, top):
        labels = {k: f"{name} ({odds})" if odds else name for k, (name, odds) in self._named().items()}
        rows = [row for row in self.rows if row.layer == layer]
        return bars(f"what counts for a class at {layer}{if_absent(self.shares[layer])}", rows, labels, top)

    def _overlays(self, layer):
        """The map of each concept, None for one that was not fitted at the layer."""
        for name in self.provenance.concepts:
            if name in self.maps[layer]:
                note = "" if recognised(self.provenance, layer, name) else "\nnot recognised: 0 everywhere"
                yield Panel(f"{name} at {layer}{note}", self.seen, self.maps[layer][name], scale=(0.0, 1.0))
            else:
                yield None

    def _title(self):
        return title(file_name(self.image), self.provenance)

    def _writers(self):
        classes: list[dict[str, Any]] = [{"index": k, "class": name} for k, name in self.classes.items()]
        for entry, odds in zip(classes, () if self.probabilities is None else self.probabilities, strict=False):
            entry["probability"] = float(odds)
        facts = {
            "image": self.image,
            "classes": classes,
            "notes": list(self.notes),
            "shares": {layer: share.tolist() for layer, share in self.shares.items()},
        }
        return writers(self.provenance, self.rows, self.classes, self.errors, facts)


def explain_concepts(
    model: Model,
    images: Any,
    concepts: ConceptOrFile | Sequence[ConceptOrFile],
    *,
    targets: Targets | None = None,
    steps: int = 50,
    rule: Rule = "trapezoid",
    test: Test = "welch",
    background: str | None = None,
    levels: Levels | None = None,
    failed: Failed | None = None,
    watch: Watch | None = None,
) -> Any:
    """Where layers see concepts in an image, maps (h, w), and what they count for in K classes, attributions (K,).

    The ConceptExplanation of an image; of a list or tuple of images a list, of an iterator an iterator, as each is
    ready. An attribution is a share of a class's evidence, between 0 and 1. `concepts` are what fit_concept returns, or
    its files; `targets` are names or indices of classes, by default the three with the largest outputs, and for a
    network of one output also "not " and its class. `steps` and
    `rule` are those of the integral over the path from zero activations, and `test` compares with random concepts.
    `background` and `levels` say how images are read, as `Model.reading` has it.
    ValueError for concepts of another model. An image that cannot be explained raises its error, or is left out
    after failed(image, error). `watch("concepts", done, of)` gets the parts of the integral.

        explain_concepts(model, "sample:coins", ["dots.concept"], targets="bubble").save("out/coins")
    """
    model = model.reading(background, levels)
    provenance = checked(model, concepts, steps, rule, test)
    chosen = None if targets is None else asked_of(targets, model.spec.categories)
    check_either_way(model, chosen or ())
    if watch is None:
        run = functools.partial(computed, functools.partial(_compiled, provenance.integral))
    else:
        compute = functools.partial(_maps_and_attributions, provenance.integral)
        run = reporting(jax.jit(compute), functools.partial(watch, "concepts"))
    explain = functools.partial(_explain, model, provenance, run, stacked(provenance), chosen)
    return as_given(images, lambda images: each(explain, photos(model, images), failed))


def _explain(model, provenance, run, concepts, targets, photo):
    asked = targets or tuple(Asked(int(k)) for k in np.argsort(-photo.outputs, kind="stable")[:CLASSES])
    classes, rows = [one.index for one in asked], covectors(asked, len(photo.outputs))
    maps, attributions = run(model.net, model.normalise, photo.levels[None], rows, *concepts)
    numbers = attributed(provenance, attributions)
    return ConceptExplanation(
        image=image_name(photo.image),
        photograph=np.asarray(photo.opened),
        seen=seen(photo.opened, model.spec),
        box=model.placement(photo.opened),
        classes={one.index: class_name(model, one) for one in asked},
        probabilities=_probabilities(model.outputs, photo.outputs, rows),
        maps={layer: dict(zip(named, maps[layer], strict=True)) for layer, named in numbers.values.items()},
        shares={layer: a.share for layer, a in attributions.items()},
        rows=_rows(provenance, classes, numbers.values, numbers.nulls),
        provenance=provenance,
        notes=photo.notes,
        **numbers._asdict(),
    )


def _probabilities(kind, outputs, targets):
    """Those (K,) of targets (K, n), None of scores."""
    return None if kind == "scores" else np.array([probability(outputs, target, kind) for target in targets])


def _maps_and_attributions(integral, net, normalise, levels, targets, own, everything):
    """Maps {layer: (k, h, w)} of concepts, and the Attribution {layer: (K, k + m)} of these and of null concepts."""
    (x,) = normalised(normalise, levels)
    maps = {layer: concept_map(net, x, layer=layer, concept=own[layer]) for layer in integral.layers}
    return maps, over_classes(attribution(integral))(net, x, targets, concepts=everything)


_compiled = jax.jit(_maps_and_attributions, static_argnums=0)


def _rows(provenance, classes, values, nulls):
    return corrected(
        [
            row(provenance, layer, name, k, float(found[i]), nulls[layer][name][:, i], found[[i]])
            for layer, named in values.items()
            for name, found in named.items()
            for i, k in enumerate(classes)
        ]
    )
