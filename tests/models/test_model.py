"""What a Model says of images and classes, and of itself."""

import inspect
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

import jaxplain as jp
from jaxplain.models import Examples, Model, Spec, Weights, load

CATEGORIES = ("red", "green", "blue", "deep sea")
SPEC = Spec("colours", 8, 8, (0.5, 0.4, 0.3), (0.3, 0.2, 0.1), categories=CATEGORIES, cam_layer="relu")


def colours(weights, x, site=jp.untouched):
    return weights @ jnp.mean(x, axis=(0, 1))


@pytest.fixture(scope="module")
def model():
    """Outputs by hand: those of red, green and blue are the means of their channels, and the last one is 0."""
    net = Partial(colours, jnp.eye(4, 3))
    return Model(net, SPEC, Weights("mine.pth", None))


@pytest.fixture(scope="module")
def published():
    return load("efficientnet_lite0")


def plain(*colour):
    return np.full((8, 8, 3), colour, np.uint8)


def test_predictions_by_hand(model):
    """Outputs are (level / 255 - mean) / std."""
    first, second, third, last = model.predict(plain(51, 204, 255))
    assert [first.category, second.category, third.category, last.category] == ["blue", "green", "deep sea", "red"]
    assert [first.index, second.index, third.index, last.index] == [2, 1, 3, 0]
    outputs = np.array([7, 2, 0, -1])
    assert [p.output for p in (first, second, third, last)] == pytest.approx(outputs, abs=1e-5)
    odds = np.exp(outputs) / np.exp(outputs).sum()
    assert [p.probability for p in (first, second, third, last)] == pytest.approx(odds, rel=1e-4)
    assert (type(first.index), type(first.probability), type(first.output)) == (int, float, float)


@pytest.mark.parametrize(("k", "count"), [(1, 1), (2, 2), (4, 4), (9, 4)])
def test_as_many_predictions_as_asked_for(k, count, model):
    assert model.predict(plain(51, 204, 255), k) == model.predict(plain(51, 204, 255))[:count]


def test_equal_outputs_come_in_the_order_of_the_classes(model):
    same = model._replace(net=Partial(colours, jnp.zeros((4, 3))))
    assert [p.category for p in same.predict(plain(1, 2, 3))] == list(CATEGORIES)


@pytest.mark.parametrize("k", [0, -1])
def test_no_predictions_are_refused(k, model):
    with pytest.raises(ValueError, match=f"k is {k}, but predict gives at least one class"):
        model.predict(plain(1, 2, 3), k)


@pytest.mark.parametrize("category", ["blue", "BLUE", 2, "2", np.int64(2)])
def test_a_target_is_the_covector_of_its_class(category, model):
    np.testing.assert_array_equal(model.target(category), [0, 0, 1, 0])
    assert model.target(category).dtype == jnp.float32


def test_targets_are_in_the_order_asked_for(model):
    np.testing.assert_array_equal(model.targets("sea", "red", 1), np.eye(4)[[3, 0, 1]])
    assert model.targets("red").shape == (1, 4)
    assert model.targets().shape == (0, 4)


@pytest.mark.parametrize(("category", "words"), [("bleu", "the nearest are blue"), (4, "expected 0 to 3")])
def test_classes_that_are_not_there(category, words, model):
    for function in (model.target, model.targets):
        with pytest.raises(ValueError, match=words):
            function(category)


def test_levels_are_what_pixels_are_made_of(published):
    levels = published.levels("sample:rocket")
    assert (levels.shape, levels.dtype) == ((224, 224, 3), np.uint8)
    np.testing.assert_array_equal(levels / np.float32(255), published.pixels("sample:rocket"))


def test_all_images_are_prepared_as_each_is(published):
    """To the bit, and also in more than one batch."""
    images = ["sample:coffee", "sample:chelsea", "sample:rocket"]
    found = published.prepare_all(images * 11)
    assert (found.shape, found.dtype) == ((33, 224, 224, 3), jnp.float32)
    for row, image in zip(found, images * 11, strict=True):
        np.testing.assert_array_equal(row, published.prepare(image))


def test_no_images_are_none(model):
    assert model.prepare_all([]).shape == (0, 8, 8, 3)


def test_images_that_cannot_be_prepared(model, tmp_path):
    (tmp_path / "no.png").write_text("no image")
    with pytest.raises(ValueError, match="is not an image"):
        model.prepare_all([plain(1, 2, 3), tmp_path / "no.png"])
    told = {}
    found = model.prepare_all([plain(1, 2, 3), tmp_path / "no.png", plain(3, 2, 1)], failed=told.__setitem__)
    assert list(told) == [tmp_path / "no.png"]
    np.testing.assert_array_equal(found, [model.prepare(plain(1, 2, 3)), model.prepare(plain(3, 2, 1))])


def test_what_is_printed_is_one_short_line(published, model):
    images = np.zeros((500, 8, 8, 3), np.uint8)
    examples = Examples(images, np.zeros(500, int), CATEGORIES, tuple(map(str, range(500))))  # pyright: ignore[reportArgumentType] never opened
    for value in (published, published.spec, published.weights, model, model.spec, examples):
        assert "\n" not in repr(value)
        assert len(repr(value)) < 160
        assert str(value) == repr(value)
    for words in ("efficientnet_lite0", "efficientnet-lite0-57934424.pth", "1000 outputs", "224 x 224"):
        assert words in repr(published)
    assert "mine.pth" in repr(model)
    assert "4 outputs" in repr(model)


def examples(value):
    """The indented lines of docstrings that are code."""
    return "\n".join(re.findall(r"^    (\S.*)$", inspect.getdoc(value) or "", re.MULTILINE))


@pytest.mark.parametrize("name", ["", "predict", "prepare_all", "targets"])
def test_the_docstrings_examples_run(name, published, capsys):
    names = {"model": published, "jaxplain": jp, "jax": jax, "load": load, "x": published.prepare("sample:coffee")}
    code = examples(getattr(Model, name) if name else Model)
    assert code
    exec(code, names)
    if name == "predict":
        assert capsys.readouterr().out == "espresso 96%\n"
    if name == "prepare_all":
        assert names["X"].shape == (2, 224, 224, 3)
    if not name:
        assert names["heat"].shape == (224, 224)


def test_a_model_is_still_a_tuple_and_a_pytree(model):
    net, spec, weights = model
    assert (spec, weights) == (SPEC, Weights("mine.pth", None))
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(net))
