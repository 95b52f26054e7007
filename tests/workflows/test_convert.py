"""Weights of one's own from Python. What files are taken and refused is tested in tests/cli."""

import jax
import numpy as np
import pytest
from mirror import publish

from jaxplain.models import available, load
from jaxplain.workflows import convert

LITE = "efficientnet_lite0"


@pytest.fixture(scope="module")
def weights():
    return available()[LITE]


def test_without_options_it_is_the_model_that_load_gives(weights):
    ours, theirs = convert(LITE, weights), load(LITE, weights)
    assert ours[1:] == theirs[1:]
    jax.tree.map(np.testing.assert_array_equal, ours.parameters, theirs.parameters)


def test_names_and_preprocessing_are_kept_with_the_weights(weights, monkeypatch, tmp_path):
    publish(monkeypatch, b"other weights", None)
    (tmp_path / "names.txt").write_text("\n".join(f"thing {k}" for k in range(1000)))
    model = convert(LITE, weights, categories=tmp_path / "names.txt", preprocessing="IMAGENET1K_V2")
    assert (model.spec.categories[5], model.spec.resize) == ("thing 5", 232)
    model.save(tmp_path / "mine")
    assert load(LITE, tmp_path / "mine").spec == model.spec


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("cat\n\ndog", "no class name in line 2"),
        ("cat\ndog", "There are 2 categories, but the weights have 1000 outputs"),
    ],
)
def test_a_file_of_other_than_the_names_is_refused(weights, tmp_path, text, says):
    (tmp_path / "names.txt").write_text(text)
    with pytest.raises(ValueError, match=says):
        convert(LITE, weights, categories=tmp_path / "names.txt")
    with pytest.raises(ValueError, match="There is no file"):
        convert(LITE, weights, categories=tmp_path / "nowhere.txt")
