"""The experiment on clusters of features: its random clusters, its measures and its means are what they are called."""

import controlled_concepts as cc
import feature_meaning as fm
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

import jaxplain as jp
from jaxplain.features import Features, summarised


def test_random_clusters_have_channels_that_are_kept_and_as_many_as_asked():
    kept = jnp.arange(20) % 3 > 0
    drawn = [np.asarray(fm.random_cluster(jax.random.key(seed), kept, 5)) for seed in range(40)]
    assert {int((cluster == 0).sum()) for cluster in drawn} == {5}
    assert set(np.flatnonzero(np.any(np.array(drawn) == 0, axis=0))) == set(np.flatnonzero(kept))
    assert set(np.unique(drawn)) == {-1, 0}


def test_noise_orders_equal_cells_only():
    heat = jnp.array([[0.0, 0, 3], [0, 1, 2]])
    found = np.asarray(fm.without_ties(heat, jax.random.key(0)))
    np.testing.assert_allclose(found, heat / 3, atol=2e-6)
    assert len(np.unique(found)) == 6
    assert np.unique(fm.without_ties(jnp.zeros((4, 4)), jax.random.key(1))).size == 16


def layer(weights):
    """The features of a layer with six channels, each with a cell of its own, in clusters of the given weights."""
    percent = jnp.array([25.0, 25, 20, 15, 15, 0])
    activation = jnp.eye(6).reshape(2, 3, 6)
    clusters = jnp.array([0, 0, 1, 1, -1, -1])
    features = summarised(activation, percent, clusters, 3)
    return features._replace(weights=jnp.array(weights)), activation, percent


def test_maps_of_clusters_by_hand():
    features, activation, percent = layer([50.0, 35, 0])
    found = fm.cluster_maps(features, activation, percent, jax.random.key(0))
    assert [len(heats) for heats in found.values()] == [1, 1, fm.DRAWS]
    np.testing.assert_allclose(found["heaviest"][0], [[1, 1, 0], [0, 0, 0]], atol=2e-6)
    np.testing.assert_allclose(found["lightest"][0], [[0, 0, 1], [0.75, 0, 0]], atol=2e-6)
    for heat in np.asarray(found["random"]):
        assert ((heat > 0.1).sum(), heat[1, 2] < 0.1) == (2, True)  # two of the five channels that are kept


def test_clusters_that_there_are_not_have_no_map():
    alone = fm.cluster_maps(*layer([50.0, 0, 0]), jax.random.key(0))
    assert [bool(np.isfinite(heats).all()) for heats in alone.values()] == [True, False, True]
    empty = Features(jnp.full(6, -1), jnp.zeros(3), jnp.zeros((3, 2, 3)))
    none = fm.cluster_maps(empty, jnp.zeros((2, 3, 6)), jnp.zeros(6), jax.random.key(0))
    assert all(np.isnan(heats).all() for heats in none.values())


@pytest.mark.parametrize(("right", "level"), [([0, 1, 0, 1], 1), ([1, 0, 0, 0], 0), ([0, 0, 0, 0], 4)])
def test_the_level_is_the_first_that_is_right(right, level):
    assert fm.first_level(jnp.array(right, bool)) == level


@pytest.mark.parametrize(
    ("probabilities", "label", "well"),
    [
        ([[0.4, 0.3, 0.3], [0.2, 0.6, 0.2], [0.9, 0.1, 0]], 1, True),  # the second level decides
        ([[0.4, 0.3, 0.3], [0.2, 0.6, 0.2], [0.9, 0.1, 0]], 0, False),
        ([[0.4, 0.3, 0.3], [0.4, 0.3, 0.3]], 0, False),  # never sure
    ],
)
def test_the_label_is_the_best_class_of_the_first_sure_level(probabilities, label, well):
    assert bool(fm.well_named(jnp.array(probabilities), label)) == well


def test_cover_by_hand():
    heats = np.array([[[4.0, 3], [2, 1]], [[1, 2], [3, 4]]])
    boxes = np.array([[[True, False], [True, False]], [[False, False], [False, True]]])
    np.testing.assert_allclose(fm.cover(heats, boxes), [0.5, 1])


