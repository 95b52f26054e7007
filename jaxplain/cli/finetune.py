"""jaxplain finetune: a network of one's own classes."""

import json
import shlex
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from jaxplain.cli.common import bars
from jaxplain.cli.errors import told, writing
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
    import jax

    from jaxplain.models import Recipe, checked_recipe, finetune, load, read_folder

    with told():
        recipe = checked_recipe(Recipe(validation, epochs, batch, rate, patience, all_layers))
        _check(out, folder)
        start = load(model, weights)
        with bars() as track:
            examples = read_folder(folder, start.spec, track)
            tuned = finetune(start, examples, recipe, key=jax.random.key(seed), track=track)
        record = _record(start, examples, recipe, tuned, folder) | {"seed": seed}
        title = _summary(tuned, examples)
        with writing(out):
            _write(out, tuned, record, f"{model}: {title}")
    _report(tuned, title, model, out)


def _check(out, folder):
    """Whether the result can be written, before it is computed."""
    from jaxplain.weights_convert import vacant

    with writing(out):
        vacant(out)
        if out.resolve().is_relative_to(folder.resolve()):
            raise ValueError(f"{out} is inside {folder}, where it would be a class; name another folder with --out.")
        nearest = next(place for place in (out, *out.absolute().parents) if place.exists())
        with tempfile.TemporaryFile(dir=nearest):
            pass


def _record(start, examples, recipe, tuned, folder):
    def scores(epoch):
        return {"phase": epoch.phase, "training": epoch.training._asdict(), "validation": epoch.validation._asdict()}

    return {
        "model": start.spec.name,
        "started_from": start.weights._asdict(),
        "categories": list(examples.categories),
        "recipe": recipe._asdict(),
        "images": len(examples.labels),
        "held_out": [str(examples.files[row].relative_to(folder)) for row in tuned.held_out],
        "kept_epoch": tuned.best + 1,
        "epochs": list(map(scores, tuned.history)),
        "versions": {name: version(name) for name in ("jaxplain", "jax", "flax", "optax", "numpy")},
    }


def _write(out, tuned, record, title):
    """The model, its record and its learning curves: all or none."""
    import jaxplain as jp
    from jaxplain.weights_convert import save

    def beside(folder):
        (folder / "history.json").write_text(json.dumps(record, indent=1), encoding="utf-8")
        jp.figure([_curves(tuned)], title=title, path=folder / "learning_curve.png")

    save(out, tuned.model.net.args[0]["params"], tuned.model.record, beside)


def _curves(tuned):
    """Loss and accuracy by epoch, of both kinds of images."""
    from jaxplain.render import Curves

    parts = [(name, len(epochs)) for name, epochs in _phases(tuned)]

    def panel(what, top):
        values = {
            "training images": [getattr(epoch.training, what) for epoch in tuned.history],
            "held-out images": [getattr(epoch.validation, what) for epoch in tuned.history],
        }
        return Curves(what, values, "epoch", parts, ("epoch that is kept", tuned.best + 1), top)

    return [panel("loss", None), panel("accuracy", 1.05)]


def _phases(tuned):
    """[(name, numbers of its epochs)]"""
    names = [epoch.phase for epoch in tuned.history]
    return [(name, [i for i, each in enumerate(names) if each == name]) for name in dict.fromkeys(names)]


def _summary(tuned, examples):
    held_out = len(tuned.held_out)
    training = len(examples.labels) - held_out
    return f"{len(examples.categories)} classes, {training} images to train on, {held_out} held out"


def _report(tuned, title, model, out):
    """Prints the scores of each phase's best epoch, and how to go on."""

    def rows(name, epochs):
        best = min(epochs, key=lambda number: tuned.history[number].validation.loss)
        epoch, kept = tuned.history[best], " (kept)" * (best == tuned.best)
        which = f"{best + 1} of {len(tuned.history)}{kept}"
        yield name, which, "training", *(f"{value:.3g}" for value in epoch.training)
        yield "", "", "held-out", *(f"{value:.3g}" for value in epoch.validation)

    columns = "trained", "best epoch", "images", "loss", "accuracy"
    show(columns, [row for phase in _phases(tuned) for row in rows(*phase)], title=title)
    print(f"{out} written, with learning_curve.png and history.json")
    choice = f"--model {model} --weights {shlex.quote(str(out))}"
    print(f"Go on with: jaxplain explain IMAGE {choice}", flush=True)
