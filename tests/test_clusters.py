"""Clusters of the largest silhouette: by brute force, and by scikit-learn."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.cluster.hierarchy import cut_tree, ward
from scipy.spatial.distance import pdist, squareform
from sklearn.cluster import KMeans
from sklearn.metrics import silhouette_score

from jaxplain.clusters import best_cut, kmeans

KEY = jax.random.key(0)


def same(one, two):
    """Whether two clusterings are the same but for the clusters' numbers."""
    one, two = np.asarray(one), np.asarray(two)
    return bool(((one[:, None] == one) == (two[:, None] == two)).all())


def blobs(count, size=9, dimensions=20, seed=0):
    rng = np.random.default_rng(seed)
    centres = 10 * np.eye(count, dimensions)
    rows = np.concatenate([c + 0.5 * rng.normal(size=(size, dimensions)) for c in centres])
    return rows.astype(np.float32), np.repeat(np.arange(count), size)


def test_the_cut_is_the_one_of_the_largest_silhouette():
    for seed in range(6):
        points = np.random.default_rng(seed).random((20, 3))
        linkage, distances = ward(points), squareform(pdist(points))
        cuts = [cut_tree(linkage, k)[:, 0] for k in range(2, 20)]
        values = [silhouette_score(points, cut) for cut in cuts]
        assert same(best_cut(linkage, distances, range(1, 99)), cuts[int(np.argmax(values))])


def test_few_points_are_one_cluster():
    points = np.array([[0.0], [1], [5]])
    assert best_cut(ward(points[:2]), squareform(pdist(points[:2])), range(2, 9)).tolist() == [0, 0]
    assert best_cut(ward(points), squareform(pdist(points)), range(2, 9)).tolist() == [0, 0, 1]
    assert best_cut(ward(points), squareform(pdist(points)), range(3, 9)).tolist() == [0, 0, 0]


@pytest.mark.parametrize("count", [3, 5, 8])
def test_what_is_apart_is_found(count):
    rows, truth = blobs(count)
    assert same(kmeans(rows, jnp.ones(len(rows), bool), KEY, 8), truth)


def test_rows_that_are_not_kept_make_no_difference():
    rows, truth = blobs(4)
    noise = np.random.default_rng(1).normal(size=(30, 20)).astype(np.float32) * 50
    kept = jnp.arange(66) < 36
    found = kmeans(np.concatenate([rows, noise]), kept, KEY, 8)
    assert (found[36:] == -1).all()
    assert same(found[:36], truth)


def test_the_sums_of_squares_are_as_low_as_scikit_learns():
    """On rows without clusters, where the starts matter: within 10 % of the best of twenty."""
    for seed in range(4):
        rows = np.random.default_rng(seed).random((40, 6)).astype(np.float32)
        found = np.asarray(kmeans(rows, jnp.ones(40, bool), jax.random.key(seed), 8))
        count = len(set(found.tolist()))
        means = np.stack([rows[found == k].mean(0) for k in found])
        best = KMeans(count, n_init=20, random_state=0).fit(rows).inertia_  # pyright: ignore[reportArgumentType] ten are "auto"
        assert ((rows - means) ** 2).sum() <= 1.1 * best  # pyright: ignore[reportOperatorIssue] it is fitted


@pytest.mark.parametrize("count", [0, 1, 3, 4, 7])
def test_any_number_of_rows_is_kept(count):
    rows = np.random.default_rng(0).random((9, 5)).astype(np.float32)
    found = np.asarray(kmeans(rows, jnp.arange(9) < count, KEY, 8))
    assert (found[count:] == -1).all()
    if 0 < count < 4:
        assert (found[:count] == 0).all()
    elif count:
        assert 3 <= len(set(found[:count].tolist())) < count


def test_equal_rows_are_in_one_cluster():
    rows = np.repeat(np.eye(3, 5, dtype=np.float32), 4, axis=0)
    assert same(kmeans(rows, jnp.ones(12, bool), KEY, 8), np.repeat(np.arange(3), 4))
