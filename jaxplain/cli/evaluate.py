"""jaxplain evaluate: how faithful explanations are, as a table, a figure and a record."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import jax
import numpy as np
import typer

import jaxplain as jp
from jaxplain.cli.common import (
    Images,
    Layer,
    ModelName,
    Out,
    WeightsPath,
    check_layer,
    check_out,
    in_turn,
    report,
    spare,
)
from jaxplain.cli.errors import told
from jaxplain.cli.evaluation import Outcome, Setting, print_table, summarise, write
from jaxplain.cli.measures import FILLS, MEASURES, OF_BOXES, Case, mapped, measured, read
from jaxplain.cli.methods import BASELINES, METHODS, at_a_layer, explainer, named, outputs
from jaxplain.net import Net

Box = tuple[float, float, float, float]


class Plan(NamedTuple):
    """What is done with every image: the maps by method, measures by method and metric, all jitted, and the target."""

    setting: Setting
    seen: Net
    maps: dict[str, Callable[..., Any]]
    measures: dict[str, dict[str, Callable[..., Any]]]
    target: int | None
    box: Box | None


def evaluate(
    images: Images,
    model: ModelName = "efficientnet_lite0",
    weights: WeightsPath = None,
    method: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help=f"Repeatable; default: grad_cam and random, a map of noise. There is {', '.join(METHODS)}, random.",
        ),
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help=f"Repeatable; default: deletion and insertion. There is {', '.join(MEASURES)}."
        ),
    ] = None,
    layer: Layer = None,
    target: Annotated[
        str | None, typer.Option(metavar="CLASS", help="Name or index; default: each image's top prediction.")
    ] = None,
    fill: Annotated[
        str | None,
        typer.Option(
            metavar="FILL",
            help=f"What hidden pixels are: {', '.join(FILLS)}. Default: black in deletion, blur in insertion.",
        ),
    ] = None,
    box: Annotated[
        str | None,
        typer.Option(
            metavar="LEFT,TOP,RIGHT,BOTTOM", help=f"The object in one image, in its pixels, for {', '.join(OF_BOXES)}."
        ),
    ] = None,
    out: Out = Path("out"),
) -> None:
    """Measure how faithful explanations are.

    Prints the mean of every metric over the images, with its 95 % bootstrap interval, and writes every value
    (evaluation.csv), the curves (evaluation.png) and everything with its conventions (evaluation.json).

    The maps are those of `jaxplain explain`. Of class activation maps and maps of channels the positive part counts.
    Pixels are removed and shown as levels in [0, 1], and the scores of deletion, insertion, average_drop and
    increase_in_confidence are softmax probabilities of the target. Deletion fills with black, insertion starts from
    the image blurred by a Gaussian of sigma 5 (at 224 pixels); allegiance fills with black, allegiance_white with
    white. max_sensitivity, infidelity and randomisation look at logits and the normalised image.

    Scattered black pixels, such as those that noise removes first, mislead a network quickly: a method that is good at
    deletion is good if it is so at insertion too.
    """
    from jaxplain.models import open_image

    images = list(dict.fromkeys(images))
    with told():
        methods, metrics = _names(method, metric, fill)
        corners = _corners(box, metrics, images)
        plan = _plan(model, weights, methods, metrics, layer, target, fill, corners)
        check_out(out)
        spare(images, [out / "evaluation"])
    outcomes, failures = [], []
    for number, image in in_turn(list(enumerate(images)), "Evaluating"):
        try:
            outcomes.append(_outcome(plan, image, open_image(image), number))
        except (ValueError, OSError) as error:
            failures.append((image, error))
    if outcomes:
        summaries = summarise(outcomes)
        with told():
            *kinds, last = write(plan.setting, outcomes, failures, summaries, out / "evaluation")
        print_table(plan.setting, summaries, len(outcomes))
        print(f"{out / 'evaluation'}.{', .'.join(kinds)} and .{last} written", flush=True)
    report(failures, len(images), "evaluated")


def _names(methods, metrics, fill):
    """The names of methods and metrics, each once, after checking that they are known."""
    methods = list(dict.fromkeys(methods or ["grad_cam", "random"]))
    metrics = list(dict.fromkeys(metrics or ["deletion", "insertion"]))
    for kind, names, known in (("method", methods, METHODS | BASELINES), ("metric", metrics, MEASURES)):
        for name in names:
            named(kind, name, known)
    if fill is not None:
        named("fill", fill, FILLS)
    return methods, metrics


def _corners(box, metrics, images):
    """The corners of the box in the image's pixels, if there is one where it is needed and nowhere else."""
    of_boxes = [name for name in metrics if name in OF_BOXES]
    if box is None:
        if of_boxes:
            raise ValueError(f"{of_boxes[0]} compares a map with the object's box: add --box LEFT,TOP,RIGHT,BOTTOM.")
        return None
    if not of_boxes:
        raise ValueError(f"--box is for the metrics {' and '.join(OF_BOXES)}: add --metric {OF_BOXES[0]}.")
    if len(images) > 1:
        raise ValueError(f"--box is the object in one image, but there are {len(images)}: evaluate each on its own.")
    try:
        left, top, right, bottom = map(float, box.split(","))
    except ValueError as error:
        raise ValueError(
            f"--box is {box!r}, but four numbers LEFT,TOP,RIGHT,BOTTOM are expected, such as 10,20,110,95."
        ) from error
    return left, top, right, bottom


def _plan(model, weights, methods, metrics, layer, target, fill, box):
    from jaxplain.models import find_class, load

    loaded = load(model, weights)
    layer = check_layer(loaded, layer or loaded.spec.cam_layer, methods)
    explainers = {name: explainer(name, layer) for name in methods}

    def measures(explain):
        return {metric: measured(MEASURES[metric], explain) for metric in metrics}

    return Plan(
        Setting(loaded, layer, fill or "black", fill or "blur"),
        jp.then(jp.before(loaded.net, loaded.normalise), jax.nn.softmax),
        {name: mapped(explain, at_a_layer(name)) for name, explain in explainers.items()},
        {name: measures(explain) for name, explain in explainers.items()},
        None if target is None else find_class(target, loaded.spec.categories),
        box,
    )


def _outcome(plan, image, photo, number):
    model = plan.setting.model
    pixels = model.pixels(photo)
    probabilities = np.asarray(outputs(plan.seen, pixels))
    k = int(np.argmax(probabilities)) if plan.target is None else plan.target
    case = Case(
        net=model.net,
        x=model.normalise(pixels),
        seen=plan.seen,
        pixels=pixels,
        target=jp.one_hot(k, len(probabilities)),
        deleted=FILLS[plan.setting.deleted](pixels),
        start=FILLS[plan.setting.start](pixels),
        box=None if plan.box is None else _box_seen(plan.box, photo.size, model.placement(photo), len(pixels)),
        key=jax.random.fold_in(jax.random.key(0), number),
    )
    scores = {name: _scores(name, maps(case), case, plan.measures[name]) for name, maps in plan.maps.items()}
    return Outcome(image, photo.size, model.placement(photo), k, float(probabilities[k]), plan.box, scores)


def _scores(name, maps, case, measures):
    """{metric: Score} of one method's Maps."""
    if not np.isfinite(maps.raw).all():
        raise ValueError(f"The map of {name} has values that are not finite, and cannot be measured.")
    scores = {metric: read(measure(case, maps)) for metric, measure in measures.items()}
    for metric, score in scores.items():
        if not np.isfinite((score.value, *score.curve)).all():
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
