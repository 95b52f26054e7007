"""jaxplain explain: photographs explained, as figures, raw maps and records."""

import difflib
import itertools
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from jaxplain.cli.errors import fail, say, told, writing
from jaxplain.cli.methods import METHODS, at_a_layer, compiled, outputs
from jaxplain.cli.results import Answer, Question, print_table, write


def explain(
    images: Annotated[list[str], typer.Argument(metavar="IMAGE", help="Files, or sample:chelsea, sample:coffee...")],
    model: Annotated[
        str, typer.Option(metavar="NAME", help="Network, as `jaxplain models` lists them.")
    ] = "efficientnet_lite0",
    weights: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="A .pth, a .safetensors, a converted folder, or a published set's name, such as IMAGENET1K_V2.",
        ),
    ] = None,
    method: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help=f"Repeatable; default: grad_cam. There is {', '.join(METHODS)}."),
    ] = None,
    layer: Annotated[
        str | None, typer.Option(metavar="NAME", help="Layer of class activation maps; see `jaxplain layers MODEL`.")
    ] = None,
    target: Annotated[
        list[str] | None, typer.Option(metavar="CLASS", help="Name or index, repeatable; default: the top prediction.")
    ] = None,
    against: Annotated[
        str | None, typer.Option(metavar="CLASS", help="Explain why the target rather than this class.")
    ] = None,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the results.")] = Path("out"),
) -> None:
    """Explain photographs.

    Prints each image's top five classes, and writes a figure (.png), the raw maps (.npz) and a record (.json).
    """
    from jaxplain.models.preprocess import open_image

    images = list(dict.fromkeys(images))
    paths = [out / stem for stem in _stems(images)]
    with told():
        question = _question(model, weights, method or ["grad_cam"], layer, target, against)
        _try(out)
        _spare(images, paths)
    failures = []
    for image, path in _progress(list(zip(images, paths, strict=True))):
        try:
            photo = open_image(image)
            answer = _answer(question, photo)
            write(question, answer, photo, image, path)
        except (ValueError, OSError) as error:
            failures.append((image, error))
            continue
        print_table(image, question.model.spec.categories, answer)
        print(f"{path}.png, .npz and .json written", flush=True)
    _report(failures, len(images))


def _question(model, weights, methods, layer, targets, against):
    from jaxplain.models import load
    from jaxplain.models.categories import find

    loaded = load(model, weights)
    layer = _layer(loaded, layer or loaded.spec.cam_layer, methods)
    functions = {name: compiled(name, layer) for name in methods}
    chosen = tuple(dict.fromkeys(find(t, loaded.spec.categories) for t in targets)) if targets else None
    rival = None if against is None else find(against, loaded.spec.categories)
    if chosen is not None and rival in chosen:
        raise ValueError(f"{against!r} is both the target and what it is held against: name two classes.")
    return Question(loaded, functions, layer, chosen, rival)


def _layer(model, layer, methods):
    """The layer, if there is one of that name and the methods can make maps of it."""
    import jaxplain as jp

    sites, listed = jp.layers(model.net, model.spec.image), f"`jaxplain layers {model.spec.name}` lists them"
    if layer not in sites:
        near = difflib.get_close_matches(layer, sites, cutoff=0.4) or list(sites)[-3:]
        raise ValueError(f"There is no layer {layer!r}; near are {', '.join(near)}, and {listed}.")
    if len(sites[layer].shape) != 3 and any(map(at_a_layer, methods)):
        raise ValueError(f"Layer {layer!r} has no height and width to make a map of; choose another, {listed}.")
    return layer


def _try(out):
    """Whether the folder, or the nearest one above it, can be written to; nothing is left in either."""
    with writing(out):
        nearest = next(folder for folder in (out, *out.absolute().parents) if folder.exists())
        with tempfile.TemporaryFile(dir=nearest):
            pass


def _spare(images, paths):
    """Refuses to write a figure over one of the photographs."""
    photographs = {os.path.realpath(image) for image in images}
    for path in paths:
        if os.path.realpath(f"{path}.png") in photographs:
            raise ValueError(f"{path}.png is one of the images, and a figure would replace it; name another --out.")


def _stems(images):
    """A file name for each image, numbered where several would be the same on some file system."""
    stems = {}
    for image in images:
        stem = image.removeprefix("sample:") if image.startswith("sample:") else Path(image).stem
        numbered = (f"{stem}~{number}" for number in itertools.count(2))
        unused = next(name for name in itertools.chain([stem], numbered) if name.casefold() not in stems)
        stems[unused.casefold()] = unused
    return list(stems.values())


def _progress(work):
    """The work, one after another, with a bar on stderr if there is more than one."""
    if len(work) == 1:
        yield from work
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = TextColumn("Explaining"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    # A bar redirects stdout to keep above it what is printed there, which must not happen to what goes to a file.
    with Progress(*columns, console=Console(stderr=True), redirect_stdout=sys.stdout.isatty()) as progress:
        yield from progress.track(work)


def _answer(question, photo):
    net, x, seconds = question.model.net, question.model.prepare(photo), {}

    def timed(name, f, *args):
        start = time.perf_counter()
        result = np.asarray(f(*args))
        seconds[name] = time.perf_counter() - start
        return result

    scores = timed("prediction", outputs, net, x)
    classes = _classes(question, scores)
    one_hot = np.eye(len(scores), dtype=np.float32)
    rival = 0 if question.against is None else one_hot[[question.against]]
    targets = one_hot[list(classes)] - rival
    maps = {name: timed(name, method, net, x, targets) for name, method in question.methods.items()}
    odds = np.exp(scores - scores.max())
    return Answer(odds / odds.sum(), scores, classes, question.against, maps, seconds)


def _classes(question, scores):
    """The classes to explain; by default the top one."""
    if question.targets is not None:
        return question.targets
    top = int(np.argmax(scores))
    if top == question.against:
        name = question.model.spec.categories[top]
        raise ValueError(f"The top prediction is {name!r} itself, which is what it is held against: name a --target.")
    return (top,)


def _report(failures, count):
    if not failures:
        return
    if count == 1:
        fail(failures[0][1])
    say(f"{len(failures)} of {count} images could not be explained:")
    for image, error in failures:
        say(error if image in str(error) else f"{image}: {error}")
    raise typer.Exit(1)
