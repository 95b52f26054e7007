"""jaxplain explain: photographs explained, as figures, raw maps and records."""

import time
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

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
    stems,
)
from jaxplain.cli.errors import told
from jaxplain.cli.methods import AMONG_RIVALS, METHODS, compiled, outputs
from jaxplain.cli.results import Answer, Question, print_table, write


def explain(
    images: Images,
    model: ModelName = "efficientnet_lite0",
    weights: WeightsPath = None,
    method: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help=f"Repeatable; default: grad_cam. There is {', '.join(METHODS)}."),
    ] = None,
    layer: Layer = None,
    target: Annotated[
        list[str] | None, typer.Option(metavar="CLASS", help="Name or index, repeatable; default: the top prediction.")
    ] = None,
    against: Annotated[
        str | None, typer.Option(metavar="CLASS", help="Explain why the target rather than this class.")
    ] = None,
    out: Out = Path("out"),
) -> None:
    """Explain photographs.

    Prints each image's top five classes, and writes a figure (.png), the raw maps (.npz) and a record (.json).
    """
    from jaxplain.models.preprocess import open_image

    images = list(dict.fromkeys(images))
    paths = [out / stem for stem in stems(images)]
    with told():
        question = _question(model, weights, method or ["grad_cam"], layer, target, against)
        check_out(out)
        spare(images, paths)
    failures = []
    for image, path in in_turn(list(zip(images, paths, strict=True)), "Explaining"):
        try:
            photo = open_image(image)
            answer = _answer(question, photo)
            write(question, answer, photo, image, path)
        except (ValueError, OSError) as error:
            failures.append((image, error))
            continue
        print_table(image, question.model.spec.categories, answer)
        print(f"{path}.png, .npz and .json written", flush=True)
    report(failures, len(images), "explained")


def _question(model, weights, methods, layer, targets, against):
    from jaxplain.models import load
    from jaxplain.models.categories import find

    alone = sorted(AMONG_RIVALS & set(methods))
    if alone and against is not None:
        raise ValueError(
            f"{alone[0]} holds its target against all other classes, not against one: leave --against out."
        )
    loaded = load(model, weights)
    layer = check_layer(loaded, layer or loaded.spec.cam_layer, methods)
    functions = {name: compiled(name, layer) for name in methods}
    chosen = tuple(dict.fromkeys(find(t, loaded.spec.categories) for t in targets)) if targets else None
    rival = None if against is None else find(against, loaded.spec.categories)
    if chosen is not None and rival in chosen:
        raise ValueError(f"{against!r} is both the target and what it is held against: name two classes.")
    return Question(loaded, functions, layer, chosen, rival)


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
