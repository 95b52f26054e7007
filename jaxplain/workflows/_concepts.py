"""Concepts fitted to images, and concepts checked against the model that they are used with."""

import functools
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, get_args

import jax
import numpy as np

from jaxplain._types import Explain, Rule, Test
from jaxplain.concepts import Fitted, check_model, fingerprint, fit_images, read
from jaxplain.explain import Attribution, Concept, concept_attribution, stack_concepts
from jaxplain.methods import check_name
from jaxplain.models import Asked, Failed, Levels, Model, Track, Weights, untracked
from jaxplain.net import layers as net_layers
from jaxplain.transform import at_layers
from jaxplain.workflows._images import Reading, read_levels, reading_of
from jaxplain.workflows._layers import checked_layer
from jaxplain.workflows._result import Table

POINTS = 17  # of an integral's path at a time

ByConcept = dict[str, dict[str, np.ndarray]]  # by layer and name of the concept
ConceptOrFile = Fitted | str | os.PathLike[str]


class Integral(NamedTuple):
    """The layers and the options of attributions: all that is static where these are compiled."""

    layers: tuple[str, ...]
    steps: int
    rule: Rule


class Provenance(NamedTuple):
    """What an explanation by concepts was made from: the model's name, its weights, the concepts, and the options."""

    model: str
    weights: Weights
    concepts: dict[str, Fitted]
    options: dict[str, Any]

    def at(self, layer: str) -> list[Fitted]:
        """The concepts that were fitted at a layer."""
        return [one for one in self.concepts.values() if layer in one.concepts]

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers of any of the concepts."""
        return tuple(dict.fromkeys(layer for one in self.concepts.values() for layer in one.concepts))

    @property
    def integral(self) -> Integral:
        """How attributions are computed."""
        return Integral(self.layers, self.options["steps"], self.options["rule"])


def fit_concept(
    model: Model,
    name: str,
    images: Any,
    random: Any,
    *,
    layers: Sequence[str] | None = None,
    nulls: int = 20,
    seed: int = 0,
    background: str | None = None,
    levels: Levels | None = None,
    failed: Failed | None = None,
    track: Track = untracked,
) -> Fitted:
    """The concept that images show and random images do not, a direction (C,) at each layer, for `jaxplain.concepts`.

    The direction is the mean activation of the images less that of the random ones; beside it are as many `nulls`
    (nulls, C), fitted to random images alone, which later show what is more than chance. `images` and `random` are
    folders or sequences of images, which are read as `Model.reading` has it; `layers` is by default the one layer of
    class activation maps, and `seed` is that of the choice of random images. Files that are no images are an error, or
    are left out, each after failed(image, error). ValueError for a layer without positions, and as `fit_images` has it.

        dots = fit_concept(model, "dots", "textures/dots", "textures/random")
        jaxplain.concepts.save("dots.concept", dots)
    """
    if nulls < 2:
        raise ValueError(f"nulls is {nulls}, expected a whole number from 2, such as 20; give a larger one.")
    if not name or not name.isprintable():
        raise ValueError(f"The concept is called {name!r:.60}, which cannot be shown; give it another name.")
    model = model.reading(background, levels)
    layers = [checked_layer(model, layer) for layer in dict.fromkeys(layers or [model.spec.cam_layer])]
    reading = Reading(failed, track)
    (ours, some), (theirs, others) = (read_levels(folder, model.spec, reading) for folder in (images, random))
    fitted = fit_images(name, model, ours, theirs, layers, nulls=nulls, seed=seed)
    facts = reading_of(model.spec) | {"notes": some | others}
    known = {name: value for name, value in facts.items() if value}
    return fitted._replace(preprocessing=fitted.preprocessing | known)


def fitted_table(fitted: Fitted) -> Table:
    """How far a fitted concept's images and random ones reach at its layers, and whether these recognise it."""

    def row(layer, concept):
        low, high = float(concept.low), float(concept.high)
        return layer, f"{low:.3g}", f"{high:.3g}", "yes" if high > low else "no: its maps are 0"

    title = f"{fitted.name}: {fitted.images} images, {fitted.random} random ones  ·  {fitted.model}"
    columns = "layer", "random images reach", "its images reach", "recognised"
    return Table(title, columns, tuple(row(*both) for both in fitted.concepts.items()))


