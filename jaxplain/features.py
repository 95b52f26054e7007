"""Every layer's features in clusters, by scikit-learn on the host as published, or wholly on the device."""

import functools
import os
import zlib
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int, PRNGKeyArray

from jaxplain._checks import layer_names
from jaxplain._loops import reused
from jaxplain._numerics import contract, quotient
from jaxplain._types import Clustering, Net, Threshold
from jaxplain.clusters import FEWEST, best_cut, kmeans
from jaxplain.explain import weighted

_STEPS = ((512, 0.175), (256, 0.35), (128, 0.7), (64, 1.4))  # published: from so many channels on, percent
_COMPONENTS, _PERPLEXITY = 50, 30.0
_ALIKE = 1e-6  # of maps in [0, 1]


class Features(NamedTuple):
    """A layer's channels in clusters, of which there are at most K, the heaviest first.

    `cluster` (C,) int32 is each channel's cluster, or -1 of one that was dropped; `weights` (K,) are percent of the
    layer, and `maps` (K, h, w) are in [0, 1]. Rows without a cluster are 0.
    """

    cluster: Int[Array, " C"]
    weights: Float[Array, " K"]
    maps: Float[Array, "K h w"]


def layer_features(
    net: Net,
    x: ArrayLike,
    target: ArrayLike,
    *,
    layers: str | Sequence[str],
    key: PRNGKeyArray,
    max_clusters: int = 8,
    clustering: Clustering = "tsne",
    guided: bool = True,
    threshold: Threshold = "scaled",
) -> OrderedDict[str, Features]:
    """{layer: Features}: the channels that raise the score, in clusters of those that look at the same places.

    Channels whose `filter_weights` exceed 89.6 / C percent are kept, or what `threshold` says. Their maps, each scaled
    to [0, 1], are put into 3 to `max_clusters` clusters, as many as have the largest silhouette: by PCA, t-SNE in two
    dimensions and Ward's linkage with scikit-learn ("tsne", as published), or by k-means under jit and vmap ("kmeans").
    Clusters lighter than a third of the heaviest or half the mean are dropped. Three channels or fewer are one cluster.
    ValueError for "tsne" under a transform.

    Bianchi, De Santis, Tocchetti, Brambilla, "Interpretable Network Visualizations: A Human-in-the-Loop Approach for
    Post-hoc Explainability of CNN-based Image Classification", 2024.

        found = layer_features(net, x, one_hot(281, 1000), layers=("layer3", "layer4"), key=jax.random.key(432))
        found["layer4"].weights, found["layer4"].maps               # (8,), (8, 7, 7)
    """
    if max_clusters < 3:
        raise ValueError(f"max_clusters is {max_clusters}, but 3 or more is expected, which the silhouette compares.")
    if clustering not in ("tsne", "kmeans"):
        raise ValueError(f"clustering is {clustering!r}, but 'tsne' or 'kmeans' is expected.")
    if threshold not in ("scaled", "published"):
        raise ValueError(f"threshold is {threshold!r}, but 'scaled' or 'published' is expected.")
    order = tuple(layer_names(layers))
    keys = [
        jax.random.fold_in(key, zlib.crc32(str(layer).encode())) for layer in order
    ]  # whatever the other layers are
    if clustering == "kmeans":
        return _on_device(net, x, target, keys, order, max_clusters, guided, threshold)
    if any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves((net, x, target, key))):
        raise ValueError(
            "clustering='tsne' runs on the host, not under a transform: use 'kmeans' under jit, vmap or grad."
        )
    return _on_host(net, x, target, keys, order, max_clusters, guided, threshold)


def least_percent(channels: int, threshold: Threshold = "scaled") -> float:
    """The percent that a channel of a layer has to exceed to be kept.

    "scaled" is 89.6 / channels, nine tenths of the mean. "published" is the authors' table, which equals it at 64, 128,
    256 and 512 channels, and is constant in between and above.
    """
    if threshold == "scaled":
        return 89.6 / channels
    return next((percent for least, percent in _STEPS if channels >= least), 76.8 / channels)


def scaled(activation: ArrayLike) -> Float[Array, "C hw"]:
    """Each channel's map (h, w, C) as a row in [0, 1]: (A - min) / (max - min), a constant one as it is."""
    rows = jnp.asarray(activation).reshape(-1, jnp.shape(activation)[-1]).T
    low, high = jnp.min(rows, axis=1, keepdims=True), jnp.max(rows, axis=1, keepdims=True)
    return jnp.where(high > low, quotient(rows - low, high - low), rows)


