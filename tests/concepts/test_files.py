"""Concepts survive their files, and a file that is damaged in any way is refused in one sentence or read."""

import json

import ml_dtypes
import numpy as np
import pytest
from compare import assert_close

from jaxplain.concepts import Fitted, LayerActivations, check_model, fingerprint, fit_images, read, save
from jaxplain.explain import Concept
from jaxplain.models import load


def drawn(*shape):
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32)


FITTED = Fitted(
    "dots", "resnet50", "ab" * 32, {"input_size": 224, "mean": [0.5, 0.5, 0.5]}, 40, 200, 3,
    {"layer4": Concept(drawn(7), np.float32(0.5), np.float32(2)), "layer3": Concept(drawn(5), *drawn(2))},  # pyright: ignore[reportArgumentType] numpy does here
    {"layer4": Concept(drawn(3, 7), drawn(3), drawn(3)), "layer3": Concept(drawn(3, 5), drawn(3), drawn(3))},  # pyright: ignore[reportArgumentType] numpy does here
    np.arange(2 * 96 * 96 * 3).reshape(2, 96, 96, 3).astype(np.uint8),
)  # fmt: skip


def test_a_concept_comes_back_as_it_was(tmp_path):
    path = tmp_path / "dots.concept"
    path.write_text("old")
    save(path, FITTED)
    found = read(path)
    assert found[:7] == FITTED[:7]
    assert_close((found.concepts, found.nulls), (FITTED.concepts, FITTED.nulls), 0)
    np.testing.assert_array_equal(found.examples, FITTED.examples)
    assert [file.name for file in tmp_path.iterdir()] == ["dots.concept"]


def test_damaged_files_are_refused(tmp_path):
    path, draw = tmp_path / "dots.concept", np.random.default_rng(0)
    save(path, FITTED._replace(examples=FITTED.examples[:1]))
    whole = path.read_bytes()
    refused = []
    for number in range(300):
        damaged = bytearray(whole)
        if number % 3 == 0:
            damaged = damaged[: draw.integers(len(whole))]
        else:
            places = draw.integers(2000 if number % 3 == 1 else len(whole), size=3)
            for place in places:
                damaged[place] = draw.integers(256)
        path.write_bytes(damaged)
        try:
            read(path)
        except ValueError as error:
            refused.append(str(error))
    assert len(refused) > 150
    assert all(str(path) in error for error in refused)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"version": 2}, "newer jaxplain's version 2: update"),
        ({"name": 3}, "3 is no str"),
        ({"name": "a\x1b[2J\u202e"}, "characters that cannot be shown"),
        ({"images": "many"}, "'many' is no int"),
        ({"concepts": {}}, "its layers and those of its null concepts differ"),
        ({"preprocessing": []}, "is no dict"),
        ({"examples": {"shape": [1, 2, 2, 3], "data": ""}}, "damaged concept"),
        ({"examples": {"shape": [10**9, 96, 96, 3], "data": ""}}, "damaged concept"),
    ],
)
def test_what_a_file_must_not_say(tmp_path, change, says):
    path = tmp_path / "dots.concept"
    save(path, FITTED)
    record = json.loads(path.read_text())
    record["jaxplain concept"] |= change
    path.write_text(json.dumps(record))
    with pytest.raises(ValueError, match=says):
        read(path)


@pytest.mark.parametrize("wrong", ["direction", "nan"])
def test_directions_are_checked(tmp_path, wrong):
    concept = FITTED.concepts["layer4"]
    broken = concept._replace(direction=drawn(8) if wrong == "direction" else np.full(7, np.nan, np.float32))
    path = tmp_path / "dots.concept"
    save(path, FITTED._replace(concepts=FITTED.concepts | {"layer4": broken}))
    with pytest.raises(ValueError, match="another number of channels" if wrong == "direction" else "not finite"):
        read(path)


@pytest.mark.parametrize(
    ("direction", "says"),
    [(np.full(7, 1e16, np.float32), "beyond 1e\\+15"), (np.ones(20_000, np.float32), "20000 channels, and no layer")],
    ids=["length", "channels"],
)
def test_directions_of_absurd_size_are_refused(tmp_path, direction, says):
    path = tmp_path / "dots.concept"
    changed = FITTED.concepts["layer4"]._replace(direction=direction)
    save(path, FITTED._replace(concepts=FITTED.concepts | {"layer4": changed}))
    with pytest.raises(ValueError, match=says):
        read(path)


def test_a_file_that_is_too_large_is_not_opened_and_not_written(tmp_path):
    """One of 180 MB took 4.6 GB; concepts have some 100 kB."""
    path = tmp_path / "large.concept"
    with path.open("wb") as file:
        file.truncate(16_000_001)
    with pytest.raises(ValueError, match="16,000,001 bytes, but a concept has at most 16,000,000"):
        read(path)
    nulls = FITTED.nulls["layer4"]._replace(direction=np.ones((900, 3500), np.float32))
    with pytest.raises(ValueError, match="fit fewer nulls"):
        save(path, FITTED._replace(nulls={"layer4": nulls}))


@pytest.mark.parametrize("text", ["", "[]", "null", '{"a": 1}', "[" * 100_000, "\xff", '{"jaxplain concept": 3}'])
def test_other_files_are_no_concepts(tmp_path, text):
    path = tmp_path / "other.json"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(ValueError, match=r"other\.json is (no|a damaged) concept"):
        read(path)


@pytest.fixture(scope="module")
def model():
    return load("efficientnet_lite0")


def test_activations_are_read_again_and_again_in_batches(model):
    images = np.random.default_rng(1).integers(0, 256, (5, 224, 224, 3)).astype(np.uint8)
    read_once, both = (LayerActivations(model, "_blocks.14", images, batch) for batch in (5, 2))
    (whole,) = read_once
    assert [len(part) for part in both] == [2, 2, 1]
    assert_close(np.concatenate(list(both)), whole, 1e-4)
    assert np.ptp(whole) > 0


def test_a_concept_is_at_home_where_it_was_fitted(model):
    images = np.random.default_rng(2).integers(0, 256, (6, 224, 224, 3)).astype(np.uint8)
    fitted = fit_images("noise", model, images[:2], images[2:], ["_swish2"], nulls=2, seed=0)
    parameters = fingerprint(model.net)
    check_model(fitted, model, parameters)
    with pytest.raises(ValueError, match="other weights"):
        check_model(fitted, model, "0" * 64)
    with pytest.raises(ValueError, match=r"another preprocessing \(resize\)"):
        check_model(fitted, model._replace(spec=model.spec._replace(resize=300)), parameters)
    with pytest.raises(ValueError, match="fitted in efficientnet_lite0, but the model is other"):
        check_model(fitted, model._replace(spec=model.spec._replace(name="other")), parameters)
    with pytest.raises(ValueError, match="1 of the images are among the random ones"):
        fit_images("noise", model, images[:2], images[1:], ["_swish2"], nulls=2, seed=0)
    with pytest.raises(ValueError, match="There are 1 images of 'noise' and 5 random ones"):
        fit_images("noise", model, images[:1], images[1:], ["_swish2"], nulls=2, seed=0)


def test_parameters_of_every_kind_have_a_fingerprint():
    a = np.arange(6, dtype=np.float32).reshape(2, 3)
    kinds = (np.float32, ml_dtypes.bfloat16)
    assert len({fingerprint({"a": a.astype(kind), "b": np.array(1, kind)}) for kind in kinds}) == 2
