"""Measures of faithfulness: by hand, on images of 4 x 4 and nets that sum pixels, and beside loops and scipy."""

import functools

import jax
import jax.numpy as jnp
import nets
import numpy as np
import pytest
import scipy.stats
from compare import assert_close
from flax import linen as nn
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.tree_util import Partial

import jaxplain as jp
from jaxplain import metrics

KEY = jax.random.key(5)
COUNTING = jnp.arange(16.0).reshape(4, 4)
X, TARGET = COUNTING[..., None], jnp.array([1.0, 0])
QUARTERS = (0.0, 0.25, 0.5, 1.0)
NET = nets.net(nets.BRANCH, nets.params(nets.BRANCH))
IMAGES, TARGETS = jnp.asarray(nets.images(3)), jnp.asarray(nets.targets(3))


def sums(weights, x, site=jp.untouched):
    """One weighted sum of the pixels for each output."""
    return jnp.tensordot(x[..., 0], weights, 2)


def of(*weights):
    return Partial(sums, jnp.stack([jnp.broadcast_to(jnp.float32(w), (4, 4)) for w in weights], -1))


TOTAL = of(1, 0)
# which of the upper and the lower half is brighter
UPPER = jnp.float32([[1], [1], [0], [0]])
BRIGHTER = of(UPPER, 1 - UPPER)


def test_deletion_by_hand():
    curve = metrics.deletion(TOTAL, X, TARGET, COUNTING, fractions=QUARTERS)
    assert_close(curve.fractions, np.array(QUARTERS), 0)
    assert_close(curve.scores, np.array([120.0, 66, 28, 0]), 1e-6)
    assert_close(curve.area, np.array((120 + 66) / 8 + (66 + 28) / 8 + 28 / 4), 1e-6)


def test_insertion_by_hand():
    curve = metrics.insertion(TOTAL, X, TARGET, COUNTING, fractions=QUARTERS)
    assert_close(curve.scores, np.array([0.0, 54, 92, 120]), 1e-6)
    assert_close(curve.area, np.array(54 / 8 + (54 + 92) / 8 + (92 + 120) / 4), 1e-6)


@pytest.mark.parametrize(
    ("fill", "scores"),
    [(1.0, [120, 70, 36, 16]), (jnp.array([2.0]), [120, 74, 44, 32]), (X[::-1, ::-1], [120, 72, 56, 120])],
    ids=["number", "colour", "image"],
)
def test_fills(fill, scores):
    """The last is the image turned round: the largest 15, 14, 13, 12 become 0, 1, 2, 3, and so on."""
    assert_close(metrics.deletion(TOTAL, X, TARGET, COUNTING, fractions=QUARTERS, fill=fill).scores, np.array(scores))
    filled = metrics.deletion(TOTAL, X, TARGET, -COUNTING, fractions=QUARTERS, fill=fill).scores[-1]
    assert_close(metrics.insertion(TOTAL, X, TARGET, COUNTING, fractions=QUARTERS, fill=fill).scores[0], filled)


def test_equal_pixels_go_in_reading_order_and_counts_are_rounded():
    """All but the last one; 0.2 and 0.29 of 16 pixels are 3.2 and 4.64."""
    curve = metrics.deletion(TOTAL, X, TARGET, jnp.ones((4, 4)).at[3, 3].set(0), fractions=(0.2, 0.25, 0.29))
    assert_close(curve.scores, np.array([120.0 - 3, 120 - 6, 120 - 10]), 1e-6)


@pytest.mark.parametrize("measure", [metrics.deletion, metrics.insertion], ids=lambda f: f.__name__)
@pytest.mark.parametrize(
    ("score", "expected"),
    [
        (lambda outputs, target: jnp.vdot(outputs, target) ** 2, 120.0**2),
        (lambda outputs, target: jnp.argmax(outputs) == jnp.argmax(target), 1.0),
        (lambda outputs, target: jnp.argmax(outputs), 0.0),
    ],
    ids=["float", "bool", "int"],
)
def test_a_score_of_ones_own(measure, score, expected):
    """Also one that counts: the area is by fractions all the same."""
    curve = measure(TOTAL, X, TARGET, COUNTING, fractions=QUARTERS, score=score)
    assert_close(curve.scores[0 if measure is metrics.deletion else -1], np.array(expected))
    assert_close(curve.area, np.trapezoid(np.asarray(curve.scores, float), QUARTERS))