@reused
def summarised(activation: ArrayLike, percent: ArrayLike, cluster: ArrayLike, most: int) -> Features:
    """The clusters (C,), numbered below `most` or -1, of a layer's activation (h, w, C) and the percent (C,) of each.

    The weight of a cluster J is sum over J of percent. It is kept if that is at least max(largest / 3, mean / 2) of all
    weights. Its map is sum over J of percent[c] A[..., c] / its weight, scaled to [0, 1].
    """
    percent, cluster = jnp.asarray(percent), jnp.asarray(cluster)
    activation = jnp.where(cluster >= 0, jnp.asarray(activation), 0)  # those that are dropped may be NaN
    member = jax.nn.one_hot(cluster, most, dtype=percent.dtype)
    weights = contract("c,ck->k", percent, member)
    count = jnp.sum(jnp.max(member, axis=0))
    least = jnp.maximum(jnp.max(weights) / 3, quotient(jnp.sum(weights), 2 * count))
    weights = jnp.where(weights >= least, weights, 0)
    order = jnp.argsort(-weights, stable=True)
    weights = weights[order]
    maps = contract("hwc,c,ck->khw", activation, percent, member[:, order])
    low, high = jnp.min(maps, (1, 2), keepdims=True), jnp.max(maps, (1, 2), keepdims=True)
    maps = jnp.where(weights[:, None, None] > 0, quotient(maps - low, high - low), 0)
    place = jnp.argsort(order)[cluster]
    kept = (cluster >= 0) & (weights[place] > 0)
    return Features(jnp.where(kept, place, -1).astype(jnp.int32), weights, maps)


@reused
def _on_device(net, x, target, keys, layers, most, guided, threshold):
    found = OrderedDict()
    for key, (name, (activation, percent)) in zip(keys, weighted(net, x, target, layers, guided).items(), strict=True):
        kept = percent > least_percent(len(percent), threshold)
        found[name] = summarised(activation, percent, kmeans(scaled(activation), kept, key, most), most)
    return found


def _on_host(net, x, target, keys, layers, most, guided, threshold):
    """The clusters of different layers are found side by side, each in one thread."""
    from threadpoolctl import threadpool_limits

    parts = weighted(net, x, target, layers, guided)
    seeds = [int(jax.random.bits(key, dtype=jnp.uint32)) for key in keys]
    alone = functools.partial(threadpool_limits, 1, user_api="openmp")  # holds for the thread that sets it
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(os.cpu_count(), initializer=alone) as pool:
        clusters = [
            pool.submit(_clusters, np.asarray(activation), np.asarray(percent), seed, most, threshold)
            for seed, (activation, percent) in zip(seeds, parts.values(), strict=True)
        ]
    return OrderedDict(
        (name, summarised(*part, cluster.result(), most))
        for (name, part), cluster in zip(parts.items(), clusters, strict=True)
    )


def _clusters(activation, percent, seed, most, threshold):
    """Each channel's cluster, -1 where it is not kept."""
    kept = np.flatnonzero(percent > least_percent(len(percent), threshold))
    cluster = np.full(len(percent), -1, np.int32)
    cluster[kept] = tsne_clusters(np.asarray(scaled(activation))[kept], seed, most)
    return cluster


def tsne_clusters(rows: Float[np.ndarray, "n d"], seed: int, most: int = 8) -> Int[np.ndarray, " n"]:
    """The cluster of each row: of PCA to 50 components, t-SNE to 2 dimensions and Ward's linkage, best cut.

    The perplexity is 30, or a third of n - 1 where that is less; fewer than 8 rows are clustered by their principal
    components, and fewer than 4, or equal ones, are one cluster.

    van der Maaten, Hinton, "Visualizing Data using t-SNE", 2008. Ward, "Hierarchical Grouping to Optimize an Objective
    Function", 1963.
    """
    if len(rows) < 4 or not np.ptp(rows, axis=0).max() > _ALIKE:  # of which t-SNE makes NaN
        return np.zeros(len(rows), int)
    from scipy.cluster.hierarchy import ward
    from scipy.spatial.distance import pdist, squareform

    distances = pdist(_reduced(rows, seed))
    return best_cut(ward(distances), squareform(distances), range(FEWEST, most + 1))


def _reduced(rows, seed):
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    n = len(rows)
    points = PCA(min(_COMPONENTS, *rows.shape), random_state=seed).fit_transform(rows)
    if n < 8:
        return points
    return TSNE(2, perplexity=min(_PERPLEXITY, max(2, (n - 1) / 3)), random_state=seed).fit_transform(points)
