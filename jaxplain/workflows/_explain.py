"""Photographs explained: which places speak for a class, by one or more methods."""

import functools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxplain._types import Segmenter
from jaxplain.explain import channel_map, fam_contributions
from jaxplain.methods import METHODS, Method, check_name, smoothed, with_options
from jaxplain.models import Asked, Failed, Model, find_class, levels, normalised, open_image
from jaxplain.net import embedding, layers, view
from jaxplain.similarity import normalised as normalised_weights
from jaxplain.transform import over_classes
from jaxplain.workflows._explanation import Explanation, Reference
from jaxplain.workflows._images import as_given, each, image_name, photos
from jaxplain.workflows._layers import checked_layer
from jaxplain.workflows._methods import Methods, bound, rows, supplied
from jaxplain.workflows._running import Watch, computed, reporting
from jaxplain.workflows._segments import SEGMENTERS, segmented, static_count
from jaxplain.workflows._targets import asked_of, check_signs, covectors, predicted

LONG = 200  # passes from which on a method tells how far it is
NOISE = 0.15  # of smoothing, as a share of the range of pixels

_prepared = jax.jit(lambda normalise, image: normalised(normalise, image[None])[0])
_embedded = jax.jit(lambda net, x, layer: embedding(net, layer)(x), static_argnums=2)


class Question(NamedTuple):
    """What is asked of every image. Methods are rows of the table by the name of their maps, each with its layer."""

    model: Model
    rows: dict[str, tuple[Method, str | None]]
    targets: tuple[Asked, ...] | None
    against: int | None
    segmenter: Segmenter
    num_segments: int
    reference: Reference | None
    settings: dict[str, Any]


def explain(
    model: Model,
    images: Any,
    *,
    methods: Methods = ("grad_cam",),
    targets: Any = None,
    against: Any = None,
    layer: str | Sequence[str] | None = None,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    smooth: int | None = None,
    num_segments: int | None = None,
    segmenter: Segmenter | None = None,
    reference: Any = None,
    failed: Failed | None = None,
    predicted: Callable[[Any, Explanation], None] | None = None,
    watch: Watch | None = None,
) -> Any:
    """The Explanation of an image; of a list or tuple of images a list, of an iterator an iterator, as each is ready.

    `methods` are names of the table, or {name: function or Method}; `options` are theirs, {"rise": {"samples": 1000}}.
    `targets` are names or indices of classes, "not " and one of them, or covectors one_hot(k, n) and -one_hot(k, n), or
    one of these; by default each image's top class, of labels (Spec.outputs is sigmoid) all that are as probable as
    not, up to ten. `against` is the class that they are held against. `layer` is one or several names, by default the
    model's. With `smooth` every map is the mean over so many noisy images. Superpixels are about `num_segments` of a
    `segmenter`, and `reference` is the image of methods that compare. An image that cannot be explained raises its
    ValueError or OSError, or is left out after failed(image, error), which leaves None of a single one.
    `predicted(image, explanation)` gets the classes before any map is made, and `watch(method, done, of)` the parts of
    long computations. What is asked is checked before the first image is read.

        model = load("efficientnet_lite0")
        explain(model, "sample:chelsea", methods=["grad_cam"], targets=["tabby"])
        for explanation in explain(model, Path("photos").glob("*.jpg")):        # none of them is kept
            explanation.save(Path("out") / explanation.image.stem)
    """
    asked = chosen(methods, options or {})
    at = (layer,) if isinstance(layer, str) else tuple(dict.fromkeys(layer or [model.spec.cam_layer]))
    for name in at:
        checked_layer(model, name, spatial=any("layer" in row.needs for row in asked))
    _check_options(asked, layer, num_segments, segmenter, reference, against)
    names = [row.name for row in asked]
    if smooth is not None:
        sigma = NOISE * float(np.mean(1 / np.asarray(model.spec.std)))
        asked = [smoothed(row, smooth, sigma) for row in asked]
    wanted, opposed = _contrast(asked, targets, against, model.spec.categories)
    settings = {
        "methods": names,
        "options": {name: dict(values) for name, values in (options or {}).items()},
        "targets": None if wanted is None else [one.index if one.sign > 0 else list(one) for one in wanted],
        "against": opposed,
        "layer": None if layer is None else list(at),
        "smooth": smooth,
        "num_segments": num_segments,
        "segmenter": segmenter,
        "reference": None if reference is None else image_name(reference),
    }
    compared = None if reference is None else _reference(model, reference, at)
    count = 50 if num_segments is None else num_segments
    question = Question(
        model,
        _placed(asked, at),
        wanted,
        opposed,
        segmenter or "slic",
        count,
        compared,
        settings,
    )
    answers = functools.partial(_answers, question, failed=failed, predicted=predicted, watch=watch)
    return as_given(images, answers)