def test_the_default_fractions_are_twentieths():
    curve = metrics.deletion(TOTAL, jnp.ones((10, 10, 1))[:4, :4], TARGET, COUNTING)
    assert_close(curve.fractions, np.arange(21) / 20)
    assert_close(curve.scores, 16 - np.round(np.arange(21) / 20 * 16))


def test_allegiance_by_hand():
    """The upper half is brighter, 40 to 36, until its second pixel is black; the map finds it from the first on."""
    image = jnp.array([[10.0, 0, 10, 0], [10, 0, 0, 10], [9, 0, 9, 0], [0, 9, 9, 0]])[..., None]
    curve = metrics.allegiance(BRIGHTER, image, image[..., 0], fractions=(0.0, 1 / 16, 1 / 8, 1 / 4, 1 / 2))
    # at 1/4 the tens are above a nine; at places 1 and 2 stands a ten, which is not above itself
    np.testing.assert_array_equal(curve.scores, [1, 1, 1, 0, 1])
    assert_close(curve.area, np.array(1 / 8 + (1 / 8) / 2 + (1 / 4) / 2), 1e-6)
    exact = metrics.allegiance(BRIGHTER, image, image[..., 0], fractions=(0.0, 1 / 16, 1 / 8, 1 / 4, 1 / 2), exact=True)
    np.testing.assert_array_equal(exact.scores, [1, 0, 0, 0, 1])


def above(limit, x, site=jp.untouched):
    return jnp.stack([jnp.sum(x), limit])


def removed(heat, **options):
    """How many of 16 white pixels allegiance removes: as many as there are limits that it makes the sum fall below."""

    def stays(limit):
        return metrics.allegiance(Partial(above, limit), jnp.ones((4, 4, 1)), heat, **options).scores

    return 16 - np.sum(jax.vmap(stays)(15.5 - jnp.arange(16)), axis=0)


TIES = np.repeat([3, 2, 1, 0], [2, 8, 2, 4]).reshape(4, 4).astype(np.float32)


@pytest.mark.parametrize(
    ("heat", "counts", "exact"),
    [
        (COUNTING, [0, 1, 4, 10, 14, 15], [0, 1, 4, 10, 14, 16]),
        (jnp.asarray(TIES), [0, 0, 2, 10, 12, 12], [0, 1, 4, 10, 14, 16]),
        (-COUNTING, [0, 0, 3, 9, 13, 15], [0, 1, 4, 10, 14, 16]),
        (jnp.ones((4, 4)), [0, 0, 0, 0, 0, 16], [np.nan] * 6),
        (jnp.zeros((4, 4)), [0] * 6, [np.nan] * 6),
    ],
    ids=["counting", "ties", "negative", "ones", "zeros"],
)
def test_allegiance_removes_what_is_above_a_place_and_no_zeros(heat, counts, exact):
    """At places 0, 1, 4, 10, 14 and behind the last one; with `exact` as many as the place says."""
    fractions = (0.0, 0.07, 0.25, 0.625, 0.9, 1.0)
    np.testing.assert_array_equal(removed(heat, fractions=fractions), counts)
    np.testing.assert_array_equal(removed(heat, fractions=fractions, exact=True), exact)


def test_black_and_white_deletion():
    """Without its lower half an image stays brighter above; with a white one it does not."""
    image, heat = (0.5 + 0.1 * UPPER * jnp.ones((4, 4)))[..., None], (1 - UPPER) * (1 + COUNTING)
    for fill, last in ((0.0, 1), (1.0, 0)):
        curve = metrics.allegiance(BRIGHTER, image, heat, fractions=(0.0, 0.5), fill=fill)
        np.testing.assert_array_equal(curve.scores, [1, last])


