"""Input attributions: what they sum to, and what they say when they are asked for something else."""

import jax
import jax.numpy as jnp
import nets
import numpy as np
import pytest
from compare import assert_close
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.tree_util import Partial

import jaxplain as jp

X, TARGET = jnp.asarray(nets.images(1)[0]), jnp.asarray(nets.targets(1)[0])
RULES = ("gauss_legendre", "trapezoid", "left", "right", "middle")
SIGNED = (jp.positive_saliency, jp.negative_saliency, jp.active_saliency, jp.inactive_saliency)
few = settings(max_examples=20, deadline=None, derandomize=True)
TINY = pytest.mark.parametrize("tiny", nets.TINY, ids=lambda tiny: tiny.name)


def linear(kernel, x, site=jp.untouched):
    return jnp.tensordot(site("x", x), kernel, 3) + 1


LINEAR = Partial(linear, jnp.asarray(np.random.default_rng(0).normal(size=(6, 6, 3, 5)), jnp.float32))


def total(net, x, target=TARGET):
    return np.sum(np.asarray(target) * np.asarray(net(x)))


def test_attributions_of_a_linear_net_are_its_weights():
    weights = np.tensordot(np.asarray(LINEAR.args[0]), np.asarray(TARGET), 1)
    assert_close(jp.gradient(LINEAR, X, TARGET), weights)
    assert_close(jp.gradient_times_input(LINEAR, X, TARGET), np.asarray(X) * weights)
    assert_close(jp.saliency(LINEAR, X, TARGET), np.abs(weights).max(-1))
    bias = TARGET.sum()
    assert_close(jp.gradient_times_input(LINEAR, X, TARGET).sum(), total(LINEAR, X) - bias)


def test_signed_saliency_of_a_linear_net_by_hand():
    """Two classes' weights of two pixels with two channels: each channel is tested, and then the largest is shown."""
    own, rival = np.array([[[3, -4], [-1, -2]]], np.float32), np.array([[[1, -3], [-2, 5]]], np.float32)
    net, x, target = Partial(linear, jnp.stack([own, rival], -1)), jnp.ones((1, 2, 2)), jp.one_hot(0, 2)
    for explain, expected in zip((jp.saliency, *SIGNED), ([4, 2], [3, 0], [4, 2], [3, 1], [4, 2]), strict=True):
        assert_close(explain(net, x, target), np.array([expected]), 0)


@jax.jit
def signed(net, x, target):
    return {explain.__name__: explain(net, x, target) for explain in (jp.saliency, *SIGNED)}


@TINY
@few
@given(st.integers(0, 50), st.integers(0, nets.CLASSES - 1))
def test_signed_saliency_is_a_part_of_saliency(tiny, seed, k):
    net, target = nets.net(tiny, nets.params(tiny, seed)), jp.one_hot(k, nets.CLASSES)
    maps = signed(net, X, target)
    whole = maps.pop("saliency")
    assert_close(jnp.maximum(maps["positive_saliency"], maps["negative_saliency"]), whole, 0)
    for name, part in maps.items():
        assert (part >= 0).all(), name
        assert_close(jnp.maximum(part, whole), whole, 1e-6)  # gradients of all classes are compiled apart
    opposite = signed(jp.then(net, jnp.negative), X, target)
    for one, other in (("positive", "negative"), ("active", "inactive")):
        assert_close(opposite[f"{one}_saliency"], maps[f"{other}_saliency"])


def test_active_is_saliency_where_it_is_not_zero_in_an_image_of_one_channel():
    grey = Partial(linear, LINEAR.args[0][:, :, :1])
    for explain in (jp.active_saliency, jp.inactive_saliency):
        part, whole = (np.asarray(e(grey, X[..., :1], jp.one_hot(2, 5))) for e in (explain, jp.saliency))
        assert 0 < np.sum(part != 0) < part.size
        np.testing.assert_array_equal(part[part != 0], whole[part != 0])


@pytest.mark.parametrize("explain", SIGNED, ids=lambda explain: explain.__name__)
def test_scaled_logits_have_the_same_picture_and_constant_ones_none(explain):
    net, target = nets.net(nets.BRANCH, nets.params(nets.BRANCH)), jp.one_hot(2, 5)
    picture = jp.unit_range(explain(net, X, target))
    assert abs(jnp.max(picture) - 1) < 1e-6
    assert_close(jp.unit_range(explain(jp.then(net, halved), X, target)), picture)
    assert_close(jp.unit_range(explain(jp.then(net, zero), X, target)), np.zeros((6, 6)), 0)


def zero(outputs):
    return 0 * outputs


@pytest.mark.parametrize("rule", RULES[:1] + RULES[2:])
def test_one_step_is_exact_for_a_linear_net(rule):
    baseline = jnp.full_like(X, 0.3)
    attributions = jp.integrated_gradients(LINEAR, X, TARGET, steps=1, rule=rule, baseline=baseline)
    weights = np.tensordot(np.asarray(LINEAR.args[0]), np.asarray(TARGET), 1)
    assert_close(attributions, (np.asarray(X) - 0.3) * weights)
    assert_close(attributions.sum(), total(LINEAR, X) - total(LINEAR, baseline))


def test_fifty_steps_are_complete():
    net = nets.net(nets.BRANCH, nets.params(nets.BRANCH))
    for baseline in (None, jnp.full_like(X, 0.5)):
        start = jnp.zeros_like(X) if baseline is None else baseline
        attributions = jp.integrated_gradients(net, X, TARGET, baseline=baseline)
        assert_close(attributions.sum(), total(net, X) - total(net, start), 1e-4)


