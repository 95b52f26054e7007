"""jaxplain finetune: a network of one's own classes."""

import shlex
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from jaxplain.cli.common import bars
from jaxplain.cli.errors import in_one_sentence
from jaxplain.cli.tables import show


def finetune(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder with a folder of images for each class.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the result, new or empty.")],
    model: Annotated[
        str, typer.Option(metavar="NAME", help="Network, as `jaxplain models` lists them.")
    ] = "efficientnet_lite0",
    weights: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="Where to start: a .pth, a .safetensors, a converted folder, or a published set's name.",
        ),
    ] = None,
    epochs: Annotated[int, typer.Option(help="At most so many passes over the images in each phase.")] = 50,
    all_layers: Annotated[
        bool, typer.Option("--all", help="Train all layers after the classifier; on CPUs this takes long.")
    ] = False,
    batch: Annotated[int, typer.Option(help="Images in a step; fewer take less memory.")] = 16,
    rate: Annotated[float, typer.Option(help="Learning rate of the classifier; --all takes a hundredth.")] = 0.001,
    validation: Annotated[float, typer.Option(help="Share of each class that is held out.")] = 0.2,
    patience: Annotated[
        int, typer.Option(help="Epochs without a smaller loss on held-out images before a phase ends.")
    ] = 5,
    seed: Annotated[int, typer.Option(help="Of all randomness.", min=0, max=2**31 - 1)] = 0,
) -> None:
    """Train a network's classifier for your own classes.

    DIR has a folder of images for each class. Writes weights that the other commands take as --weights, with the
    learning curves (learning_curve.png) and a record (history.json).
    """
    from jaxplain import workflows
    from jaxplain.models import load

    options = {"epochs": epochs, "all_layers": all_layers, "batch": batch, "rate": rate, "validation": validation}
    with in_one_sentence():
        _check(out, folder)
        start = load(model, weights)
        with bars() as track:
            tuned = workflows.finetune(start, folder, **options, patience=patience, seed=seed, track=track)
        tuned.save(out)
    show(("trained", "best epoch", "images", "loss", "accuracy"), _rows(tuned), title=tuned.summary)
    print(f"{out} written, with learning_curve.png and history.json")
    print(f"Go on with: jaxplain explain IMAGE --model {model} --weights {shlex.quote(str(out))}", flush=True)


def _check(out, folder):
    """Whether the result can be written, before it is computed."""
    from jaxplain.weights_convert import vacant
    from jaxplain.workflows import writing

    with writing(out):
        vacant(out)
        if out.resolve().is_relative_to(folder.resolve()):
            raise ValueError(f"{out} is inside {folder}, where it would be a class; name another folder with --out.")
        nearest = next(place for place in (out, *out.absolute().parents) if place.exists())
        with tempfile.TemporaryFile(dir=nearest):
            pass


def _rows(tuned):
    """The scores of each phase's best epoch."""
    history, kept = tuned.tuned.history, tuned.tuned.best
    for name, epochs in tuned.phases:
        best = min(epochs, key=lambda number: history[number].validation.loss)
        which = f"{best + 1} of {len(history)}{' (kept)' * (best == kept)}"
        yield name, which, "training", *(f"{value:.3g}" for value in history[best].training)
        yield "", "", "held-out", *(f"{value:.3g}" for value in history[best].validation)
