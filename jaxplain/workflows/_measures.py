"""The measures of `evaluate` by name: those of jaxplain.metrics, with the conventions of the workflow.

What removes or shows pixels works on pixels (S, S, C) in [0, 1], and takes the probability of the target, or its score
where outputs are scores. What explains again works as `explain` does: on normalised images and logits, with the
method's map as it comes. A method that is about a reference has the cosine similarity to it in place of both.
"""

import functools
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from jaxplain import metrics
from jaxplain._numerics import ranks
from jaxplain._types import OutputKind
from jaxplain.models import probability
from jaxplain.net import Net, before, embedding, then
from jaxplain.postprocess import over_channels, positive, upsample
from jaxplain.similarity import cosine
from jaxplain.target import score
from jaxplain.workflows._methods import Bound, supplied
from jaxplain.workflows._running import computed


class Case(NamedTuple):
    """One image: the net of the normalised x, what is asked of it, and `classes`, whose largest output is the class.

    `subject` is what an explainer gets in the third place, a covector or a reference. What is measured is the product
    of `target` and the outputs of `scored`, of x, or of `seen`, of pixels. Deleted pixels become `deleted`, and
    insertion starts from `start`, both as `fill` of jaxplain.metrics. The box is (left, top, right, bottom) in the
    pixels that the network sees, `segments` are labels (S, S), and `number` is the image's place among all.
    """

    net: Net
    x: Array
    pixels: Array
    subject: Array
    classes: Net
    scored: Net
    seen: Net
    target: Array
    deleted: Array
    start: Array
    box: Array | None
    segments: ArrayLike | None
    number: int


class Maps(NamedTuple):
    """A method's map as it comes, and what is measured of it: (S, S), at the image's size, more is more important."""

    raw: Array
    heat: Array


class Measure(NamedTuple):
    """measure(case, subject), which value is `better`, as "lower" or "higher", and what it is.

    `axes` are the labels of a curve's steps and values. The subject is what the measure is `of`: a map, heat or raw of
    Maps, or a method, explain(net, x, target).
    """

    measure: Callable[[Case, Any], Any]
    better: str
    value: str
    axes: tuple[str, str] | None = None
    of: Literal["heat", "raw", "method"] = "heat"


class Score(NamedTuple):
    """What a measure says of one image's map: a value, and for curves the values (K,) at K steps.

    A map without an order has no score: the value is NaN, and `left_out` tells what the map is.
    """

    value: float
    steps: tuple[float | str, ...] = ()
    curve: tuple[float, ...] = ()
    left_out: str = ""


def about_class(case: Case, normalise: Partial, kind: OutputKind, target: ArrayLike) -> Case:
    """The case of methods that explain a target (n,): its probability for pixels, or its score, and its score for x."""
    target, pixels = jnp.asarray(target), before(case.net, normalise)
    decided = then(pixels, Partial(_either_way, target)) if kind == "sigmoid" else pixels
    return case._replace(
        subject=target,
        classes=decided,
        scored=then(case.net, Partial(_score, target)),
        seen=then(pixels, Partial(_SHOWN[kind], target)),
        target=jnp.ones(1),
    )


def _score(target, outputs):
    return score(outputs, target)[None]


def _either_way(target, outputs):
    """Two outputs: the larger is the first where labels say anything but the target."""
    s = score(outputs, target)
    return jnp.stack([-s, s])


def _softmax(target, outputs):
    return probability(outputs, target, "softmax")[None]


def _sigmoid(target, outputs):
    return probability(outputs, target, "sigmoid")[None]


_SHOWN: dict[OutputKind, Callable[[Array, Array], Array]] = {
    "softmax": _softmax,
    "sigmoid": _sigmoid,
    "scores": _score,
}


def about_reference(case: Case, normalise: Partial, layer: str, reference: ArrayLike) -> Case:
    """The case of methods that explain the similarity to a reference (C,), an embedding at the layer."""
    reference = jnp.asarray(reference)
    scored, seen = (
        then(embedding(net, layer), Partial(_similarity, reference)) for net in (case.net, before(case.net, normalise))
    )
    return case._replace(subject=reference, scored=scored, seen=seen, target=jnp.ones(1))


