"""Concepts: the published method in numpy beside ours, what its parts sum to, and what they say to wrong arguments."""

import functools

import jax
import jax.numpy as jnp
import nets
import numpy as np
import pytest
from compare import assert_close
from jax.tree_util import Partial

import jaxplain as jp
from jaxplain.concepts import rank_median
from jaxplain.explain import Concept

X = jnp.asarray(nets.images(1)[0])
CLASSES = np.eye(nets.CLASSES, dtype=np.float32)
EVERYWHERE = [("ridge", "relu"), ("branch", "stem"), ("branch", "act"), ("branch", "side")]
TINY = {tiny.name: tiny for tiny in nets.TINY}
NETS = {name: nets.net(tiny, nets.params(tiny)) for name, tiny in TINY.items()}
PLACES = pytest.mark.parametrize(("name", "layer"), EVERYWHERE)


def activations(name, layer, X):
    return np.asarray(jax.vmap(lambda x: jp.view(NETS[name], layer, x)[0])(jnp.asarray(X)))


@functools.cache
def examples(name, layer):
    """Activations of three concepts' images, which are of one colour but for noise, and of random ones."""
    colours = np.random.default_rng(3).normal(size=(3, 1, 1, 1, 3))
    concepts = [activations(name, layer, np.float32(nets.images(6, 10 + k) / 2 + c)) for k, c in enumerate(colours)]
    return concepts, activations(name, layer, nets.images(13, 20))


@functools.cache
def fitted(name, layer):
    return jp.fit_concepts(*examples(name, layer))


@functools.partial(jax.jit, static_argnames=("layer", "steps", "rule", "chunk"))
def explained(net, x, targets, **options):
    return jp.over_classes(jp.concept_attribution)(net, x, targets, **options)


def emblem(a, v):
    response = np.maximum((a * v).sum(-1), 0)
    return (response**2).sum() / (response.sum() + 1e-7)


def stated_fit(concept, random):
    """Steps 1 and 2 of the method: the direction, and the medians by rank of the emblems."""
    v = np.mean([a.mean((0, 1)) for a in concept], 0) - np.mean([a.mean((0, 1)) for a in random], 0)
    low, high = (np.percentile([emblem(a, v) for a in some], 50, method="nearest") for some in (random, concept))
    return v, low, high


def integrated(backprop, a, layer, target, m):
    """Step 4: the mean over m intervals of the two ends' gradients, times the activation."""
    g = [backprop(X, target, {layer: j / m * a})[2][layer] for j in range(m + 1)]
    return sum((g[j] + g[j + 1]) / 2 for j in range(m)) / m * a


def stated_map(a, concept):
    """Step 3: where the concept is."""
    v, low, high = concept
    response = np.maximum((a * v).sum(-1), 0)
    return np.clip((response - low) / (high - low), 0, 1) if high > low else np.zeros(a.shape[:2])


def through(scaled, a, concept):
    """Step 6: what is under the concept map, weighted by the direction with the signs of the activation."""
    v, heat = concept[0], stated_map(a, concept)
    masked, seen = ((b * heat[..., None]).sum((0, 1)) for b in (scaled, a))
    u = np.maximum(v * np.where(seen < 0, -1, 1), 0)
    return (u / u.max()) @ masked if u.max() > 0 else 0.0


def backprop(name, x, target, replace=()):
    return TINY[name].backprop(nets.params(TINY[name]), np.asarray(x, np.float64), target, replace)


@PLACES
def test_everything_equals_the_method_in_numpy(name, layer):
    """Steps 1 to 6, with 50 steps, for every class."""
    concepts = [stated_fit(np.float64(c), np.float64(examples(name, layer)[1])) for c in examples(name, layer)[0]]
    assert_close(tuple(fitted(name, layer)), tuple(map(np.stack, zip(*concepts, strict=True))), 1e-4)
    here = functools.partial(backprop, name)
    outputs, found, _ = here(X, CLASSES[0])
    a = found[layer]
    gains = outputs - here(X, CLASSES[0], {layer: 0 * a})[0]
    values, shares, errors = [], [], []
    for k, target in enumerate(CLASSES):
        b = integrated(here, a, layer, target, 50)
        positive, share = np.maximum(b, 0), max(gains[k], 0) / max(gains.max(), 0)
        scaled = positive / (positive.sum() + 1e-7) * share
        values.append([through(scaled, a, concept) for concept in concepts])
        shares.append(share)
        errors.append(abs(b.sum() - gains[k]) / abs(gains[k]))
    ours = explained(NETS[name], X, CLASSES, layer=layer, concepts=fitted(name, layer))
    assert np.count_nonzero(values) >= 2
    assert_close(ours.values, np.array(values), 1e-4)
    assert_close(ours.share, np.array(shares))
    missing = ours.error * abs(gains), errors * abs(gains)
    np.testing.assert_allclose(*missing, atol=1e-6 * abs(gains).max())


