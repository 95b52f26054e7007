"""Sums that are answers, quotients that may be by 0, and numbers that say nothing.

Accelerators round the factors of float32 products by default. That is a network's own business, but not that of a sum
which is an explanation: every such product goes through `contract`.
"""

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
