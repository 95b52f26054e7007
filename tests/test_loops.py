"""Rules have their textbook nodes; weighted sums are the plain loop's; chunks bound memory."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compare import assert_close
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.tree_util import Partial

import jaxplain as jp
from jaxplain._loops import each, in_chunks, nodes, weighted_sum

RULES = ("gauss_legendre", "trapezoid", "left", "right", "middle")


@pytest.mark.parametrize(
    ("rule", "steps", "points", "weights"),
    [
        ("gauss_legendre", 1, [0.5], [1]),
        ("gauss_legendre", 2, [0.5 - 3**-0.5 / 2, 0.5 + 3**-0.5 / 2], [0.5, 0.5]),
        ("gauss_legendre", 3, [0.5 - 0.15**0.5, 0.5, 0.5 + 0.15**0.5], [5 / 18, 8 / 18, 5 / 18]),
        ("trapezoid", 1, [0, 1], [0.5, 0.5]),
        ("trapezoid", 4, [0, 0.25, 0.5, 0.75, 1], [0.125, 0.25, 0.25, 0.25, 0.125]),
        ("left", 4, [0, 0.25, 0.5, 0.75], [0.25] * 4),
        ("right", 4, [0.25, 0.5, 0.75, 1], [0.25] * 4),
        ("middle", 4, [0.125, 0.375, 0.625, 0.875], [0.25] * 4),
        ("left", 1, [0], [1]),
        ("right", 1, [1], [1]),
        ("middle", 1, [0.5], [1]),
    ],
)
def test_nodes_by_hand(rule, steps, points, weights):
    assert_close(nodes(rule, steps), (np.array(points), np.array(weights)), 1e-12)


@given(st.sampled_from(RULES), st.integers(1, 80))
@settings(deadline=None, max_examples=50)
def test_weights_sum_to_one_and_points_lie_between_zero_and_one(rule, steps):
    t, w = nodes(rule, steps)
    assert_close(w.sum(), np.array(1.0), 1e-12)
    assert len(t) == len(w) == steps + (rule == "trapezoid")
    assert t.min() >= 0
    assert t.max() <= 1
    assert (np.diff(t) > 0).all()
    assert (w > 0).all()


@pytest.mark.parametrize("steps", [1, 2, 3, 6, 10])
def test_gauss_legendre_is_exact_up_to_degree_2n_minus_1_and_no_further(steps):
    t, w = nodes("gauss_legendre", steps)
    for degree in range(2 * steps):
        assert_close(np.sum(w * t**degree), np.array(1 / (degree + 1)), 1e-12)
    assert abs(np.sum(w * t ** (2 * steps)) - 1 / (2 * steps + 1)) > 1e-13


@pytest.mark.parametrize(
    ("rule", "steps", "says"),
    [
        ("trapezoid", 0, "steps is 0, but at least 1 is expected"),
        ("gauss_legendre", 0, "steps is 0, but at least 1 is expected"),
        ("left", -3, "steps is -3"),
        ("simpson", 4, "rule is 'simpson', but gauss_legendre, trapezoid, left, right or middle"),
    ],
)
def test_wrong_rules_and_steps_raise(rule, steps, says):
    with pytest.raises(ValueError, match=says):
        nodes(rule, steps)


@given(st.integers(1, 7), st.data())
@settings(deadline=None, max_examples=10)
def test_weighted_sum_is_the_plain_loop_for_every_chunk(count, data):
    chunk = data.draw(st.one_of(st.none(), st.integers(1, count + 1)))
    draw = np.random.default_rng(data.draw(st.integers(0, 1000)))
    items = {"t": draw.normal(size=count).astype(np.float32), "a": draw.normal(size=(count, 2, 3)).astype(np.float32)}
    weights = draw.normal(size=count)

    def f(item):
        return item["t"] * item["a"], {"square": item["a"][0] ** 2, "t": item["t"]}

    expected = (
        sum(w * t * a for w, t, a in zip(weights, items["t"], items["a"], strict=True)),
        {
            "square": sum(w * a[0] ** 2 for w, a in zip(weights, items["a"], strict=True)),
            "t": sum(w * t for w, t in zip(weights, items["t"], strict=True)),
        },
    )
    for total in (weighted_sum, jax.jit(weighted_sum, static_argnums=(0, 3))):
        actual = total(f, jax.tree.map(jnp.asarray, items), weights, chunk)
        jax.tree.map(lambda a, e: np.testing.assert_allclose(a, e, atol=1e-5), actual, expected)


def test_every_item_is_used_once_whatever_the_chunk():
    for chunk in (None, 1, 3, 7, 8):
        result = weighted_sum(lambda i: jax.nn.one_hot(i, 7), jnp.arange(7), np.arange(1, 8), chunk)
        assert_close(result, np.arange(1, 8), 0)


@pytest.mark.parametrize("chunk", [0, -2])
def test_a_chunk_below_one_raises(chunk):
    with pytest.raises(ValueError, match=f"chunk is {chunk}, but at least 1"):
        weighted_sum(lambda t: t, jnp.ones(3), np.ones(3), chunk)
    with pytest.raises(ValueError, match=f"chunk is {chunk}, but at least 1"):
        each(lambda t: t, jnp.ones(3), chunk)


@pytest.mark.parametrize("chunk", [None, 1, 3, 7])
def test_each_is_a_list_of_calls(chunk):
    """Of a pytree of items, in order, with results of any kind; also traced, and mapped once more."""
    draw = np.random.default_rng(0)
    items = {"t": jnp.arange(7), "a": jnp.asarray(draw.normal(size=(7, 2, 3)), jnp.float32)}

    def f(item):
        return item["t"] % 3 == 0, {"a": item["t"] * item["a"]}

    expected = (np.arange(7) % 3 == 0, {"a": np.arange(7)[:, None, None] * np.asarray(items["a"])})
    assert_close(each(f, items, chunk), expected)
    assert_close(jax.jit(lambda items: each(f, items, chunk))(items), expected)
    pairs = jax.tree.map(lambda a: jnp.stack([a, a]), items)
    assert_close(jax.vmap(lambda items: each(f, items, chunk))(pairs)[1]["a"][1], expected[1]["a"])


@pytest.mark.parametrize("count", [1, 5, 7, 12])
@pytest.mark.parametrize("chunk", [None, 1, 2, 5, 7, 20])
def test_chunks_are_as_equal_as_can_be_and_what_fills_them_is_marked(count, chunk):
    """The state is what was seen: how often each item was real, and the sizes of the chunks."""
    sizes = []

    def see(counts, items, real):
        sizes.append(len(items))
        assert items.shape == real.shape
        return counts.at[items].add(real.astype(int))

    np.testing.assert_array_equal(in_chunks(see, jnp.zeros(count, int), jnp.arange(count), chunk), np.ones(count))
    chunks = -(-count // (chunk or count))
    assert set(sizes) == {-(-count // chunks)}


def test_chunks_come_one_after_the_other():
    result = in_chunks(lambda state, items, real: 2 * state + jnp.sum(items * real), 0.0, jnp.arange(5.0), 2)
    assert_close(result, np.array(4 * (0 + 1) + 2 * (2 + 3) + 4.0), 0)


def wide(kernel, x, site=jp.untouched):
    layout = ("NHWC", "HWIO", "NHWC")
    a = jnp.tanh(jax.lax.conv_general_dilated(x[None], kernel, (1, 1), "SAME", dimension_numbers=layout)[0])
    return jnp.mean(site("conv", a), axis=(0, 1))


def temporary_bytes(steps, chunk):
    net, x = Partial(wide, jnp.ones((3, 3, 3, 16))), jnp.ones((48, 48, 3))

    def explain(net, x, target):
        return jp.integrated_gradients(net, x, target, steps=steps, chunk=chunk)

    return jax.jit(explain).lower(net, x, jnp.ones(16)).compile().memory_analysis().temp_size_in_bytes  # pyright: ignore[reportOptionalMemberAccess] the CPU has it


def test_memory_does_not_grow_with_the_number_of_steps():
    few, many, unchunked = temporary_bytes(8, 2), temporary_bytes(64, 2), temporary_bytes(64, None)
    assert many <= 1.05 * few
    assert unchunked > 8 * many