def test_a_net_that_never_changes_its_mind_has_the_whole_area():
    for heat in (COUNTING, jnp.zeros((4, 4))):
        curve = metrics.allegiance(of(1, -1), X, heat)
        assert_close(curve.fractions, np.array([0, 0.03, 0.05, 0.07, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]))
        assert_close(curve.area, np.array(0.9))


# whole score, and the score of the upper half: 16 and 8, -16 and -8, 4 and 8, 0 and 8
SHOWN = [(1, 0.5, 0), (-1, 0, 1), (1.5 * UPPER - 0.5, 0, 1), (2 * UPPER - 1, 0, 1), (UPPER, 0, 0), (1 - UPPER, 1, 0)]


@pytest.mark.parametrize(("weights", "drop", "increase"), SHOWN)
def test_drop_and_increase_of_what_the_map_shows(weights, drop, increase):
    ones, net = jnp.ones((4, 4, 1)), of(weights, 0)
    for heat in (UPPER * jnp.ones((4, 4)), 3 + 2 * UPPER * jnp.ones((4, 4))):
        assert_close(metrics.average_drop(net, ones, TARGET, heat), np.array(drop))
        assert_close(metrics.increase_in_confidence(net, ones, TARGET, heat), np.array(increase))


def test_maps_that_are_weighed():
    """With the map 0 to 15, scaled to 1, half of a white image is seen; a constant map shows nothing."""
    ones = jnp.ones((4, 4, 1))
    assert_close(metrics.average_drop(TOTAL, ones, TARGET, COUNTING), np.array(0.5))
    assert_close(metrics.average_drop(TOTAL, ones, TARGET, ones[..., 0]), np.array(1.0))
    assert metrics.increase_in_confidence(TOTAL, ones, TARGET, ones[..., 0]) == 0
    assert metrics.increase_in_confidence(TOTAL, ones, -TARGET, ones[..., 0]) == 1


def at(*places):
    """A map of 4 x 5 with 1 at some places and 0 elsewhere."""
    return jnp.zeros((4, 5)).at[tuple(np.transpose(places))].set(1.0)


@pytest.mark.parametrize(
    ("heat", "mask", "tolerance", "share"),
    [
        (at((1, 2)), at((1, 2)), 0, 1),
        (at((1, 2)), at((1, 3)), 0, 0),
        (at((1, 2)), at((1, 3)), 1, 0),  # nearer than 1, not as near as
        (at((1, 2)), at((1, 3)), 1.1, 1),
        (at((1, 2)), at((2, 3)), 1.4, 0),
        (at((1, 2)), at((2, 3)), 1.5, 1),
        (at((0, 0)), at((3, 4)), 5, 0),
        (at((0, 0)), at((3, 4)), 5.01, 1),
        (at((0, 0)), at((3, 4)), 100, 1),  # a disc that is larger than the image
        (at((0, 0)), 1 - at((0, 0)), 0, 0),
        (at((0, 0), (1, 1), (3, 3), (2, 2)), at((1, 1), (0, 0), (0, 1)), 0, 0.5),
        (at((1, 2)), jnp.zeros((4, 5)), 0, 0),
        (at((1, 2)), 255 * at((1, 2)).astype(jnp.uint8), 0, 1),
        (-at((1, 2)), at((1, 2)) == 0, 0, 1),
    ],
)
def test_the_pointing_game(heat, mask, tolerance, share):
    hits = functools.partial(metrics.pointing_game, tolerance=float(tolerance))
    assert_close(hits(heat, mask), np.array(share))
    assert_close(jax.jit(hits)(heat, mask), np.array(share))


@pytest.mark.parametrize(
    ("heat", "box", "share"),
    [
        (COUNTING, (1, 0, 3, 2), 14 / 120),
        (COUNTING, (0, 0, 4, 4), 1),
        (COUNTING, (3, 2, 4, 4), 26 / 120),
        (COUNTING - 10, (2, 2, 4, 3), 1 / 15),
        (COUNTING - 10, (0, 0, 4, 2), 0),
        (jnp.zeros((4, 4)), (0, 0, 4, 4), 0),
        (-COUNTING, (0, 0, 4, 4), 0),
        (jnp.arange(8).reshape(2, 4), (3, 0, 4, 2), 10 / 28),
    ],
)
def test_energy_in_a_box(heat, box, share):
    assert_close(metrics.energy_in_box(heat, box), np.array(share))
    assert_close(jax.jit(metrics.energy_in_box)(heat, jnp.array(box)), np.array(share))


