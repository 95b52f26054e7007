"""Probabilities in words, figures, records and measures follow what the outputs are, also of what is not a class."""

import json

import jax.numpy as jnp
import numpy as np
import pytest
from compare import assert_close
from jax.tree_util import Partial

import jaxplain as jp
from jaxplain.models import Model, Spec, Weights
from jaxplain.workflows import evaluate, explain, recorded

IMAGE = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
NAMES = ("pneumonia", "fracture", "oedema", "nodule")


def linear(params, x, site=jp.untouched):
    """Outputs are parts of the colours' means, and a constant."""
    a = site("relu", jnp.maximum(x, 0))
    return params["kernel"] @ jnp.mean(a, axis=(0, 1)) + params["bias"]


def model_of(outputs, kind=None):
    """A model whose outputs of IMAGE are these."""
    count = len(outputs)
    spec = Spec("hand", 8, 8, (0.0,) * 3, (1.0,) * 3, categories=NAMES[:count], cam_layer="relu", outputs=kind)  # pyright: ignore[reportArgumentType]
    kernel = np.linspace(-1, 1, 3 * count, dtype=np.float32).reshape(count, 3)
    bias = np.array(outputs) - kernel @ (IMAGE / 255).mean((0, 1))
    return Model(
        Partial(linear, {"kernel": jnp.asarray(kernel), "bias": jnp.float32(bias)}), spec, Weights("hand", None)
    )


def titles(answer):
    return [panel.title for row in answer._panels() for panel in row if panel is not None]


@pytest.fixture(scope="module")
def one():
    return model_of([-38.37])


@pytest.fixture(scope="module")
def labels():
    return model_of([-8.44, 1.5, 2.5, -1.0], "sigmoid")


def test_one_output_and_what_is_not_it(one, tmp_path):
    answer = explain(one, IMAGE, targets=["pneumonia", "not pneumonia"])
    assert repr(answer) == "Explanation('image': pneumonia, not pneumonia, by grad_cam)"
    assert [row[2:] for row in answer.table().rows] == [("2.2e-17", "-38.37", "yes"), ("1.000", "38.37", "yes")]
    assert "pneumonia: score -38.37, probability 2.17e-17" in titles(answer)[1]
    assert "not pneumonia: score 38.37, probability 1" in "".join(titles(answer))
    plain, other = answer.maps["grad_cam"]
    assert plain.any()
    assert_close(other, -plain, 1e-6)
    (first, second), record = answer.record["targets"], answer.record
    assert (record["outputs"], record["asked"]["targets"]) == ("sigmoid", [0, [0, -1]])
    assert (first["class"], second["class"]) == ("pneumonia", "not pneumonia")
    assert first["probability"] == pytest.approx(2.17e-17, rel=1e-2)
    assert (second["probability"], second["score"]) == (1.0, pytest.approx(38.37))
    answer.save(tmp_path / "x")
    again = explain(one, IMAGE, **recorded(tmp_path / "x.json").asked)
    assert_close(again.maps["grad_cam"], answer.maps["grad_cam"], 0)


def test_the_files_of_what_is_not_a_class(one, tmp_path):
    explain(one, IMAGE, targets=-np.ones(1, np.float32)).save(tmp_path / "x")
    with np.load(tmp_path / "x.npz") as maps:
        assert list(maps) == ["grad_cam_not_0"]
    assert json.loads((tmp_path / "x.json").read_text())["targets"][0]["class"] == "not pneumonia"


def test_labels_are_as_probable_as_each_is(labels):
    answer = explain(labels, IMAGE)
    assert answer.classes == (2, 1)  # all that are as probable as not
    assert [row[2] for row in answer.table().rows] == ["0.924", "0.818", "0.269", "0.00022"]
    assert [row[4] for row in answer.table().rows] == ["yes", "yes", "", ""]
    assert_close(answer.probabilities, 1 / (1 + np.exp(-answer.outputs.astype(float))), 1e-12)
    assert explain(labels, IMAGE, against="oedema").classes == (1,)
    assert explain(model_of([-8.44, -9.0], "sigmoid"), IMAGE).classes == (0,)
    assert explain(model_of([1.5, 2.5]), IMAGE).classes == (1,)


def test_scores_have_no_probabilities(labels):
    model = labels._replace(spec=labels.spec._replace(outputs="scores"))
    answer = explain(model, IMAGE)
    assert (answer.classes, answer.probabilities) == ((2,), None)
    assert answer.table().columns == ("class", "index", "score", "explained")
    assert "oedema: score 2.50" in titles(answer)[1]
    assert titles(answer)[-1] == "scores"
    for words in (json.dumps(answer.record), *titles(answer)):
        assert "probab" not in words
        assert "logit" not in words
    assert answer.record["predictions"][0] == {"index": 2, "class": "oedema", "score": pytest.approx(2.5)}


