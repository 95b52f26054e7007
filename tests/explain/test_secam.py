"""Maps averaged in segments: by hand, what averaging keeps, and what is refused."""

from typing import Any

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

NET = nets.net(nets.RIDGE, nets.params(nets.RIDGE))
X, TARGET = jnp.asarray(nets.images(1)[0]), jnp.asarray(nets.targets(1)[0])
SIDE = nets.SIDE
PLACES: Any = {"layer": "relu"}


def weighted(weights, x, site=jp.untouched):
    """A layer that is the image, and the sum of its weighted values."""
    return jnp.sum(site("image", x) * weights, keepdims=True).reshape(1)


def test_four_segments_by_hand():
    """With one pixel of the layer for each of the image the map is weights times values."""
    x = jnp.arange(16.0).reshape(4, 4, 1)
    weights = jnp.where(x % 2 == 0, 1.0, -1.0)
    segments = np.kron([[0, 1], [2, 3]], np.ones((2, 2), int))
    options = {"layer": "image", "segments": segments, "num_segments": 4}
    heat = jp.secam(Partial(weighted, weights), x, jnp.ones(1), **options)
    means = np.array([[0 + 4, 2 + 6], [8 + 12, 10 + 14]]) / 4  # odd values count against, and are 0 once rectified
    assert_close(heat, np.kron(means, np.ones((2, 2))))
    signed = jp.secam(Partial(weighted, weights), x, jnp.ones(1), **options, rectify=False)
    assert_close(signed, np.full((4, 4), -0.5))


def test_behind_global_pooling_it_is_the_class_activation_map():
    """The dense layer's weights times activations, over the number of places."""
    k = 2
    activation = np.asarray(jp.view(NET, "relu", X)[0])
    cam = activation @ nets.params(nets.RIDGE)["dense"][:, k] / activation[..., 0].size
    segments = np.arange(SIDE * SIDE).reshape(SIDE, SIDE)
    heat = jp.secam(NET, X, jp.one_hot(k, nets.CLASSES), layer="relu", segments=segments, num_segments=SIDE**2)
    assert_close(heat, np.maximum(jp.upsample(cam, (SIDE, SIDE)), 0), 1e-5)


SEGMENTATIONS = st.lists(st.integers(0, 6), min_size=SIDE**2, max_size=SIDE**2).map(
    lambda labels: np.array(labels).reshape(SIDE, SIDE)
)
explain = jax.jit(
    lambda net, x, target, segments: jp.per_segment(jp.grad_cam)(
        net, x, target, layer="relu", segments=segments, num_segments=7, rectify=False
    )
)


@settings(max_examples=40, deadline=None)
@given(SEGMENTATIONS, st.permutations(range(7)))
def test_averaging_keeps_the_sum_and_does_not_know_the_labels(segments, names):
    """The sum over segments of mean times size is the map's sum; other names for the segments change nothing."""
    whole = jp.upsample(jp.grad_cam(NET, X, TARGET, **PLACES), (SIDE, SIDE))
    heat = explain(NET, X, TARGET, segments)
    means, sizes = jp.segment_means(whole, segments, 7), np.bincount(segments.ravel(), minlength=7)
    scale = float(np.abs(whole).sum())
    assert abs(float(np.sum(means * sizes) - np.sum(whole))) < 1e-5 * scale
    assert abs(float(np.sum(heat) - np.sum(whole))) < 1e-5 * scale
    assert all(np.ptp(heat[segments == k]) == 0 for k in np.unique(segments))
    assert_close(explain(NET, X, TARGET, np.array(names)[segments]), heat)


def test_one_segment_and_one_for_each_pixel():
    whole = jp.upsample(jp.layer_cam(NET, X, TARGET, **PLACES), (SIDE, SIDE))
    averaged = jp.per_segment(jp.layer_cam)
    one = averaged(NET, X, TARGET, **PLACES, segments=np.zeros((SIDE, SIDE), int), num_segments=1)
    assert_close(one, np.full((SIDE, SIDE), np.mean(np.maximum(whole, 0))))
    every = np.arange(SIDE**2).reshape(SIDE, SIDE)
    assert_close(averaged(NET, X, TARGET, **PLACES, segments=every, num_segments=SIDE**2), np.maximum(whole, 0))


def test_several_layers_and_images():
    net, X2, T2 = nets.net(nets.BRANCH, nets.params(nets.BRANCH)), nets.images(2), nets.targets(2)
    segments = np.stack([np.arange(SIDE**2).reshape(SIDE, SIDE) // 9, np.zeros((SIDE, SIDE), int)])
    options = {"layer": ("stem", "act"), "num_segments": 4}
    both = jp.batched(jp.secam, per_image=["segments"])(net, X2, T2, segments=segments, **options)
    for i in range(2):
        each = jp.secam(net, X2[i], T2[i], segments=segments[i], **options)
        assert_close(jax.tree.map(lambda a, i=i: a[i], both), each)


def test_keep_segments_by_hand():
    heat = np.array([[4.0, 4, 1, -3], [4, 4, 3.5, -3]])
    segments = np.array([[0, 0, 1, 3], [0, 0, 2, 3]])
    assert_close(jp.keep_segments(heat, segments, 4), (segments == 0) | (segments == 2))  # 3.5 is above 0.8 of 4
    assert_close(jp.keep_segments(heat, segments, 4, threshold=0.9), segments == 0)
    assert_close(jp.keep_segments(heat, segments, 4, threshold=0.2), segments < 3)
    assert_close(jp.keep_segments(heat, segments, 4, top=2), (segments == 0) | (segments == 2))
    assert_close(jp.keep_segments(heat, segments, 4, top=4), segments < 3)  # what is negative never
    assert_close(jp.keep_segments(0 * heat, segments, 4), np.zeros((2, 4), bool))
    assert_close(jp.keep_segments(-abs(heat), segments, 4, top=1), np.zeros((2, 4), bool))


FINE = np.zeros((SIDE, SIDE), int)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (
            lambda: jp.secam(NET, X, TARGET, **PLACES, segments=FINE[1:], num_segments=1),
            r"\(5, 6\), but integers \(6, 6\)",
        ),
        (
            lambda: jp.secam(NET, X, TARGET, **PLACES, segments=FINE + 1, num_segments=1),
            "labels from 1 to 1, but 0 to 0",
        ),
        (lambda: jp.secam(NET, X, TARGET, **PLACES, segments=FINE, num_segments=0), "num_segments is 0"),
        (
            lambda: jp.per_segment(jp.gradient)(NET, X, TARGET, segments=FINE, num_segments=1),
            r"\(6, 6, 3\), but \(h, w\) is averaged: use over_channels",
        ),
        (lambda: jp.keep_segments(np.ones((6, 6)), FINE, 1, top=2), "top is 2, but 1 to 1"),
        (lambda: jp.keep_segments(np.ones((6, 6)), FINE, 1, top=0), "top is 0, but 1 to 1"),
    ],
)
def test_what_is_refused(call, says):
    with pytest.raises(ValueError, match=says):
        call()
