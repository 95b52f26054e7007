"""Rank correlation."""

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from jaxplain._numerics import quotient


def rank_correlation(a: ArrayLike, b: ArrayLike) -> Float[Array, ""]:
    """Spearman's rank correlation of two arrays, a scalar: equal values share their mean rank, a constant gives 0.

    NaN, which have no rank, give NaN.
    """
    finite = ~(jnp.isnan(a).any() | jnp.isnan(b).any())
    a, b = (_ranks(jnp.ravel(jnp.asarray(v))) for v in (a, b))
    return jnp.where(finite, quotient(jnp.sum(a * b), norm(a) * norm(b)), jnp.nan)


def _ranks(values):
    """Twice the mean place of each value in the sorted array, less that of all, divided by their number."""
    ordered = jnp.sort(values)
    places = jnp.searchsorted(ordered, values, side="left") + jnp.searchsorted(ordered, values, side="right")
    return (places - len(values)).astype(jnp.float32) / len(values)  # centred as integers: a constant is exactly 0


def norm(a: Array) -> Array:
    """The root of the sum of squares, a scalar."""
    return jnp.sqrt(jnp.sum(a**2))
