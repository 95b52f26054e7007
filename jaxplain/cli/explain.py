"""jaxplain explain: photographs explained, as figures, raw maps and records."""

import json
from pathlib import Path
from typing import Annotated

import typer

from jaxplain.cli.common import (
    ModelName,
    Out,
    WeightsPath,
    check_out,
    keep_photographs,
    progress,
    report,
    settings,
    stems,
)
from jaxplain.cli.errors import in_one_sentence
from jaxplain.cli.tables import show
from jaxplain.methods import METHODS


def explain(
    images: Annotated[
        list[str] | None, typer.Argument(metavar="IMAGE", help="Files, or sample:chelsea, sample:coffee...")
    ] = None,
    model: ModelName = "efficientnet_lite0",
    weights: WeightsPath = None,
    method: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help=f"Repeatable; default: grad_cam. There is {', '.join(METHODS)}."),
    ] = None,
    layer: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Layer of class activation maps, repeatable; see `jaxplain layers MODEL`."),
    ] = None,
    target: Annotated[
        list[str] | None, typer.Option(metavar="CLASS", help="Name or index, repeatable; default: the top prediction.")
    ] = None,
    against: Annotated[
        str | None, typer.Option(metavar="CLASS", help="Explain why the target rather than this class.")
    ] = None,
    options: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="METHOD.OPTION=VALUE", help="Such as rise.samples=1000; see `jaxplain methods`."),
    ] = None,
    smooth: Annotated[
        int | None, typer.Option(metavar="SAMPLES", help="Mean maps over so many noisy images (SmoothGrad).", min=1)
    ] = None,
    num_segments: Annotated[
        int | None,
        typer.Option("--num-segments", "--segments", help="About so many superpixels; default: 50.", min=1),
    ] = None,
    segmenter: Annotated[
        str | None, typer.Option(metavar="NAME", help="slic (default), quickshift or felzenszwalb.")
    ] = None,
    reference: Annotated[str | None, typer.Option(metavar="IMAGE", help="The image that fam compares with.")] = None,
    again: Annotated[
        Path | None, typer.Option(metavar="FILE.json", help="Repeat the run of this record, and nothing else.")
    ] = None,
    out: Out = Path("out"),
) -> None:
    """Explain photographs.

    Prints each image's top five classes, and writes a figure (.png), the raw maps (.npz) and a record (.json).
    """
    from jaxplain.models import load
    from jaxplain.workflows import answers, ask

    with in_one_sentence():
        asked = {
            "methods": method or ["grad_cam"], "targets": target or None, "against": against, "layer": layer or None,
            "options": settings(options), "smooth": smooth, "num_segments": num_segments, "segmenter": segmenter,
            "reference": reference,
        }  # fmt: skip
        sha256 = None
        if again is not None:
            images, model, sha256, asked = _recorded(again, images, {name for name, v in asked.items() if v}, method)
        images = list(dict.fromkeys(images or []))
        if not images:
            raise ValueError("There is no IMAGE; name a file, or sample:chelsea; see `jaxplain explain --help`.")
        loaded = load(model, weights)
        if again is not None and loaded.weights.sha256 != sha256:
            raise ValueError(f"{again} is of other weights (sha256 {sha256}); name them with --weights.")
        question = ask(loaded, **asked)
        paths = dict(zip(images, (out / stem for stem in stems(images)), strict=True))
        check_out(out)
        keep_photographs([*images, *([reference] if reference else [])], paths.values())
    failures: list[tuple[str, Exception]] = []
    with progress(len(images), "Explaining") as (step, watch):

        def failed(image, error):
            failures.append((image, error))
            step()

        for answer in answers(question, images, failed=failed, predicted=_print, watch=watch):
            path = paths[answer.image]
            try:
                answer.save(path)
                print(f"{path}.png, .npz and .json written", flush=True)
                step()
            except ValueError as error:
                failed(answer.image, error)
    report(failures, len(images), "explained")


def _print(image, answer):
    """Prints the top five classes, and the explained ones if they are not among them."""
    top = answer.top()
    rest = (answer.prediction(k) for k in answer.classes if k not in {p.index for p in top})
    rows = (
        (
            p.category,
            str(p.index),
            f"{p.probability:.3f}",
            f"{p.output:.2f}",
            "yes" if p.index in answer.classes else "",
        )
        for p in (*top, *rest)
    )
    show(("class", "index", "probability", "logit", "explained"), rows, title=str(image))


def _recorded(path, images, given, method):
    """The image, the model, the sha256 of its weights and the question of a record."""
    others = (given - {"methods"}) | ({"methods"} if method else set())
    if images or others:
        raise ValueError("--again repeats a run as it was: leave all images and options but --weights and --out out.")
    if not path.is_file():
        raise ValueError(f"There is no file {path}, expected a record (.json) of `jaxplain explain`; check the path.")
    try:
        record = json.loads(path.read_bytes())
        return [record["image"]], record["model"], record["weights"]["sha256"], dict(record["asked"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(
            f"{path} is no record of `jaxplain explain`, or one of an older version; run it anew."
        ) from error
