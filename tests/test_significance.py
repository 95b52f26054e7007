"""Random concepts, linear directions, and tests of significance beside their definitions and scipy's."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from compare import assert_close

import jaxplain as jp
from jaxplain import significance
from jaxplain.explain.concepts import rank_median

DRAW = np.random.default_rng(0)
RANDOM = DRAW.normal(size=(24, 3, 3, 4)).astype(np.float32)
PLANTED = np.float32([1, 0, -0.5, 0])


def test_a_linear_direction_separates_a_concept_and_points_to_it():
    concept = RANDOM[:10] + PLANTED
    direction = significance.linear_direction(concept, [RANDOM[:7], RANDOM[7:]], seed=3)
    assert_close(np.linalg.norm(direction), np.float64(1))
    assert direction @ PLANTED / np.linalg.norm(PLANTED) > 0.8
    assert_close(significance.linear_direction([concept], RANDOM, seed=3), direction)
    seen = [np.sort(a.mean((1, 2)) @ direction) for a in (concept, RANDOM)]
    assert np.mean(seen[0][:, None] > seen[1][None]) > 0.95
    with pytest.raises(ValueError, match=r"have 4 and 3 channels, but all have to be of one layer"):
        significance.linear_direction(concept, RANDOM[..., :3])


def emblem(a, v):
    response = np.maximum((a * v).sum(-1), 0)
    return (response**2).sum() / (response.sum() + 1e-7)


@pytest.mark.parametrize(("size", "expected"), [(None, 12), (5, 5)])
def test_null_concepts_are_fitted_on_disjoint_random_images(size, expected):
    """Each is the concept of the `expected` images of a split of all of them."""
    nulls = significance.null_concepts([RANDOM[:9], RANDOM[9:]], draws=6, seed=2, size=size)
    assert_close(nulls, significance.null_concepts(RANDOM, draws=6, seed=2, size=size))
    assert nulls.direction.shape == (6, 4)
    assert len(np.unique(np.asarray(nulls.direction).round(4), axis=0)) == 6
    draw = np.random.default_rng(2)
    for k in range(6):
        order = draw.permutation(24)
        ours, others = RANDOM[order[:expected]], RANDOM[order[expected:]]
        one = jax.tree.map(lambda a: a[k], nulls)  # noqa: B023
        assert_close(one, jp.fit_concept(ours, others), 1e-4)
        assert_close(one.high, rank_median(np.array([emblem(a, np.asarray(one.direction)) for a in ours])), 1e-4)
    other = significance.null_concepts(RANDOM, draws=6, seed=3, size=size)
    assert np.max(np.abs(other.direction - nulls.direction)) > 0.01


def test_null_concepts_need_enough_images():
    for size in (1, 23):
        with pytest.raises(ValueError, match=rf"^size is {size} of 24 random images, but at least 2 are needed"):
            significance.null_concepts(RANDOM, size=size)
    with pytest.raises(ValueError, match=r"^size is 1 of 3 random images"):
        significance.null_concepts(RANDOM[:3])
    with pytest.raises(ValueError, match=r"^draws is 0, but at least 1"):
        significance.null_concepts(RANDOM, draws=0)


@pytest.mark.parametrize("two_sided", [False, True])
def test_welch_is_scipys(two_sided):
    values, null = DRAW.normal(0.4, 2, size=(7, 3)), DRAW.normal(size=(20, 3))
    expected = scipy.stats.ttest_ind(
        values, null, equal_var=False, alternative="two-sided" if two_sided else "greater"
    ).pvalue
    assert_close(significance.compare(values, null, two_sided=two_sided), expected)
    alone = significance.compare(values[:, 1], null[:, 1], two_sided=two_sided)
    assert_close(alone, expected[1])


def test_one_value_is_compared_by_the_nulls_deviation():
    """Student's t with m - 1 degrees of freedom for a further value of the same normal distribution."""
    null = DRAW.normal(size=20)
    distance = (1.5 - null.mean()) / (null.std(ddof=1) * np.sqrt(1 + 1 / 20))
    assert_close(significance.compare([1.5], null), scipy.stats.t.sf(distance, 19))
    assert_close(
        significance.compare([-1.5], null, two_sided=True), significance.compare([2 * null.mean() + 1.5], null) * 2
    )


def test_samples_that_are_all_the_same():
    same, null = np.full((3, 3), [0.0, 1, -1]), np.zeros((5, 3))
    assert_close(significance.compare(same, null), np.array([0.5, 0, 1]))
    assert_close(significance.compare(same[:1], null, two_sided=True), np.array([1.0, 0, 0]))
    assert_close(significance.compare(same[:1], null, test="permutation"), np.array([1, 1 / 6, 1]))


