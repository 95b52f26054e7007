"""Random concepts and linear directions beside their definitions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compare import assert_close

import jaxplain as jp
from jaxplain import concepts as fitted
from jaxplain import stats
from jaxplain.concepts import rank_median

DRAW = np.random.default_rng(0)
RANDOM = DRAW.normal(size=(24, 3, 3, 4)).astype(np.float32)
PLANTED = np.array([1, 0, -0.5, 0], np.float32)


def test_a_linear_direction_separates_a_concept_and_points_to_it():
    concept = RANDOM[:10] + PLANTED
    direction = fitted.linear_direction(concept, [RANDOM[:7], RANDOM[7:]], seed=3)
    assert_close(np.linalg.norm(direction), np.float64(1))
    assert direction @ PLANTED / np.linalg.norm(PLANTED) > 0.8
    assert_close(fitted.linear_direction([concept], RANDOM, seed=3), direction)
    seen = [np.sort(a.mean((1, 2)) @ direction) for a in (concept, RANDOM)]
    assert np.mean(seen[0][:, None] > seen[1][None]) > 0.95
    with pytest.raises(ValueError, match=r"have 4 and 3 channels, but all have to be of one layer"):
        fitted.linear_direction(concept, RANDOM[..., :3])


def emblem(a, v):
    response = np.maximum((a * v).sum(-1), 0)
    return (response**2).sum() / (response.sum() + 1e-7)


@pytest.mark.parametrize(("size", "expected"), [(None, 12), (5, 5)])
def test_null_concepts_are_fitted_on_disjoint_random_images(size, expected):
    """Each is the concept of the `expected` images of a split of all of them."""
    nulls = fitted.null_concepts([RANDOM[:9], RANDOM[9:]], samples=6, seed=2, size=size)
    assert_close(nulls, fitted.null_concepts(RANDOM, samples=6, seed=2, size=size))
    assert nulls.direction.shape == (6, 4)
    assert len(np.unique(np.asarray(nulls.direction).round(4), axis=0)) == 6
    draw = np.random.default_rng(2)
    for k in range(6):
        order = draw.permutation(24)
        ours, others = RANDOM[order[:expected]], RANDOM[order[expected:]]
        one = jax.tree.map(lambda a: a[k], nulls)  # noqa: B023
        assert_close(one, jp.fit_concept(ours, others), 1e-4)
        assert_close(one.high, rank_median(np.array([emblem(a, np.asarray(one.direction)) for a in ours])), 1e-4)
    other = fitted.null_concepts(RANDOM, samples=6, seed=3, size=size)
    assert np.max(np.abs(other.direction - nulls.direction)) > 0.01


def test_null_concepts_need_enough_images():
    for size in (1, 23):
        with pytest.raises(ValueError, match=rf"^size is {size} of 24 random images, but at least 2 are needed"):
            fitted.null_concepts(RANDOM, size=size)
    with pytest.raises(ValueError, match=r"^size is 1 of 3 random images"):
        fitted.null_concepts(RANDOM[:3])
    with pytest.raises(ValueError, match=r"^samples is 0, but at least 1"):
        fitted.null_concepts(RANDOM, samples=0)


def test_a_planted_concept_is_significant_and_a_random_one_is_not():
    """From activations to p values: a net whose score is the mean of two of 32 channels, which the concept raises."""
    planted, random = 1.0 * (np.arange(32) < 2), np.random.default_rng(1).normal(size=(60, 3, 3, 32))
    random, images = (random[:54] + 0.5).astype(np.float32), jnp.asarray(random[54:] + planted, jnp.float32)
    concepts = jp.fit_concepts([random[:9] + np.float32(2 * planted), random[9:18]], random[18:])
    nulls = fitted.null_concepts(random, samples=20, size=9)
    net, targets = jax.tree_util.Partial(scored, jnp.asarray(planted, jnp.float32)), jnp.tile(jp.one_hot(0, 2), (6, 1))
    explain = jax.jit(jp.batched(jp.concept_attribution), static_argnames=("layer", "steps"))
    real, null = (
        explain(net, images, targets, layer="a", concepts=c, steps=1).values.mean(axis=0) for c in (concepts, nulls)
    )
    for test in ("welch", "permutation"):
        p = np.asarray(stats.compare(real[None], np.tile(null[:, None], 2), test=test))
        assert p[0] < 0.05 < p[1]


def scored(weights, x, site=jp.untouched):
    a = site("a", jnp.maximum(x, 0))
    return jnp.stack([1.0, -1.0]) * jnp.dot(a.mean((0, 1)), weights)
