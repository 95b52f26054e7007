"""Sums that are answers, quotients that may be by 0, and pixels in [0, 1].

Accelerators round the factors of float32 products by default. That is a network's own business, but not that of a sum
which is an explanation: every such product goes through `contract`.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.typing import ArrayLike
from jaxtyping import Array


def contract(subscripts: str, *arrays: ArrayLike) -> Array:
    """jnp.einsum(subscripts, *arrays) with all digits of its factors on every backend."""
    return jnp.einsum(subscripts, *arrays, precision="highest")


def quotient(a: ArrayLike, b: ArrayLike) -> Array:
    """a / b, and 0 where b is 0; finite derivatives there too."""
    b = jnp.asarray(b)
    return jnp.where(b == 0, 0, jnp.asarray(a) / jnp.where(b == 0, 1, b))


def length(v: ArrayLike) -> Array:
    """The root of the sum of squares along the last axis, which is kept; its derivative at 0 is 0."""
    v = jnp.asarray(v)
    square = contract("...c,...c->...", v, v)[..., None]
    return jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1)), 0)


def as_rgb(pixels: ArrayLike) -> Any:
    """The float image (H, W, 3); a grey one, (H, W) or (H, W, 1), has its channel repeated.

    Raises ValueError for anything else, and for values beyond [0, 1] where they are known.
    """
    if not hasattr(pixels, "shape"):
        raise ValueError(f"pixels is a {type(pixels).__name__}, but an array (H, W, 3) is expected: use model.pixels.")
    shape, dtype = jnp.shape(pixels), jnp.result_type(pixels)
    if shape[2:] not in ((), (1,), (3,)) or len(shape) < 2 or 0 in shape:
        raise ValueError(
            f"pixels has shape {shape}, but one image (H, W, 3), (H, W, 1) or (H, W) is expected, channels last: "
            "use model.pixels."
        )
    if not jnp.issubdtype(dtype, jnp.floating):
        raise ValueError(f"pixels is {dtype}, but floats in [0, 1] are expected: use model.pixels.")
    if not isinstance(pixels, Tracer):
        _check_range(float(np.min(pixels)), float(np.max(pixels)))
    if shape[2:] == (3,):
        return pixels
    return jnp.broadcast_to(jnp.reshape(jnp.asarray(pixels), (*shape[:2], 1)), (*shape[:2], 3))


def _check_range(low, high):
    if not -1e-3 <= low <= high <= 1 + 1e-3:
        raise ValueError(
            f"pixels has values from {low:.3g} to {high:.3g}, but ones in [0, 1] are expected: divide levels by 255, "
            "and give model.pixels, not model.prepare."
        )
