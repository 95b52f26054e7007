"""What outputs stand for: probabilities against float64, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial
from tiny import tiny_model

import jaxplain as jp
from jaxplain.models import Asked, Model, Spec, Weights, find_target, probabilities, probability, probable

LOGITS = np.array([-8.44, 3.0, 1.0, -40.0])


@pytest.mark.parametrize("numbers", [np.float32, jnp.float32])
def test_each_label_has_a_probability_of_its_own(numbers):
    found = probabilities(numbers(LOGITS), "sigmoid")
    np.testing.assert_allclose(found, 1 / (1 + np.exp(-LOGITS)), rtol=2e-6)
    assert found[0] == pytest.approx(2.16e-4, rel=1e-3)
    np.testing.assert_allclose(probabilities(numbers(LOGITS)), np.exp(LOGITS) / np.exp(LOGITS).sum(), rtol=1e-5)


@pytest.mark.parametrize("numbers", [np.float32, jnp.float32])
def test_one_output_is_a_label(numbers):
    """And 1 - p has all its digits, on either side."""
    target = np.ones(1, np.float32)
    for logit, p, rest in ((-38.37, 2.168e-17, 1.0), (38.37, 1.0, 2.168e-17)):
        assert probabilities(numbers([logit]))[0] == pytest.approx(p, rel=1e-3)
        assert probability(numbers([logit]), target) == pytest.approx(p, rel=1e-3)
        assert probability(numbers([logit]), -target) == pytest.approx(rest, rel=1e-3)


@pytest.mark.parametrize("kind", ["softmax", "sigmoid"])
@pytest.mark.parametrize("numbers", [np.float32, jnp.float32])
def test_the_probability_of_a_target(kind, numbers):
    odds = np.exp(LOGITS) / np.exp(LOGITS).sum() if kind == "softmax" else 1 / (1 + np.exp(-LOGITS))
    rest = (np.exp(LOGITS).sum() - np.exp(LOGITS)) / np.exp(LOGITS).sum() if kind == "softmax" else 1 - odds
    compute = jax.jit(probability, static_argnames="kind") if numbers is jnp.float32 else probability
    for k in range(4):
        target = np.eye(4, dtype=np.float32)[k]
        assert compute(numbers(LOGITS), target, kind=kind) == pytest.approx(odds[k], rel=1e-5)
        assert compute(numbers(LOGITS), -target, kind=kind) == pytest.approx(rest[k], rel=1e-5)
    rather = np.array([1, 0, -1, 0], np.float32)
    assert compute(numbers(LOGITS), rather, kind=kind) == pytest.approx(1 / (1 + np.exp(9.44)), rel=1e-5)


def test_what_the_certain_class_leaves_is_exact():
    """Where 1 - p in float64 is 0."""
    assert probability(np.array([0.0, 50.0]), np.array([0.0, -1.0])) == pytest.approx(np.exp(-50), rel=1e-6)


def one(scale, x, site=jp.untouched):
    return scale * jnp.sum(x, axis=(0, 1))[:1]


@pytest.mark.parametrize("f", [jax.nn.softmax, lambda z: 1 * jax.nn.softmax(z), jax.nn.log_softmax])
def test_the_softmax_of_one_output_is_refused(f):
    """In every measure and explainer, with jit too: all of them call the net."""
    net, x, target, heat = jp.then(Partial(one, jnp.float32(1)), f), jnp.ones((4, 4, 3)), jnp.ones(1), jnp.eye(4)
    for measure in (jp.metrics.deletion, jp.metrics.insertion, jp.metrics.average_drop):
        with pytest.raises(ValueError, match=r"one output, and what follows it is the same.*use jax\.nn\.sigmoid"):
            measure(net, x, target, heat)
    with pytest.raises(ValueError, match="one output"):
        jp.occlusion(net, x, target, window=2, stride=2)
    with pytest.raises(ValueError, match="one output"):
        jax.jit(jp.metrics.increase_in_confidence)(net, x, target, heat)
    right = jp.then(Partial(one, jnp.float32(1)), jax.nn.sigmoid)
    curve = jp.metrics.deletion(right, x, target, heat)
    np.testing.assert_allclose(curve.scores[jnp.array([0, -1])], [1, 0.5], atol=1e-6)


def test_what_follows_one_output_may_be_traced_or_the_same_far_from_zero():
    net, x = Partial(one, jnp.float32(1)), jnp.ones((4, 4, 3)) / 16
    scaled = jax.jit(lambda scale: jp.gradient(jp.then(net, lambda z: scale * z), x, jnp.ones(1)))
    np.testing.assert_allclose(scaled(2.0), 2 * jp.gradient(net, x, jnp.ones(1)), atol=1e-6)
    jp.gradient(jp.then(net, lambda z: jnp.where(jnp.abs(z) < 10, z, 0)), x, jnp.ones(1))


def test_one_output_keeps_no_allegiance():
    with pytest.raises(ValueError, match="one output, which is always the largest"):
        jp.metrics.allegiance(Partial(one, jnp.float32(1)), jnp.ones((4, 4, 3)), jnp.ones((4, 4)))


@pytest.mark.parametrize(
    ("outputs", "kind", "words"),
    [
        (LOGITS, "scores", "scores, which have no probabilities"),
        (LOGITS[:1], "softmax", "one output, whose softmax is always 1"),
        (LOGITS, "logits", "outputs is 'logits', but softmax, sigmoid, scores is expected"),
    ],
)
def test_what_has_no_probabilities(outputs, kind, words):
    for function in (probabilities, lambda z, kind: probability(z, np.ones_like(z), kind)):
        with pytest.raises(ValueError, match=words):
            function(outputs, kind)


CATEGORIES = ("pneumonia", "not a tumour", "3")


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("pneumonia", (0, 1)),
        ("not pneumonia", (0, -1)),
        ("Not  0", (0, -1)),
        ("not a tumour", (1, 1)),
        ("not not a tumour", (1, -1)),
        ("not 3", (2, -1)),
        (2, (2, 1)),
        (-np.eye(3, dtype=np.float32)[1], (1, -1)),
        (jnp.eye(3)[2], (2, 1)),
    ],
)
def test_what_a_target_asks_for(asked, found):
    assert find_target(asked, CATEGORIES) == found
    assert find_target(Asked(*found), CATEGORIES) == found


@pytest.mark.parametrize(
    "asked", ["not flu", Asked(9, -1), [0, -1], (1, 1), np.array([1.0, -1.0, 0.0]), np.array([1.0, 0.0])]
)
def test_what_no_target_asks_for(asked):
    with pytest.raises(ValueError, match=r"There is no class|Got the class .*give one|expected one_hot\(k, 3\)"):
        find_target(asked, CATEGORIES)


def fixed(outputs, x, site=jp.untouched):
    return outputs + 0 * site("pixels", x).sum()


def model_of(outputs, kind=None):
    """A net of 8 x 8 pixels whose outputs are these."""
    spec = Spec("fixed", 8, 8, (0.0,) * 3, (1.0,) * 3, categories=CATEGORIES[: len(outputs)], outputs=kind)  # pyright: ignore[reportArgumentType]
    return Model(Partial(fixed, jnp.float32(outputs)), spec, Weights("by hand", None))


def test_a_model_says_what_its_outputs_are():
    image = np.zeros((8, 8, 3), np.uint8)
    (only,) = model_of([-38.37]).predict(image)
    assert (only.category, only.probability) == ("pneumonia", pytest.approx(2.168e-17, rel=1e-3))
    labels = model_of([-8.44, -12.0, -13.0], "sigmoid")
    assert labels.predict(image)[0].probability == pytest.approx(2.16e-4, rel=1e-3)
    assert model_of([-8.44, -12.0, -13.0]).predict(image)[0].probability == pytest.approx(0.962, abs=1e-3)
    assert [p.probability for p in model_of([1.0, 2.0], "scores").predict(image)] == [None, None]
    np.testing.assert_allclose(labels.probable(labels.prepare(image))[0], 2.16e-4, rtol=1e-3)
    np.testing.assert_array_equal(labels.targets("pneumonia", "not 3"), [[1, 0, 0], [0, 0, -1]])
    np.testing.assert_array_equal(labels.target("not pneumonia"), [-1, 0, 0])
    with pytest.raises(ValueError, match="softmax is always 1"):
        model_of([1.0], "softmax").predict(image)
    with pytest.raises(ValueError, match="no probabilities"):
        probable(labels.net, "scores")(labels.prepare(image))


def test_linear_maps_of_what_is_not_a_class_are_negative():
    model = tiny_model(1)
    x = model.prepare(np.arange(768, dtype=np.uint8).reshape(16, 16, 3))
    plain, other = (jp.grad_cam(model.net, x, target, layer="relu") for target in (model.target(0), -jp.one_hot(0, 1)))
    np.testing.assert_allclose(other, -plain, rtol=1e-6)
    np.testing.assert_array_equal(model.target("not class 0"), -jp.one_hot(0, 1))
