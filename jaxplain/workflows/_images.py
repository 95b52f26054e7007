"""Images given to workflows: a folder or a sequence, in batches, and what is said of those that cannot be read."""

import functools
import itertools
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np

from jaxplain.models import (
    Batch,
    Failed,
    Model,
    Notes,
    Spec,
    Track,
    announce,
    batches,
    decoded,
    fitted,
    normalised,
    notes_of,
    read_image,
)
from jaxplain.weights_convert import few
from jaxplain.workflows._running import computed

if TYPE_CHECKING:
    from PIL import Image

_READ_AT_ONCE = 32  # images
_PREDICTED_AT_ONCE = 4  # photographs; as many again, or one for each thread, are decoded ahead


class Reading(NamedTuple):
    """How images are read: failed(image, error) for each that is left out, None where none may be; the progress."""

    failed: Failed | None
    track: Track


def image_files(folder: str | os.PathLike[str]) -> list[Path]:
    """The visible files of a folder in alphabetical order; ValueError where there are none."""
    folder = Path(folder)
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "is not there"
        raise ValueError(f"{folder} {what}, but a folder of images is expected: check the path.")
    found = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    if not found:
        raise ValueError(f"There are no images in {folder}: check the path.")
    return found


def images_in(images: Any) -> Sequence[Any]:
    """The files of a folder, or the images of a sequence; ValueError where there are none."""
    if isinstance(images, str | os.PathLike):
        return image_files(images)
    if not len(images):
        raise ValueError("There are no images in what was given, expected a folder or a sequence of images.")
    return images


def as_given(images: Any, results: Callable[[Iterable[Any]], Iterator[Any]]) -> Any:
    """results(images) in the form of the images: an iterator of an iterator, a list of a list, one result of one image.

    None for one image that is left out.
    """
    if isinstance(images, Iterator):
        return results(images)
    several = isinstance(images, list | tuple)
    found = list(results(images if several else [images]))
    return found if several else next(iter(found), None)


class Photo(NamedTuple):
    """An image as it was given, opened, its levels (S, S, C) uint8 and the outputs for it (n,); or what is wrong.

    `seconds` is its share of the time that the prediction took.
    """

    image: Any
    opened: "Image.Image | None" = None
    levels: np.ndarray | None = None
    outputs: np.ndarray | None = None
    seconds: float = 0
    error: Exception | None = None

    @property
    def notes(self) -> Notes:
        """What was chosen for the image, because it leaves that open."""
        return () if self.opened is None else notes_of(self.opened)

    @property
    def pixels(self) -> np.ndarray:
        """The levels in [0, 1], float32."""
        return np.asarray(self.levels, np.float32) / np.float32(255)


def photos(model: Model, images: Iterable[Any]) -> Iterator[Photo]:
    """Each image with the net's outputs for it: decoded ahead in threads, predicted in batches of one shape.

    One that cannot be read has what it raised as its error.
    """
    with closing(decoded(images, functools.partial(_photo, model.spec), ahead=_PREDICTED_AT_ONCE)) as read:
        size = 0
        while part := [photo for _, photo in itertools.islice(read, _PREDICTED_AT_ONCE)]:
            size = size or len(part)
            readable = [photo for photo in part if photo.error is None]
            announce((image_name(photo.image), photo.notes) for photo in readable)
            predicted = iter(_predicted(model, readable, size))
            yield from (photo if photo.error else next(predicted) for photo in part)


def each(explain: Callable[[Photo], Any], photos: Iterable[Photo], failed: Failed | None) -> Iterator[Any]:
    """explain(photo) for each; an image that raises an error is left out after failed(image, error)."""
    for photo in photos:
        try:
            if photo.error is not None:
                raise photo.error
            found = explain(photo)
        except Exception as error:
            if failed is None:
                raise
            failed(photo.image, error)
        else:
            yield found


def _predicted(model, photos, size):
    """The photos with their outputs, from one batch that is filled up to its size."""
    if not photos:
        return []
    rows, start = [photo.levels for photo in photos], time.perf_counter()
    filled = np.stack(rows + rows[-1:] * (size - len(rows)))
    outputs = computed(_outputs, model.net, model.normalise, filled)
    seconds = (time.perf_counter() - start) / len(photos)
    return [photo._replace(outputs=row, seconds=seconds) for photo, row in zip(photos, outputs, strict=False)]


@jax.jit
def _outputs(net, normalise, levels):
    return jax.vmap(net)(normalised(normalise, levels))


def _photo(spec, image):
    try:
        opened = read_image(image, spec)
        return Photo(image, opened, fitted(opened, spec))
    except Exception as error:
        return Photo(image, error=error)


def image_name(image: Any) -> str:
    """What an image is called: its path as it was given, or "image" where it has none."""
    path = image if isinstance(image, str | os.PathLike) else getattr(image, "filename", "")
    return os.fspath(path) or "image"


def read_batches(images: Sequence[Any], spec: Spec, size: int, reading: Reading, title: str) -> Iterator[Batch]:
    """The images in batches, as jaxplain.models.batches gives them, without those that cannot be read.

    Where none may be left out, the first of them ends the batches; the others are only tried to be read, and a
    ValueError names them all, as it does where no image can be read.
    """
    failures, kept = [], 0

    def keep(image: Any, error: Exception) -> None:
        failures.append((image, error))

    with closing(batches(reading.track(images, title), spec, size, failed=keep)) as found:
        for batch in found:
            kept += len(batch.images)
            if reading.failed is not None or not failures:
                yield batch
    if failures and (reading.failed is None or not kept):
        raise _unreadable(failures, len(images), reading.failed is None)
    for image, error in failures:
        if reading.failed is not None:
            reading.failed(image, error)


def read_levels(images: Any, spec: Spec, reading: Reading) -> tuple[np.ndarray, dict[str, list[str]]]:
    """The levels (N, S, S, C) uint8 of those of a folder's files or of a sequence's images that can be read; notes."""
    title = f"reading {images}" if isinstance(images, str | os.PathLike) else "reading"
    found = list(read_batches(images_in(images), spec, _READ_AT_ONCE, reading, title))
    notes = {name: told for batch in found for name, told in noted(batch.images, batch.notes).items()}
    return np.concatenate([batch.levels[: len(batch.images)] for batch in found]), notes


def noted(images: Iterable[Any], notes: Iterable[Notes]) -> dict[str, list[str]]:
    """{name of an image: what was chosen for it}, for a record; of the others nothing."""
    return {image_name(image): list(told) for image, told in zip(images, notes, strict=True) if told}


def reading_of(spec: Spec) -> dict[str, Any]:
    """How images were asked to be read, for a record."""
    return {"background": spec.background, "levels": spec.levels}


def _unreadable(failures, count, all_wanted):
    names = [image_name(image) for image, _ in failures]
    leave = "remove them, or give failed=, which is called for each that is left out (--skip-unreadable)"
    return ValueError(
        f"{len(names)} of {count} files cannot be used as images, {few(names)}: "
        f"{leave if all_wanted else 'give others'}; of the first, {failures[0][1]}"
    )
