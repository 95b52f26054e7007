"""Covectors have the entries that their names say, and what is no covector is told so."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compare import assert_close

import jaxplain as jp
from jaxplain.target import score

OUTPUTS = jnp.array([0.5, 3.0, -4.0, 2.0])


def test_one_hot():
    assert_close(jp.one_hot(2, 4), np.array([0, 0, 1, 0]), 0)
    assert_close(jp.one_hot(np.int64(0), 2), np.array([1, 0]), 0)
    assert_close(jp.one_hot(np.array([3, 0]), 4), np.array([[0, 0, 0, 1], [1, 0, 0, 0]]), 0)
    assert jp.one_hot(2, 4).dtype == jnp.float32


def test_contrast():
    assert_close(jp.contrast(0, 2, 4), np.array([1, 0, -1, 0]), 0)
    assert_close(jp.contrast(1, 1, 3), np.zeros(3), 0)


def test_top():
    assert_close(jp.top(OUTPUTS), np.array([0, 1, 0, 0]), 0)
    assert_close(jp.top(OUTPUTS, 1), np.array([[0, 1, 0, 0]]), 0)
    assert_close(jp.top(OUTPUTS, 3), np.array([[0, 1, 0, 0], [0, 0, 0, 1], [1, 0, 0, 0]]), 0)


def test_score():
    assert_close(score(OUTPUTS, jnp.array([2.0, 0, -1, 0.5])), np.array(6.0), 1e-7)
    assert_close(score(OUTPUTS, np.array([1, 0, 2, 0])), np.array(-7.5), 1e-7)
    assert_close(score(OUTPUTS, jp.contrast(1, 3, 4)), np.array(1.0), 1e-7)


def test_score_has_the_dtype_of_the_outputs():
    assert score(OUTPUTS.astype(jnp.bfloat16), jp.one_hot(1, 4)).dtype == jnp.bfloat16


def test_targets_under_vmap():
    expected = np.eye(4)[[1, 3]]
    assert_close(jax.vmap(lambda k: jp.one_hot(k, 4))(jnp.array([1, 3])), expected, 0)
    assert_close(jax.vmap(lambda k: jp.contrast(k, 0, 4))(jnp.array([1, 3])), expected - np.eye(4)[0], 0)
    assert_close(jax.vmap(jp.top)(jnp.stack([OUTPUTS, OUTPUTS[::-1]])), np.eye(4)[[1, 2]], 0)
    assert_close(jax.vmap(score, (None, 0))(OUTPUTS, jnp.eye(4)), np.asarray(OUTPUTS), 0)


def test_targets_under_jit():
    assert_close(jax.jit(jp.one_hot, static_argnums=1)(2, 4), np.eye(4)[2], 0)
    assert_close(jax.jit(jp.contrast, static_argnums=2)(2, 1, 4), np.array([0, -1, 1, 0]), 0)
    assert_close(jax.jit(jp.top, static_argnums=1)(OUTPUTS, 2), np.eye(4)[[1, 3]], 0)
    assert_close(jax.jit(score)(OUTPUTS, jnp.ones(4)), np.array(1.5), 1e-7)


@pytest.mark.parametrize("k", [2, np.int64(2), np.array(2), jnp.array(2)], ids=["int", "int64", "numpy", "jax"])
def test_a_known_index_inside_jit(k):
    assert_close(jax.jit(lambda outputs: score(outputs, jp.one_hot(k, 4)))(OUTPUTS), np.array(-4.0), 1e-7)
    assert_close(jax.jit(lambda outputs: score(outputs, jp.contrast(k, 1, 4)))(OUTPUTS), np.array(-7.0), 1e-7)


def test_a_wrong_known_index_inside_jit_raises():
    with pytest.raises(ValueError, match="the 4 outputs are numbered 0 to 3"):
        jax.jit(lambda outputs: score(outputs, jp.one_hot(4, 4)))(OUTPUTS)


@pytest.mark.parametrize("k", [-1, 4, np.array([0, 4])], ids=str)
def test_an_index_out_of_range_raises(k):
    with pytest.raises(ValueError, match="the 4 outputs are numbered 0 to 3"):
        jp.one_hot(k, 4)
    with pytest.raises(ValueError, match="the 4 outputs are numbered 0 to 3"):
        jp.contrast(0, k, 4)


@pytest.mark.parametrize("k", [1.0, np.array([0.0, 1.0]), True], ids=str)
def test_what_is_no_integer_index_raises(k):
    with pytest.raises(ValueError, match="one_hot takes the integer index"):
        jp.one_hot(k, 4)


@pytest.mark.parametrize("target", [2, 2.0, np.array(2), jnp.array(2.0)], ids=repr)
def test_a_number_as_target_raises(target):
    with pytest.raises(ValueError, match=r"single number.*shape \(4,\).*one_hot\(k, 4\)"):
        score(OUTPUTS, target)


@pytest.mark.parametrize("shape", [(3,), (1,), (1, 4), (4, 1)], ids=str)
def test_a_target_of_another_shape_raises(shape):
    says = rf"target has shape \({shape[0]},.*outputs have shape \(4,\).*over_classes.*batched"
    with pytest.raises(ValueError, match=says):
        score(OUTPUTS, jnp.ones(shape))


@pytest.mark.parametrize("shape", [(1, 4), (2, 2, 4)], ids=str)
def test_outputs_of_any_shape_have_targets_of_the_same(shape):
    outputs = jnp.arange(np.prod(shape), dtype=jnp.float32).reshape(shape)
    assert_close(score(outputs, jnp.full(shape, 2.0)), np.float32(2 * outputs.sum()), 1e-7)
    with pytest.raises(
        ValueError, match=rf"shape \(4,\).*outputs have shape \({shape[0]}, .*jnp\.zeros\({re.escape(str(shape))}"
    ):
        score(outputs, jnp.ones(4))


def test_one_output_without_an_axis_has_a_number_as_target():
    assert_close(score(jnp.asarray(3.0), -2.0), np.float32(-6.0), 1e-7)
    with pytest.raises(ValueError, match=r"an integer, .*use 1\.0"):
        score(jnp.asarray(3.0), 0)


@pytest.mark.parametrize("axes", [(0, None, 0), (None, 0, 0)], ids=["outputs", "targets"])
def test_scores_times_maps_are_the_scores_of_their_own_images(axes):
    """XLA's CPU backend confuses the rows of sums of products in such programs, from about these sizes on."""
    draw = np.random.default_rng(0)
    rows, one, maps = (draw.normal(size=shape).astype(np.float32) for shape in ((6, 1000), (1000,), (6, 96, 128)))
    operands = (rows, one) if axes[0] == 0 else (one, rows)
    weighed = jax.jit(jax.vmap(lambda outputs, target, heat: score(outputs, target) * heat, axes))
    assert_close(weighed(*operands, maps), (rows @ one)[:, None, None] * maps)
