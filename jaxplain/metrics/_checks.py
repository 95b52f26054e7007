"""What maps, masks and boxes have to be."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.typing import ArrayLike
from jaxtyping import Array


def one_map(heat: ArrayLike) -> Array:
    """The map as an array (H, W)."""
    heat = jnp.asarray(heat)
    if heat.ndim != 2:
        raise ValueError(f"The map has shape {heat.shape}, but (H, W) is expected.")
    return heat


def check_size(name: str, a: Array, b: Array) -> None:
    """Raises ValueError unless a is (H, W) for b (H, W, ...)."""
    if a.ndim != 2 or a.shape != b.shape[:2]:
        raise ValueError(f"{name} has shape {a.shape}, but (H, W) = {b.shape[:2]} is expected.")


def check_box(box: ArrayLike | Sequence[int], size: Sequence[int]) -> None:
    """Raises ValueError unless the box is four numbers, and inside of the size (H, W) where they are known."""
    shape = box.shape if isinstance(box, Tracer) else np.shape(box)
    if shape != (4,):
        raise ValueError(f"box has shape {shape}, but (left, top, right, bottom) is expected.")
    if isinstance(box, Tracer):
        return
    left, top, right, bottom = np.asarray(box)
    if not (0 <= left < right <= size[1] and 0 <= top < bottom <= size[0]):
        raise ValueError(
            f"box is {(left, top, right, bottom)}, which is not inside the map: left < right <= {size[1]} and "
            f"top < bottom <= {size[0]} are expected, in pixels."
        )