def checked(
    model: Model, concepts: ConceptOrFile | Sequence[ConceptOrFile], steps: int, rule: Rule, test: Test
) -> Provenance:
    """The concepts, of which some may be files, after checks that they belong to the model, and the options."""
    if steps < 1:
        raise ValueError(f"steps is {steps}, expected a whole number from 1; give a larger one.")
    check_name("rule", rule, get_args(Rule))
    check_name("test", test, get_args(Test))
    fitted = [one if isinstance(one, Fitted) else read(one) for one in _several(concepts)]
    names = [one.name for one in fitted]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise ValueError(f"Two of the files hold a concept {twice[0]!r}: name one of them, or fit it by another name.")
    if not fitted:
        raise ValueError("There are no concepts, expected one or more; fit_concept makes them.")
    _check_concepts(model, fitted)
    options = {"steps": steps, "rule": rule, "test": test, **reading_of(model.spec)}
    return Provenance(model.spec.name, model.weights, dict(zip(names, fitted, strict=True)), options)


def class_name(model: Model, asked: Asked) -> str:
    """The name of a class, its number where classes have no names."""
    return asked.name(model.spec.categories)


def check_either_way(model: Model, asked: Iterable[Asked]) -> None:
    """Raises ValueError for anything but a class, unless a network has one output, and for that beside the class."""
    asked, count = list(asked), len(model.spec.categories)
    other = next((class_name(model, one) for one in asked if one.sign < 0), None)
    if other is not None and (count != 1 or len(asked) > 1):
        raise ValueError(
            f"Concepts are parts of a class's evidence, which {other!r} has alone of all targets, in a network of one "
            f"output, and this has {count}: name a class."
        )


def stacked(provenance: Provenance) -> tuple[dict[str, Concept], dict[str, Concept]]:
    """{layer: its concepts, stacked} and {layer: these and then all their null concepts}."""

    def together(layer, own):
        nulls = [one.nulls[layer] for one in provenance.at(layer)]
        return jax.tree.map(lambda *arrays: np.concatenate(arrays), own, *nulls)

    own = {layer: stack_concepts([one.concepts[layer] for one in provenance.at(layer)]) for layer in provenance.layers}
    return own, {layer: together(layer, concepts) for layer, concepts in own.items()}


class Attributed(NamedTuple):
    """Attributions `values` (...) to concepts and `nulls` (m, ...) to their null concepts, and the largest errors."""

    values: ByConcept
    nulls: ByConcept
    errors: dict[str, float]


def attribution(integral: Integral) -> Explain:
    """concept_attribution at layers as explain(net, x, target, *, concepts) -> {layer: Attribution}."""
    layers, steps, rule = integral
    return at_layers(functools.partial(concept_attribution, steps=steps, rule=rule, chunk=POINTS), layers)


def attributed(provenance: Provenance, found: Mapping[str, Attribution]) -> Attributed:
    """The attributions (..., k + nulls) by layer as those of each concept and of its null concepts."""
    own: ByConcept = {}
    nulls: ByConcept = {}
    for layer, attribution in found.items():
        rows, fitted = np.moveaxis(np.asarray(attribution.values), -1, 0), provenance.at(layer)
        if not np.isfinite(rows).all():
            raise ValueError(f"The activations at {layer!r} are not finite: look at the image and the weights.")
        names = [one.name for one in fitted]
        ends = np.cumsum([len(fitted), *(len(one.nulls[layer].direction) for one in fitted)])
        first, *rest = np.split(rows, ends[:-1])
        own[layer], nulls[layer] = (dict(zip(names, some, strict=True)) for some in (first, rest))
    return Attributed(own, nulls, {layer: float(np.max(each.error)) for layer, each in found.items()})


def _several(concepts):
    """The concepts as a list: one stands for itself, and a file that is named twice counts once."""
    one = isinstance(concepts, Fitted | str | os.PathLike)
    given = [concepts] if one else list(concepts)
    return list({id(c) if isinstance(c, Fitted) else os.fspath(c): c for c in given}.values())


def _check_concepts(model, fitted):
    parameters = fingerprint(model.net)
    for one in fitted:
        check_model(one, model, parameters)
    for one in fitted:
        for layer, concept in one.concepts.items():
            width = len(concept.direction)
            channels = net_layers(model.net, model.spec.image)[checked_layer(model, layer)].shape[-1]
            if channels != width:
                raise ValueError(
                    f"The concept {one.name!r} has {width} channels, but {layer!r} has {channels}: fit it again."
                )