def chosen(methods: Methods, options: Mapping[str, Mapping[str, Any]]) -> list[Method]:
    """The rows of methods, with their options; ValueError for options of a method that is not asked for."""
    found = rows(methods)
    unused = [name for name in options if name not in found]
    if unused:
        raise ValueError(
            f"There are options for {unused[0]}, which is not among the methods: add it, or leave them out."
        )
    return [with_options(row, options.get(name, {})) for name, row in found.items()]


def _contrast(rows, targets, against, categories):
    """What is to be explained, None for each image's own classes, and the index of what they are held against."""
    asked = None if targets is None else asked_of(targets, categories)
    opposed = None if against is None else find_class(against, categories)
    if opposed in [one.index for one in asked or ()]:
        raise ValueError(f"{against!r} is both the target and what it is held against: name two classes.")
    if opposed is not None and (other := next((one for one in asked or () if one.sign < 0), None)):
        raise ValueError(f"{other.name(categories)!r} is against a class already: leave --against out.")
    check_signs(rows, asked or (), categories)
    return asked, opposed


def _placed(rows, at):
    """{name of the maps: (row, layer)}: one for each layer where a method is about one."""
    placed = {}
    for row in rows:
        for layer in at if "layer" in row.needs else [None]:
            placed[row.name if layer is None or len(at) == 1 else f"{row.name}@{layer}"] = row, layer
    return placed


def _check_options(rows, layer, num_segments, segmenter, reference, against):
    """Raises ValueError for an option without a method that it is for, and the other way round."""
    if num_segments is not None and num_segments < 1:
        raise ValueError(f"The number of segments is {num_segments}, expected 1 or more; give a larger one.")
    if segmenter is not None:
        check_name("segmenter", segmenter, SEGMENTERS)
    if (num_segments, segmenter) != (None, None) and not any("segments" in row.needs for row in rows):
        some = next(row.name for row in METHODS.values() if "segments" in row.needs)
        raise ValueError(f"The segmenter and the number of segments are for methods of segments: add --method {some}.")
    if num_segments is not None and segmenter not in (None, "slic"):
        raise ValueError(f"The number of segments is for slic; {segmenter} finds it itself: leave it out.")
    comparing = [row.name for row in rows if row.target == "reference"]
    if bool(comparing) != (reference is not None):
        name = next(row.name for row in METHODS.values() if row.target == "reference")
        raise ValueError(f"{name} compares an image with another: give --method {name} and --reference IMAGE.")
    alone = [row for row in rows if row.target in ("class", "reference")]
    if alone and against is not None:
        why = "knows no classes" if alone[0].target == "reference" else "holds its target against all other classes"
        raise ValueError(f"{alone[0].name} {why}, not against one: leave --against out.")
    if layer is not None and not any("layer" in row.needs for row in rows):
        raise ValueError(f"{rows[0].name} explains the image and has no layer: leave --layer out.")


def _reference(model, image, at):
    photo = open_image(image)
    x = _prepared(model.normalise, levels(photo, model.spec))
    return Reference(image_name(image), photo, x, {layer: _embedded(model.net, x, layer) for layer in at})


def _answers(question, images, *, failed, predicted, watch) -> Iterator[Explanation]:
    """The Explanation of each image, as it is ready."""
    functions = {name: _explainer(row, layer, question.model, watch) for name, (row, layer) in question.rows.items()}
    answer = functools.partial(_answer, question, functions, predicted)
    return each(answer, photos(question.model, images), failed)


def _answer(question, functions, predicted, photo):
    net, seconds = question.model.net, {"prediction": photo.seconds}
    answer = _predicted(question, photo, seconds)
    extra, segments = _extra(question, photo)
    if predicted is not None:
        predicted(photo.image, answer)
    targets = covectors(answer.targets, len(photo.outputs))
    if question.against is not None:
        targets = targets - covectors([Asked(question.against)], len(photo.outputs))
    x, maps = _prepared(question.model.normalise, photo.levels), {}
    for name, f in functions.items():
        start = time.perf_counter()
        maps[name] = f(net, x, targets, extra)
        seconds[name] = time.perf_counter() - start
        if not np.isfinite(maps[name]).all():
            raise ValueError(f"The map of {name} has values that are not finite, and cannot be drawn.")
    return answer.with_maps(maps, segments, _in_common(question, x))