def grey(net, x, target, *, factor=1.0):
    """The mean of the channels, whose sensitivity can be told from the noise."""
    return factor * jnp.mean(x, -1)


@pytest.mark.parametrize("radius", [0.02, 0.5])
def test_max_sensitivity_is_the_largest_change(radius):
    keys = jax.random.split(KEY, 4)
    noise = [np.asarray(jax.random.uniform(key, (6, 6, 3), minval=-radius, maxval=radius)) for key in keys]
    largest = max(np.linalg.norm(n.mean(-1)) for n in noise)
    options = {"key": KEY, "radius": radius, "samples": 4}
    image, whole = IMAGES[0], np.linalg.norm(np.asarray(IMAGES[0]).mean(-1))
    assert_close(metrics.max_sensitivity(grey, NET, image, TARGETS[0], **options), np.array(largest / whole), 1e-4)
    assert_close(metrics.max_sensitivity(grey, NET, 0 * image, TARGETS[0], **options), np.array(largest), 1e-4)
    black = metrics.max_sensitivity(grey, NET, 0 * image, TARGETS[0], factor=3.0, **options)
    assert_close(black, np.array(3 * largest), 1e-4)


def test_max_sensitivity_has_its_defaults():
    measure = functools.partial(metrics.max_sensitivity, grey, NET, IMAGES[0], TARGETS[0])
    assert_close(measure(key=KEY), measure(key=KEY, radius=0.02, samples=10), 0)
    assert metrics.max_sensitivity(jp.gradient, TOTAL, X, TARGET, key=KEY) == 0


@pytest.mark.parametrize("shared", [False, True])
def test_infidelity_of_a_linear_nets_gradient_is_nothing(shared):
    """Of twice the gradient it is the mean square of I * gradient, and nothing where the scale is left out."""
    draw = np.random.default_rng(0)
    weights = jnp.asarray(draw.normal(size=(4, 4, 2)), jnp.float32)
    net, image = Partial(sums, weights), jnp.asarray(draw.normal(size=(4, 4, 1)), jnp.float32)
    heat = jp.gradient(net, image, TARGET)
    told = [0.1 * np.sum(jax.random.normal(k, (4, 4, 1)) * heat) for k in jax.random.split(KEY, 9)]
    heat, options = heat[..., 0] if shared else heat, {"key": KEY, "samples": 9}
    assert metrics.infidelity(net, image, TARGET, heat, **options) < 1e-10
    twice = metrics.infidelity(net, image, TARGET, 2 * heat, **options)
    assert_close(twice, np.mean(np.square(told)), 1e-4)
    assert metrics.infidelity(net, image, TARGET, 2 * heat, **options, normalise=True) < 1e-10
    nothing = metrics.infidelity(net, image, TARGET, 0 * heat, **options, normalise=True)
    assert_close(nothing, np.mean(np.square(told)), 1e-4)


def test_infidelity_of_ones_own_perturbation():
    """Everything is taken away: sum(x * heat) against the whole score."""
    heat = jp.gradient(NET, IMAGES[0], TARGETS[0])
    black = jnp.zeros_like(IMAGES[0])
    whole = jnp.vdot(TARGETS[0], NET(IMAGES[0]) - NET(black))
    actual = metrics.infidelity(NET, IMAGES[0], TARGETS[0], heat, key=KEY, samples=3, perturb=lambda key, x: x)
    assert_close(actual, (np.sum(IMAGES[0] * heat) - whole) ** 2, 1e-4)
    shared = metrics.infidelity(NET, IMAGES[0], TARGETS[0], heat[..., 0], key=KEY, samples=3, perturb=lambda key, x: x)
    assert_close(shared, (np.sum(IMAGES[0] * heat[..., :1]) - whole) ** 2, 1e-4)


