"""What the commands share: checks of the places for results before the work, and what is written and said after it."""

import itertools
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from jaxplain.cli.errors import report, say_notes, tell
from jaxplain.cli.progress import bar, parts
from jaxplain.cli.tables import show


def check_out(out: Path) -> None:
    """Whether the folder, or the nearest one above it, can be written to; nothing is left in either."""
    from jaxplain.workflows import writing

    with writing(out):
        nearest = next(folder for folder in (out, *out.absolute().parents) if folder.exists())
        with tempfile.TemporaryFile(dir=nearest):
            pass


def load(name: str, weights: Any = None, *, outputs: Any = None) -> Any:
    """The model, after what is to be said of weights that come from a file; of a folder `convert` has said it."""
    from jaxplain import models

    model = models.load(name, weights, outputs=outputs)
    if weights is not None and not Path(weights).is_dir():
        say_notes(model)
    return model


def keep_photographs(images: Iterable[str], paths: Iterable[Path]) -> None:
    """Refuses to write a figure, path.png, over one of the photographs."""
    photographs = {os.path.realpath(image) for image in images}
    for path in paths:
        if os.path.realpath(f"{path}.png") in photographs:
            raise ValueError(f"{path}.png is one of the images, and a figure would replace it; name another --out.")


def stems(images: Sequence[str]) -> list[str]:
    """A file name for each image, numbered where several would be the same on some file system."""
    found: dict[str, str] = {}
    for image in images:
        stem = image.removeprefix("sample:") if image.startswith("sample:") else Path(image).stem
        numbered = (f"{stem}~{number}" for number in itertools.count(2))
        unused = next(name for name in itertools.chain([stem], numbered) if name.casefold() not in found)
        found[unused.casefold()] = unused
    return list(found.values())


def places(images: Iterable[str], out: Path, ending: str = "", *, others: Iterable[str] = ()) -> dict[str, Path]:
    """{image: path of its results}, each image once; ValueError where they cannot be written.

    No figure may replace one of the photographs, of which `others` are not explained.
    """
    each = list(dict.fromkeys(images))
    paths = {image: out / f"{stem}{ending}" for image, stem in zip(each, stems(each), strict=True)}
    check_out(out)
    keep_photographs([*each, *others], paths.values())
    return paths


def save(found: Any, path: Path, *, table: bool = True) -> None:
    """Writes a result's files, prints its table, and says what is written."""
    *kinds, last = (file.suffix for file in found.save(f"{path}.png"))
    if table:
        show(*found.table())
    tell(f"{path}{', '.join(kinds)} and {last} written")


def save_each(paths: dict[str, Path], explain: Callable[..., Iterator[Any]], *, table: bool = True) -> None:
    """Explains the images and saves each explanation at its path, with a bar meanwhile; says which of them fail.

    explain(images, failed, watch) checks what is asked when it is called, and gives the explanations in turn.
    """
    failures: list[tuple[str, Exception]] = []
    shown = bar(alone=len(paths) == 1)
    images = shown.add_task("Explaining", total=len(paths), visible=len(paths) > 1)

    def step():
        for part in shown.task_ids[1:]:
            shown.remove_task(part)
        shown.advance(images)

    def failed(image, error):
        failures.append((image, error))
        step()

    explained = explain(iter(paths), failed, parts(shown))
    with shown:
        for found in explained:
            try:
                save(found, paths[found.image], table=table)
                step()
            except OSError:  # of the folder, not of the image
                raise
            except Exception as error:
                failed(found.image, error)
    report(failures, len(paths), "explained")
