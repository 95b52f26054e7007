"""Weighted sums over many evaluations, in bounded memory."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def nodes(rule: str, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Points t (steps,) in [0, 1] and weights w (steps,) that sum to 1, so that sum w f(t) approximates the integral.

    Rules: gauss_legendre, trapezoid (at least 2 steps, both ends included), left, right, middle.
    """
    if steps < 1 or (rule == "trapezoid" and steps < 2):
        raise ValueError(f"steps is {steps}, but the rule {rule!r} needs at least {1 + (rule == 'trapezoid')}.")
    even = np.full(steps, 1 / steps)
    match rule:
        case "gauss_legendre":
            t, w = np.polynomial.legendre.leggauss(steps)
            return (1 + t) / 2, w / 2
        case "trapezoid":
            w = np.full(steps, 1 / (steps - 1))
            w[[0, -1]] /= 2
            return np.linspace(0, 1, steps), w
        case "left" | "middle" | "right":
            offset = {"left": 0, "middle": 0.5, "right": 1}[rule]
            return (np.arange(steps) + offset) / steps, even
    raise ValueError(f"rule is {rule!r}, but gauss_legendre, trapezoid, left, right or middle is expected.")


def weighted_sum(f: Callable[[Any], Any], items: Any, weights: Any, chunk: int | None = None) -> Any:
    """sum_i weights[i] f(items[i]), for a pytree of items with a leading axis and a function f of one of them.

    `chunk` items are evaluated at a time (None: all at once), and memory does not grow with their number. Sums are
    float32 at least.
    """
    weights = jnp.asarray(weights, jnp.float32)
    count = len(weights)
    if chunk is not None and chunk < 1:
        raise ValueError(f"chunk is {chunk}, but at least 1 is expected, or None for all at once.")

    def part(weights, items):
        def total(v):
            return jnp.tensordot(weights, v.astype(jnp.promote_types(v.dtype, jnp.float32)), 1)

        return jax.tree.map(total, jax.vmap(f)(items))

    if chunk is None or chunk >= count:
        return part(weights, items)

    # chunks as equal as can be, the last filled up with the last item at weight 0
    rows = -(-count // chunk)
    chunk = -(-count // rows)
    index = np.minimum(np.arange(rows * chunk), count - 1).reshape(rows, chunk)
    real = jnp.asarray(np.arange(rows * chunk).reshape(rows, chunk) < count, jnp.float32)
    chunks = (weights[index] * real, jax.tree.map(lambda a: a[index], items))

    def add(total, chunk):
        return jax.tree.map(jnp.add, total, part(*chunk)), None

    result = jax.eval_shape(part, *jax.tree.map(lambda a: a[0], chunks))
    start = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), result)
    return jax.lax.scan(add, start, chunks)[0]
