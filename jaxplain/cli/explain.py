"""jaxplain explain: photographs explained, as figures, raw maps and records."""

import functools
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
from jaxplain.cli.methods import (
    AMONG_RIVALS,
    METHODS,
    OF_MORE,
    SEGMENTERS,
    compiled,
    embedded,
    named,
    on_reference,
    outputs,
    segmented,
)
from jaxplain.cli.results import Answer, Question, Reference, print_table, write

SEGMENTS = 50


def explain(
    images: Images,
    model: ModelName = "efficientnet_lite0",
    weights: WeightsPath = None,
    method: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help=f"Repeatable; default: grad_cam. There is {', '.join(METHODS | OF_MORE)}."),
    ] = None,
    layer: Layer = None,
    target: Annotated[
        list[str] | None, typer.Option(metavar="CLASS", help="Name or index, repeatable; default: the top prediction.")
    ] = None,
    against: Annotated[
        str | None, typer.Option(metavar="CLASS", help="Explain why the target rather than this class.")
    ] = None,
    segments: Annotated[
        int | None, typer.Option(help=f"About so many superpixels, for secam; default: {SEGMENTS}.", min=1)
    ] = None,
    segmenter: Annotated[
        str | None, typer.Option(metavar="NAME", help=f"Of secam: {', '.join(SEGMENTERS)}; default: slic.")
    ] = None,
    reference: Annotated[str | None, typer.Option(metavar="IMAGE", help="The image that fam compares with.")] = None,
    out: Out = Path("out"),
) -> None:
    """Explain photographs.

    Prints each image's top five classes, and writes a figure (.png), the raw maps (.npz) and a record (.json).
    """
    from jaxplain.models import open_image

    images = list(dict.fromkeys(images))
    paths = [out / stem for stem in stems(images)]
    with told():
        methods = method or ["grad_cam"]
        _check_options(methods, segments, segmenter, reference, against)
        question = _question(model, weights, methods, layer, target, against)
        question = question._replace(
            segmenter=(segmenter or "slic", segments or SEGMENTS) if "secam" in methods else None,
            reference=None if reference is None else _reference(question, reference),
        )
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


def _check_options(methods, segments, segmenter, reference, against):
    """Raises ValueError for an option without the method that it is for, and the other way round."""
    if segmenter is not None:
        named("segmenter", segmenter, SEGMENTERS)
    if "secam" not in methods and (segments, segmenter) != (None, None):
        raise ValueError("--segments and --segmenter are for secam: add --method secam, or leave them out.")
    if segments is not None and segmenter not in (None, "slic"):
        raise ValueError(f"--segments is for slic; {segmenter} finds their number itself: leave it out.")
    if ("fam" in methods) != (reference is not None):
        raise ValueError("fam shows what an image has in common with another: give --method fam and --reference IMAGE.")
    if "fam" in methods and against is not None:
        raise ValueError("fam compares images and knows no classes: leave --against out.")


def _reference(question, image):
    from jaxplain.models import open_image

    photo = open_image(image)
    x = question.model.prepare(photo)
    return Reference(image, photo, x, np.asarray(embedded(question.model.net, x, question.layer)))


def _question(model, weights, methods, layer, targets, against):
    from jaxplain.models import find_class, load

    alone = sorted(AMONG_RIVALS & set(methods))
    if alone and against is not None:
        raise ValueError(
            f"{alone[0]} holds its target against all other classes, not against one: leave --against out."
        )
    loaded = load(model, weights)
    layer = check_layer(loaded, layer or loaded.spec.cam_layer, methods)
    functions = {name: compiled(name, layer) for name in methods}
    chosen = tuple(dict.fromkeys(find_class(t, loaded.spec.categories) for t in targets)) if targets else None
    rival = None if against is None else find_class(against, loaded.spec.categories)
    if chosen is not None and rival in chosen:
        raise ValueError(f"{against!r} is both the target and what it is held against: name two classes.")
    return Question(loaded, functions, layer, chosen, rival, None, None)


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
    more, labels = _more(question, photo)
    maps = {
        name: timed(name, functools.partial(method, **more.get(name, {})), net, x, targets)
        for name, method in question.methods.items()
    }
    odds = np.exp(scores - scores.max())
    common = None if question.reference is None else _in_common(question, x)
    return Answer(odds / odds.sum(), scores, classes, question.against, maps, seconds, labels, common)


def _more(question, photo):
    """What some methods need beside the image and the targets, and the segments if there are any."""
    more, labels = {}, None
    if question.reference is not None:
        more["fam"] = {"reference": question.reference.embedding}
    if question.segmenter is not None:
        labels = segmented(question.model.pixels(photo), *question.segmenter)
        # one compiled function serves many numbers of segments
        more["secam"] = {"segments": labels, "num_segments": 1 << int(labels.max()).bit_length()}
    return more, labels


def _in_common(question, x):
    """The similarity with the reference, and the map of the channels' weights on the reference."""
    similarity, heat = on_reference(question.model.net, x, question.reference.x, question.layer)
    return float(similarity), np.asarray(heat)


def _classes(question, scores):
    """The classes to explain; by default the top one."""
    if question.targets is not None:
        return question.targets
    top = int(np.argmax(scores))
    if top == question.against:
        name = question.model.spec.categories[top]
        raise ValueError(f"The top prediction is {name!r} itself, which is what it is held against: name a --target.")
    return (top,)