LAYERS = {"ridge": ["offset", "dense", "bias", "kernel"], "branch": ["offset", "dense", "side", "bias", "kernel"]}


@pytest.mark.parametrize("tiny", nets.TINY, ids=lambda tiny: tiny.name)
def test_randomisation_draws_layer_after_layer_from_the_last(tiny):
    values = nets.params(tiny)
    found = metrics.randomisation(jp.gradient, nets.net(tiny, values), IMAGES[0], TARGETS[0], key=KEY)
    assert list(found) == LAYERS[tiny.name]
    keys = dict(zip(sorted(values), jax.random.split(KEY, len(values)), strict=True))
    plain = np.abs(jp.gradient(nets.net(tiny, values), IMAGES[0], TARGETS[0])).ravel()
    for layer in LAYERS[tiny.name]:
        a = values[layer]
        values[layer] = np.asarray(a.mean() + a.std() * jax.random.normal(keys[layer], a.shape))
        mixed = np.abs(jp.gradient(nets.net(tiny, values), IMAGES[0], TARGETS[0])).ravel()
        assert_close(found[layer], scipy.stats.spearmanr(plain, mixed).statistic, 1e-4)  # pyright: ignore[reportAttributeAccessIssue] scipy has no types
    assert abs(found["offset"] - 1) < 1e-6
    assert found["kernel"] < 0.7


def test_a_map_that_ignores_the_net_stays_the_same():
    found = metrics.randomisation(grey, NET, IMAGES[0], TARGETS[0], key=KEY)
    assert_close(list(found.values()), [np.array(1.0)] * 5, 1e-6)


def test_a_constant_map_has_no_order_to_keep():
    found = metrics.randomisation(lambda net, x, target: 0 * x, NET, IMAGES[0], TARGETS[0], key=KEY)
    assert np.isnan(list(found.values())).all()


class Block(nn.Module):
    """Two convolutions whose names are not in the order of their use."""

    @nn.compact
    def __call__(self, x):
        return nn.tanh(nn.Conv(3, (3, 3), name="a_second")(nn.relu(nn.Conv(4, (3, 3), name="z_first")(x))))


class Nested(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = Block(name="m_block")(nn.Conv(3, (1, 1), name="z_stem")(x))
        return nn.Dense(5, name="b_head")(x.mean((1, 2)))


ORDER = ["b_head", "m_block.a_second", "m_block.z_first", "z_stem"]


@jax.jit
def jitted(net, x):
    return net(x)


def within_jit(net, x, site=jp.untouched):
    return jitted(net, x)


def scaled(factor, x):
    return factor * x


def test_layers_of_a_flax_net_come_in_the_order_of_their_use():
    """Also where the net is called within jit; what has no name, as a normaliser, stays as it is."""
    module = Nested()
    net = jp.from_linen(module, module.init(jax.random.key(0), IMAGES[:1]))
    found = metrics.randomisation(jp.gradient, net, IMAGES[0], TARGETS[0], key=KEY)
    assert list(found) == ORDER
    assert len({float(value) for value in found.values()}) == 4
    inner = Partial(within_jit, net)
    assert list(metrics.randomisation(grey, inner, IMAGES[0], TARGETS[0], key=KEY)) == ORDER
    pixels = jp.before(net, Partial(scaled, jnp.float32(2)))
    assert list(metrics.randomisation(grey, pixels, IMAGES[0], TARGETS[0], key=KEY, factor=3.0)) == ORDER


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.integers(0, 1000), st.sampled_from([2, 5, 1000]), st.sampled_from([2, 7, 40]))
def test_rank_correlation_is_scipys(seed, levels, count):
    """With few levels most values have ties."""
    a, b = np.random.default_rng(seed).integers(0, levels, (2, count)).astype(np.float32)
    if np.ptp(a) and np.ptp(b):
        expected = scipy.stats.spearmanr(a, b).statistic  # pyright: ignore[reportAttributeAccessIssue] scipy has no types
        assert abs(metrics.rank_correlation(a, b) - expected) < 1e-5
    else:
        assert metrics.rank_correlation(a, b) == 0


