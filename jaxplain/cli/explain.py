"""jaxplain explain: photographs explained, as figures, raw maps and records."""

import functools
from pathlib import Path
from typing import Annotated, Any

from typer import Argument, Option

from jaxplain.cli import options as shared
from jaxplain.cli.common import load, save_each
from jaxplain.cli.tables import show
from jaxplain.methods import METHODS

Methods = Annotated[
    list[str] | None, Option(metavar="NAME", help=f"Repeatable; default: grad_cam. There is {', '.join(METHODS)}.")
]
_DEFAULT = "Network, as `jaxplain models` lists them; default: efficientnet_lite0."
Network = Annotated[str | None, Option(metavar="NAME", help=_DEFAULT)]
_AT = "Layer of class activation maps, repeatable; see `jaxplain layers MODEL`."
Layers = Annotated[list[str] | None, Option(metavar="NAME", help=_AT)]
_CLASSES = "Name or index, or 'not NAME', repeatable; default: the top prediction, of labels all from p = 0.5."
Targets = Annotated[list[str] | None, Option(metavar="CLASS", help=_CLASSES)]
Against = Annotated[str | None, Option(metavar="CLASS", help="Explain why the target rather than this class.")]
_SET = "Such as rise.samples=1000; see `jaxplain methods`."
Settings = Annotated[list[str] | None, Option("--set", metavar="METHOD.OPTION=VALUE", help=_SET)]
_SMOOTH = "Mean maps over so many noisy images (SmoothGrad)."
Smooth = Annotated[int | None, Option(metavar="SAMPLES", help=_SMOOTH, min=1)]
Again = Annotated[Path | None, Option(metavar="FILE.json", help="Repeat the run of this record, and nothing else.")]


def explain(
    images: Annotated[list[str] | None, Argument(metavar="IMAGE", help=shared.NAMES)] = None,
    model: Network = None,
    weights: shared.WeightsPath = None,
    outputs: shared.Outputs = None,
    method: Methods = None,
    layer: Layers = None,
    target: Targets = None,
    against: Against = None,
    options: Settings = None,
    smooth: Smooth = None,
    num_segments: shared.NumSegments = None,
    segmenter: shared.Segmenter = None,
    reference: shared.Reference = None,
    background: shared.Background = None,
    levels: shared.Levels = None,
    again: Again = None,
    out: shared.Out = Path("out"),
) -> None:
    """Explain photographs.

    Prints each image's top five classes, and writes a figure (.png), the raw maps (.npz) and a record (.json).
    """
    from jaxplain import workflows

    asked: dict[str, Any] = {
        "methods": method, "targets": target, "against": against, "layer": layer,
        "options": workflows.parsed_settings(options or ()),
        "smooth": smooth, "num_segments": num_segments, "segmenter": segmenter, "reference": reference,
        "background": background, "levels": levels,
    }  # fmt: skip
    kind: dict[str, Any] = {"outputs": outputs}
    asked = {name: value for name, value in asked.items() if value not in (None, [], {})}
    if again is None:
        loaded = load(model or "efficientnet_lite0", weights, **kind)
    elif images or model or asked or outputs:
        raise ValueError("--again repeats a run as it was: leave all images and options but --weights and --out out.")
    else:
        images, loaded, asked = _repeated(workflows.recorded(again), again, weights)
    if not images:
        raise ValueError("There is no IMAGE; name a file, or sample:chelsea; see `jaxplain explain --help`.")
    paths = workflows.result_paths(images, out, others=[reference] if reference else [])
    explain = functools.partial(workflows.explain, loaded, **asked)
    printed = {"predicted": lambda _, found: show(*found.table())}
    save_each(paths, lambda few, failed, watch: explain(few, failed=failed, watch=watch, **printed), table=False)


def _repeated(run, path, weights):
    """The image, the model and the keywords of a run; ValueError for other weights than its own."""

    loaded = load(run.model, weights, outputs=run.outputs)
    if not run.is_of(loaded):
        raise ValueError(f"{path} is of other weights ({run.weights.get('source')}); name them with --weights.")
    return [run.image], loaded, run.asked
