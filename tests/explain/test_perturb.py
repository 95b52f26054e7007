"""Perturbation on nets whose scores are sums of pixels, by hand, and what it says to wrong arguments."""

import jax
import jax.numpy as jnp
import nets
import numpy as np
import pytest
from compare import assert_close
from jax.tree_util import Partial
from table import rise_masks

import jaxplain as jp

KEY = jax.random.key(5)
TARGET = jnp.array([1.0, 0])
COUNTING = jnp.arange(16.0).reshape(4, 4, 1)
HALVES = np.kron([[0, 1], [2, 3]], np.ones((2, 2), int))
NET = nets.net(nets.BRANCH, nets.params(nets.BRANCH))
X, SCORE = jnp.asarray(nets.images(1)[0]), jnp.asarray(nets.targets(1)[0])
QUARTERS = np.kron([[0, 1], [2, 3]], np.ones((3, 3), int))
SEGMENTED = {"segments": QUARTERS, "num_segments": 4}


def sums(weights, x, site=jp.untouched):
    """The sum of all weighted pixels, and 1."""
    return jnp.stack([jnp.sum(weights * x), jnp.float32(1)])


TOTAL = Partial(sums, jnp.float32(1))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"window": 2, "stride": 2}, np.kron([[10, 18], [42, 50]], np.ones((2, 2)))),
        # windows from 0 and 2, the last ones cut off: 45 and 39 above 66 and 50
        (
            {"window": 3, "stride": 2},
            [[45, 45, 42, 39], [45, 45, 42, 39], [55.5, 55.5, 50, 44.5], [66, 66, 58, 50]],
        ),
        ({"window": (1, 4), "stride": (1, 3)}, np.repeat([[6], [22], [38], [54]], 4, axis=1)),
        ({"window": (4, 1), "stride": 1}, np.repeat([[24, 28, 32, 36]], 4, axis=0)),
        ({"window": 4, "stride": 1}, np.full((4, 4), 120)),
        ({"window": 1, "stride": 1, "fill": 1.0}, np.arange(16).reshape(4, 4) - 1),
        ({"window": 1, "stride": 1, "fill": jnp.array([3.0])}, np.arange(16).reshape(4, 4) - 3),
        ({"window": 1, "stride": 1, "fill": COUNTING}, np.zeros((4, 4))),
        ({"window": 1, "stride": 3}, np.array([[0, 0, 0, 3], [0] * 4, [0] * 4, [12, 0, 0, 15]])),
    ],
    ids=["apart", "overlapping", "rows", "columns", "whole", "number", "colour", "image", "gaps"],
)
def test_occlusion_by_hand(options, expected):
    assert_close(jp.occlusion(TOTAL, COUNTING, TARGET, **options), np.array(expected, float))


@pytest.mark.parametrize(
    ("explain", "options"),
    [
        (jp.occlusion, {"window": 3, "stride": 2}),
        (jp.rise, {"key": KEY, "samples": 7, "cells": 3}),
        (jp.lime, {"key": KEY, "samples": 7, **SEGMENTED}),
    ],
    ids=["occlusion", "rise", "lime"],
)
def test_chunks_change_nothing(explain, options):
    whole = explain(NET, X, SCORE, chunk=None, **options)
    assert np.ptp(whole) > 0.01
    assert_close(explain(NET, X, SCORE, chunk=3, **options), whole)
    with pytest.raises(ValueError, match="chunk is 0, but at least 1"):
        explain(NET, X, SCORE, chunk=0, **options)


def test_the_defaults_suit_an_image_of_a_few_windows():
    x = jnp.ones((24, 32, 3))
    assert_close(jp.occlusion(TOTAL, x, TARGET), np.full((24, 32), 768.0))


def test_rise_that_hides_nothing_is_the_score_everywhere():
    assert_close(jp.rise(TOTAL, COUNTING, TARGET, key=KEY, samples=9, cells=2, keep=1.0), np.full((4, 4), 120.0))


@pytest.mark.parametrize(("size", "cells"), [((6, 6), 3), ((10, 13), 4), ((5, 9), 7)])
def test_rise_masks_are_its_authors(size, cells):
    """Of a net that always returns 1 the map is the mean mask, divided by the share that is kept."""
    x = jnp.zeros((*size, 1))
    heat = jp.rise(TOTAL, x, TARGET[::-1], key=KEY, samples=3, cells=cells, keep=0.4)
    assert_close(heat, sum(rise_masks(KEY, size, 3, cells, 0.4)) / (3 * 0.4))


def test_rise_keeps_each_pixel_with_its_probability():
    x = jnp.zeros((8, 8, 1))
    heat = jp.rise(TOTAL, x, TARGET[::-1], key=KEY, samples=20_000, cells=4, keep=0.2, chunk=2000)
    assert np.abs(heat - 1).max() < 0.05


def test_rise_finds_what_counts():
    """The map of a sum over one corner is largest there: by as much as the corner adds to the score."""
    corner = jnp.zeros((8, 8, 1)).at[:2, :2].set(1.0)
    heat = jp.rise(Partial(sums, corner), jnp.ones((8, 8, 1)), TARGET, key=KEY, samples=2000, cells=4, chunk=500)
    assert jnp.min(heat[:2, :2]) > jnp.max(heat[4:, 4:]) + 0.3


