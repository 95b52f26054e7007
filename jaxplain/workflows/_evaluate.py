"""How faithful explanations of images are, by several methods and metrics."""

import functools
import os
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxplain._types import Fill, Metric, Segmenter
from jaxplain.methods import check_name
from jaxplain.models import Asked, Levels, Model, Track, find_target, probability, untracked
from jaxplain.net import embedding
from jaxplain.workflows._evaluation import Evaluation, Outcome, Setting, summarised
from jaxplain.workflows._images import image_files, image_name, photos, reading_of
from jaxplain.workflows._layers import checked_layer
from jaxplain.workflows._measures import (
    FILLS,
    MEASURES,
    OF_CLASSES,
    Case,
    about_class,
    about_reference,
    mapped,
    measured,
)
from jaxplain.workflows._methods import Bound, Methods, bound, rows
from jaxplain.workflows._options import check_used
from jaxplain.workflows._running import computed
from jaxplain.workflows._segments import checked_segments, segmented, static_count
from jaxplain.workflows._targets import check_signs, covectors

Box = tuple[float, float, float, float]

_outputs = jax.jit(lambda net, x: net(x))


class Plan(NamedTuple):
    """What is done with every image, and the class and the reference's embedding (C,) that are asked about, if any."""

    model: Model
    setting: Setting
    methods: dict[str, Bound]
    target: Asked | None
    box: Box | None
    reference: Array | None


def evaluate(
    model: Model,
    images: Any,
    *,
    methods: Methods = ("grad_cam", "random"),
    metrics: Metric | Iterable[Metric] = ("deletion", "insertion"),
    layer: str | None = None,
    target: Any = None,
    fill: Fill | None = None,
    box: Sequence[float | int] | None = None,
    reference: Any = None,
    segmenter: Segmenter | None = None,
    num_segments: int | None = None,
    background: str | None = None,
    levels: Levels | None = None,
    track: Track = untracked,
) -> Evaluation:
    """How faithful the maps of some methods are, by some metrics, for each image and on the mean.

    `images` are a folder, one image or several. `methods` are names or rows of jaxplain.methods, or a dict of one's own
    functions explain(net, x, target, *, options) by name. Maps are of the target's logit, by default that of each
    image's most probable class, at the layer, by default that of class activation maps; the target is as for `explain`.
    Pixels are removed and shown as levels in [0, 1]; deletion, insertion, average_drop and increase_in_confidence
    measure the probability of the target, as Spec.outputs says it, or its score where outputs are scores;
    max_sensitivity, infidelity and randomisation look at logits and normalised images. Allegiance is of the top class,
    of labels whether the target stays as probable as not. Removed pixels are
    black, and insertion starts from the blurred image, or both are `fill`.

    `box` is the object (left, top, right, bottom) in the pixels of one image, for pointing_game and energy_in_box.
    Methods that are about a reference image explain the similarity to it: what is measured in place of the probability
    is the cosine similarity of the embeddings at the layer. Methods of segments have those that the segmenter cuts from
    each image, about `num_segments` (50) of them for slic, the default. `background` and `levels` say how images are
    read, as `Model.reading` has it.

    Maps that put their pixels in no order, which are constant, empty (nothing is above 0) or not finite, are counted
    and left out of the means. An image that cannot be read is among `failed`, or raises its error where it is the only
    one. ValueError for options that do not go together, and where no map has an order.

        found = evaluate(load("efficientnet_lite0"), ["sample:coffee", "sample:chelsea"])
        found.summaries["grad_cam"]["insertion"].mean[0]
        found.save("out/evaluation")                                            # .png, .csv and .json
    """
    model, images, chosen = model.reading(background, levels), _listed(images), rows(methods)
    wanted = tuple(dict.fromkeys([metrics] if isinstance(metrics, str) else metrics))
    _check_names(wanted, fill)
    cutting, count = checked_segments(segmenter, num_segments)
    given = {"segmenter": segmenter, "num_segments": num_segments, "target": target, "fill": fill, "box": box}
    check_used(given | {"layer": layer, "reference": reference}, chosen.values(), wanted)
    _check_box(box, images)
    about = reference is not None
    layer = checked_layer(model, layer, spatial=any("layer" in row.needs for row in chosen.values()))
    setting = Setting(
        model.spec.name, model.weights, model.spec.input_size, chosen, wanted, layer, fill or "black", fill or "blur",
        cutting, count, image_name(reference) if about else None, _kind(model, wanted), reading_of(model.spec),
    )  # fmt: skip
    asked = None if target is None else find_target(target, model.spec.categories)
    check_signs(chosen.values(), () if asked is None else (asked,), model.spec.categories)
    plan = Plan(
        model,
        setting,
        {name: bound(row, layer) for name, row in chosen.items()},
        asked,
        None if box is None else _corners(box),
        _outputs(embedding(model.net, layer), model.prepare(reference)) if about else None,
    )
    return _evaluated(plan, images, track)


def _evaluated(plan, images, track):
    outcomes, failed = [], []
    both = zip(track(images, "evaluating"), photos(plan.model, images), strict=True)
    for number, (_, photo) in enumerate(both):
        try:
            if photo.error is not None:
                raise photo.error
            outcomes.append(_outcome(plan, photo, number))
        except Exception as error:
            if len(images) == 1:
                raise
            failed.append((photo.image, error))
    if not outcomes:
        reasons = "; ".join(str(error) for _, error in failed[:5])
        raise ValueError(f"None of {len(images)} images can be evaluated: {reasons}") from failed[0][1]
    found = Evaluation(plan.setting, tuple(outcomes), tuple(failed), summarised(outcomes))
    if not any(summary.count for row in found.summaries.values() for summary in row.values()):
        raise ValueError(f"No map can be measured, since none has an order: {found.left_out}.")
    return found


