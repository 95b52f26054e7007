"""features from Python: the clusters are layer_features', and the figure and files say the same."""

import json

import jax
import numpy as np
import pytest
from compare import assert_close
from PIL import Image
from tiny import tiny_model

import jaxplain as jp
from jaxplain.workflows import features


@pytest.fixture(scope="module")
def model():
    return tiny_model()


@pytest.fixture(scope="module")
def photo():
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8))


def test_features_are_those_of_the_explainer(model, photo):
    found = features(model, photo, target=2, layers=("conv", "relu"), clustering="kmeans", seed=3)
    x = model.prepare(photo)
    options = {"layers": ("conv", "relu"), "clustering": "kmeans", "key": jax.random.key(3)}
    expected = jp.layer_features(model.net, x, jp.one_hot(2, 5), **options)
    assert list(found.layers) == ["conv", "relu"]
    for layer, one in expected.items():
        assert_close(found.layers[layer], jax.tree.map(np.asarray, one))
    assert found.score == pytest.approx(float(model.net(x)[2]), rel=1e-5)
    assert found.probability == pytest.approx(float(jax.nn.softmax(model.net(x))[2]), rel=1e-5)


def test_the_top_class_is_explained_and_anything_but_a_class_can_be(model, photo):
    outputs = np.asarray(model.net(model.prepare(photo)))
    assert features(model, photo, layers="relu").target.index == outputs.argmax()
    other = features(model, photo, target="not class 1", layers="relu", clustering="kmeans")
    expected = jp.layer_features(
        model.net, model.prepare(photo), -jp.one_hot(1, 5), layers="relu", clustering="kmeans", key=jax.random.key(432)
    )
    assert_close(other.layers["relu"].weights, expected["relu"].weights)
    assert other.score == pytest.approx(-outputs[1], rel=1e-5)


def test_each_picture_is_the_photograph_in_the_light_of_a_cluster(model, photo):
    found = features(model, photo, target=2, layers=("conv", "relu"))
    (first,), *rows = found._panels()
    assert (first.photo == found.seen).all()
    for k, row in enumerate(rows):
        for panel, (layer, one) in zip(row, found.layers.items(), strict=True):
            if not one.weights[k]:
                assert panel is None
                continue
            assert panel.title.startswith(f"{layer}: {one.weights[k]:.1f} %\n")
            ratio = panel.photo / np.maximum(found.seen, 1)
            light = np.asarray(jp.upsample(one.maps[k], (448, 448), "cubic")).clip(0, 1)
            assert np.abs(ratio[found.seen > 50] - np.repeat(light[..., None], 3, -1)[found.seen > 50]).max() < 0.02


def test_files_have_the_arrays_and_what_was_asked(model, photo, tmp_path):
    found = features(model, photo, target=2, layers=("conv", "relu"))
    png, npz, record = found.save(tmp_path / "photo")
    with Image.open(png) as figure:
        assert figure.width == 2 * 1.75 * 160
    arrays, told = np.load(npz), json.loads(record.read_text())
    for layer, one in found.layers.items():
        assert all((arrays[f"{layer}/{name}"] == value).all() for name, value in one._asdict().items())
        assert told["layers"][layer]["weights"] == [pytest.approx(w, abs=1e-3) for w in one.weights if w]
    assert told["asked"]["layers"] == ["conv", "relu"]
    assert told["asked"]["target"] == [2, 1]
    assert [row[0] for row in found.table().rows] == ["conv", "relu"]


def test_a_layer_that_says_nothing_is_told_so(model, photo):
    dark = model._replace(net=jp.then(model.net, lambda outputs: 0 * outputs))
    found = features(dark, photo, target=2, layers="relu")
    assert found._panels()[1][0].title == "relu\nno channel speaks for it"
    assert found.table().rows[0][2:] == ("0", "none")


def test_outputs_that_are_not_finite_are_refused(model, photo):
    broken = model._replace(net=jp.then(model.net, lambda outputs: outputs * np.nan))
    with pytest.raises(ValueError, match="outputs are not finite"):
        features(broken, photo, layers="relu")


def test_what_cannot_be_is_refused(model, photo):
    with pytest.raises(ValueError, match="no layer 'rely'; near are relu"):
        features(model, photo, layers="rely")
    with pytest.raises(ValueError, match="There are 2 targets, but one is expected"):
        features(model, photo, target=[1, 2])
    with pytest.raises(ValueError, match="no height"):
        features(model, photo, layers="fc")
