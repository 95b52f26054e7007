"""Where results are written, looked at before the work."""

import itertools
import os
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from jaxplain.weights_convert import vacant
from jaxplain.workflows._files import writing


def check_out(out: Path) -> None:
    """Whether the folder, or the nearest one above it, can be written to; nothing is left in either."""
    with writing(out):
        nearest = next(folder for folder in (out, *out.absolute().parents) if folder.exists())
        with tempfile.TemporaryFile(dir=nearest):
            pass


def check_new_folder(out: Path, *, apart_from: Path) -> None:
    """Whether a new folder can be written, which is not inside another one, whose folders are classes."""
    with writing(out):
        vacant(out)
    if out.resolve().is_relative_to(apart_from.resolve()):
        raise ValueError(f"{out} is inside {apart_from}, where it would be a class; name another folder with --out.")
    check_out(out)


def keep_photographs(images: Iterable[str], paths: Iterable[Path]) -> None:
    """Refuses to write a figure, path.png, over one of the photographs."""
    photographs = {os.path.realpath(image) for image in images}
    for path in paths:
        if os.path.realpath(f"{path}.png") in photographs:
            raise ValueError(f"{path}.png is one of the images, and a figure would replace it; name another --out.")


def file_stems(images: Sequence[str]) -> list[str]:
    """A file name for each image, numbered where several would be the same on some file system."""
    found: dict[str, str] = {}
    for image in images:
        stem = image.removeprefix("sample:") if image.startswith("sample:") else Path(image).stem
        numbered = (f"{stem}~{number}" for number in itertools.count(2))
        unused = next(name for name in itertools.chain([stem], numbered) if name.casefold() not in found)
        found[unused.casefold()] = unused
    return list(found.values())


def result_paths(images: Iterable[str], out: Path, ending: str = "", *, others: Iterable[str] = ()) -> dict[str, Path]:
    """{image: path of its results}, each image once; ValueError where they cannot be written.

    No figure may replace one of the photographs, of which `others` are not explained.
    """
    each = list(dict.fromkeys(images))
    paths = {image: out / f"{stem}{ending}" for image, stem in zip(each, file_stems(each), strict=True)}
    check_out(out)
    keep_photographs([*each, *others], paths.values())
    return paths
