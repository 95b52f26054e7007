"""Clusters, as many as have the largest mean silhouette: cuts of a linkage on the host, or k-means on the device.

Rousseeuw, "Silhouettes: a graphical aid to the interpretation and validation of cluster analysis", 1987.
"""

# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false, reportUnknownArgumentType=false

from collections.abc import Iterable

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int, PRNGKeyArray

from jaxplain._numerics import contract, quotient

FEWEST = 3  # clusters of k-means

_STARTS, _ROUNDS = 4, 20


def best_cut(linkage: np.ndarray, distances: Float[np.ndarray, "n n"], counts: Iterable[int]) -> Int[np.ndarray, " n"]:
    """The cluster 0, 1, ... of each of n points, cut from scipy's linkage where the mean silhouette is largest.

    `counts` are the numbers of clusters that are tried, of which those from 2 to n - 1 have a silhouette; the first of
    the best ones is taken, and where there is none, all points are one cluster. Clusters are numbered in the order of
    their first points.

    Rousseeuw, "Silhouettes: a graphical aid to the interpretation and validation of cluster analysis", 1987.

        best_cut(scipy.cluster.hierarchy.ward(points), squareform(pdist(points)), range(3, 9))
    """
    n, values, cuts = len(distances), {}, {}
    tried = [count for count in counts if 2 <= count < n]
    numbers, merges = range(n, min(tried, default=n + 1) - 1, -1), _merges(linkage, distances)
    for count, (cut, totals) in zip(numbers, merges, strict=False):
        if count in tried:
            values[count], cuts[count] = _mean_silhouette(cut, totals), cut
    best = max(tried, key=lambda count: values[count], default=None)
    return np.zeros(n, int) if best is None else np.unique(cuts[best], return_inverse=True)[1]


def _merges(linkage, distances):
    """From n clusters to one: the first point (n,) of each point's cluster, and at row i of (n, n) the sums over the
    cluster whose first point is i of the distances to each point; the sums are overwritten by the next step."""
    first, cut, totals = list(range(len(distances))), np.arange(len(distances)), np.array(distances, np.float64)
    yield cut, totals
    for left, right in linkage[:, :2].astype(int).tolist():
        kept, gone = sorted((first[left], first[right]))
        first.append(kept)
        cut = np.where(cut == gone, kept, cut)
        totals[kept] += totals[gone]
        yield cut, totals


def _mean_silhouette(cut, totals):
    """The mean over points of (b - a) / max(a, b), 0 of a point alone in its cluster and of one without distances."""
    firsts, own, sizes = np.unique(cut, return_inverse=True, return_counts=True)
    points, others = np.arange(len(cut)), sizes[own] - 1
    means = totals[firsts] / sizes[:, None]
    a = totals[cut, points] / np.maximum(others, 1)
    means[own, points] = np.inf
    b = means.min(axis=0)
    larger = np.maximum(a, b)
    value = np.divide(b - a, larger, out=np.zeros(len(cut)), where=(others > 0) & (larger > 0))
    return round(float(value.mean()), 12)  # a rounding error decides no tie


def kmeans(rows: ArrayLike, kept: ArrayLike, key: PRNGKeyArray, most: int) -> Int[Array, " C"]:
    """The cluster (C,) of each of the rows (C, d) that are kept, -1 of the others: k-means of 3 to `most` clusters.

    Each number of clusters has four starts by k-means++, of which the one with the least sum of squares counts, and is
    below the number of rows; of these the one with the largest mean silhouette is taken. Fewer than four rows are one
    cluster. All distances come from one Gram matrix.

    Arthur, Vassilvitskii, "k-means++: The Advantages of Careful Seeding", 2007.
    """
    kept = jnp.asarray(kept)
    rows = jnp.where(kept[:, None], jnp.asarray(rows), 0)  # those that are dropped may be NaN
    gram = contract("cd,ed->ce", rows, rows)
    square = jnp.diag(gram)
    distance = jnp.maximum(square[:, None] + square[None] - 2 * gram, 0)
    counts = jnp.arange(FEWEST, most + 1)
    starts = jax.random.split(key, (len(counts), _STARTS))
    runs = jax.vmap(lambda count, keys: _best_start(gram, distance, kept, count, keys, most))(counts, starts)
    values = jax.vmap(lambda cluster: _silhouette(jnp.sqrt(distance), kept, cluster, most))(runs)
    values = jnp.where(counts < jnp.sum(kept), values, -jnp.inf)
    best = jnp.where(jnp.any(jnp.isfinite(values)), runs[jnp.argmax(values)], 0)
    return jnp.where(kept, best, -1)


