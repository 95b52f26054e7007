"""From raw maps to what is shown: signs, channels, sizes, ranges. Nothing here changes an explainer's result unasked.

A map is (h, w), or (H, W, C) for input attributions; results are new arrays of the same layout.
"""
# pyright: reportUnknownMemberType=false

from collections.abc import Callable
from typing import Any, cast

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float

from jaxplain._numerics import quotient
from jaxplain._types import Convention, Resizing
from jaxplain.segment import segment_means


def positive(heat: ArrayLike) -> Float[Array, "..."]:
    """max(heat, 0): what speaks for the target. Same shape."""
    return jnp.maximum(jnp.asarray(heat), 0)


def negative(heat: ArrayLike) -> Float[Array, "..."]:
    """max(-heat, 0): what speaks against the target, as positive numbers. Same shape."""
    return jnp.maximum(-jnp.asarray(heat), 0)


def over_channels(heat: ArrayLike, reduce: Callable[..., Any] = jnp.sum) -> Float[Array, "h w"]:
    """reduce(heat, axis=-1): (H, W, C) to (H, W). The sum keeps signs and totals; jnp.max shows the strongest.

    Raises ValueError for what has no channels, such as a map (H, W), whose last axis is its width.
    """
    if jnp.ndim(heat) != 3:
        raise ValueError(f"The map has shape {jnp.shape(heat)}, but (H, W, C) is expected: it is reduced to (H, W).")
    return reduce(jnp.asarray(heat), axis=-1)


def upsample(heat: ArrayLike, size: tuple[int, int], method: Resizing = "bilinear") -> Float[Array, "H W ..."]:
    """The map (h, w) or (h, w, C) at another size (H, W): bilinear or cubic with half-pixel centres, or nearest.

    A class activation map says nothing finer than its layer's receptive field, however large it is drawn.
    """
    heat = jnp.asarray(heat)
    return cast(Array, jax.image.resize(heat, (*size, *heat.shape[2:]), method, antialias=False))


def unit_range(heat: ArrayLike) -> Float[Array, "..."]:
    """(heat - min) / (max - min), in [0, 1]; a constant map becomes zeros, one with NaN is NaN. Same shape."""
    heat = jnp.asarray(heat)
    low, high = jnp.min(heat), jnp.max(heat)
    return quotient(heat - low, high - low)


def keep_segments(
    heat: ArrayLike, segments: ArrayLike, num_segments: int, *, threshold: ArrayLike = 0.8, top: int | None = None
) -> Bool[Array, "H W"]:
    """Where the segments are whose mean of a map (H, W) is above `threshold` times the largest one, (H, W) bool.

    With `top` it is that many segments with the largest means. Means that are not positive are never kept.

        jnp.where(keep_segments(heat, segments, 50)[..., None], pixels, 0)     # the rest is black, as in SeCAM
    """
    means = segment_means(heat, segments, num_segments)
    if top is None:
        kept = means > jnp.asarray(threshold, means.dtype) * jnp.max(means)
    else:
        if not 1 <= top <= num_segments:
            raise ValueError(f"top is {top}, but 1 to {num_segments}, the number of segments, is expected.")
        kept = jnp.zeros(num_segments, bool).at[lax.top_k(means, top)[1]].set(True)
    return (kept & (means > 0))[jnp.asarray(segments)]


def preset(heat: ArrayLike, convention: Convention, size: tuple[int, int]) -> Float[Array, "H W"]:
    """The map (h, w) at image size (H, W) as another library would hand it out, for comparisons.

    captum: signed, nearest-neighbour, not scaled. pytorch_grad_cam: rectified, scaled to [0, 1] with 1e-7 added to the
    maximum, bilinear, and scaled again.
    """
    heat = jnp.asarray(heat)
    if heat.ndim != 2:
        raise ValueError(f"The map has shape {heat.shape}, but (h, w) is expected: reduce it with over_channels.")
    match convention:
        case "captum":
            rows, columns = (jnp.arange(n) * m // n for n, m in zip(size, heat.shape, strict=True))  # as torch rounds
            return heat[rows[:, None], columns[None]]
        case "pytorch_grad_cam":
            return _from_zero_to_one(upsample(_from_zero_to_one(positive(heat)), size))
    raise ValueError(f"convention is {convention!r}, but captum or pytorch_grad_cam is expected.")


def _from_zero_to_one(heat: Array) -> Array:
    heat = heat - jnp.min(heat)
    return heat / (1e-7 + jnp.max(heat))
