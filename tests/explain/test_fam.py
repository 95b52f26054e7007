"""Contributions to a similarity: by hand, that they add up to it, and what is refused."""

import functools

import jax
import jax.numpy as jnp
import nets
import numpy as np
import pytest
from compare import assert_close
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import jaxplain as jp
from jaxplain.similarity import POOLED, SPLITS, dn4, flat, normalised, projected, relation

DRAW = np.random.default_rng(0)
A, B = (DRAW.normal(size=(3, 4, 5)).astype(np.float32) for _ in range(2))
R = DRAW.normal(size=5).astype(np.float32)
P = DRAW.normal(size=(5, 2)).astype(np.float32)
NET = nets.net(nets.RIDGE, nets.params(nets.RIDGE))
X, OTHER = (jnp.asarray(x) for x in nets.images(2))


def cosine(q, r):
    return q @ r / (np.linalg.norm(q) * np.linalg.norm(r))


SIMILARITY = {
    "dot": lambda q, r: q @ r,
    "cosine": cosine,
    "squared_euclidean": lambda q, r: -np.sum((q - r) ** 2),
    "euclidean": lambda q, r: -np.linalg.norm(q - r),
    "l1": lambda q, r: -np.abs(q - r).sum(),
}
contributions = jax.jit(jp.fam_contributions, static_argnames="split")


def test_contributions_by_hand():
    activation, reference = np.array([[[1.0, 2], [3, 2]]]), np.array([2.0, -1])  # q is (2, 2)
    for split, expected in {
        "dot": [4, -2],
        "cosine": np.array([4, -2]) / np.sqrt(8 * 5),
        "squared_euclidean": [0, -9],
        "euclidean": [0, -3],
        "l1": [0, -3],
    }.items():
        assert_close(jp.fam_contributions(activation, reference, split=split), np.array(expected, float))  # pyright: ignore[reportArgumentType] a name of the table


@pytest.mark.parametrize("name", POOLED)
@settings(max_examples=25, deadline=None)
@given(arrays(np.float32, (2, 3, 4), elements=st.floats(-3, 3, width=32)), st.integers(0, 99))
def test_contributions_add_up_and_are_symmetric(name, a, seed):
    """To the similarity; with the two embeddings exchanged they are the same."""
    r = np.random.default_rng(seed).normal(size=4).astype(np.float32)
    q = np.float64(a).mean((0, 1))
    k = np.asarray(contributions(a, r, split=name))
    assume(not 0 < np.linalg.norm(q) < 1e-6)  # whose square may be 0 in float32
    expected = SIMILARITY[name](q, r) if q.any() or name != "cosine" else 0
    assert abs(k.sum() - expected) < 1e-4 * max(1, np.abs(k).sum())
    back = contributions(r[None, None], q.astype(np.float32), split=name)
    assert np.abs(back - k).max() <= 1e-5 * max(1, np.abs(k).max())


def test_of_equal_images_a_channel_weighs_its_square():
    q = A.mean((0, 1))
    for name in ("dot", "cosine"):
        k = np.asarray(jp.fam_contributions(A, q, split=name))
        assert_close(k / k.sum(), q**2 / (q**2).sum())


def test_a_prototype_is_the_mean_of_its_supports():
    """The dot product with it is the mean of those with the supports."""
    supports = DRAW.normal(size=(3, 5)).astype(np.float32)
    each = np.mean([jp.fam_contributions(A, r, split="dot") for r in supports], axis=0)
    assert_close(jp.fam_contributions(A, supports.mean(0), split="dot"), each)
    episode = jp.over_classes(jp.fam)(NET, X, np.stack([supports[:, :4].mean(0), supports[0, :4]]), layer="relu")
    assert_close(episode[1], jp.fam(NET, X, supports[0, :4], layer="relu"))


def test_normalisations_by_hand():
    k = np.array([1.0, -1, 3])
    for how, expected in {
        "minmax": [0.5, 0, 1],
        "sum": k / 3,
        "l2": k / np.sqrt(11),
        "softmax": np.exp(k) / np.exp(k).sum(),
        "none": k,
    }.items():
        assert_close(normalised(k, how), np.array(expected, float))  # pyright: ignore[reportArgumentType] a name of the table
    assert_close(normalised(np.full(3, 2.0)), np.zeros(3))
    assert_close(normalised(np.zeros(3), "l2"), np.zeros(3))


def test_the_map_is_the_channels_sum_and_the_other_side_has_the_same_weights():
    embed = jp.embedding(NET, "relu")
    activation, other = (np.asarray(jp.view(NET, "relu", x)[0]) for x in (X, OTHER))
    k = activation.mean((0, 1)) * other.mean((0, 1))
    weights = (k - k.min()) / (k.max() - k.min())  # the cosine's lengths cancel
    assert_close(jp.fam(NET, X, embed(OTHER), layer="relu"), activation @ weights)
    assert_close(jp.channel_map(NET, OTHER, weights, layer="relu"), other @ weights)
    assert_close(jp.fam(NET, OTHER, embed(X), layer="relu"), other @ weights)  # the split is symmetric


def test_local_descriptors():
    """Every place's nearest two of the reference's, pair by pair."""
    a, b = A.reshape(-1, 5), B.reshape(-1, 5)
    a, b = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (a, b))
    expected = np.zeros(5)
    for place in a:
        for j in np.argsort(-(b @ place))[:2]:
            expected += place * b[j]
    assert_close(dn4(A, B, neighbours=2), expected)
    similarity = np.sort(a @ b.T, axis=1)[:, -3:].sum()
    assert_close(jp.fam_contributions(A, np.stack([B[:1], B[1:2], B[2:]]), split="dn4").sum(), np.float32(similarity))


