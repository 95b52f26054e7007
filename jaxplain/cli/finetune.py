"""jaxplain finetune: a network of one's own classes."""

import shlex
from pathlib import Path
from typing import Annotated, Any

from typer import Argument, Option

from jaxplain.cli.common import load
from jaxplain.cli.errors import tell
from jaxplain.cli.options import Background, Levels, ModelName
from jaxplain.cli.progress import bars
from jaxplain.cli.tables import show

_IMAGES = "A folder with a folder of images for each class; with --multi-label, of images."
Folder = Annotated[Path, Argument(metavar="DIR", help=_IMAGES)]
_TABLE = "Table of labels that do not exclude each other: a line of file,NAME,NAME..., then lines of FILE,0,1..."
Table = Annotated[Path | None, Option(metavar="FILE.csv", help=_TABLE)]
_MEAN = "softmax (of classes) or sigmoid (of labels, as --multi-label has them)."
Outputs = Annotated[str | None, Option(metavar="KIND", help=_MEAN)]
Out = Annotated[Path, Option(metavar="DIR", help="Folder for the result, new or empty.")]
_START = "Where to start: a .pth, a .safetensors, a converted folder, or a published set's name."
Start = Annotated[Path | None, Option(metavar="PATH", help=_START)]
Epochs = Annotated[int, Option(help="At most so many passes over the images in each phase.")]
_ALL = "Train all layers after the classifier; on CPUs this takes long."
AllLayers = Annotated[bool, Option("--all", help=_ALL)]
Batch = Annotated[int, Option(help="Images in a step; fewer take less memory.")]
Rate = Annotated[float, Option(help="Learning rate of the classifier; --all takes a hundredth.")]
Validation = Annotated[float, Option(help="Share of each class that is held out.")]
Patience = Annotated[int, Option(help="Epochs without a smaller loss on held-out images before a phase ends.")]
Seed = Annotated[int, Option(help="Of all randomness.", min=0, max=2**31 - 1)]


def finetune(
    folder: Folder,
    out: Out,
    model: ModelName = "efficientnet_lite0",
    weights: Start = None,
    multi_label: Table = None,
    outputs: Outputs = None,
    epochs: Epochs = 50,
    all_layers: AllLayers = False,
    batch: Batch = 16,
    rate: Rate = 0.001,
    validation: Validation = 0.2,
    patience: Patience = 5,
    seed: Seed = 0,
    background: Background = None,
    levels: Levels = None,
) -> None:
    """Train a network's classifier for your own classes.

    DIR has a folder of images for each class, or --multi-label FILE.csv says which labels its images have: under names
    file,cat,outdoors a line a.jpg,1,0 for each, or under file,labels a line a.jpg,cat;outdoors. Writes weights that the
    other commands take as --weights, with the learning curves (learning_curve.png) and a record (history.json).
    """
    from jaxplain import workflows

    options: dict[str, Any] = {"epochs": epochs, "all_layers": all_layers, "batch": batch, "rate": rate}
    workflows.check_new_folder(out, apart_from=folder)
    start = load(model, weights).reading(background, levels)
    with bars() as track:
        options |= {"validation": validation, "patience": patience, "seed": seed, "track": track}
        options |= {"multi_label": multi_label, "outputs": outputs}
        tuned = workflows.finetune(start, folder, **options)
    tuned.save(out)
    show(*tuned.table())
    tell(
        f"{out} written, with learning_curve.png and history.json",
        f"Go on with: jaxplain explain IMAGE --model {model} --weights {shlex.quote(str(out))}",
    )