def _listed(images: Any) -> Sequence[Any]:
    """A folder's files, or one image or several, each once; ValueError where there are none."""
    if isinstance(images, str | os.PathLike):
        return image_files(images) if os.path.isdir(images) else [images]
    if not isinstance(images, Iterable) or getattr(images, "ndim", 4) < 4:
        return [images]
    found = {image if isinstance(image, str | os.PathLike) else id(image): image for image in images}
    if not found:
        raise ValueError("There are no images in what was given, expected a folder, an image or several images.")
    return list(found.values())


def _check_names(metrics, fill):
    for metric in metrics:
        check_name("metric", metric, MEASURES)
    if not metrics:
        raise ValueError(f"There are no metrics; give some of {', '.join(MEASURES)}.")
    if fill is not None:
        check_name("fill", fill, FILLS)


def _kind(model, metrics):
    """What the model's outputs are; ValueError for a metric that these do not have."""
    kind = model.outputs
    of_classes = [name for name in metrics if name in OF_CLASSES]
    if kind == "scores" and of_classes:
        raise ValueError(f"{of_classes[0]} is whether the class stays, and scores have no classes: name other metrics.")
    return kind


def _check_box(box, images):
    """A box is of one image."""
    if box is not None and len(images) > 1:
        raise ValueError(f"--box is the object in one image, but there are {len(images)}: evaluate each on its own.")


def _corners(box):
    if len(box) != 4:
        raise ValueError(f"--box is {tuple(box)}, but four numbers, left, top, right and bottom, are expected.")
    left, top, right, bottom = map(float, box)
    return left, top, right, bottom


def _outcome(plan, photo, number):
    model, size = plan.model, photo.opened.size
    pixels, seen = jnp.asarray(photo.pixels), model.placement(photo.opened)
    asked = Asked(int(np.argmax(photo.outputs))) if plan.target is None else plan.target
    (target,) = covectors([asked], len(photo.outputs))
    case = about_class(_case(plan, pixels, target, number), model.normalise, plan.setting.outputs, target)
    if plan.box is not None:
        case = case._replace(box=_box_seen(plan.box, size, seen, len(pixels)))
    compared, similarity = case, None
    if plan.reference is not None:
        compared = about_reference(case, model.normalise, plan.setting.layer, plan.reference)
        similarity = float(_outputs(compared.seen, pixels)[0])
    scores = {
        name: _scores(name, compared if method.target == "reference" else case, method, plan.setting.metrics)
        for name, method in plan.methods.items()
    }
    count = None if case.segments is None else int(np.max(case.segments)) + 1
    kind, score = plan.setting.outputs, float(target @ photo.outputs)
    odds = None if kind == "scores" else float(probability(photo.outputs, target, kind))
    category = asked.name(model.spec.categories)
    return Outcome(
        photo.image, size, seen, asked.index, category, odds, score, plan.box, count, similarity, scores, photo.notes
    )


def _case(plan, pixels, target, number):
    model, setting = plan.model, plan.setting
    cut = any("segments" in method.needs for method in plan.methods.values())
    return Case(
        net=model.net,
        x=model.normalise(pixels),
        pixels=pixels,
        subject=target,
        classes=model.net,
        scored=model.net,
        seen=model.net,
        target=target,
        deleted=FILLS[setting.deleted](pixels),
        start=FILLS[setting.start](pixels),
        box=None,
        segments=segmented(pixels, setting.segmenter, setting.segments) if cut else None,
        number=number,
    )


def _scores(name, case, method, metrics):
    """{metric: Score} of one method's maps."""
    count = static_count(case.segments) if "segments" in method.needs else None
    maps = computed(functools.partial(mapped, method=method, num_segments=count), case)
    scores = {metric: measured(MEASURES[metric], case, maps, method, count) for metric in metrics}
    for metric, score in scores.items():
        if not score.left_out and not np.isfinite((score.value, *score.curve)).all():
            raise ValueError(f"The {metric} of {name} is not finite.")
    return scores


def _box_seen(box, size, seen, side):
    """The box in whole pixels of the network's square image, cut where that ends."""
    left, top, right, bottom = box
    given = ",".join(f"{corner:g}" for corner in box)
    if not (0 <= left < right <= size[0] and 0 <= top < bottom <= size[1]):
        raise ValueError(
            f"--box is {given}, which is not in the image of {size[0]} x {size[1]} pixels: expected "
            f"0 <= LEFT < RIGHT <= {size[0]} and 0 <= TOP < BOTTOM <= {size[1]}."
        )
    starts, spans = np.array(seen[:2]), np.subtract(seen[2:], seen[:2])
    corners = (np.reshape(box, (2, 2)) - starts) * side / spans
    corners = np.clip(np.rint(corners), 0, side).astype(np.int32)
    if (corners[0] >= corners[1]).any():
        raise ValueError(
            f"--box is {given}, which has no pixel of the part that the network sees, "
            f"{','.join(f'{corner:.0f}' for corner in seen)}: give a box in it."
        )
    return corners.ravel()
