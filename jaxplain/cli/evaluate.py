"""jaxplain evaluate: how faithful explanations are, as a table, a figure and a record."""

from pathlib import Path
from typing import Annotated, Any, get_args

from typer import Option

from jaxplain import _types
from jaxplain.cli import options as shared
from jaxplain.cli.common import load, save
from jaxplain.cli.errors import report
from jaxplain.cli.progress import in_turn
from jaxplain.methods import METHODS

_METHODS = f"Repeatable; default: grad_cam and random, a map of noise. There is {', '.join(METHODS)}."
Methods = Annotated[list[str] | None, Option(metavar="NAME", help=_METHODS)]
_METRICS = f"Repeatable; default: deletion and insertion. There is {', '.join(get_args(_types.Metric))}."
Metrics = Annotated[list[str] | None, Option(metavar="NAME", help=_METRICS)]
_CLASS = "Name or index, or 'not NAME'; default: each image's top prediction."
Target = Annotated[str | None, Option(metavar="CLASS", help=_CLASS)]
_FILLS = f"What hidden pixels are: {', '.join(get_args(_types.Fill))}. Default: black in deletion, blur in insertion."
Fill = Annotated[str | None, Option(metavar="FILL", help=_FILLS)]
_BOX = "The object in one image, in its pixels, for pointing_game and energy_in_box."
Box = Annotated[str | None, Option(metavar="LEFT,TOP,RIGHT,BOTTOM", help=_BOX)]


def evaluate(
    images: shared.Images,
    model: shared.ModelName = "efficientnet_lite0",
    weights: shared.WeightsPath = None,
    outputs: shared.Outputs = None,
    method: Methods = None,
    metric: Metrics = None,
    layer: shared.Layer = None,
    target: Target = None,
    fill: Fill = None,
    box: Box = None,
    reference: shared.Reference = None,
    segmenter: shared.Segmenter = None,
    num_segments: shared.NumSegments = None,
    background: shared.Background = None,
    levels: shared.Levels = None,
    out: shared.Out = Path("out"),
) -> None:
    """Measure how faithful explanations are.

    Prints the mean of every metric over the images, from 10 on with its 95 % bootstrap interval, and writes every value
    (evaluation.csv), the curves (evaluation.png) and everything with its conventions (evaluation.json).

    The maps are those of `jaxplain explain`, with random numbers of each image's own. Of class activation maps and maps
    of channels the positive part counts. Pixels are removed and shown as levels in [0, 1], and the scores of deletion,
    insertion, average_drop and increase_in_confidence are probabilities of the target, softmax or sigmoid as --outputs
    says, or its scores. Deletion fills with black, insertion starts from the image blurred by a Gaussian of sigma 5 (at
    224 pixels); allegiance fills with black, allegiance_white with white. max_sensitivity, infidelity and randomisation
    look at logits and the normalised image. For fam the score is the cosine similarity to the reference.

    Scattered black pixels, such as those that noise removes first, mislead a network quickly: a method that is good at
    deletion is good if it is so at insertion too.
    """
    from jaxplain import workflows

    images, path = list(dict.fromkeys(images)), out / "evaluation"
    asked: dict[str, Any] = {
        "methods": method, "metrics": metric, "layer": layer, "target": target, "fill": fill, "reference": reference,
        "box": None if box is None else workflows.parsed_box(box), "segmenter": segmenter, "num_segments": num_segments,
    }  # fmt: skip
    kind: dict[str, Any] = {"outputs": outputs}
    given = {name: value for name, value in asked.items() if value is not None}
    workflows.check_out(out)
    workflows.keep_photographs(images, [path])
    loaded = load(model, weights, **kind).reading(background, levels)
    found = workflows.evaluate(loaded, images, **given, track=in_turn)
    save(found, path)
    report(found.failed, len(images), "evaluated")
