"""A study's page: its numbers and its pictures, decoded."""

import base64
import io
import json
import re

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("jinja2", reason="the extra study is not installed")
pytest.importorskip("simplemma", reason="the extra study is not installed")

from studies import DIAGONAL, FALLING, FOREIGN, PLAYS, RISING, A, B, C, embed, small_study

from jaxplain.render import overlay, scale_of
from jaxplain.study import LEVELS, blur_sigma, picture, reveal_mask
from jaxplain.study._explained import explained
from jaxplain.study._report import assembled, report


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return small_study(tmp_path_factory.mktemp("report") / "study")._replace(failed=(("x.png", "It is no image."),))


@pytest.fixture(scope="module")
def data(study):
    return assembled(study, explained(study, [*PLAYS, *FOREIGN], embed))


def decoded(url):
    kind, _, content = url.partition(",")
    assert kind == "data:image/webp;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(content))))


def layer(data, image, number=0):
    return data["images"][image]["layers"][number]


def test_the_page_has_the_data(study, data):
    page = report(study, explained(study, [*PLAYS, *FOREIGN], embed))
    (found,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert json.loads(found) == json.loads(json.dumps(data))


def test_classes_images_and_counts(data):
    assert [(one["name"], one["images"], one["names"]) for one in data["classes"]] == [
        ("tench", [A, B], {"en": "fish", "it": "pesce"}), ("church", [C], {}),
    ]  # fmt: skip
    assert data["played"] == {
        "person": {"plays": 5, "players": 2}, "network": {"plays": 3, "players": 1}, "file": {"plays": 0, "players": 0},
    }  # fmt: skip
    labels, plays, failed = data["notes"]
    assert labels == "1 label in the language \u201cit\u201d, without a translation into English."
    assert plays == "4 plays of clusters that the study has not, or of another class than the image's."
    assert failed == "The image x.png: It is no image."


def test_a_groups_numbers_are_those_of_its_parts(data):
    found = layer(data, A)
    assert (found["clusters"], found["merged"], found["whole"]) == (["0", "1"], ["0-1"], ["0-1"])
    group = found["groups"]["0-1"]
    assert group["parts"] == [
        {"cluster": 0, "weight": 30.0, "channels": 3}, {"cluster": 1, "weight": 20.0, "channels": 2},
    ]  # fmt: skip
    assert group["weight"] == sum(part["weight"] for part in group["parts"]) == 50
    assert group["channels"] == 5
    assert (group["wins"], group["losses"], group["resigns"], group["level"]) == (2, 2, 0, 2)
    fin, tail = group["labels"]
    assert (fin["label"], fin["shares"]) == ("fin", pytest.approx([30 * 1.8 / 50, 20 * 0.225 / 50]))
    assert (tail["label"], tail["shares"]) == ("tail", pytest.approx([0.6, 0]))
    assert all(sum(one["shares"]) == pytest.approx(one["score"]) for one in group["labels"])


def test_classes_point_to_groups(data):
    tench, church = data["classes"]
    (fin,), none = tench["labels"]
    assert none == []
    assert (fin["label"], fin["weight"], fin["exemplars"]) == ("fin", 50.0, [{"image": A, "group": "0-1"}])
    assert [(one["label"], one["slope"]) for one in tench["trends"]] == [
        ("tail", -1.0),
        ("fin", pytest.approx(-1.0125)),
    ]
    assert church["trends"] == []
    assert data["recognition"] == [
        {"shares": (0,) * 6, "plays": 1}, {"shares": (0, 0, 0, 0.5, 0.5, 0.5), "plays": 2},
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("image", "key", "expected"),
    [(A, "0", RISING), (B, "0", FALLING), (C, "0", DIAGONAL), (A, "0-1", (30 * RISING + 20 * FALLING) / 50)],
)
def test_maps_are_in_their_pictures(data, image, key, expected):
    """In their opacity exactly, and in colours that are render's, laid over grey."""
    heat = decoded(layer(data, image)["groups"][key]["heat"]).astype(float)
    np.testing.assert_allclose(heat[..., 3] / 255 / 0.85, expected / expected.max(), atol=0.0025)
    opacity = heat[..., 3:] / 255
    laid = opacity * heat[..., :3] + (1 - opacity) * 128
    drawn = overlay(np.full((4, 4, 3), 128, np.uint8), expected, scale=scale_of(expected, signed=False))
    np.testing.assert_allclose(laid, drawn, atol=6)


@pytest.mark.parametrize(("image", "key", "level"), [(A, "0-1", 2), (A, "1", 1), (C, "0", 2)])
def test_what_is_revealed_is_the_picture_through_its_mask(study, data, image, key, level):
    """At the group's level, or 8 percent where no play has labels."""
    group, one = layer(data, image)["groups"][key], next(one for one in study.images if one.id == image)
    assert group["level"] == (None if image == C else level)
    features = one.features["one"]
    parts = [part["cluster"] for part in group["parts"]]
    heat = np.average(features.maps[parts], axis=0, weights=np.asarray(features.weights)[parts])
    mask = reveal_mask(heat, LEVELS[level], 256, sigma=blur_sigma(4) / 2)
    small = np.asarray(Image.fromarray(picture(study, image)).resize((256, 256)), float)
    shown = decoded(group["revealed"]).astype(float)
    assert shown.shape == (256, 256, 3)
    assert np.abs(shown - small * mask[..., None]).mean() < 2
    assert np.abs(shown - small * (1 - mask[..., None])).mean() > 50


def test_photos_are_the_pictures(study, data):
    photo = decoded(data["images"][B]["photo"])
    expected = np.asarray(Image.fromarray(picture(study, B)).resize((384, 384)), float)
    assert photo.shape == (384, 384, 3)
    assert np.abs(photo - expected).mean() < 3


def test_a_study_that_nobody_played(study):
    data = assembled(study, explained(study, []))
    assert data["recognition"] == [None, None]
    assert data["notes"] == ["The image x.png: It is no image."]
    assert layer(data, A)["merged"] == ["0", "1"]
    assert [one["labels"] for one in data["classes"]] == [[[], []], [[], []]]
    assert layer(data, A)["groups"]["0"]["level"] is None
    assert "Skip to the photo" in report(study, explained(study, []))
