"""The score of the image seen through a map."""

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from jaxplain._numerics import quotient
from jaxplain._types import Net
from jaxplain.metrics._checks import check_size
from jaxplain.net import check_image, run
from jaxplain.postprocess import unit_range
from jaxplain.target import score


def average_drop(net: Net, x: ArrayLike, target: ArrayLike, heat: ArrayLike) -> Float[Array, ""]:
    """max(0, y - y') / y, a scalar, for the score y of x and y' of x * unit_range(heat); 0 where y is not above 0.

    NaN for a map with NaN, as of increase_in_confidence. A constant map shows nothing of the image.

    The published measure takes probabilities, and its mean over images.

    Chattopadhyay, Sarkar, Howlader, Balasubramanian, "Grad-CAM++: Generalized Gradient-based Visual Explanations for
    Deep Convolutional Networks", 2017.
    """
    whole, seen = _whole_and_seen(net, x, target, heat)
    return jnp.where(jnp.isnan(seen), jnp.nan, quotient(jnp.maximum(whole - seen, 0), jnp.maximum(whole, 0)))


def increase_in_confidence(net: Net, x: ArrayLike, target: ArrayLike, heat: ArrayLike) -> Float[Array, ""]:
    """1 where the score of x * unit_range(heat) is above the score of x, else 0, a scalar.

    Chattopadhyay, Sarkar, Howlader, Balasubramanian, "Grad-CAM++: Generalized Gradient-based Visual Explanations for
    Deep Convolutional Networks", 2017.
    """
    whole, seen = _whole_and_seen(net, x, target, heat)
    return jnp.where(jnp.isnan(seen), jnp.nan, seen > whole).astype(jnp.float32)


def _whole_and_seen(net, x, target, heat):
    check_image(x)
    x, heat = jnp.asarray(x), jnp.asarray(heat)
    check_size("The map", heat, x)
    seen = x * unit_range(heat)[..., None].astype(x.dtype)
    return score(run(net, x), target), score(run(net, seen), target)