def _similarity(reference, q):
    return jnp.sum(cosine(q[None, None], reference))[None]


@functools.partial(jax.jit, static_argnames=("method", "num_segments"))
def mapped(case: Case, method: Bound, num_segments: int | None = None) -> Maps:
    """A method's Maps of a case.

    Maps of a layer are rectified and upsampled, maps of channels summed and rectified, others taken as they are.
    """
    raw = _explainer(case, method, num_segments)(case.net, case.x, case.subject)
    if method.output == "layer":
        height, width, _ = case.pixels.shape
        return Maps(raw, upsample(positive(raw), (height, width)))
    return Maps(raw, raw if raw.ndim == 2 else positive(over_channels(raw)))


def without_order(measure: Measure, maps: Maps, method: Bound) -> str:
    """What a map is that gives a measure no order: not finite, empty (nothing above 0) or constant; else ""."""
    raw = positive(maps.raw) if method.output == "layer" else maps.heat
    heat = np.asarray(raw if measure.of == "heat" else maps.raw)
    if not np.isfinite(heat).all():
        return "not finite"
    return "" if ranks(heat) else "constant" if heat.max() > 0 else "empty"


def measured(measure: Measure, case: Case, maps: Maps, method: Bound, num_segments: int | None = None) -> Score:
    """What a measure says of a case and a method's Maps of it; of maps without an order nothing."""
    reason = without_order(measure, maps, method)
    if reason:
        return Score(float("nan"), left_out=reason)
    if measure.of == "method":
        return read(
            computed(functools.partial(_again, measure.measure, method=method, num_segments=num_segments), case)
        )
    return read(computed(functools.partial(_once, measure.measure), case, getattr(maps, measure.of)))


@functools.partial(jax.jit, static_argnames="measure")
def _once(measure, case, heat):
    """For all methods: maps are of one size, which raw ones are not."""
    return measure(case, heat)


@functools.partial(jax.jit, static_argnames=("measure", "method", "num_segments"))
def _again(measure, case, method, num_segments):
    return measure(case, _explainer(case, method, num_segments))


def _explainer(case, method, num_segments):
    """explain(net, x, target) of the method; random numbers are others for each image."""
    return supplied(method, _key(case, method.seed), case.segments, num_segments)


def _key(case, seed=0):
    return jax.random.fold_in(jax.random.key(seed), case.number)


def _deletion(case, heat):
    return metrics.deletion(case.seen, case.pixels, case.target, heat, fill=case.deleted)


def _insertion(case, heat):
    return metrics.insertion(case.seen, case.pixels, case.target, heat, fill=case.start)


def _allegiance(case, heat):
    return metrics.allegiance(case.classes, case.pixels, heat)


def _allegiance_white(case, heat):
    return metrics.allegiance(case.classes, case.pixels, heat, fill=1.0)


def _average_drop(case, heat):
    return metrics.average_drop(case.seen, case.pixels, case.target, heat)


def _increase_in_confidence(case, heat):
    return metrics.increase_in_confidence(case.seen, case.pixels, case.target, heat)


def _pointing_game(case, heat):
    left, top, right, bottom = case.box
    rows, columns = (jnp.arange(side) for side in heat.shape)
    inside = ((rows >= top) & (rows < bottom))[:, None] & ((columns >= left) & (columns < right))[None]
    return metrics.pointing_game(heat, inside)


def _energy_in_box(case, heat):
    return metrics.energy_in_box(heat, case.box)


def _max_sensitivity(case, explain):
    return metrics.max_sensitivity(explain, case.net, case.x, case.subject, key=_key(case))


def _infidelity(case, raw):
    size = case.x.shape[:2]
    heat = raw if raw.shape[:2] == size else upsample(raw, size)
    return metrics.infidelity(case.scored, case.x, case.target, heat, key=_key(case), normalise=True)


def _randomisation(case, explain):
    """{(step, layer): similarity}: jit sorts dicts, and keeps the order of the steps so."""
    similarities = metrics.randomisation(explain, case.net, case.x, case.subject, key=_key(case))
    return {(step, layer): value for step, (layer, value) in enumerate(similarities.items())}


