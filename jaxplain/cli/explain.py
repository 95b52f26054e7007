"""jaxplain explain: photographs explained, as figures, raw maps and records."""

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import typer

from jaxplain.cli.errors import fail, told


class Question(NamedTuple):
    """What is asked of every image: the model, its methods compiled, and the classes (None: each image's top one)."""

    model: Any
    methods: dict[str, Callable[..., Any]]
    layer: str
    targets: tuple[int, ...] | None
    against: int | None


class Answer(NamedTuple):
    """What came out for one image: probabilities and scores (n,), maps {method: (K, ...)} for K classes, seconds."""

    probabilities: np.ndarray
    scores: np.ndarray
    classes: tuple[int, ...]
    against: int | None
    maps: dict[str, np.ndarray]
    seconds: dict[str, float]


def explain(
    images: Annotated[list[str], typer.Argument(help="Image files, or sample:chelsea, sample:coffee ...")],
    model: Annotated[str, typer.Option(help="A network, as `jaxplain models` lists them.")] = "efficientnet_lite0",
    weights: Annotated[Path | None, typer.Option(help="A .pth, a .safetensors or a converted folder.")] = None,
    method: Annotated[list[str] | None, typer.Option(help="Explainer, repeatable; grad_cam if none is given.")] = None,
    layer: Annotated[str | None, typer.Option(help="Layer of class activation maps; see `jaxplain layers`.")] = None,
    target: Annotated[list[str] | None, typer.Option(help="Class name or index, repeatable; default: top.")] = None,
    against: Annotated[str | None, typer.Option(help="Ask why the target rather than this class.")] = None,
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("out"),
) -> None:
    """Explain photographs: a figure (.png), the raw maps (.npz) and a record (.json) for each."""
    from jaxplain.models.preprocess import open_image

    with told():
        question = _question(model, weights, method or ["grad_cam"], layer, target, against)
        _writable(out)
    failures = []
    for image, stem in _progress(list(zip(images, _stems(images), strict=True))):
        try:
            photo = open_image(image)
            scores, seconds = _predict(question.model, photo)
            classes = _classes(question, scores)
        except (ValueError, OSError) as error:
            failures.append(error)
            continue
        answer = _answer(question, photo, scores, classes, seconds)
        _print_table(image, question.model.spec.categories, answer)
        with told():
            _write(question, answer, photo, image, out / stem)
    _report(failures, len(images))


def _question(model, weights, methods, layer, targets, against):
    import jax

    from jaxplain.cli.methods import compiled
    from jaxplain.models import load
    from jaxplain.models.categories import find
    from jaxplain.net import view

    loaded = load(model, weights)
    layer = layer or loaded.spec.cam_layer
    jax.eval_shape(lambda net, x: view(net, layer, x)[0], loaded.net, loaded.spec.image)  # an unknown layer is told now
    functions = {name: compiled(name, layer) for name in methods}
    chosen = tuple(dict.fromkeys(find(t, loaded.spec.categories) for t in targets)) if targets else None
    rival = None if against is None else find(against, loaded.spec.categories)
    if chosen is not None and rival in chosen:
        raise ValueError(f"{against!r} is both the target and what it is held against: name two classes.")
    return Question(loaded, functions, layer, chosen, rival)


def _writable(out):
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=out):
        pass


def _stems(images):
    """A file name for each image, numbered where two images have the same name."""
    stems = []
    for image in images:
        stem = image.removeprefix("sample:") if image.startswith("sample:") else Path(image).stem
        count = sum(stem == s.partition("~")[0] for s in stems)
        stems.append(f"{stem}~{count + 1}" if count else stem)
    return stems


def _progress(work):
    if len(work) == 1:
        return work
    from rich.console import Console
    from rich.progress import track

    return track(work, "Explaining", console=Console(stderr=True))


def _predict(model, photo):
    import jax

    x = model.prepare(photo)
    start = time.perf_counter()
    scores = np.asarray(jax.jit(lambda net, x: net(x))(model.net, x))
    return scores, {"prediction": time.perf_counter() - start}


def _classes(question, scores):
    """The classes to explain; by default the top one."""
    if question.targets is not None:
        return question.targets
    top = int(np.argmax(scores))
    if top == question.against:
        name = question.model.spec.categories[top]
        raise ValueError(f"The top prediction is {name!r} itself, which is what it is held against: name a --target.")
    return (top,)


def _answer(question, photo, scores, classes, seconds):
    one_hot = np.eye(len(scores), dtype=np.float32)
    targets = one_hot[list(classes)]
    if question.against is not None:
        targets = targets - one_hot[[question.against]]
    x, maps = question.model.prepare(photo), {}
    for name, explain in question.methods.items():
        start = time.perf_counter()
        maps[name] = np.asarray(explain(question.model.net, x, targets))
        seconds[name] = time.perf_counter() - start
    odds = np.exp(scores - scores.max())
    return Answer(odds / odds.sum(), scores, classes, question.against, maps, seconds)