def brightest(x, site=jp.untouched):
    """Logits of two classes: the second where the left upper corner is bright."""
    del site
    bright = jnp.mean(x[:8, :8])
    return 20 * jnp.stack([0.5 - bright, bright - 0.5])


def test_a_network_sees_what_a_map_shows_before_a_ground():
    """The corner is an eighth of each side, and shown with the first of 64 cells, or the 33rd, or from the ground."""
    white, black = np.ones((3, 64, 64, 3), np.float32), np.zeros((3, 64, 64, 3), np.float32)
    first = jnp.arange(64.0, 0, -1).reshape(8, 8)
    last = jnp.arange(64.0).reshape(8, 8)
    heats, labels = jnp.stack([first, last, last])[:, None], np.array([1, 1, 0])
    net = Partial(brightest)
    np.testing.assert_array_equal(fm.played(net, white, labels, heats, black)[:, 0, 0], [0, 6, 0])
    np.testing.assert_array_equal(fm.played(net, black, labels, heats, white)[:, 0, 0], [6, 0, 6])
    np.testing.assert_array_equal(fm.played(net, white, labels, heats, black)[:, 0, 1], [1, 0, 1])


def test_measures_are_means_over_draws():
    """One map is the box and the other the rest, of an image that is recognised whatever is shown."""
    box = np.zeros((1, 8, 8), bool)
    box[0, :4, :4] = True
    X = np.ones((1, 8, 8, 3), np.float32)
    images = cc.Tagged(np.array([0]), X, X, X, box)
    heats = jnp.array(np.stack([box, ~box], axis=1), jnp.float32)
    net = Partial(lambda x, site=jp.untouched: jnp.array([3.0, 0]))
    values = fm.measured(net, images, np.zeros((2, *X.shape), np.float32), heats)
    np.testing.assert_allclose(values[:, 0], [0.5, 0.5, 0, 1, 0, 1])
    assert np.isnan(fm.measured(net, images, np.zeros((2, *X.shape)), heats * jnp.nan)).all()


def found(probability, matters, values):
    """A network's, of which all measures and layers have the values of the names heaviest, lightest, random, ..."""
    whole = np.broadcast_to(values, (len(fm.MEASURES), len(fm.LAYERS), *np.shape(values)))
    return fm.Found(probability, np.array(matters), whole, np.zeros((2, 4, 3)), 1.0)


def test_means_and_differences_over_images_and_seeds():
    values = np.zeros((len(fm.NAMES), 3))
    values[0], values[1], values[2] = [1, 2, 6], [0, np.nan, 2], [1, 1, 1]
    runs = [[found(0.0, [True, True, False], values)], [found(0.0, [True, False, False], values)]]
    name = "heaviest, t-SNE"
    assert fm.NAMES[:3] == (name, "lightest, t-SNE", "random, t-SNE")
    np.testing.assert_allclose(fm.by_seed(runs, fm.of("cover", name), fm.matters)[:, 0], [1.5, 1])
    np.testing.assert_allclose(fm.by_seed(runs, fm.of("cover", name), fm.matters_not)[:, 1], [6, 4])
    apart = fm.by_seed(runs, fm.of("cover", name, "lightest, t-SNE"), fm.trained_with(0))
    np.testing.assert_allclose(apart, np.full((2, 4), 2.5))  # of the two images that have a lightest cluster
    assert np.isnan(fm.by_seed(runs, fm.of("cover", name), fm.trained_with(1))).all()
    table = fm.table(runs, "cover", "where", fm.matters, fm.matters_not).splitlines()
    assert table[2].startswith(f"| {name} | -3.75 (")
    assert fm.cell(np.array([np.nan, 1.0])) == "-"


def test_the_program_says_what_it_needs(capsys):
    with pytest.raises(SystemExit):
        fm.arguments(["--seeds", "1"])
    assert "2 --seeds" in capsys.readouterr().err
    assert {name: getattr(fm.arguments(["--quick"]), name) for name in fm.QUICK} == fm.QUICK
