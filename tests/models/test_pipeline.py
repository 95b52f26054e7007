"""Images in batches: which, in what order, how far ahead, and what is left when it ends."""

import os
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial
from PIL import Image

from jaxplain.models import Note, Spec, _pipeline, batches, normalised, sample
from jaxplain.models._preprocess import normalise, pixels

SPEC = Spec("any", input_size=16, resize=20, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
DRAW = np.random.default_rng(0)


def drawn(count):
    return [DRAW.integers(0, 256, (24, 30, 3), np.uint8) for _ in range(count)]


def decoding_threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("decode")]


@pytest.fixture(autouse=True)
def no_threads_are_left():
    yield
    assert decoding_threads() == []


@pytest.fixture
def decoded(monkeypatch):
    """The images in the order in which their decoding began."""
    found, read_image = [], _pipeline.read_image

    def noted(image, spec):
        found.append(image)
        return read_image(image, spec)

    monkeypatch.setattr(_pipeline, "read_image", noted)
    return found


@pytest.mark.parametrize(("count", "size", "sizes"), [(5, 2, [2, 2, 1]), (4, 2, [2, 2]), (3, 8, [3]), (1, 1, [1])])
def test_batches_are_in_order_of_one_shape_and_filled(count, size, sizes):
    images = drawn(count)
    found = list(batches(images, SPEC, size))
    assert [len(batch.images) for batch in found] == sizes
    given = [image for batch in found for image in batch.images]
    assert all(image is one for image, one in zip(given, images, strict=True))
    for batch in found:
        assert (batch.levels.shape, batch.levels.dtype) == ((size, 16, 16, 3), np.uint8)
        expected = [pixels(image, SPEC) for image in batch.images]
        expected += expected[-1:] * (size - len(expected))
        np.testing.assert_array_equal(batch.levels / np.float32(255), expected)


def test_all_kinds_of_images(tmp_path):
    photo = sample("chelsea")
    photo.save(tmp_path / "photo.png")
    kinds = [tmp_path / "photo.png", str(tmp_path / "photo.png"), "sample:chelsea", photo, np.asarray(photo)]
    with Image.open(tmp_path / "photo.png") as lazy:
        kinds += [lazy] * 8
        (batch,) = batches(kinds, SPEC, len(kinds))
    assert batch.images == tuple(kinds[:4]) + (kinds[4],) + (lazy,) * 8
    for row in batch.levels:
        np.testing.assert_array_equal(row, batch.levels[0])


@pytest.mark.parametrize("images", [[], iter(())])
def test_nothing_gives_no_batches(images):
    assert list(batches(images, SPEC, 4)) == []


@pytest.mark.parametrize("size", [0, -1])
def test_sizes_below_one_are_refused_at_once(size):
    with pytest.raises(ValueError, match=f"The size of batches is {size}, expected a whole number from 1"):
        batches(drawn(1), SPEC, size)


def test_each_image_is_decoded_once(decoded):
    images = drawn(20)
    assert len(list(batches(images, SPEC, 3))) == 7
    assert sorted(map(id, decoded)) == sorted(map(id, images))


@pytest.mark.parametrize("size", [1, 3, 20])
def test_images_are_decoded_a_bounded_distance_ahead(size, decoded):
    """And none before the first batch is asked for."""
    asked, ahead = [], max(size, _pipeline.THREADS)

    def endless():
        while True:
            asked.append(None)
            yield np.zeros((16, 16), np.uint8)

    with closing(batches(endless(), SPEC, size)) as found:
        assert not asked
        for number in range(1, 4):
            next(found)
            assert size * number <= len(decoded) <= len(asked) <= size * number + ahead


def test_the_next_images_are_decoded_while_the_consumer_works(monkeypatch):
    read_image, reached = _pipeline.read_image, threading.Event()

    def noted(image, spec):
        if image.max() == 7:
            reached.set()
        return read_image(image, spec)

    monkeypatch.setattr(_pipeline, "read_image", noted)
    images = [np.full((16, 16), number, np.uint8) for number in range(8)]
    with closing(batches(images, SPEC, 4)) as found:
        next(found)
        assert reached.wait(30)


def broken(tmp_path):
    path = tmp_path / "broken.png"
    path.write_text("no image")
    return path


