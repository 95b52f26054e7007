"""Samples to try things with: what is written, and that all or nothing is."""

import jax
import numpy as np
import pytest
from PIL import Image

from jaxplain.concepts import NAMES, draw, random_crops
from jaxplain.models import available, load, sample
from jaxplain.workflows import _samples, samples


def folders(path):
    return sorted(inner.name for inner in path.iterdir())


def test_textures_are_crops_of_photographs_and_concepts_are_drawn(tmp_path):
    written = samples(tmp_path / "new" / "samples", count=2)
    assert folders(tmp_path / "new" / "samples") == ["concepts", "efficientnet-lite0.pth", "textures"]
    assert folders(written.textures) == ["brick", "grass", "gravel"]
    assert {len(folders(folder)) for folder in written.textures.iterdir()} == {6}
    crop = sample("gravel").crop((400, 400, 500, 500))
    np.testing.assert_array_equal(Image.open(written.textures / "gravel" / "5.png"), crop)
    assert folders(written.concepts) == sorted((*NAMES, "random"))
    np.testing.assert_array_equal(Image.open(written.concepts / "dots" / "001.png"), draw("dots", 224, seed=1))
    np.testing.assert_array_equal(Image.open(written.concepts / "random" / "001.png"), random_crops(2, 224, seed=0)[1])
    assert written.weights.read_bytes() == available()["efficientnet_lite0"].read_bytes()  # pyright: ignore[reportOptionalMemberAccess] it is installed


def test_the_weights_are_the_installed_networks(tmp_path):
    theirs, ours = load("efficientnet_lite0"), load("efficientnet_lite0", samples(tmp_path, count=1).weights)
    for a, b in zip(jax.tree.leaves(theirs.net), jax.tree.leaves(ours.net), strict=True):
        np.testing.assert_array_equal(a, b)


def test_nothing_is_written_over(tmp_path):
    (tmp_path / "concepts").mkdir()
    with pytest.raises(ValueError, match="concepts is there already, expected a place for new samples; name another"):
        samples(tmp_path)
    assert folders(tmp_path) == ["concepts"]


def test_nothing_is_left_after_an_error(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="count is 0, but at least 1"):
        samples(tmp_path, count=0)

    def full(source, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(_samples.shutil, "copyfile", full)
    with pytest.raises(ValueError, match=r"cannot be written to \(No space left on device\); name another folder"):
        samples(tmp_path, count=1)
    assert folders(tmp_path) == []


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"file cannot be written to \((File exists|Not a directory)\)"):
        samples(tmp_path / "file")


def test_without_the_demo_extra_there_are_no_weights(tmp_path, monkeypatch):
    monkeypatch.setattr(_samples, "available", lambda: {"efficientnet_lite0": None})
    assert samples(tmp_path, count=1).weights is None
    assert folders(tmp_path) == ["concepts", "textures"]