@pytest.mark.parametrize("layer", ["stem", "act", "side"])
def test_fifty_steps_from_zero_activations_are_complete_at_a_layer(layer):
    net = nets.net(nets.BRANCH, nets.params(nets.BRANCH))
    activation, head = jp.view(net, layer, X)
    difference = jnp.sum(TARGET * (head(activation) - head(jnp.zeros_like(activation))))
    attributions = jp.integrated_gradients(net, X, TARGET, layer=layer)
    assert attributions.shape == (3, 3, 4)
    assert_close(attributions.sum(), difference, 1e-4)


def test_two_steps_are_not_complete():
    net = nets.net(nets.BRANCH, nets.params(nets.BRANCH))
    attributions = jp.integrated_gradients(net, X, TARGET, steps=2, rule="left")
    difference = total(net, X) - total(net, jnp.zeros_like(X))
    assert abs(attributions.sum() - difference) > 0.01 * abs(difference)


@TINY
def test_the_image_as_its_own_baseline_has_no_attributions(tiny):
    net = nets.net(tiny, nets.params(tiny))
    assert_close(jp.integrated_gradients(net, X, TARGET, baseline=X, steps=3), np.zeros((6, 6, 3)), 0)


@pytest.mark.parametrize("rule", RULES)
def test_chunks_change_nothing(rule):
    net = nets.net(nets.BRANCH, nets.params(nets.BRANCH))
    whole = jp.integrated_gradients(net, X, TARGET, steps=5, rule=rule)
    for chunk in (2, 5, 6):
        assert_close(jp.integrated_gradients(net, X, TARGET, steps=5, rule=rule, chunk=chunk), whole)


def test_pixels_are_explained_through_the_normalisation():
    net = nets.net(nets.BRANCH, nets.params(nets.BRANCH))
    of_pixels = jp.gradient(jp.before(net, halved), 2 * X, TARGET)
    assert_close(of_pixels, jp.gradient(net, X, TARGET) / 2)


def halved(x):
    return x / 2


def normalised(mean, deviation, x):
    return (x - mean) / deviation


@pytest.mark.parametrize("explain", [jp.gradient, jp.active(jp.gradient), jp.inactive(jp.gradient)])
def test_by_pixels_each_channel_is_divided_by_its_deviation(explain):
    """So signs and selections are the same, and the largest channel may be another."""
    net, target = nets.net(nets.BRANCH, nets.params(nets.BRANCH)), jp.one_hot(2, 5)
    mean, deviation = jnp.array([0.4, 0.5, 0.3])[None, None], jnp.array([0.2, 1, 3])[None, None]
    of_pixels = explain(jp.before(net, Partial(normalised, mean, deviation)), X * deviation + mean, target)
    assert_close(of_pixels, explain(net, X, target) / deviation)


@pytest.mark.parametrize(
    "explain", [jp.gradient, jp.saliency, *SIGNED[:2], jp.gradient_times_input, jp.integrated_gradients]
)
def test_a_number_as_target_raises(explain):
    with pytest.raises(ValueError, match=r"single number.*one_hot\(k, 5\)"):
        explain(LINEAR, X, 3)


@pytest.mark.parametrize("explain", SIGNED[2:])
@pytest.mark.parametrize("target", [3, TARGET], ids=["number", "covector"])
def test_among_rivals_a_target_is_one_class(explain, target):
    with pytest.raises(ValueError, match=r"The target .*(class|use one_hot)"):
        explain(LINEAR, X, target)


@pytest.mark.parametrize("explain", [jp.gradient, jp.saliency, *SIGNED, jp.integrated_gradients])
def test_a_batch_raises(explain):
    with pytest.raises(ValueError, match="one image"):
        explain(LINEAR, X[None], jp.one_hot(2, 5))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"baseline": np.zeros(3)}, r"\(6, 6, 3\)"),
        ({"baseline": np.zeros((5, 6, 3))}, r"\(6, 6, 3\)"),
        ({"baseline": np.zeros((6, 6, 3)), "layer": "side"}, r"\(3, 3, 4\)"),
    ],
    ids=["colour", "size", "layer"],
)
def test_a_baseline_of_another_shape_raises(options, expected):
    net = nets.net(nets.BRANCH, nets.params(nets.BRANCH))
    with pytest.raises(ValueError, match=rf"baseline has shape \(.*, but {expected} is expected"):
        jp.integrated_gradients(net, X, TARGET, **options)


def test_a_number_is_a_baseline_of_that_number_everywhere():
    net = nets.net(nets.BRANCH, nets.params(nets.BRANCH))
    whole = jp.integrated_gradients(net, X, TARGET, baseline=np.full((6, 6, 3), 0.3, np.float32), steps=3)
    assert_close(jp.integrated_gradients(net, X, TARGET, baseline=0.3, steps=3), whole)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"steps": 0}, "steps is 0"),
        ({"steps": 0, "rule": "trapezoid"}, "at least 1 is expected"),
        ({"rule": "simpson"}, "rule is 'simpson'"),
        ({"chunk": 0}, "chunk is 0"),
        ({"layer": "sidle"}, r"no layer 'sidle'.*'side'"),
    ],
    ids=str,
)
def test_wrong_options_raise(options, says):
    net = nets.net(nets.BRANCH, nets.params(nets.BRANCH))
    with pytest.raises(ValueError, match=says):
        jp.integrated_gradients(net, X, TARGET, **options)