def test_contrasts_of_what_is_not_a_class_are_refused(labels):
    with pytest.raises(ValueError, match="'not oedema' is against a class already: leave --against out"):
        explain(labels, IMAGE, targets="not oedema", against="nodule")
    with pytest.raises(ValueError, match="active_saliency holds one class against all others, and has no map of 'not"):
        explain(labels, IMAGE, methods=["active_saliency"], targets=["not oedema"])
    with pytest.raises(ValueError, match="active_saliency holds one class"):
        evaluate(labels, IMAGE, methods=["active_saliency"], target="not oedema")


METRICS = ("deletion", "average_drop", "infidelity")


def shown(kind, z, sign, k):
    """What is measured of the outputs z."""
    if kind == "scores":
        return sign * z[k]
    p = np.exp(z)[k] / np.exp(z).sum() if kind == "softmax" else 1 / (1 + np.exp(-z[k]))
    return p if sign > 0 else 1 - p


@pytest.mark.parametrize(
    ("kind", "target"),
    [("softmax", "not fracture"), ("sigmoid", "fracture"), ("sigmoid", "not fracture"), ("scores", "not fracture")],
)
def test_measures_are_of_what_the_outputs_are(kind, target):
    model = model_of([-8.44, 1.5, 2.5, -1.0], kind)
    found = evaluate(model, IMAGE, methods=["random"], metrics=METRICS, target=target)
    (outcome,), sign = found.images, -1 if target.startswith("not") else 1
    whole, black = (np.asarray(model.net(model.normalise(pixels)), float) for pixels in (IMAGE / 255, 0.0 * IMAGE))
    curve = outcome.scores["random"]["deletion"].curve
    assert curve[0] == pytest.approx(shown(kind, whole, sign, 1), rel=1e-4)
    assert curve[-1] == pytest.approx(shown(kind, black, sign, 1), rel=1e-4)
    assert (outcome.category, outcome.score) == (target, pytest.approx(sign * 1.5, rel=1e-5))
    ((panel,),) = found._panels()
    what = "score" if kind == "scores" else "probability"
    assert panel.height == f"{what} of the target"
    if kind == "scores":
        assert outcome.probability is None
    else:
        assert outcome.probability == pytest.approx(curve[0], rel=1e-4)


def test_what_an_evaluations_record_says(labels, tmp_path):
    for kind, words in (("sigmoid", "sigmoid probabilities; logits for"), ("scores", "scores, for all metrics")):
        model = labels._replace(spec=labels.spec._replace(outputs=kind))
        evaluate(model, IMAGE, methods=["random"], metrics="deletion").save(tmp_path / kind)
        text = (tmp_path / f"{kind}.json").read_text()
        assert words in json.loads(text)["conventions"]["outputs"]
        assert json.loads(text)["outputs"] == kind
        assert ("probab" in text, "logit" in text) == (kind == "sigmoid",) * 2


def test_allegiance_of_labels_is_whether_the_target_stays(one, labels):
    """The largest label stays, and its logit changes its sign; that of one output never does."""
    flips = labels._replace(net=Partial(linear, labels.net.args[0] | {"bias": jnp.float32([-9, -3, 3.0, -9])}))  # pyright: ignore[reportAttributeAccessIssue] a Partial
    flips = flips._replace(net=Partial(linear, flips.net.args[0] | {"kernel": jnp.full((4, 3), -4.0)}))  # pyright: ignore[reportAttributeAccessIssue] a Partial
    found = evaluate(flips, IMAGE, methods={"left": left}, metrics="allegiance", target="oedema")
    curve = found.images[0].scores["left"]["allegiance"].curve
    whole, black = (
        float(flips.net(jnp.asarray(pixels))[2])
        for pixels in (np.float32(IMAGE) / 255, np.zeros((8, 8, 3), np.float32))
    )
    assert whole < 0 < black
    assert (curve[0], curve[-1]) == (1.0, 0.0)
    assert evaluate(one, IMAGE, methods={"left": left}, metrics="allegiance").values(
        "left", "allegiance"
    ) == pytest.approx(0.9)


def left(net, x, target):
    """Important from the left to the right."""
    return jnp.broadcast_to(jnp.arange(8.0, 0, -1)[None], (8, 8))


@pytest.mark.parametrize(
    ("kind", "metric", "words"),
    [
        ("softmax", "deletion", "one output, whose softmax is always 1"),
        ("softmax", "increase_in_confidence", "one output, whose softmax is always 1"),
        ("scores", "allegiance", "allegiance is whether the class stays, and scores have no classes"),
    ],
)
def test_what_cannot_be_measured_is_refused(one, kind, metric, words):
    model = one._replace(spec=one.spec._replace(outputs=kind))
    with pytest.raises(ValueError, match=words):
        evaluate(model, IMAGE, metrics=metric)
    if kind == "softmax":
        with pytest.raises(ValueError, match=words):
            explain(model, IMAGE)