_REMOVED = "share of pixels removed"
_STAYS = "share of images that keep their class"

MEASURES: dict[str, Measure] = {
    "deletion": Measure(
        _deletion, "lower", "area under the target's probability while the most important pixels are removed",
        (_REMOVED, "probability of the target"),
    ),
    "insertion": Measure(
        _insertion, "higher", "area under the target's probability while the most important pixels are shown",
        ("share of pixels shown", "probability of the target"),
    ),
    "allegiance": Measure(
        _allegiance, "lower", "area, up to 0.9 of the pixels, under whether the class stays as they become black",
        (_REMOVED, _STAYS),
    ),
    "allegiance_white": Measure(
        _allegiance_white, "lower", "area, up to 0.9 of the pixels, under whether the class stays as they become white",
        (_REMOVED, _STAYS),
    ),
    "average_drop": Measure(
        _average_drop, "lower", "share of the target's probability that is lost when pixels are multiplied by the map, "
        "scaled to [0, 1]",
    ),
    "increase_in_confidence": Measure(
        _increase_in_confidence, "higher", "whether the target's probability rises when pixels are multiplied by the "
        "map, scaled to [0, 1]",
    ),
    "pointing_game": Measure(
        _pointing_game, "higher", "whether the map's maximum is in the box, without tolerance"
    ),
    "energy_in_box": Measure(_energy_in_box, "higher", "share of the map's positive part in the box"),
    "max_sensitivity": Measure(
        _max_sensitivity, "lower", "largest relative change of the map in 10 draws of uniform noise of up to 0.02 on "
        "the normalised image", of="method",
    ),
    "infidelity": Measure(
        _infidelity, "lower", "mean squared difference, in 50 draws of normal noise of 0.1 on the normalised image, "
        "between the change of the logit and what the signed map, optimally scaled, says of it", of="raw",
    ),
    "randomisation": Measure(
        _randomisation, "nearer 0", "mean rank correlation of |map| with itself while parameters are drawn anew, layer "
        "by layer, from the last to the first",
        ("layers drawn anew, the last one first", "rank correlation with the map"), of="method",
    ),
}  # fmt: skip
OF_CLASSES = ("allegiance", "allegiance_white")


def in_words(text: str, kind: OutputKind) -> str:
    """What a Measure says, of outputs that have probabilities or are scores."""
    return text.replace("probability", "score").replace("logit", "score") if kind == "scores" else text


def blurred(pixels: ArrayLike) -> Float[Array, "S S C"]:
    """The pixels (S, S, C) under a Gaussian of sigma 5 in a window of 11 pixels, both in proportion where S is not 224.

    The window is cut at the image's sides, and its weights sum to 1 there too.

    Petsiuk, Das, Saenko, "RISE: Randomized Input Sampling for Explanation of Black-box Models", 2018.
    """
    pixels = jnp.asarray(pixels)
    sigma = 5 * len(pixels) / 224
    places = np.arange(len(pixels))
    distance = np.abs(places[:, None] - places)
    weights = np.exp(-(distance**2) / (2 * sigma**2)) * (distance <= max(1, round(sigma)))
    weights = jnp.asarray(weights / weights.sum(1, keepdims=True), pixels.dtype)
    return jnp.einsum("ij,jkc,lk->ilc", weights, pixels, weights, precision="highest")


FILLS: dict[str, Callable[[Array], Array]] = {
    "black": lambda pixels: jnp.zeros((), pixels.dtype),
    "white": lambda pixels: jnp.ones((), pixels.dtype),
    "grey": lambda pixels: jnp.full((), 0.5, pixels.dtype),
    "blur": blurred,
}


def read(result: Any) -> Score:
    """What a measure returned, as numbers of the host."""
    if isinstance(result, metrics.Curve):
        fractions, scores = (np.asarray(values, np.float64) for values in (result.fractions, result.scores))
        return Score(float(result.area), tuple(fractions.round(6).tolist()), tuple(scores.tolist()))
    if isinstance(result, dict):
        curve = tuple(float(value) for value in result.values())
        return Score(float(np.mean(curve)), tuple(layer for _, layer in result), curve)
    return Score(float(result))
