"""Many images on their way to a network: decoded in threads ahead of the device, in batches of one shape.

for batch in batches(files, model.spec, 16):
    x = normalised(model.normalise, batch.levels)      # (16, S, S, 3); inside of a jitted function, best of all
"""

import itertools
import os
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, UInt8
from PIL import Image

from jaxplain.models._notes import Notes, announce, notes_of
from jaxplain.models._preprocess import fitted, mode_of, name_of, read_image
from jaxplain.models._spec import Spec

THREADS = min(8, os.cpu_count() or 1)
_QUOTIENTS = np.arange(256, dtype=np.float32) / np.float32(255)

Failed = Callable[[Any, Exception], None]
T = TypeVar("T")


class Batch(NamedTuple):
    """The images of a batch, as they were given, and their levels; rows beyond the images repeat the last one.

    `notes` are what was chosen for each image; see `open_image`.
    """

    images: tuple[Any, ...]
    levels: UInt8[np.ndarray, "size S S C"]
    notes: tuple[Notes, ...] = ()


def batches(
    images: Iterable[Any], spec: Spec, size: int, *, failed: Failed | None = None
) -> Generator[Batch, None, None]:
    """The images in their order, `size` at a time, resized and cropped as the spec has it.

    An image is a path, "sample:NAME", a PIL image or a uint8 array. Each is decoded once, in a thread, at most
    max(size, number of threads) images before it is needed; `images` may be a generator, and is read in the caller's
    thread. An image that cannot be read raises its error, or is left out after failed(image, error); ValueError at once
    where no image has the network's number of channels.
    The threads end with the iterator, which `contextlib.closing` ends early. At its end it warns of what was chosen for
    images that leave something open, with their names.

        for batch in batches(sorted(Path("photos").iterdir()), model.spec, 16):
            x = normalised(model.normalise, batch.levels)          # rows beyond the images repeat the last
            outputs = jax.vmap(model.net)(x)[: len(batch.images)]
    """
    if size < 1:
        raise ValueError(f"The size of batches is {size}, expected a whole number from 1; give a larger one.")
    mode_of(spec)
    return _batches(images, spec, size, failed)


def normalised(normalise: Callable[[Array], Array], levels: ArrayLike) -> Float[Array, "B S S C"]:
    """The net's inputs for levels (B, S, S, C): normalise(levels / 255) of each image, under jit too.

    Looked up, the quotients are those of `model.pixels` to the bit: compiled, a division by 255 is a product with its
    reciprocal.
    """
    levels = jnp.asarray(levels)
    if levels.dtype != jnp.uint8 or levels.ndim != 4:
        raise ValueError(
            f"Got levels of shape {levels.shape} and dtype {levels.dtype}, expected uint8 of shape (B, S, S, C); "
            "give pixels in [0, 1] to model.normalise."
        )
    return jax.vmap(normalise)(jnp.asarray(_QUOTIENTS)[levels])


def decoded(
    images: Iterable[Any], decode: Callable[[Any], T], *, failed: Failed | None = None, ahead: int = 0
) -> Generator[tuple[Any, T], None, None]:
    """Each image, in their order, with decode(image), computed in threads, as far ahead as `batches` does it.

    An image that cannot be read raises its error, whatever it is, or is left out after failed(image, error).
    """
    one_at_a_time = threading.Lock()

    def read(image):
        if not isinstance(image, Image.Image):
            return decode(image)
        with one_at_a_time:  # a PIL image loads its file when it is first used, and may be given twice
            return decode(image)

    with closing(_ahead(read, images, max(ahead, THREADS))) as work:
        for image, future in work:
            try:
                found = future.result()
            except Exception as error:
                if failed is None:
                    raise
                failed(image, error)
            else:
                yield image, found


def _batches(images, spec, size, failed):
    chosen: list[tuple[str, Notes]] = []
    with closing(decoded(images, lambda image: _read(image, spec), failed=failed, ahead=size)) as readable:
        while part := tuple(itertools.islice(readable, size)):
            kept, read = zip(*part, strict=True)
            rows, notes = zip(*read, strict=True)
            chosen += zip(map(name_of, kept), notes, strict=True)
            yield Batch(kept, np.stack(rows + rows[-1:] * (size - len(rows))), notes)
    announce(chosen)


def _read(image, spec):
    opened = read_image(image, spec)
    return fitted(opened, spec), notes_of(opened)


def _ahead(f: Callable[[Any], Any], work: Iterable[Any], ahead: int) -> Generator[tuple[Any, Future[Any]], None, None]:
    """Each piece of work with f's result, of which at most `ahead` more are waiting or being computed."""
    waiting: deque[tuple[Any, Future[Any]]] = deque()
    pool = ThreadPoolExecutor(THREADS, thread_name_prefix="decode")
    try:
        for piece in work:
            waiting.append((piece, pool.submit(f, piece)))
            if len(waiting) > ahead:
                yield waiting.popleft()
        while waiting:
            yield waiting.popleft()
    finally:
        pool.shutdown(cancel_futures=True)