def _label(categories, answer, index):
    against = "" if answer.against is None else f"\nrather than {categories[answer.against]}"
    return f"{categories[index]} (p = {answer.probabilities[index]:.2g}){against}"


def _top(answer, count=5):
    return [int(k) for k in np.argsort(-answer.scores, kind="stable")[:count]]


def _print_table(image, categories, answer):
    from rich.console import Console
    from rich.table import Table

    top = _top(answer)
    table = Table("", "class", "index", "probability", "logit", title=image)
    for index in [*top, *[k for k in answer.classes if k not in top]]:
        numbers = f"{answer.probabilities[index]:.3f}", f"{answer.scores[index]:.2f}"
        table.add_row("explained" if index in answer.classes else "", categories[index], str(index), *numbers)
    Console().print(table)


def _write(question, answer, photo, image, path):
    """The figure, the maps and the record, each whole or not at all."""
    import jaxplain as jp

    named = {f"{name}_{k}": answer.maps[name][i] for name in answer.maps for i, k in enumerate(answer.classes)}
    jp.figure(_panels(question, answer, photo), title=_title(question, image), path=f"{path}.png")
    _replace(f"{path}.npz", lambda file: np.savez_compressed(file, **named))
    record = json.dumps(_record(question, answer, photo, image), indent=2, ensure_ascii=False)
    _replace(f"{path}.json", lambda file: file.write(record.encode()))
    print(f"{path}.png, .npz and .json written")


def _replace(path, write):
    beside = f"{path}.{os.getpid()}"
    try:
        with open(beside, "wb") as file:
            write(file)
        os.replace(beside, path)
    finally:
        Path(beside).unlink(missing_ok=True)


def _title(question, image):
    weights = question.model.weights.source
    return f"{Path(image).name}  ·  {question.model.spec.name}  ·  {weights}"


def _panels(question, answer, photo):
    """A row for each class, a column for each method; before them the photograph, with what the network sees framed."""
    from jaxplain.render import Bars, Panel

    categories, box = question.model.spec.categories, question.model.placement(photo)
    seen, columns = _seen(photo, box), [_column(question, answer, name) for name in answer.maps]
    top = _top(answer)
    first = [Panel("photograph, and the part\nthat the network sees", np.asarray(photo), box=box)]
    first += [Bars("probabilities", [categories[k] for k in top], [answer.probabilities[k] for k in top])]
    return [
        [
            first[row] if row < len(first) else None,
            *(Panel(f"{name}\n{label}", seen, heats[row], scale=scales[row]) for name, heats, scales in columns),
        ]
        for row, label in enumerate(_label(categories, answer, k) for k in answer.classes)
    ]


def _column(question, answer, name):
    """A method's title, its maps (K, h, w) to draw, and their scales, which are all signed or all not.

    Of attributions to single pixels a few stand far out, and the colours end before them.
    """
    import jaxplain as jp
    from jaxplain.cli.methods import at_a_layer

    heats = answer.maps[name]
    heats = heats.sum(-1) if heats.ndim == 4 else heats
    title, percentile = (f"{name} at {question.layer}", 100) if at_a_layer(name) else (name, 99.5)
    signed = bool(heats.min() < 0)
    return title, heats, [jp.scale_of(heat, signed=signed, percentile=percentile) for heat in heats]


def _seen(photo, box, side=448):
    """The part of the photograph that the network sees, in the detail that the photograph has."""
    return np.asarray(photo.resize((side, side), box=box))


def _record(question, answer, photo, image):
    from jaxplain.cli.methods import at_a_layer

    spec = question.model.spec

    def row(k):
        values = {"probability": float(answer.probabilities[k]), "logit": float(answer.scores[k])}
        return {"index": k, "class": spec.categories[k]} | values

    return {
        "image": image,
        "size": list(photo.size),
        "seen": list(question.model.placement(photo)),
        "model": spec.name,
        "weights": question.model.weights._asdict(),
        "methods": {name: {"layer": question.layer if at_a_layer(name) else None} for name in answer.maps},
        "targets": [row(k) for k in answer.classes],
        "against": None if answer.against is None else row(answer.against),
        "predictions": [row(k) for k in _top(answer)],
        "maps": "in the .npz, named METHOD_INDEX: raw, signed, at the method's own resolution",
        "seconds": {name: round(value, 4) for name, value in answer.seconds.items()},
        "versions": {name: version(name) for name in ("jaxplain", "jax", "flax", "numpy")},
    }


def _report(failures, count):
    if not failures:
        return
    if count == 1:
        fail(failures[0])
    print(f"jaxplain: {len(failures)} of {count} images could not be explained:", file=sys.stderr)
    for error in failures:
        print(f"  {error}", file=sys.stderr)
    raise typer.Exit(1)
