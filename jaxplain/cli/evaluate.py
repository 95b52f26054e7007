"""jaxplain evaluate: how faithful explanations are, as a table, a figure and a record."""

from pathlib import Path
from typing import Annotated, get_args

import typer

from jaxplain._types import Fill, Metric, Segmenter
from jaxplain.cli.common import Images, Layer, ModelName, Out, WeightsPath, check_out, in_turn, keep_photographs, report
from jaxplain.cli.errors import in_one_sentence
from jaxplain.cli.tables import show
from jaxplain.methods import METHODS

_ABOUT_REFERENCES = " and ".join(row.name for row in METHODS.values() if row.target == "reference")
_OF_SEGMENTS = " and ".join(row.name for row in METHODS.values() if "segments" in row.needs)

_Methods = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME",
        help=f"Repeatable; default: grad_cam and random, a map of noise. There is {', '.join(METHODS)}.",
    ),
]
_Metrics = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME", help=f"Repeatable; default: deletion and insertion. There is {', '.join(get_args(Metric))}."
    ),
]


def evaluate(
    images: Images,
    model: ModelName = "efficientnet_lite0",
    weights: WeightsPath = None,
    method: _Methods = None,
    metric: _Metrics = None,
    layer: Layer = None,
    target: Annotated[
        str | None, typer.Option(metavar="CLASS", help="Name or index; default: each image's top prediction.")
    ] = None,
    fill: Annotated[
        str | None,
        typer.Option(
            metavar="FILL",
            help=f"What hidden pixels are: {', '.join(get_args(Fill))}. Default: black in deletion, blur in insertion.",
        ),
    ] = None,
    box: Annotated[
        str | None,
        typer.Option(
            metavar="LEFT,TOP,RIGHT,BOTTOM",
            help="The object in one image, in its pixels, for pointing_game and energy_in_box.",
        ),
    ] = None,
    reference: Annotated[
        str | None, typer.Option(metavar="IMAGE", help=f"The image that {_ABOUT_REFERENCES} compares with.")
    ] = None,
    segmenter: Annotated[
        str, typer.Option(metavar="NAME", help=f"Segments of {_OF_SEGMENTS}: {', '.join(get_args(Segmenter))}.")
    ] = "slic",
    num_segments: Annotated[
        int, typer.Option("--num-segments", "--segments", help="About how many segments slic makes.", min=1)
    ] = 50,
    out: Out = Path("out"),
) -> None:
    """Measure how faithful explanations are.

    Prints the mean of every metric over the images, with its 95 % bootstrap interval, and writes every value
    (evaluation.csv), the curves (evaluation.png) and everything with its conventions (evaluation.json).

    The maps are those of `jaxplain explain`, with random numbers of each image's own. Of class activation maps and maps
    of channels the positive part counts. Pixels are removed and shown as levels in [0, 1], and the scores of deletion,
    insertion, average_drop and increase_in_confidence are softmax probabilities of the target. Deletion fills with
    black, insertion starts from the image blurred by a Gaussian of sigma 5 (at 224 pixels); allegiance fills with
    black, allegiance_white with white. max_sensitivity, infidelity and randomisation look at logits and the normalised
    image. For fam the score is the cosine similarity to the reference.

    Scattered black pixels, such as those that noise removes first, mislead a network quickly: a method that is good at
    deletion is good if it is so at insertion too.
    """
    from jaxplain import workflows
    from jaxplain.models import load

    images, path = list(dict.fromkeys(images)), out / "evaluation"
    with in_one_sentence():
        asked = {"methods": method, "metrics": metric, "box": None if box is None else _corners(box)}
        options = {"layer": layer, "target": target, "fill": fill, "reference": reference, "segmenter": segmenter}
        given = {name: value for name, value in (asked | options).items() if value is not None}
        check_out(out)
        keep_photographs(images, [path])
        found = workflows.evaluate(load(model, weights), images, **given, num_segments=num_segments, track=in_turn)
        if found.images:
            *kinds, last = sorted(file.suffix for file in found.save(path))
            _print_table(found)
            print(f"{path}{', '.join(kinds)} and {last} written", flush=True)
    report(found.failed, len(images), "evaluated")


def _corners(box):
    try:
        left, top, right, bottom = map(float, box.split(","))
    except ValueError as error:
        raise ValueError(
            f"--box is {box!r}, but four numbers LEFT,TOP,RIGHT,BOTTOM are expected, such as 10,20,110,95."
        ) from error
    return left, top, right, bottom


def _print_table(found):
    """Prints a row for each method and a column for each metric."""
    from jaxplain.workflows import MEASURES

    metrics = found.setting.metrics
    columns = ["method", *(f"{metric}\n{MEASURES[metric].better} is better" for metric in metrics)]
    show(columns, [(method, *map(_cell, row.values())) for method, row in found.summaries.items()], title=found.title)


def _cell(summary):
    mean = _number(summary.mean[0])
    if summary.interval is None:
        return mean
    low, high = map(_number, summary.interval[:, 0])
    return f"{mean} ({low} to {high})"


def _number(value):
    return f"{value:.3f}" if value == 0 or 0.001 <= abs(value) < 1000 else f"{value:.2g}"
