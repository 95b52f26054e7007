"""Tests of significance beside their definitions and scipy's."""

import itertools

import numpy as np
import pytest
import scipy.stats
from compare import assert_close

from jaxplain import stats

DRAW = np.random.default_rng(0)
RANDOM = DRAW.normal(size=(24, 3, 3, 4)).astype(np.float32)
PLANTED = np.array([1, 0, -0.5, 0], np.float32)


@pytest.mark.parametrize("two_sided", [False, True])
def test_welch_is_scipys(two_sided):
    values, null = DRAW.normal(0.4, 2, size=(7, 3)), DRAW.normal(size=(20, 3))
    expected = scipy.stats.ttest_ind(
        values, null, equal_var=False, alternative="two-sided" if two_sided else "greater"
    ).pvalue  # pyright: ignore[reportAttributeAccessIssue] scipy has no types
    assert_close(stats.compare(values, null, two_sided=two_sided), expected)
    alone = stats.compare(values[:, 1], null[:, 1], two_sided=two_sided)
    assert_close(alone, expected[1])


def test_one_value_is_compared_by_the_nulls_deviation():
    """Student's t with m - 1 degrees of freedom for a further value of the same normal distribution."""
    null = DRAW.normal(size=20)
    distance = (1.5 - null.mean()) / (null.std(ddof=1) * np.sqrt(1 + 1 / 20))
    assert_close(stats.compare([1.5], null), scipy.stats.t.sf(distance, 19))
    assert_close(stats.compare([-1.5], null, two_sided=True), stats.compare([2 * null.mean() + 1.5], null) * 2)


def test_samples_that_are_all_the_same():
    same, null = np.full((3, 3), [0.0, 1, -1]), np.zeros((5, 3))
    assert_close(stats.compare(same, null), np.array([0.5, 0, 1]))
    assert_close(stats.compare(same[:1], null, two_sided=True), np.array([1.0, 0, 0]))
    assert_close(stats.compare(same[:1], null, test="permutation"), np.array([1, 1 / 6, 1]))


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
    ours = stats.compare(values, null, test="permutation", two_sided=two_sided)
    assert_close(ours, expected / len(arrangements))


def test_permutations_are_drawn_where_they_are_many():
    values, null = DRAW.normal(0.5, 1, size=(12, 2)), DRAW.normal(size=(20, 2))
    ours = stats.compare(values, null, test="permutation", seed=1)
    expected = scipy.stats.permutation_test(
        (values, null), lambda a, b, axis: a.mean(axis) - b.mean(axis), n_resamples=20_000, alternative="greater", rng=5
    ).pvalue
    np.testing.assert_allclose(ours, expected, atol=0.01)
    np.testing.assert_array_equal(ours, stats.compare(values, null, test="permutation", seed=1))
    assert (ours != stats.compare(values, null, test="permutation", seed=2)).any()


@pytest.mark.parametrize("test", ["welch", "permutation"])
def test_random_concepts_are_as_often_significant_as_said(test):
    """One random concept beside 19 others, 2,000 times: p <= 0.1 in a tenth."""
    samples = np.random.default_rng(9).normal(size=(20, 2000))
    p = stats.compare(samples[:1], samples[1:], test=test)
    assert abs(np.mean(p <= 0.1) - 0.1) < 0.02
    assert abs(np.mean(p <= 0.5) - 0.5) < 0.03
    assert (stats.compare(samples[:1] + 9, samples[1:], test=test) < 0.06).all()


def test_holm_by_hand():
    p = np.array([0.01, 0.04, 0.03, 0.005])
    assert_close(stats.holm(p), np.array([0.03, 0.06, 0.06, 0.02]))
    assert_close(stats.holm(p.reshape(2, 2)), np.array([[0.03, 0.06], [0.06, 0.02]]))
    assert_close(stats.holm([0.6, 0.9]), np.array([1.0, 1]))


def test_an_interval_by_hand():
    """Two standard errors of the population deviation, cut at 0."""
    found = stats.interval([[1.0, 0.0], [3, 0], [1, 0], [3, 0.4]])
    assert_close(
        tuple(found), (np.array([2, 0.1]), np.array([1, 0.03**0.5]), np.array([1.0, 0]), np.array([3, 0.1 + 0.03**0.5]))
    )


def test_the_null_band_holds_the_central_share():
    null = np.stack([np.arange(101.0), np.arange(101) / 100], 1)
    assert_close(stats.null_band(null), (np.array([2.5, 0.025]), np.array([97.5, 0.975])))
    assert_close(stats.null_band(null[:, 0], 0.5), (np.float64(25), np.float64(75)))


def test_samples_that_cannot_be_compared_are_refused():
    for values, null in ((np.ones((3, 2)), np.ones((5, 3))), (np.ones((0, 2)), np.ones((5, 2))), ([1], [1])):
        with pytest.raises(ValueError, match=r"^There are samples \(.*\) and null samples \(.*\), but"):
            stats.compare(values, null)
    with pytest.raises(ValueError, match="samples that are not finite"):
        stats.compare([1, np.nan], [1, 2])
    with pytest.raises(ValueError, match=r"^test is 'z', but welch or permutation"):
        stats.compare([1, 2], [1, 2], test="z")  # pyright: ignore[reportArgumentType] to be refused


def test_bootstrap_interval_is_that_of_the_mean():
    values = np.random.default_rng(1).normal(3, 2, (400, 1))
    ends = stats.bootstrap_interval(np.concatenate([values, -values], axis=1))
    half = 1.96 * values.std() / 20
    for sign, column in ((1, 0), (-1, 1)):
        expected = sorted(sign * (values.mean() + reach) for reach in (-half, half))
        assert [np.asarray(end)[column] for end in ends] == pytest.approx(expected, abs=0.1 * half)


def test_bootstrap_interval_depends_on_its_seed_alone():
    values = np.random.default_rng(2).normal(size=(9, 2, 3))
    first, again, other = (stats.bootstrap_interval(values, seed=seed) for seed in (0, 0, 1))
    assert first[0].shape == first[1].shape == (2, 3)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    with pytest.raises(ValueError, match="N of at least 2"):
        stats.bootstrap_interval(values[:1])


def test_the_interval_is_for_values_from_0():
    with pytest.raises(ValueError, match="not negative"):
        stats.interval([[1.0], [-0.5]])