def _best_start(gram, distance, kept, count, keys, most):
    clusters, costs = jax.vmap(lambda key: _one_start(gram, distance, kept, count, key, most))(keys)
    return clusters[jnp.argmin(costs)]


def _one_start(gram, distance, kept, count, key, most):
    """Lloyd's rounds from one start: (cluster (C,), the sum of squares)."""
    cluster = jnp.argmin(_seeded(distance, kept, count, key, most), axis=1)

    def step(_, cluster):
        return jnp.argmin(_to_means(gram, kept, cluster, most), axis=1)

    cluster = lax.fori_loop(0, _ROUNDS, step, cluster)
    own = jnp.min(_to_means(gram, kept, cluster, most), axis=1)
    return cluster, jnp.sum(jnp.where(kept, own, 0))


def _seeded(distance, kept, count, key, most):
    """The squared distances (C, most) to the rows that k-means++ draws, infinite from `count` on."""

    def draw(nearest, step):
        number, key = step
        chance = jnp.where(kept, jnp.where(jnp.isfinite(nearest), nearest, 1), 0)
        chance = jnp.where(jnp.sum(chance) > 0, chance, kept.astype(chance.dtype))
        to = distance[:, jax.random.categorical(key, jnp.log(chance))]
        to = jnp.where(number < count, to, jnp.inf)
        return jnp.minimum(nearest, to), to

    start = jnp.full(len(distance), jnp.inf, distance.dtype)
    return lax.scan(draw, start, (jnp.arange(most), jax.random.split(key, most)))[1].T


def _to_means(gram, kept, cluster, most):
    """The squared distance (C, most) of each row to each cluster's mean; infinite of an empty one."""
    member, size = _members(kept, cluster, most, gram.dtype)
    products = contract("ce,ek->ck", gram, member)
    inside = contract("ck,ck->k", products, member)[None]
    to = jnp.diag(gram)[:, None] - 2 * quotient(products, size) + quotient(inside, size**2)
    return jnp.where(size > 0, jnp.maximum(to, 0), jnp.inf)


def _silhouette(distance, kept, cluster, most):
    """The mean over rows of (b - a) / max(a, b), as Rousseeuw has it; 0 of a row alone in its cluster."""
    member, size = _members(kept, cluster, most, distance.dtype)
    total = contract("ce,ek->ck", distance, member)
    others = size[0, cluster] - 1
    a = quotient(jnp.take_along_axis(total, cluster[:, None], axis=1)[:, 0], others)
    b = jnp.min(jnp.where((size > 0) & (member == 0), quotient(total, size), jnp.inf), axis=1)
    value = jnp.where((others > 0) & jnp.isfinite(b), quotient(b - a, jnp.maximum(a, b)), 0)
    return quotient(jnp.sum(jnp.where(kept, value, 0)), jnp.sum(size))


def _members(kept, cluster, most, dtype):
    """1 where a row (C, most) is of a cluster, and the clusters' sizes (1, most)."""
    member = jax.nn.one_hot(cluster, most, dtype=dtype) * kept[:, None].astype(dtype)
    return member, jnp.sum(member, axis=0, keepdims=True)