@pytest.mark.parametrize("name", POOLED)
def test_flattened_embeddings(name):
    """The places' contributions are summed by channel; all of them add up."""
    k = jp.fam_contributions(A, B.ravel(), split=flat(POOLED[name]))
    by_hand = np.asarray(contributions(A.reshape(1, 1, -1), B.ravel(), split=name)).reshape(3, 4, 5).sum((0, 1))
    assert_close(k, by_hand)
    assert_close(k.sum(), np.float32(SIMILARITY[name](np.float64(A.ravel()), B.ravel())))


def test_linear_projectors_are_exact():
    q, r = A.mean((0, 1)), R @ P
    for name in ("dot", "cosine"):
        k = jp.fam_contributions(A, r, split=projected(P, name))
        assert_close(k.sum(), np.float32(SIMILARITY[name](q @ P, r)))
    by_hand = q * (P @ r) / (np.linalg.norm(q @ P) * np.linalg.norm(r))
    assert_close(jp.fam_contributions(A, r, split=projected(P)), by_hand)


def test_other_projectors_are_gradients_times_embeddings():
    """Of a linear function under the cosine they sum to 0, and under the dot product to it."""
    q, r = A.mean((0, 1)), R @ P

    def through(q):
        return q @ jnp.asarray(P)

    assert abs(float(jp.fam_contributions(A, r, split=projected(through)).sum())) < 1e-5
    assert_close(jp.fam_contributions(A, r, split=projected(through, "dot")), q * (P @ r))
    assert_close(jp.fam_contributions(A, r, split=projected(P, "squared_euclidean")), q * (-2 * P @ (q @ P - r)), 1e-5)
    bent = projected(lambda q: jnp.tanh(q @ P), "dot")
    assert_close(jp.fam_contributions(A, r, split=bent), q * (P @ ((1 - np.tanh(q @ P) ** 2) * r)))


def learned(q, r):
    return jnp.sum(jnp.tanh(q * r) + q**2)


def test_learned_similarities():
    q = A.mean((0, 1))
    ablated = [float(learned(q, R) - learned(np.where(np.arange(5) == c, 0, q), R)) for c in range(5)]
    assert_close(jp.fam_contributions(A, R, split=relation(learned)), np.array(ablated, np.float32))
    assert_close(jp.fam_contributions(A, R, split=relation(learned, chunk=2)), np.array(ablated, np.float32))
    slope = R * (1 - np.tanh(q * R) ** 2) + 2 * q
    assert_close(jp.fam_contributions(A, R, split=relation(learned, by="gradient")), q * slope)
    places = relation(lambda a, r: jnp.sum(a**2 * r[None, None]), by="gradient", pooled=False)
    assert_close(jp.fam_contributions(A, R, split=places), (2 * A**2).sum((0, 1)) * R)


def test_nothing_is_nan():
    zero = np.zeros_like(A)
    for split in SPLITS:
        reference = B if split == "dn4" else R
        for activation, other in ((zero, reference), (A, 0 * reference), (zero, 0 * reference)):
            value, slope = jax.value_and_grad(
                lambda a, other=other, split=split: jp.fam_contributions(a, other, split=split).sum()  # pyright: ignore[reportArgumentType] a name of the table
            )(jnp.asarray(activation))
            assert np.isfinite(value)
            assert np.isfinite(slope).all()
    q = jnp.asarray(A.mean((0, 1)))
    equal = jax.grad(lambda a: jp.fam_contributions(a, q, split="euclidean").sum())(jnp.asarray(A))
    assert np.isfinite(equal).all()
    black = functools.partial(jp.fam, NET, 0 * X, np.zeros(4, np.float32), layer="relu")
    assert np.isfinite(black()).all()


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: jp.fam(NET, X, R, layer="relu"), r"shape \(5,\), but \(4,\), one value for each channel"),
        (lambda: jp.fam(NET, X, R[:4], layer="pool"), r"shape \(4,\), but a map needs \(h, w, C\)"),
        (lambda: jp.fam(NET, X, R[:4], layer="relu", similarity="manhattan"), "'manhattan', but one of cosine"),  # pyright: ignore[reportArgumentType] to be refused
        (lambda: jp.fam(NET, X, R[:4], layer="relu", normalise="max"), "normalise is 'max', but minmax"),  # pyright: ignore[reportArgumentType] to be refused
        (lambda: jp.fam_contributions(A, R, split="dn4"), r"shape \(5,\), but descriptors \(\.\.\., 5\)"),
        (lambda: dn4(A, B[:1, :2], neighbours=3), "neighbours is 3, but 1 to 2"),
        (lambda: jp.fam_contributions(A, R, split=flat(POOLED["dot"])), r"\(5,\), but \(60,\)"),
        (lambda: jp.fam_contributions(A, R, split=projected(P[:3])), r"\(3, 2\), but a row a channel, \(5, d\)"),
        (lambda: projected(P, "angle"), "'angle', but one of cosine"),  # pyright: ignore[reportArgumentType] to be refused
        (lambda: relation(learned, by="hand"), "by is 'hand', but ablation or gradient"),  # pyright: ignore[reportArgumentType] to be refused
        (lambda: jp.channel_map(NET, X, R, layer="relu"), r"shape \(5,\), but one a channel, \(4,\)"),
    ],
)
def test_what_is_refused(call, says):
    with pytest.raises(ValueError, match=says):
        call()
