"""Whether a map finds the object."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from jaxplain._numerics import if_ranked, quotient
from jaxplain.metrics._checks import check_box, check_size, one_map


def pointing_game(heat: ArrayLike, mask: ArrayLike, *, tolerance: float = 0.0) -> Float[Array, ""]:
    """1 if the map's maximum is in the object, or nearer to it than `tolerance` pixels, else 0, a scalar.

    `mask` (H, W) is true in the object. Of several equal maxima it is the share that hits; NaN for a constant map, and
    for one with NaN, which have no maximum.

    Zhang, Bargal, Lin, Brandt, Shen, Sclaroff, "Top-down Neural Attention by Excitation Backprop", 2016.
    """
    heat, mask = one_map(heat), jnp.asarray(mask)
    check_size("mask", mask, heat)
    inside = (mask != 0).astype(jnp.float32)
    reach = int(np.ceil(tolerance))
    if reach > 0:
        steps = np.arange(-reach, reach + 1)
        disc = jnp.asarray(steps[:, None] ** 2 + steps**2 < tolerance**2, jnp.float32)
        inside = (jax.scipy.signal.convolve(inside, disc, mode="same", method="direct") > 0.5).astype(jnp.float32)
    highest = heat == jnp.max(heat)
    return if_ranked(heat, jnp.sum(inside * highest) / jnp.maximum(jnp.sum(highest.astype(jnp.float32)), 1))


def energy_in_box(heat: ArrayLike, box: ArrayLike | Sequence[int]) -> Float[Array, ""]:
    """The share of the map's positive part that is inside a box, a scalar; 0 for a map without one, NaN for NaN.

    `box` is (left, top, right, bottom) in pixels, right and bottom excluded, as PIL has it.

    Wang, Wang, Du, Yang, Zhang, Ding, Mardziel, Hu, "Score-CAM: Score-Weighted Visual Explanations for Convolutional
    Neural Networks", 2019.
    """
    heat = jnp.maximum(one_map(heat), 0)
    check_box(box, heat.shape)
    left, top, right, bottom = jnp.asarray(box)
    rows, columns = jnp.arange(heat.shape[0]), jnp.arange(heat.shape[1])
    inside = ((rows >= top) & (rows < bottom))[:, None] & ((columns >= left) & (columns < right))[None]
    return quotient(jnp.sum(heat * inside), jnp.sum(heat))