def test_rank_correlation_of_many_values():
    a, b = np.random.default_rng(0).normal(size=(2, 224, 224))
    assert_close(metrics.rank_correlation(a, a + b), scipy.stats.spearmanr(a.ravel(), (a + b).ravel()).statistic, 1e-4)  # pyright: ignore[reportAttributeAccessIssue] scipy has no types
    assert_close(metrics.rank_correlation(a, -a), np.array(-1.0))


HEATS = jnp.abs(IMAGES).max(-1)
OF_MAPS = {
    "deletion": lambda net, x, target, heat: metrics.deletion(net, x, target, heat, fractions=QUARTERS),
    "insertion": lambda net, x, target, heat: metrics.insertion(net, x, target, heat, fractions=QUARTERS, fill=0.3),
    "allegiance": lambda net, x, target, heat: metrics.allegiance(net, x, heat),
    "average_drop": metrics.average_drop,
    "increase_in_confidence": metrics.increase_in_confidence,
    "infidelity": functools.partial(metrics.infidelity, key=KEY, samples=5),
    "infidelity_normalised": functools.partial(metrics.infidelity, key=KEY, samples=5, normalise=True),
    "pointing_game": lambda net, x, target, heat: metrics.pointing_game(heat, x[..., 0] > 0, tolerance=1.5),
    "energy_in_box": lambda net, x, target, heat: metrics.energy_in_box(heat, (1, 2, 5, 4)),
}


@pytest.mark.parametrize("name", OF_MAPS)
def test_a_batch_is_a_loop(name):
    measure = OF_MAPS[name]
    best = jax.vmap(lambda x: jp.top(NET(x)))(IMAGES)
    one = jax.jit(measure)
    alone = [one(NET, *rows) for rows in zip(IMAGES, best, HEATS, strict=True)]
    expected = jax.tree.map(lambda *parts: np.stack(parts), *alone)
    together = jax.jit(jp.batched(measure))(NET, IMAGES, best, HEATS)
    assert_close(together, expected)


@pytest.mark.parametrize("measure", [metrics.max_sensitivity, metrics.randomisation], ids=lambda f: f.__name__)
def test_a_batch_of_explanations_is_a_loop(measure):
    measure, keys = functools.partial(measure, jp.saliency), jax.random.split(KEY, 3)
    one = jax.jit(measure)
    alone = [one(NET, x, target, key=key) for x, target, key in zip(IMAGES, TARGETS, keys, strict=True)]
    expected = jax.tree.map(lambda *parts: np.stack(parts), *alone)
    assert_close(jax.jit(jp.batched(measure))(NET, IMAGES, TARGETS, key=KEY), expected, 1e-4)


RANKING = ("deletion", "insertion", "pointing_game")


def scores_of(name, x, heat):
    found = OF_MAPS[name](NET, x, TARGETS[0], heat)
    return np.ravel(found.scores if isinstance(found, metrics.Curve) else found)


@pytest.mark.parametrize("name", OF_MAPS)
@pytest.mark.parametrize("value", [0.0, 1.0, -1.0])
def test_constant_maps_give_numbers_where_no_order_is_needed(name, value):
    """Not the score of reading order, which is a ramp's; also where upsampling has made rounding errors of it."""
    heat = jnp.full((6, 6), value)
    for x, h in (
        (IMAGES[0], heat),
        (0 * IMAGES[0], heat),
        (IMAGES[0], jp.upsample(jnp.full((2, 2), value / 7), (6, 6))),
    ):
        assert np.isnan(scores_of(name, x, h)).all() if name in RANKING else np.isfinite(scores_of(name, x, h)).all()


@pytest.mark.parametrize("name", OF_MAPS)
def test_maps_with_nan_give_nan(name):
    assert np.isnan(scores_of(name, IMAGES[0], HEATS[0].at[2, 3].set(jnp.nan))).all()


def test_a_batch_has_nan_for_the_map_without_an_order_alone():
    deletion = functools.partial(metrics.deletion, fractions=QUARTERS)
    best = jax.vmap(lambda x: jp.top(NET(x)))(IMAGES)
    areas = jp.batched(deletion)(NET, IMAGES, best, HEATS.at[1].set(3.0)).area
    assert np.isfinite(areas).tolist() == [True, False, True]