@PLACES
def test_maps_equal_the_method_in_numpy(name, layer):
    a = backprop(name, X, CLASSES[0])[1][layer]
    concepts = fitted(name, layer)
    maps = jp.concept_map(NETS[name], X, layer=layer, concept=concepts)
    for heat, v, low, high in zip(maps, *map(np.asarray, concepts), strict=True):
        assert_close(heat, stated_map(a, (v, low, high)), 1e-4)
        alone = jp.concept_map(NETS[name], X, layer=layer, concept=Concept(v, low, high))
        assert_close(alone, heat)


def one_output(values, sign, x, site=jp.untouched):
    a = site("a", jnp.tanh(x @ values["first"]))
    return sign * (jnp.tanh(a @ values["second"]).mean((0, 1)) @ values["third"])


def test_one_output_has_two_classes():
    """Step 7: the positive and the negative part of one attribution, each by its own sum over the larger."""
    draw = np.random.default_rng(4)
    values = {"first": draw.normal(size=(3, 4)), "second": draw.normal(size=(4, 4)), "third": draw.normal(size=(4, 1))}
    values = jax.tree.map(np.float32, values)
    concepts = Concept(draw.normal(size=(5, 4)).astype(np.float32), np.full(5, 0.1), np.full(5, 0.9))  # pyright: ignore[reportArgumentType] numpy does here
    net, opposite = (Partial(one_output, jax.tree.map(jnp.asarray, values), jnp.float32(sign)) for sign in (1, -1))
    a = np.tanh(np.asarray(X, np.float64) @ values["first"])
    gradients = [(1 - np.tanh(t * a @ values["second"]) ** 2) * values["third"][:, 0] for t in np.arange(51) / 50]
    weights = np.r_[0.5, np.ones(49), 0.5] / 50
    b = a * sum(w * g @ values["second"].T / 36 for w, g in zip(weights, gradients, strict=True))
    parts = [np.maximum(b, 0), np.maximum(-b, 0)]
    largest = max(part.sum() for part in parts)
    expected = [[through(p / largest, a, concept) for concept in zip(*concepts, strict=True)] for p in parts]
    ours = explained(net, X, np.array([[1], [-1]], np.float32), layer="a", concepts=concepts)
    assert_close(ours.values, np.array(expected), 1e-4)
    assert_close(ours.share, np.array([part.sum() / largest for part in parts]))
    swapped = explained(opposite, X, np.array([[-1], [1]], np.float32), layer="a", concepts=concepts)
    assert_close(swapped, ours)