def test_images_that_cannot_be_read_are_told_of_in_order_and_left_out(tmp_path):
    good, bad, missing = drawn(3), broken(tmp_path), tmp_path / "missing.png"
    told = []

    def failed(image, error):
        assert threading.current_thread() is threading.main_thread()
        told.append((image, str(error)))

    first, second = batches([bad, good[0], missing, good[1], good[2], bad], SPEC, 2, failed=failed)
    assert first.images[0] is good[0]
    assert first.images[1] is good[1]
    assert len(second.images) == 1
    assert second.images[0] is good[2]
    assert [image for image, _ in told] == [bad, missing, bad]
    assert "is not an image that Pillow can read" in told[0][1]
    assert "There is no file" in told[1][1]
    assert list(batches([bad, bad], SPEC, 2, failed=failed)) == []


@pytest.mark.parametrize(("made", "error"), [(broken, ValueError), (lambda path: path / "no.png", FileNotFoundError)])
def test_errors_are_raised_where_nobody_is_told(made, error, tmp_path):
    found = batches([*drawn(2), made(tmp_path), *drawn(50)], SPEC, 2)
    assert len(next(found).images) == 2
    with pytest.raises(error):
        next(found)
    assert decoding_threads() == []
    assert list(found) == []


def test_what_the_listener_raises_ends_it(tmp_path):
    def failed(image, error):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(batches([broken(tmp_path), *drawn(50)], SPEC, 2, failed=failed))
    assert decoding_threads() == []


def test_closing_ends_the_threads_and_what_waits(decoded):
    found = batches(drawn(200), SPEC, 20)
    next(found)
    assert decoding_threads()
    found.close()
    assert decoding_threads() == []
    assert len(decoded) <= 40
    assert list(found) == []


def test_an_interrupted_consumer_ends_the_threads():
    def consume():
        for _ in batches(drawn(200), SPEC, 20):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        consume()
    assert decoding_threads() == []


@pytest.mark.parametrize(("mean", "std"), [(SPEC.mean, SPEC.std), ((127 / 255,) * 3, (128 / 255,) * 3)])
def test_normalised_is_prepare_to_the_bit(mean, std):
    """For all levels, compiled with the normalisation as an argument or a constant, and as it is."""
    prepare = Partial(normalise, jnp.asarray(mean), jnp.asarray(std))
    levels = np.stack([np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, 2)] * 2)
    expected = np.stack([prepare(jnp.asarray(one / np.float32(255))) for one in levels])
    for found in (
        normalised(prepare, levels),
        jax.jit(normalised)(prepare, levels),
        jax.jit(lambda levels: normalised(prepare, levels))(levels),
    ):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("levels", [np.zeros((2, 16, 16, 3), np.float32), np.zeros((16, 16, 3), np.uint8)])
def test_what_is_no_batch_of_levels_is_refused(levels):
    with pytest.raises(ValueError, match=r"expected uint8 of shape \(B, S, S, C\)"):
        normalised(Partial(normalise, (0.0,) * 3, (1.0,) * 3), levels)


def test_a_folder_of_files_by_their_paths(tmp_path: Path):
    for number, image in enumerate(drawn(3)):
        Image.fromarray(image).save(tmp_path / f"{number}.png")
    files = sorted(tmp_path.iterdir())
    (batch,) = batches(files, SPEC, 4)
    assert batch.images == tuple(files)


class Broken(os.PathLike):
    """A path that raises what no one thought of."""

    def __init__(self, error):
        self.error = error

    def __fspath__(self):
        raise self.error


@pytest.mark.parametrize("error", [AttributeError("a"), RecursionError("b"), MemoryError("c"), KeyError("d")])
def test_one_bad_image_never_stops_the_others(error):
    images: list[Any] = drawn(3)
    failures = []
    images.insert(1, Broken(error))
    (batch,) = batches(images, SPEC, 4, failed=lambda image, found: failures.append((image, found)))
    assert (len(batch.images), failures) == (3, [(images[1], error)])
    with pytest.raises(type(error)):
        list(batches(images, SPEC, 4))


def test_what_was_chosen_for_images_is_said_once_and_kept():
    clear = np.zeros((24, 30, 4), np.uint8)
    images = [*drawn(1), *[Image.fromarray(clear)] * 5]
    with pytest.warns(
        Note, match="^the image, the image, the image and 2 more: transparent parts are seen on white"
    ) as said:
        first, second = batches(images, SPEC, 4)
    assert len(said) == 1
    assert [len(notes) for notes in (*first.notes, *second.notes)] == [0, 1, 1, 1, 1, 1]
    assert (first.levels[1] == 255).all()
    (black,) = batches(images[1:2], SPEC._replace(background="black"), 1)
    assert (black.levels == 0).all()
    assert black.notes == ((),)