@pytest.mark.parametrize("name", [name for name in OF_MAPS if name not in ("pointing_game", "energy_in_box")])
@pytest.mark.parametrize("shape", [(6, 5), (3, 3), (6, 6, 2), (6,), ()])
def test_a_map_of_another_size_raises(name, shape):
    with pytest.raises(ValueError, match=r"The map has shape \(.*expected"):
        OF_MAPS[name](NET, IMAGES[0], TARGETS[0], jnp.zeros(shape))


CURVES = [
    functools.partial(metrics.deletion, NET, IMAGES[0], TARGETS[0], HEATS[0]),
    functools.partial(metrics.insertion, NET, IMAGES[0], TARGETS[0], HEATS[0]),
    functools.partial(metrics.allegiance, NET, IMAGES[0], HEATS[0]),
]


@pytest.mark.parametrize("curve", CURVES, ids=lambda curve: curve.func.__name__)
def test_wrong_options_of_curves_raise(curve):
    nan = float("nan")
    for wrong in ((), (0.5, 0.5), (0.0, 1.1), (-0.1, 0.5), (0.5, 0.2), (nan,), (0.0, nan)):
        with pytest.raises(ValueError, match=r"fractions is .* rising numbers from 0 to 1"):
            curve(fractions=wrong)
    for wrong in (jnp.zeros(2), jnp.zeros((6, 6))):
        with pytest.raises(ValueError, match="fill has shape"):
            curve(fill=wrong)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: metrics.pointing_game(COUNTING, jnp.ones((4, 5))), r"mask has shape \(4, 5\), but .*\(4, 4\)"),
        (lambda: metrics.pointing_game(COUNTING, jnp.ones(4)), r"mask has shape \(4,\)"),
        (lambda: metrics.pointing_game(X, jnp.ones((4, 4))), r"map has shape \(4, 4, 1\)"),
        (lambda: metrics.energy_in_box(X, (0, 0, 4, 4)), r"map has shape \(4, 4, 1\)"),
        (lambda: metrics.energy_in_box(COUNTING, (0, 0, 4)), r"box has shape \(3,\)"),
        (lambda: metrics.energy_in_box(COUNTING, (0, 0, 5, 4)), "not inside the map: left < right <= 4"),
        (lambda: metrics.energy_in_box(COUNTING, (0, 0, 4, 5)), "not inside the map"),
        (lambda: metrics.energy_in_box(COUNTING, (-1, 0, 4, 4)), "not inside the map"),
        (lambda: metrics.energy_in_box(COUNTING, (2, 0, 2, 4)), "not inside the map"),
        (lambda: metrics.max_sensitivity(grey, NET, IMAGES[0], TARGETS[0], key=KEY, samples=0), "samples is 0"),
        (lambda: metrics.max_sensitivity(grey, NET, IMAGES, TARGETS[0], key=KEY), "one image"),
        (lambda: metrics.infidelity(NET, IMAGES[0], TARGETS[0], HEATS[0], key=KEY, samples=0), "samples is 0"),
        (lambda: metrics.infidelity(NET, IMAGES[0], 3, HEATS[0], key=KEY), r"single number.*one_hot\(k, 5\)"),
        (lambda: metrics.deletion(NET, IMAGES[0], 3, HEATS[0]), r"single number.*one_hot\(k, 5\)"),
        (lambda: metrics.deletion(NET, IMAGES, TARGETS[0], HEATS[0]), "one image"),
        (lambda: metrics.allegiance(NET, IMAGES, HEATS[0]), "one image"),
        (lambda: metrics.average_drop(NET, IMAGES, TARGETS[0], HEATS[0]), "one image"),
        (lambda: metrics.randomisation(grey, Partial(flat), IMAGES[0], TARGETS[0], key=KEY), "no named parameters"),
    ],
)
def test_wrong_arguments_raise(call, says):
    with pytest.raises(ValueError, match=says):
        call()


def flat(x, site=jp.untouched):
    return x.ravel()