@pytest.mark.parametrize("two_sided", [False, True])
def test_permutations_are_all_counted_where_they_are_few(two_sided):
    values, null = DRAW.normal(0.7, 1, size=(3, 2)), DRAW.normal(size=(6, 2))
    together, expected = np.concatenate([values, null]), np.zeros(2)
    arrangements = [*itertools.combinations(range(9), 3)]
    for chosen in arrangements:
        others = [k for k in range(9) if k not in chosen]
        differences = [a.mean(0) - b.mean(0) for a, b in ((together[[*chosen]], together[others]), (values, null))]
        there, here = np.abs(differences) if two_sided else differences
        expected += there >= here - 1e-12
    ours = significance.compare(values, null, test="permutation", two_sided=two_sided)
    assert_close(ours, expected / len(arrangements))


def test_permutations_are_drawn_where_they_are_many():
    values, null = DRAW.normal(0.5, 1, size=(12, 2)), DRAW.normal(size=(20, 2))
    ours = significance.compare(values, null, test="permutation", seed=1)
    expected = scipy.stats.permutation_test(
        (values, null), lambda a, b, axis: a.mean(axis) - b.mean(axis), n_resamples=20_000, alternative="greater", rng=5
    ).pvalue
    np.testing.assert_allclose(ours, expected, atol=0.01)
    np.testing.assert_array_equal(ours, significance.compare(values, null, test="permutation", seed=1))
    assert (ours != significance.compare(values, null, test="permutation", seed=2)).any()


@pytest.mark.parametrize("test", ["welch", "permutation"])
def test_random_concepts_are_as_often_significant_as_said(test):
    """One random concept beside 19 others, 2,000 times: p <= 0.1 in a tenth."""
    samples = np.random.default_rng(9).normal(size=(20, 2000))
    p = significance.compare(samples[:1], samples[1:], test=test)
    assert abs(np.mean(p <= 0.1) - 0.1) < 0.02
    assert abs(np.mean(p <= 0.5) - 0.5) < 0.03
    assert (significance.compare(samples[:1] + 9, samples[1:], test=test) < 0.06).all()


def test_a_planted_concept_is_significant_and_a_random_one_is_not():
    """From activations to p values: a net whose score is the mean of two of 32 channels, which the concept raises."""
    planted, random = 1.0 * (np.arange(32) < 2), np.random.default_rng(1).normal(size=(60, 3, 3, 32))
    random, images = np.float32(random[:54] + 0.5), jnp.asarray(random[54:] + planted, jnp.float32)
    concepts = jp.fit_concepts([random[:9] + np.float32(2 * planted), random[9:18]], random[18:])
    nulls = significance.null_concepts(random, draws=20, size=9)
    net, targets = jax.tree_util.Partial(scored, jnp.asarray(planted, jnp.float32)), jnp.tile(jp.one_hot(0, 2), (6, 1))
    explain = jax.jit(jp.batched(jp.concept_attribution), static_argnames=("layer", "steps"))
    real, null = (
        explain(net, images, targets, layer="a", concepts=c, steps=1).values.mean(axis=0) for c in (concepts, nulls)
    )
    for test in ("welch", "permutation"):
        p = significance.compare(real[None], np.tile(null[:, None], 2), test=test)
        assert p[0] < 0.05 < p[1]


def scored(weights, x, site=jp.untouched):
    a = site("a", jnp.maximum(x, 0))
    return jnp.stack([1.0, -1.0]) * jnp.dot(a.mean((0, 1)), weights)


def test_holm_by_hand():
    p = np.array([0.01, 0.04, 0.03, 0.005])
    assert_close(significance.holm(p), np.array([0.03, 0.06, 0.06, 0.02]))
    assert_close(significance.holm(p.reshape(2, 2)), np.array([[0.03, 0.06], [0.06, 0.02]]))
    assert_close(significance.holm([0.6, 0.9]), np.array([1.0, 1]))


def test_an_interval_by_hand():
    """Two standard errors of the population deviation, cut at 0."""
    found = significance.interval([[1.0, 0.0], [3, 0], [1, 0], [3, 0.4]])
    assert_close(
        tuple(found), (np.array([2, 0.1]), np.array([1, 0.03**0.5]), np.array([1.0, 0]), np.array([3, 0.1 + 0.03**0.5]))
    )


def test_the_null_band_holds_the_central_share():
    null = np.stack([np.arange(101.0), np.arange(101) / 100], 1)
    assert_close(significance.null_band(null), (np.array([2.5, 0.025]), np.array([97.5, 0.975])))
    assert_close(significance.null_band(null[:, 0], 0.5), (np.float64(25), np.float64(75)))


def test_samples_that_cannot_be_compared_are_refused():
    for values, null in ((np.ones((3, 2)), np.ones((5, 3))), (np.ones((0, 2)), np.ones((5, 2))), ([1], [1])):
        with pytest.raises(ValueError, match=r"^There are samples \(.*\) and null samples \(.*\), but"):
            significance.compare(values, null)
    with pytest.raises(ValueError, match="samples that are not finite"):
        significance.compare([1, np.nan], [1, 2])
    with pytest.raises(ValueError, match=r"^test is 'z', but welch or permutation"):
        significance.compare([1, 2], [1, 2], test="z")
