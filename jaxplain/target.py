"""Targets: covectors on a net's outputs.

A net's outputs are one vector (n,), or any other array: one number, or a map (h, w, n) of a segmentation. A target has
the same shape, and the score that explainers explain is <target, outputs>. A target is an array like any other: it is
mapped over by `vmap` and never causes a retrace.
"""
# pyright: reportUnknownMemberType=false

from typing import Any

import jax
import jax.numpy as jnp
from jax.core import Tracer
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from jaxplain._checks import check_vector, covector, one_array


def one_hot(k: ArrayLike, n: int) -> Float[Array, "*k n"]:
    """The covector (n,) of output k: 1 there and 0 elsewhere; an array of k gives one covector each.

    Raises ValueError where k is known and not in 0..n-1.
    """
    if not isinstance(k, Tracer):
        with jax.ensure_compile_time_eval():  # k is known, also while something else is traced
            known = jnp.asarray(k)
            outside = jnp.any((known < 0) | (known >= n))
        if not jnp.issubdtype(known.dtype, jnp.integer):
            raise ValueError(f"k is {k!r}, but one_hot takes the integer index of an output.")
        if outside:
            raise ValueError(f"k is {k!r}, but the {n} outputs are numbered 0 to {n - 1}.")
    return jax.nn.one_hot(k, n, dtype=jnp.float32)


def contrast(k: ArrayLike, j: ArrayLike, n: int) -> Float[Array, "*k n"]:
    """The covector (n,) that asks why output k rather than output j: 1 at k, -1 at j."""
    return one_hot(k, n) - one_hot(j, n)


def top(outputs: Float[Array, "..."], k: int | None = None) -> Float[Array, "*k n"]:
    """The covector (n,) of the largest output; with k, the covectors (k, n) of the k largest, best first.

    grad_cam(net, x, top(net(x)), layer="layer4")
    """
    check_vector(outputs)
    if k is None:
        return one_hot(jnp.argmax(outputs), len(outputs))
    return one_hot(jax.lax.top_k(outputs, k)[1], len(outputs))


def score(outputs: Any, target: Any) -> Float[Array, ""]:
    """<target, outputs>, a scalar.

    Raises ValueError unless the outputs are one array, of any shape, and the target has their shape.
    """
    outputs = one_array(outputs)
    target = covector(target, outputs.shape)
    # Not a sum of products: XLA's CPU backend (0.10.2) fuses it wrongly with a map that it multiplies, under vmap.
    return jnp.vdot(target.astype(outputs.dtype), outputs, precision="highest")