def _predicted(question, photo, seconds):
    return Explanation(
        image=photo.image,
        photo=photo.opened,
        model=question.model,
        targets=_targets(question, photo.outputs),
        against=question.against,
        outputs=photo.outputs,
        kind=question.model.outputs,
        rows=question.rows,
        segmenter=question.segmenter,
        reference=question.reference,
        seconds=seconds,
        settings=question.settings,
    )


def _extra(question, photo):
    """What methods get beside the image and the targets, by what they need, and the segments if there are any."""
    extra: dict[str, Any] = {}
    segments = None
    if any("segments" in row.needs for row, _ in question.rows.values()):
        segments = segmented(photo.pixels, question.segmenter, question.num_segments)
        extra["segments"] = segments, static_count(segments)
    if question.reference is not None:
        extra["reference"] = question.reference.embeddings
    return extra, segments


def _in_common(question, x):
    """{layer: (similarity with the reference, map of the channels' weights on the reference)}."""
    if question.reference is None:
        return {}
    net, other = question.model.net, question.reference.x
    found = {}
    for row, layer in question.rows.values():
        if row.target == "reference":
            similarity, heat = _compared(net, x, other, layer, row.options.get("similarity", "cosine"))
            found[layer] = float(similarity), np.asarray(heat)
    return found


@functools.partial(jax.jit, static_argnums=(3, 4))
def _compared(net, x, reference, layer, similarity):
    contributions = fam_contributions(view(net, layer, x)[0], embedding(net, layer)(reference), split=similarity)
    weights = normalised_weights(contributions)
    return jnp.sum(contributions), channel_map(net, reference, weights, layer=layer)


def _targets(question, outputs):
    """What is to be explained; by default what is predicted."""
    if question.targets is not None:
        return question.targets
    found = predicted(outputs, question.model.outputs, question.against)
    if found[0].index == question.against:
        name = found[0].name(question.model.spec.categories)
        raise ValueError(f"The top prediction is {name!r} itself, which is what it is held against: name a --target.")
    return found


def _explainer(row, layer, model, watch):
    """The method for several targets (K, n) of one image: f(net, x, targets, extra) -> maps (K, ...).

    What tells how far it is is compiled for this call of `explain`; everything else once for all calls.
    """
    method = bound(row, layer or "")
    programs: dict[int | None, Callable[..., Any]] = {}
    report = None if watch is None or passes(row, model, layer) < LONG else functools.partial(watch, row.name)

    def maps(net, x, targets, extra):
        reference = extra["reference"][layer] if row.target == "reference" else None
        segments, count = extra["segments"] if "segments" in row.needs else (None, None)
        if report is None:
            return computed(_compiled, method, count, net, x, targets, reference, segments)
        if count not in programs:
            programs[count] = reporting(jax.jit(functools.partial(_maps, method, count)), report)
        return programs[count](net, x, targets, reference, segments)

    return maps


def _maps(method, num_segments, net, x, targets, reference, segments):
    """The maps (K, ...) of targets (K, n); one map for all of them where the method is about a reference."""
    explain = supplied(method, jax.random.key(method.seed), segments, num_segments)
    if method.target != "reference":
        return over_classes(explain)(net, x, targets)
    heat = explain(net, x, reference)
    return jnp.broadcast_to(heat[None], (len(targets), *heat.shape))


_compiled = jax.jit(_maps, static_argnums=(0, 1))


def passes(row: Method, model: Model, layer: str | None = None) -> int:
    """How many forward and backward passes the method takes for one target, counting those of which its row says it."""
    sites = layers(model.net, model.spec.image)
    side = model.spec.input_size
    window, stride = row.options.get("window", 1), row.options.get("stride", 1)
    known = {
        "channels": sites[layer or model.spec.cam_layer].shape[-1],
        "classes": len(model.spec.categories),
        "windows": (-(-(side - window) // stride) + 1) ** 2,
    }
    names = {**known, **{name: value for name, value in row.options.items() if isinstance(value, int)}}
    return sum(int(eval(cost, {"__builtins__": {}}, names)) for cost in (row.forward, row.backward) if cost)
