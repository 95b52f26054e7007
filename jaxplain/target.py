"""Targets: covectors on a net's outputs.

A net's outputs are one vector (n,). A target has the same shape, and the score that explainers explain is
<target, outputs>. A target is an array like any other: it is mapped over by `vmap` and never causes a retrace.
"""
# pyright: reportUnknownMemberType=false

import jax
import jax.numpy as jnp
from jax.core import Tracer
from jax.typing import ArrayLike
from jaxtyping import Array, Float


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


def top(outputs: Float[Array, " n"], k: int | None = None) -> Float[Array, "*k n"]:
    """The covector (n,) of the largest output; with k, the covectors (k, n) of the k largest, best first.

    grad_cam(net, x, top(net(x)), layer="layer4")
    """
    if k is None:
        return one_hot(jnp.argmax(outputs), len(outputs))
    return one_hot(jax.lax.top_k(outputs, k)[1], len(outputs))


def score(outputs: ArrayLike, target: ArrayLike) -> Float[Array, ""]:
    """<target, outputs>, a scalar.

    Raises ValueError unless the outputs are one vector and the target has their shape.
    """
    outputs, target = jnp.asarray(outputs), jnp.asarray(target)
    if outputs.ndim != 1:
        raise ValueError(f"The net returned shape {outputs.shape} for one image, but one vector (n,) is expected.")
    n = len(outputs)
    if target.ndim == 0:
        raise ValueError(
            f"The target is a single number, but a covector of shape ({n},) is expected: use one_hot(k, {n})."
        )
    if target.shape != (n,):
        raise ValueError(
            f"The target has shape {target.shape}, but the net's outputs have shape ({n},); "
            "for several targets use over_classes, for several images batched."
        )
    # Not a sum of products: XLA's CPU backend (0.10.2) fuses it wrongly with a map that it multiplies, under vmap.
    return jnp.vdot(target.astype(outputs.dtype), outputs, precision="highest")
