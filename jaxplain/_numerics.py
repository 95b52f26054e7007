"""Sums that are answers, quotients that may be by 0, and numbers that say nothing.

Accelerators round the factors of float32 products by default. That is a network's own business, but not that of a sum
which is an explanation: every such product goes through `contract`.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array


def contract(subscripts: str, *arrays: ArrayLike) -> Array:
    """jnp.einsum(subscripts, *arrays) with all digits of its factors on every backend."""
    return jnp.einsum(subscripts, *arrays, precision="highest")


def quotient(a: ArrayLike, b: ArrayLike) -> Array:
    """a / b, and 0 where b is 0; finite derivatives there too."""
    b = jnp.asarray(b)
    return jnp.where(b == 0, 0, jnp.asarray(a) / jnp.where(b == 0, 1, b))


def at_least_float32(a: ArrayLike) -> Array:
    """The array in float32, or in float64 if it is in that."""
    a = jnp.asarray(a)
    return a.astype(jnp.promote_types(a.dtype, jnp.float32))


def ranks(heat: ArrayLike) -> Array:
    """Whether a map puts its pixels in an order, a scalar: not a constant one, up to rounding, nor one with NaN."""
    low, high = jnp.min(jnp.asarray(heat)), jnp.max(jnp.asarray(heat))
    return high - low > 1e-6 * jnp.maximum(jnp.abs(low), jnp.abs(high))


def if_ranked(heat: ArrayLike, values: ArrayLike) -> Array:
    """The values where the map `ranks` its pixels, else NaN."""
    values = jnp.asarray(values)
    return jnp.where(ranks(heat), values, jnp.asarray(jnp.nan, values.dtype))


def length(v: ArrayLike) -> Array:
    """The root of the sum of squares along the last axis, which is kept; its derivative at 0 is 0."""
    v = jnp.asarray(v)
    square = contract("...c,...c->...", v, v)[..., None]
    return jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1)), 0)


def checked_for(f: Callable[[Array], Array], outputs: Array) -> Array:
    """The outputs; ValueError if they are one, of which f makes the same whatever it is: tried if f has no arrays."""
    if jnp.shape(outputs) != (1,) or jax.tree.leaves(f):
        return outputs
    with jax.ensure_compile_time_eval():
        low, *others = (jnp.asarray(f(jnp.full(1, value))) for value in (-1e4, 0.0, 1e4))
        constant = all(bool(jnp.array_equal(low, other)) for other in others)
    if constant:
        raise ValueError(
            "The net has one output, and what follows it is the same whatever that is, as the softmax of one number is "
            "always 1: use jax.nn.sigmoid, or the output itself."
        )
    return outputs


def several(outputs: Array) -> Array:
    """The outputs; ValueError for one, which is always the largest."""
    if outputs.shape == (1,):
        raise ValueError(
            "The net has one output, which is always the largest: give a net of two, such as it and its negative."
        )
    return outputs
