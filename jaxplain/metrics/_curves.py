"""Scores while pixels are removed or shown in the order of a map."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array

from jaxplain._checks import several
from jaxplain._loops import each, reused
from jaxplain._numerics import if_ranked
from jaxplain._types import Net
from jaxplain.metrics._checks import check_size
from jaxplain.net import run, with_fill
from jaxplain.target import score as dot

Score = Callable[[Array, Any], Array]

FRACTIONS = tuple(n / 20 for n in range(21))
PUBLISHED_FRACTIONS = (0.0, 0.03, 0.05, 0.07, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


class Curve(NamedTuple):
    """Scores (K,) at fractions (K,) of the pixels, and the area under them by the trapezoid rule, a scalar.

    The area is not divided by the range of the fractions: up to 0.9, a score that stays 1 has an area of 0.9.
    """

    fractions: Array
    scores: Array
    area: Array


def deletion(
    net: Net,
    x: ArrayLike,
    target: ArrayLike,
    heat: ArrayLike,
    *,
    fractions: Sequence[float] = FRACTIONS,
    fill: ArrayLike = 0.0,
    score: Score | None = None,
    chunk: int | None = 16,
) -> Curve:
    """The Curve of scores while the most important pixels are replaced by `fill`: the lower, the more faithful.

    At fraction p it is round(p H W) pixels. A constant map, or one with NaN, has no order: all is NaN.
    `score(outputs, target)` may be given in place of the dot product.

    Petsiuk, Das, Saenko, "RISE: Randomized Input Sampling for Explanation of Black-box Models", 2018.
    """
    return _curve(_removed_or_shown, fractions, heat, jnp.asarray(fill), net, x, target, score or dot, False, chunk)


def insertion(
    net: Net,
    x: ArrayLike,
    target: ArrayLike,
    heat: ArrayLike,
    *,
    fractions: Sequence[float] = FRACTIONS,
    fill: ArrayLike = 0.0,
    score: Score | None = None,
    chunk: int | None = 16,
) -> Curve:
    """The Curve of scores (K,) while the most important pixels replace those of `fill`: higher is more faithful.

    The published measure starts from a blurred image. Everything else is as in `deletion`.

    Petsiuk, Das, Saenko, "RISE: Randomized Input Sampling for Explanation of Black-box Models", 2018.
    """
    return _curve(_removed_or_shown, fractions, heat, jnp.asarray(fill), net, x, target, score or dot, True, chunk)


def allegiance(
    net: Net,
    x: ArrayLike,
    heat: ArrayLike,
    *,
    fractions: Sequence[float] = PUBLISHED_FRACTIONS,
    fill: ArrayLike = 0.0,
    exact: bool = False,
    chunk: int | None = 16,
) -> Curve:
    """The Curve of whether the largest output stays the largest, 1 or 0, while important pixels become `fill`.

    As published, at fraction p those pixels go that are above the value at place round(p H W) of the sorted map: fewer
    where there are ties, and never one whose value is 0. With `exact`, round(p H W) go. The mean over images is the
    share that stays. A constant map removes nothing; with `exact`, it gives NaN, and so do maps with NaN. `fill` is 0
    for black deletion and 1 for white, for nets of pixels.

    Llorente, Boal, Sanchez-Ubeda, "A matter of attitude: Focusing on positive and active gradients to boost saliency
    maps", 2023.
    """
    return _curve(_unmoved, fractions, heat, jnp.asarray(fill), net, x, exact, chunk)


@reused
def _removed_or_shown(counts, heat, fill, net, x, target, score, shown, chunk):
    """The scores (K,) with so many (K,) pixels removed, or shown."""
    x, filled, ranks = _ranked(x, heat, fill)
    before, after = (filled, x) if shown else (x, filled)

    def at(count):
        return score(run(net, jnp.where(ranks < count, after, before)), target)

    return if_ranked(heat, each(at, counts, chunk).astype(jnp.float32))


@reused
def _unmoved(counts, heat, fill, net, x, exact, chunk):
    """Whether (K,) the largest output stays the largest without so many (K,) pixels."""
    x, filled, ranks = _ranked(x, heat, fill)
    heat = jnp.asarray(heat)[..., None]
    falling = jnp.append(-jnp.sort(-heat.ravel()), jnp.asarray(-jnp.inf, heat.dtype))
    before = jnp.argmax(several(run(net, x)))

    def at(count):
        gone = ranks < count if exact else (heat > falling[count]) & (heat != 0)
        return (jnp.argmax(run(net, jnp.where(gone, filled, x))) == before).astype(jnp.float32)

    stays = each(at, counts, chunk)
    return if_ranked(heat, stays) if exact else jnp.where(jnp.isnan(heat).any(), jnp.nan, stays)


def _ranked(x, heat, fill):
    """The image, what removed pixels become (H, W, C), and each pixel's place (H, W, 1) in the order of the map."""
    x, filled = with_fill(x, fill)
    heat = jnp.asarray(heat)
    check_size("The map", heat, x)
    ranks = jnp.argsort(jnp.argsort(-heat.ravel(), stable=True), stable=True)
    return x, filled, ranks.reshape(*heat.shape, 1)


def _curve(scores_at, fractions, heat, *given):
    shares = np.asarray(fractions, np.float64)
    if shares.ndim != 1 or not len(shares) or not (shares[0] >= 0 and shares[-1] <= 1 and (np.diff(shares) > 0).all()):
        raise ValueError(f"fractions is {fractions!r}, but one or more rising numbers from 0 to 1 are expected.")
    scores = scores_at(np.round(shares * np.prod(jnp.shape(heat))).astype(np.int32), heat, *given)
    return Curve(jnp.asarray(shares, jnp.float32), scores, jnp.trapezoid(scores, jnp.asarray(shares, jnp.float32)))