@pytest.mark.parametrize("count", [2, 3, 4, 5, 6, 7, 8, 40, 50, 500])
def test_the_median_is_the_value_at_the_authors_rank(count):
    values = np.random.default_rng(count).normal(size=(count, 2))
    np.testing.assert_array_equal(rank_median(values), np.percentile(values, 50, axis=0, method="nearest"))
    assert rank_median(np.arange(count)) == {2: 0, 4: 2, 6: 2, 8: 4, 40: 20, 50: 24, 500: 250}.get(count, count // 2)


class Readings:
    """Batches of several sizes that count how often they are asked for."""

    def __init__(self, activations, *cuts):
        self.parts, self.times = np.split(activations, cuts), 0

    def __iter__(self):
        self.times += 1
        return iter(self.parts)


def test_batches_are_read_twice_and_give_what_arrays_give():
    concepts, random = examples("branch", "act")
    many, few = Readings(random, 5, 6, 10), Readings(concepts[0], 1)
    assert_close(jp.fit_concept(few, many), jp.fit_concept(concepts[0], random))
    assert (many.times, few.times) == (2, 2)
    together = Readings(random, 4)
    alone = jp.stack_concepts([jp.fit_concept(c, [jnp.asarray(random)]) for c in concepts])
    assert_close(jp.fit_concepts(concepts, together), alone)
    assert together.times == 2


def test_a_map_has_no_unit():
    """Activations that are three times as large have the same map."""
    concepts, random = examples("ridge", "conv")
    a, b = (jp.fit_concept(scale * concepts[0], scale * random) for scale in (1, 3))
    assert_close(b.direction, 3 * a.direction)
    values = nets.params(nets.RIDGE)
    scaled = nets.net(nets.RIDGE, values | {"kernel": 3 * values["kernel"], "bias": 3 * values["bias"]})
    heat = jp.concept_map(NETS["ridge"], X, layer="conv", concept=a)
    assert 0 < np.mean(heat > 0) < 1
    assert_close(jp.concept_map(scaled, X, layer="conv", concept=b), heat, 1e-4)


def test_a_map_is_one_where_the_response_reaches_the_concepts_own():
    concept = jp.fit_concept(examples("branch", "act")[0][0], examples("branch", "act")[1])
    images = np.float32(nets.images(6, 10) / 2 + np.random.default_rng(3).normal(size=3))
    response = np.maximum(activations("branch", "act", images) @ concept.direction, 0)
    maps = jp.batched(jp.concept_map)(NETS["branch"], images, layer="act", concept=concept)
    assert ((maps == 1) == (response >= concept.high)).all()
    assert ((maps == 0) == (response <= concept.low)).all()
    assert 0 < np.mean(maps == 1) < 1


def test_a_concept_that_is_not_recognised_is_nowhere():
    concept = fitted("ridge", "relu")
    for low, high in ((0.5, 0.5), (0.5, 0.2)):
        lost = concept._replace(low=jnp.full(3, low), high=jnp.full(3, high))
        assert_close(jp.concept_map(NETS["ridge"], X, layer="relu", concept=lost), np.zeros((3, 4, 4)))
        ours = explained(NETS["ridge"], X, CLASSES, layer="relu", concepts=lost)
        assert_close(ours.values, np.zeros((5, 3)))


@PLACES
def test_attributions_are_complete_and_within_the_share(name, layer):
    ours = explained(NETS[name], X, CLASSES, layer=layer, concepts=fitted(name, layer))
    assert (ours.error < 0.02).all()
    assert_close(ours.share.max(), np.float32(1))
    assert (ours.values >= 0).all()
    assert (ours.values <= ours.share[:, None] * (1 + 1e-5)).all()


def test_a_concept_that_is_everything_gets_the_whole_share():
    """The map is 1 everywhere and every channel weighs 1, so that the classes' shares are what is left."""
    whole = Concept(jnp.ones((1, 4)), jnp.float32([-2]), jnp.float32([-1]))
    ours = explained(NETS["ridge"], X, CLASSES, layer="relu", concepts=whole)
    assert_close(ours.values[:, 0], ours.share)
    part = whole._replace(direction=jnp.float32([[0.5, 1, 0, -1]]))
    a, g = (d["relu"] for d in jp.taps(NETS["ridge"], "relu", X, CLASSES[2]))
    positive = np.maximum(a * g, 0).sum((0, 1))
    ours = explained(NETS["ridge"], X, CLASSES[2:3], layer="relu", concepts=part)
    assert_close(ours.values[0, 0], ours.share[0] * (positive @ [0.5, 1, 0, 0]) / positive.sum())


@pytest.mark.parametrize("rule", ["trapezoid", "gauss_legendre", "right"])
def test_one_step_is_exact_behind_which_all_is_linear(rule):
    options = {"layer": "relu", "concepts": fitted("ridge", "relu"), "rule": rule}
    one, many = (explained(NETS["ridge"], X, CLASSES, steps=steps, **options) for steps in (1, 50))
    assert_close((one.values, one.share), (many.values, many.share))
    assert (one.error < 1e-4).all()


def test_nothing_is_nan_where_there_is_nothing():
    """A dead layer, an image of zeros, classes that all lose, and directions without a positive part."""
    values = nets.params(nets.RIDGE)
    dead = nets.net(nets.RIDGE, values | {"kernel": 0 * values["kernel"], "bias": np.full(4, -1, np.float32)})
    losing = nets.net(nets.RIDGE, values | {"dense": -abs(values["dense"])})
    against = Concept(-jnp.ones((2, 4)), jnp.float32([-2, -2]), jnp.float32([-1, -1]))
    for net, concepts in ((dead, against), (dead, fitted("ridge", "relu")), (losing, against)):
        ours = explained(net, X, CLASSES, layer="relu", concepts=concepts)
        assert_close((ours.values, ours.share), (np.zeros((5, len(concepts.low))), np.zeros(5)))
        assert (ours.error < 1e-4).all()
    ours = explained(NETS["ridge"], X, CLASSES, layer="relu", concepts=against)
    assert_close(ours.values, np.zeros((5, 2)))
    assert_close(ours.share.max(), np.float32(1))


def test_transforms_give_what_loops_give():
    net, images, layers = NETS["branch"], jnp.asarray(nets.images(3)), ("stem", "side")
    concepts = {layer: fitted("branch", layer) for layer in layers}
    explain = jp.batched(jp.over_classes(jp.at_layers(jp.concept_attribution, layers)))
    ours = jax.jit(explain)(net, images, jnp.stack([CLASSES] * 3), concepts=concepts)
    alone = jax.jit(jp.concept_attribution, static_argnames=("layer", "chunk"))
    for layer in layers:
        for i, x in enumerate(images):
            for k, target in enumerate(CLASSES):
                one = alone(net, x, target, layer=layer, concepts=concepts[layer], chunk=8)
                mine = jax.tree.map(lambda a: a[i, k], ours[layer])  # noqa: B023
                assert_close((mine.values, mine.share), (one.values, one.share), 1e-4)
    maps = jp.batched(jp.at_layers(jp.concept_map, layers))(net, images, concept=concepts)
    assert_close(maps["side"][1], jp.concept_map(net, images[1], layer="side", concept=concepts["side"]))


WIDE = 64


def deep(values, x, site=jp.untouched):
    a = site("a", jnp.tanh(x @ values["first"]))
    for _ in range(3):
        a = jnp.tanh(a @ values["again"])
    return a.mean((0, 1)) @ values["last"]


def cost(classes, concepts, chunk=None, steps=8):
    """What the compiled program of a network with a wide head computes, and what memory it takes."""
    shapes = {"first": (3, WIDE), "again": (WIDE, WIDE), "last": (WIDE, 10)}
    net = Partial(deep, {name: jax.ShapeDtypeStruct(shape, jnp.float32) for name, shape in shapes.items()})
    stacked = Concept(jnp.ones((concepts, WIDE)), jnp.zeros(concepts), jnp.ones(concepts))
    explain = functools.partial(explained, layer="a", concepts=stacked, steps=steps, rule="middle", chunk=chunk)
    compiled = jax.jit(explain).lower(net, jnp.zeros((8, 8, 3)), jnp.eye(10)[:classes]).compile()
    return compiled.cost_analysis()["flops"], compiled.memory_analysis().temp_size_in_bytes  # pyright: ignore[reportOptionalMemberAccess, reportOptionalSubscript] the CPU has it


def test_classes_share_forward_passes_and_concepts_share_gradients():
    forward = 3 * 2 * WIDE**2 * 64 * 8  # of all eight points
    one, three, many = cost(1, 1)[0], cost(3, 1)[0], cost(1, 6)[0]
    assert three - one < 2.2 * forward
    assert one > 2 * forward
    assert many - one < 0.2 * forward


def test_memory_grows_with_the_chunk_and_not_with_the_steps():
    (_, few), (_, many), (_, unbounded) = (cost(2, 3, chunk, steps) for chunk, steps in ((4, 8), (4, 64), (None, 64)))
    assert many < 1.1 * few
    assert unbounded > 4 * few


@pytest.mark.parametrize("rule", ["gauss_legendre", "trapezoid"])
def test_steps_are_the_fewest_that_will_do(rule):
    place, ladder, target = {"layer": "stem", "rule": rule}, (1, 2, 3, 4, 6, 8), CLASSES[2:3]
    found = [explained(NETS["branch"], X, target, concepts=fitted("branch", "stem"), steps=n, **place) for n in ladder]
    for tolerance in (0.1, 0.02, 1e-3):
        expected = next(n for n, one in zip(ladder, found, strict=True) if one.error[0] <= tolerance)
        assert jp.steps_for(NETS["branch"], X, target[0], tolerance=tolerance, **place) == expected
    assert expected > 4
    with pytest.raises(ValueError, match=r"^The completeness error is .* with 2 steps of .*raise tolerance or most"):
        jp.steps_for(NETS["branch"], X, target[0], tolerance=1e-9, most=2, **place)


def test_the_tcav_score_is_a_share_of_images():
    images, k = nets.images(9), 3
    directions = np.random.default_rng(6).normal(size=(20, 4)).astype(np.float32)
    gradients = [backprop("branch", x, CLASSES[k])[2]["stem"].sum((0, 1)) for x in images]
    expected = (np.stack(gradients) @ directions.T > 0).mean(0)
    assert 0 < np.mean((expected > 0) & (expected < 1)) < 1
    score = jax.jit(jp.tcav_score, static_argnames=("layer", "chunk"))
    for chunk in (None, 4):
        ours = score(NETS["branch"], images, CLASSES[k], layer="stem", directions=directions, chunk=chunk)
        assert_close(ours, expected)


ONES = np.ones((4, 3, 3, 2), np.float32)
HOLED = np.where(np.arange(4)[:, None, None, None] == 2, np.nan, ONES)


@pytest.mark.parametrize(
    ("concept", "random", "message"),
    [
        (iter([ONES]), ONES, r"^The activations are an iterator, which can be read once"),
        (ONES, (batch for batch in [ONES]), r"^The activations are an iterator, which can be read once"),
        (ONES[:1], ONES, r"^There are activations of 1 images, but at least 2"),
        (ONES, [], r"^There are activations of 0 images, but at least 2"),
        (ONES[:, 0, 0], ONES, r"^The activations have shape \(4, 2\), but \(N, h, w, C\), with positions"),
        ([ONES[0]], ONES, r"^The activations have shape \(3, 3, 2\), but"),
        ([ONES, ONES[:, :2]], ONES, r"^The activations have shapes \(3, 3, 2\) and \(2, 3, 2\), but one layer"),
        (ONES, ONES[..., :1], r"^The activations have \[1, 2\] channels, but all of them have to be of one layer"),
        (ONES, HOLED, r"^The activations of 1 of 4 images are not finite"),
    ],
)
def test_activations_that_are_no_concept_are_refused(concept, random, message):
    with pytest.raises(ValueError, match=message):
        jp.fit_concept(concept, random)


def test_concepts_of_elsewhere_are_refused():
    net, concepts = NETS["branch"], fitted("branch", "act")
    wide = Concept(jnp.ones((1, 7)), jnp.zeros(1), jnp.ones(1))
    with pytest.raises(
        ValueError, match=r"'act' has 4 channels, but the concept's direction is of 7: it was fitted at"
    ):
        jp.concept_attribution(net, X, CLASSES[0], layer="act", concepts=wide)
    with pytest.raises(ValueError, match="it was fitted at another layer"):
        jp.concept_map(net, X, layer="act", concept=wide)
    with pytest.raises(ValueError, match="it was fitted at another layer"):
        jp.tcav_score(net, X[None], CLASSES[0], layer="act", directions=wide.direction)
    with pytest.raises(ValueError, match=r"activation has shape \(5,\), but a map needs \(h, w, C\)"):
        jp.concept_map(net, X, layer="dense", concept=concepts)
    with pytest.raises(ValueError, match=r"directions \(4,\), but \(k, C\) is expected: use stack_concepts"):
        jp.concept_attribution(net, X, CLASSES[0], layer="act", concepts=jax.tree.map(lambda a: a[0], concepts))
    with pytest.raises(ValueError, match="There is no layer 'avt' in this net; near are 'act'"):
        jp.concept_map(net, X, layer="avt", concept=concepts)
    with pytest.raises(ValueError, match=r"directions \[\(4,\), \(7,\)\], but one or more of the same shape"):
        jp.stack_concepts([jax.tree.map(lambda a: a[0], c) for c in (concepts, wide)])
    with pytest.raises(ValueError, match=r"directions \[\], but one or more"):
        jp.stack_concepts([])


def test_wrong_options_are_refused():
    net, options = NETS["branch"], {"layer": "act", "concepts": fitted("branch", "act")}
    with pytest.raises(ValueError, match=r"^steps is 0, but at least 1"):
        jp.concept_attribution(net, X, CLASSES[0], steps=0, **options)
    with pytest.raises(ValueError, match=r"^rule is 'simpson', but"):
        jp.concept_attribution(net, X, CLASSES[0], rule="simpson", **options)  # pyright: ignore[reportArgumentType] to be refused
    with pytest.raises(ValueError, match=r"^The target is a single number"):
        jp.concept_attribution(net, X, 3, **options)
    with pytest.raises(ValueError, match=r"^X has shape \(6, 6, 3\), but a batch"):
        jp.tcav_score(net, X, CLASSES[0], layer="act", directions=jnp.ones((1, 4)))
    with pytest.raises(ValueError, match=r"^directions has shape \(4,\), but one or more as \(k, C\)"):
        jp.tcav_score(net, X[None], CLASSES[0], layer="act", directions=jnp.ones(4))
