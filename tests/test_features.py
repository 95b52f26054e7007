"""Filter weights and clusters of channels: by hand, by scikit-learn, and by brute force."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compare import assert_close
from jax.tree_util import Partial
from sklearn.cluster import AgglomerativeClustering
from sklearn.metrics import silhouette_score

import jaxplain as jp
from jaxplain.features import _reduced, least_percent, scaled, summarised, tsne_clusters

KEY = jax.random.key(432)


def pooled(params, x, site=jp.untouched):
    """A convolution of 1 x 1, then the mean over positions, then one dense layer."""
    a = site("first", jnp.einsum("hwc,cd->hwd", x, params["mix"]))
    a = site("relu", jax.nn.relu(a))
    return jnp.mean(a, (0, 1)) @ params["dense"]


def beside(net, value, x, site=jp.untouched):
    """The net with a channel more at its relu, which has one value and goes nowhere."""

    def inner(name, a):
        if name != "relu":
            return a
        return site("both", jnp.concatenate([a, jnp.broadcast_to(value, (*a.shape[:2], 1))], -1))[..., :-1]

    return net(x, inner)


@pytest.fixture(scope="module")
def rng():
    return np.random.default_rng(1)


def net_of(rng, channels, classes=3):
    params = {"mix": rng.normal(size=(3, channels)), "dense": rng.normal(size=(channels, classes))}
    return Partial(pooled, jax.tree.map(jnp.float32, params)), params


def test_before_pooling_and_one_dense_layer_weights_are_its_own(rng):
    net, params = net_of(rng, 7)
    x = jnp.float32(rng.normal(size=(5, 4, 3)))
    found = jp.filter_weights(net, x, jp.one_hot(1, 3), layers="relu")["relu"]
    share = (np.asarray(x) @ params["mix"] > 0).mean((0, 1))
    expected = np.maximum(params["dense"][:, 1], 0) * share
    assert_close(found, 100 * expected / expected.sum())
    unguided = jp.filter_weights(net, x, jp.one_hot(1, 3), layers="relu", guided=False)["relu"]
    assert_close(unguided, 100 * np.maximum(params["dense"][:, 1], 0) / np.maximum(params["dense"][:, 1], 0).sum())


@pytest.mark.parametrize("guided", [True, False])
def test_weights_sum_to_100_in_every_layer_or_are_all_0(rng, guided):
    net, _ = net_of(rng, 7)
    x = jnp.float32(rng.normal(size=(5, 4, 3)))
    found = jp.filter_weights(net, x, jp.one_hot(1, 3), layers=("relu", "first"), guided=guided)
    assert list(found) == ["relu", "first"]
    for percent in found.values():
        assert (percent >= 0).all()
        assert float(percent.sum()) == pytest.approx(100, rel=1e-5)
    for percent in jp.filter_weights(net, x, jnp.zeros(3), layers=("relu", "first"), guided=guided).values():
        assert (percent == 0).all()


def test_the_published_thresholds_are_the_scaled_ones_at_the_widths_of_vgg():
    assert [least_percent(c, "published") for c in (64, 128, 256, 512)] == [
        least_percent(c) for c in (64, 128, 256, 512)
    ]
    assert [least_percent(c, "published") for c in (32, 63, 100, 384, 2048)] == [2.4, 76.8 / 63, 1.4, 0.35, 0.175]
    assert least_percent(2048) == 0.04375


def by_hand(activation, percent, cluster, most):
    """The weights, as the document has them, and the maps."""
    groups = {k: [c for c in range(len(cluster)) if cluster[c] == k] for k in range(most) if k in cluster}
    weights = {k: sum(percent[c] for c in inside) for k, inside in groups.items()}
    theta = max(max(weights.values()) / 3, np.mean([*weights.values()]) / 2)
    kept = sorted((k for k in weights if weights[k] >= theta), key=lambda k: -weights[k])
    maps = []
    for k in kept:
        heat = np.sum([percent[c] * activation[..., c] for c in groups[k]], axis=0) / weights[k]
        maps.append((heat - heat.min()) / np.ptp(heat))
    return [weights[k] for k in kept], maps, [kept.index(k) if k in kept else -1 for k in cluster]


def test_clusters_are_weighed_dropped_and_sorted_as_the_document_says(rng):
    for draw in range(8):
        activation = rng.normal(size=(3, 5, 30)).astype(np.float32)
        percent = rng.dirichlet(np.full(30, 0.3)).astype(np.float32) * 100
        cluster = rng.integers(-1, 3 + draw % 4, 30)
        weights, maps, places = by_hand(activation, percent.astype(float), cluster, 8)
        found = summarised(activation, percent, jnp.asarray(cluster), 8)
        assert_close(found.weights, np.pad(weights, (0, 8 - len(weights))))
        assert_close(found.maps[: len(maps)], np.stack(maps))
        assert (found.maps[len(maps) :] == 0).all()
        assert found.cluster.tolist() == places


def test_a_cluster_of_just_the_least_weight_is_kept():
    percent = jnp.float32([60, 20, 19, 1])
    found = summarised(jnp.arange(16.0).reshape(2, 2, 4), percent, jnp.arange(4), 8)
    assert found.weights.tolist() == [60, 20, 0, 0, 0, 0, 0, 0]
    assert found.cluster.tolist() == [0, 1, -1, -1]


def test_permuted_channels_give_the_same_clusters(rng):
    activation, percent = rng.random((4, 4, 20), np.float32), rng.random(20, np.float32)
    cluster, order = rng.integers(0, 4, 20), rng.permutation(20)
    one = summarised(activation, percent, jnp.asarray(cluster), 8)
    two = summarised(activation[..., order], percent[order], jnp.asarray(cluster[order]), 8)
    assert_close(one.weights, two.weights)
    assert_close(one.maps, two.maps)
    assert (two.cluster == one.cluster[order]).all()


def test_constant_maps_stay_as_they_are():
    activation = jnp.stack([jnp.full((2, 2), 3.0), jnp.arange(4.0).reshape(2, 2)], axis=-1)
    assert_close(scaled(activation), np.array([[3, 3, 3, 3], [0, 1 / 3, 2 / 3, 1]]))


@pytest.mark.parametrize("count", [0, 1, 3, 4, 7, 8, 31])
def test_any_number_of_rows_is_clustered(rng, count):
    with warnings.catch_warnings(action="error"):
        labels = tsne_clusters(rng.random((count, 49)), 432)
    assert labels.shape == (count,)
    if count < 4:
        assert (labels == 0).all()
    else:
        assert 3 <= len(set(labels.tolist())) < min(count, 9)


@pytest.mark.parametrize("count", [7, 40])
def test_the_host_clusters_as_scikit_learn_does_one_count_at_a_time(rng, count):
    rows = rng.random((count, 30))
    points = _reduced(rows, 5)
    best, expected = -1.0, np.zeros(count)
    for k in range(3, min(8, count - 1) + 1):
        labels = AgglomerativeClustering(k).fit_predict(points)
        if (value := silhouette_score(points, labels)) > best:
            best, expected = value, labels
    found = tsne_clusters(rows, 5)
    assert ((found[:, None] == found) == (expected[:, None] == expected)).all()


def test_equal_rows_are_one_cluster():
    assert (tsne_clusters(np.ones((40, 49)), 1) == 0).all()
    rows = np.random.default_rng(0).random(49) + 1e-8 * np.arange(40)[:, None]
    assert (tsne_clusters(rows, 1) == 0).all()


@pytest.mark.parametrize("clustering", ["tsne", "kmeans"])
def test_channels_that_count_for_nothing_may_be_nan(rng, clustering):
    net, _ = net_of(rng, 40)
    x, target = jnp.float32(rng.random((6, 6, 3))), jp.one_hot(0, 3)
    zero, nan = (
        jp.layer_features(
            Partial(beside, net, jnp.full((), value)), x, target, layers="both", key=KEY, clustering=clustering
        )["both"]
        for value in (0, jnp.nan)
    )
    assert_close(nan.maps, zero.maps)
    assert_close(nan.weights, zero.weights)
    assert (nan.cluster == zero.cluster).all()


def test_64_bit_mode_has_features(rng):
    with jax.enable_x64(True):
        net, _ = net_of(rng, 40)
        found = jp.layer_features(net, jnp.float32(rng.random((6, 6, 3))), jp.one_hot(0, 3), layers="relu", key=KEY)
        assert float(found["relu"].weights.sum()) > 30


def test_a_layers_clusters_do_not_depend_on_the_others(rng):
    net, x = wide(rng)
    options = {"key": KEY, "clustering": "kmeans"}
    one = jp.layer_features(net, x, jp.one_hot(0, 3), layers="relu", **options)["relu"]
    both = jp.layer_features(net, x, jp.one_hot(0, 3), layers=("first", "relu", "relu"), **options)
    assert list(both) == ["first", "relu"]
    assert (both["relu"].cluster == one.cluster).all()


def wide(rng, channels=40):
    net, _ = net_of(rng, channels)
    return net, jnp.float32(rng.random((6, 6, 3)))


@pytest.mark.parametrize("clustering", ["tsne", "kmeans"])
def test_features_are_of_the_channels_that_count(rng, clustering):
    net, x = wide(rng)
    options = {"layers": ("first", "relu"), "clustering": clustering}
    found = jp.layer_features(net, x, jp.one_hot(0, 3), key=KEY, **options)
    again = jp.layer_features(net, x, jp.one_hot(0, 3), key=KEY, **options)
    percents = jp.filter_weights(net, x, jp.one_hot(0, 3), layers=("first", "relu"))
    for name, (cluster, weights, maps) in found.items():
        percent = np.asarray(percents[name])
        assert (np.asarray(cluster)[percent <= 2.24] == -1).all()
        assert_close(weights, np.array([percent[np.asarray(cluster) == k].sum() for k in range(8)]))
        assert (np.diff(weights) <= 0).all()
        assert cluster.shape == (40,)
        assert maps.shape == (8, 6, 6)
        assert all(map(np.array_equal, again[name], found[name]))


def test_a_layer_that_says_nothing_has_no_clusters(rng):
    net, x = wide(rng)
    for clustering in ("tsne", "kmeans"):
        found = jp.layer_features(net, x, jnp.zeros(3), layers="relu", key=KEY, clustering=clustering)["relu"]
        assert (found.cluster == -1).all()
        assert (found.weights == 0).all()
        assert (found.maps == 0).all()


def test_the_device_takes_images_by_the_batch(rng):
    net, x = wide(rng)
    X = jnp.stack([x, x[::-1] ** 2, x**3])

    @jax.jit
    def features(net, X):
        return jax.vmap(
            lambda x: jp.layer_features(net, x, jp.one_hot(0, 3), layers="relu", key=KEY, clustering="kmeans")["relu"]
        )(X)

    for row, x in enumerate(X):
        one = jp.layer_features(net, x, jp.one_hot(0, 3), layers="relu", key=KEY, clustering="kmeans")["relu"]
        assert_close(features(net, X).weights[row], one.weights)
        assert_close(features(net, X).maps[row], one.maps)


def test_what_cannot_be_is_refused(rng):
    net, x = wide(rng)
    call = {"layers": "relu", "key": KEY}
    with pytest.raises(ValueError, match="runs on the host, not under a transform: use 'kmeans'"):
        jax.jit(lambda x: jp.layer_features(net, x, jp.one_hot(0, 3), **call))(x)
    with pytest.raises(ValueError, match="clustering is 'ward', but 'tsne' or 'kmeans'"):
        jp.layer_features(net, x, jp.one_hot(0, 3), clustering="ward", **call)  # pyright: ignore[reportArgumentType] wrong
    with pytest.raises(ValueError, match="max_clusters is 2"):
        jp.layer_features(net, x, jp.one_hot(0, 3), max_clusters=2, **call)
    with pytest.raises(ValueError, match="threshold is 'none'"):
        jp.layer_features(net, x, jp.one_hot(0, 3), threshold="none", **call)  # pyright: ignore[reportArgumentType] wrong
    with pytest.raises(ValueError, match=r"relu1.*relu"):
        jp.layer_features(net, x, jp.one_hot(0, 3), layers="relu1", key=KEY)


def test_averages_at_their_own_size_are_averages_of_enlarged_maps(rng):
    maps, weights = rng.random((4, 4, 5), np.float32), rng.random(5, np.float32)
    one = jp.upsample(jnp.asarray(maps @ weights), (16, 16))
    assert_close(one, np.asarray(jp.upsample(jnp.asarray(maps), (16, 16))) @ weights)