def test_lime_of_a_linear_net_is_what_its_segments_add():
    """With (almost) no penalty, whatever the weights of the samples; the offset of a fill is in the intercept."""
    weights = jnp.asarray(np.random.default_rng(0).normal(size=(4, 4, 1)), jnp.float32)
    adds = np.asarray(weights * (COUNTING - 2))[..., 0]
    expected = np.stack([adds[s == HALVES].sum() for s in range(4)])[HALVES]
    options = {"key": KEY, "segments": HALVES, "num_segments": 4, "samples": 50, "fill": 2.0, "alpha": 1e-5}
    for width in (0.25, 10.0):
        heat = jp.lime(Partial(sums, weights), COUNTING, TARGET, width=width, **options)
        assert_close(heat, expected, 1e-4)


def test_lime_fills_with_the_mean_colour_of_a_segment():
    flat = jnp.asarray(np.random.default_rng(0).normal(size=(4, 3))[QUARTERS], jnp.float32)
    assert np.abs(jp.lime(NET, flat, SCORE, key=KEY, samples=20, **SEGMENTED)).max() < 1e-5
    coloured = jp.lime(NET, X, SCORE, key=KEY, samples=20, fill=jnp.mean(X[:3, :3], (0, 1)), **SEGMENTED)
    assert np.abs(coloured - jp.lime(NET, X, SCORE, key=KEY, samples=20, **SEGMENTED)).max() > 0.01


def test_lime_of_the_image_alone_is_zero():
    assert_close(jp.lime(NET, X, SCORE, key=KEY, samples=1, **SEGMENTED), np.zeros((6, 6)), 0)


def test_lime_with_a_strong_penalty_vanishes():
    weak, strong = (jp.lime(NET, X, SCORE, key=KEY, samples=20, alpha=alpha, **SEGMENTED) for alpha in (1.0, 1e6))
    assert np.abs(strong).max() < 1e-4 * np.abs(weak).max()


def test_lime_takes_labels_that_are_traced_and_some_that_are_unused():
    options = {"key": KEY, "samples": 20}
    expected = jp.lime(NET, X, SCORE, num_segments=9, segments=QUARTERS * 2, **options)
    traced = jax.jit(lambda labels: jp.lime(NET, X, SCORE, num_segments=9, segments=labels, **options))
    assert_close(traced(jnp.asarray(QUARTERS * 2)), expected)
    assert np.ptp(expected) > 0.01


@pytest.mark.parametrize("explain", [jp.occlusion, jp.rise, jp.lime], ids=lambda explain: explain.__name__)
def test_a_fill_of_another_shape_raises(explain):
    options = {jp.occlusion: {"window": 2}, jp.rise: {"key": KEY}, jp.lime: {"key": KEY, **SEGMENTED}}[explain]
    for fill in (jnp.zeros(2), jnp.zeros((6, 6)), jnp.zeros((1, 1, 3)), jnp.zeros((5, 6, 3))):
        with pytest.raises(ValueError, match=r"fill has shape .*, but a number, a colour \(3,\) or an image \(6, 6, 3"):
            explain(NET, X, SCORE, fill=fill, **options)
    with pytest.raises(ValueError, match=r"single number.*one_hot\(k, 5\)"):
        explain(NET, X, 3, **options)


@pytest.mark.parametrize(
    ("explain", "options", "says"),
    [
        (jp.occlusion, {"window": 7}, "window is 7, but the image's side is 6"),
        (jp.occlusion, {"window": (2, 9)}, "window is 9"),
        (jp.occlusion, {"window": 0}, "window is 0, but at least 1"),
        (jp.occlusion, {"window": 2, "stride": 0}, "stride is 0, but at least 1"),
        (jp.occlusion, {"window": 2, "stride": (1, -1)}, "stride is -1"),
        (jp.rise, {"samples": 0}, "samples is 0, but at least 1"),
        (jp.rise, {"cells": 1}, "cells is 1, but at least 2"),
        (jp.rise, {"keep": 0.0}, "keep is 0.0, but a probability"),
        (jp.rise, {"keep": 1.5}, "keep is 1.5, but a probability"),
        (jp.lime, SEGMENTED | {"samples": 0}, "samples is 0, but at least 1"),
        (jp.lime, SEGMENTED | {"num_segments": 0}, "num_segments is 0, but at least 1"),
        (jp.lime, SEGMENTED | {"num_segments": 3}, "labels from 0 to 3, but 0 to 2 are expected"),
        (jp.lime, SEGMENTED | {"segments": QUARTERS - 1}, "labels from -1 to 2, but 0 to 3"),
        (jp.lime, SEGMENTED | {"segments": HALVES}, r"segments is int\d+ \(4, 4\), but integers \(6, 6\)"),
        (jp.lime, SEGMENTED | {"segments": QUARTERS.astype(np.float32)}, "segments is float32"),
    ],
    ids=lambda value: value.__name__ if callable(value) else None,
)
def test_wrong_options_raise(explain, options, says):
    with pytest.raises(ValueError, match=says):
        explain(NET, X, SCORE, **({} if explain is jp.occlusion else {"key": KEY}) | options)
