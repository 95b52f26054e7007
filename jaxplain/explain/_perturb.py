"""Perturbation: what hiding parts of the image does to the score. Maps are (H, W), at the image's own size.

Hidden pixels become `fill`, in the units of x: a number, a colour (3,) or an image (H, W, C). 0 is the mean colour of
normalised images; for black, grey or blurred pixels explain `before(net, model.normalise)`. The published methods
explain probabilities: `then(net, jax.nn.softmax)`. `chunk` images are evaluated at a time.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from jaxplain._loops import each, reused, weighted_sum
from jaxplain._numerics import at_least_float32, contract
from jaxplain._types import Net
from jaxplain.net import check_image, run, with_fill
from jaxplain.segment import check_segments
from jaxplain.target import score


@reused
def occlusion(
    net: Net,
    x: ArrayLike,
    target: ArrayLike,
    *,
    window: int | tuple[int, int] = 16,
    stride: int | tuple[int, int] = 8,
    fill: ArrayLike = 0.0,
    chunk: int | None = 16,
) -> Float[Array, "H W"]:
    """The mean, over the windows that cover a pixel, of score(x) - score(x with the window filled), (H, W).

    Windows start every `stride` pixels; the last ones in a row or a column end with the image. A pixel that no window
    covers gets 0.

    Zeiler, Fergus, "Visualizing and Understanding Convolutional Networks", 2013.
    """
    x, filled = with_fill(x, fill)
    sizes, steps = _pair("window", window), _pair("stride", stride)
    rows, columns = (_windows(x.shape[axis], sizes[axis], steps[axis]) for axis in (0, 1))
    places = np.indices((len(rows), len(columns))).reshape(2, -1).T

    def drop(place):
        inside = rows[place[0]][:, None, None] * columns[place[1]][None, :, None]
        return score(run(net, jnp.where(inside > 0, filled, x)), target)

    drops = score(run(net, x), target) - each(drop, jnp.asarray(places), chunk)
    total = contract("rh,rc,cw->hw", rows, drops.reshape(len(rows), -1), columns)
    covered = jnp.sum(rows, axis=0)[:, None] * jnp.sum(columns, axis=0)[None]
    return total / jnp.maximum(covered, 1)


@reused
def rise(
    net: Net,
    x: ArrayLike,
    target: ArrayLike,
    *,
    key: Array,
    samples: int = 4000,
    cells: int = 7,
    keep: float = 0.5,
    fill: ArrayLike = 0.0,
    chunk: int | None = 16,
) -> Float[Array, "H W"]:
    """sum over n of score(x M_n + fill (1 - M_n)) M_n / (samples keep), (H, W).

    Each mask M_n is a grid of cells x cells that are 1 with probability `keep` and else 0, drawn larger than the image,
    interpolated linearly and shifted at random by up to a cell.

    Petsiuk, Das, Saenko, "RISE: Randomized Input Sampling for Explanation of Black-box Models", 2018.

        rise(then(net, jax.nn.softmax), x, target, key=jax.random.key(0), samples=1000)
    """
    _at_least("samples", samples, 1)
    _at_least("cells", cells, 2)
    if not 0 < keep <= 1:
        raise ValueError(f"keep is {keep}, but a probability above 0, up to 1, is expected.")
    x, filled = with_fill(x, fill)

    def seen(key):
        mask = grid_mask(key, x.shape[:2], cells, keep)
        return score(run(net, filled + mask[..., None] * (x - filled)), target) * mask

    return weighted_sum(seen, jax.random.split(key, samples), np.full(samples, 1 / (samples * keep)), chunk)


def lime(
    net: Net,
    x: ArrayLike,
    target: ArrayLike,
    *,
    key: Array,
    segments: ArrayLike,
    num_segments: int,
    samples: int = 1000,
    fill: ArrayLike | None = None,
    width: float = 0.25,
    alpha: float = 1.0,
    chunk: int | None = 16,
) -> Float[Array, "H W"]:
    """Each pixel's segment's coefficient in a ridge regression of the score on which segments are seen, (H, W).

    Every segment is seen with probability 1/2 and else filled, by default with its mean colour; the first sample is the
    image itself. With d the cosine distance between a sample's segments and all of them, its weight is
    exp(-d^2 / (2 width^2)); the penalty is `alpha` times the squared coefficients, and not on the intercept.
    `segments` (H, W) are integers from 0 to num_segments - 1, as scikit-image's slic gives them with start_label=0.

    Ribeiro, Singh, Guestrin, "'Why Should I Trust You?': Explaining the Predictions of Any Classifier", 2016.
    """
    _at_least("samples", samples, 1)
    check_image(x)
    segments = check_segments(segments, jnp.shape(x)[:2], num_segments)
    filled = None if fill is None else jnp.asarray(fill)
    penalty = jnp.asarray(width), jnp.asarray(alpha)
    return _lime(net, x, target, key, segments, num_segments, samples, filled, *penalty, chunk)


@reused
def _lime(net, x, target, key, segments, num_segments, samples, fill, width, alpha, chunk):
    x, filled = with_fill(x, _mean_colours(jnp.asarray(x), segments, num_segments) if fill is None else fill)
    kept = jax.random.bernoulli(key, 0.5, (samples, num_segments)).at[0].set(True)

    def seen(kept):
        return score(run(net, jnp.where(kept[segments][..., None], x, filled)), target)

    scores = at_least_float32(each(seen, kept, chunk))
    distance = 1 - jnp.sqrt(jnp.mean(kept, axis=1))
    weights = jnp.exp(-(distance**2) / (2 * width**2))
    return _ridge(kept.astype(jnp.float32), scores, weights, alpha)[segments]


def _at_least(name, value, least):
    if value < least:
        raise ValueError(f"{name} is {value}, but at least {least} is expected.")


def _pair(name, value):
    pair = (value, value) if isinstance(value, int) else tuple(value)
    for side in pair:
        _at_least(name, side, 1)
    return pair


def _windows(length, window, stride):
    """(windows, length): 1 inside of each."""
    if window > length:
        raise ValueError(f"window is {window}, but the image's side is {length}.")
    starts = np.arange(-(-(length - window) // stride) + 1) * stride
    pixels = np.arange(length)
    return jnp.asarray((pixels >= starts[:, None]) & (pixels < starts[:, None] + window), jnp.float32)


def grid_mask(key: Array, size: Sequence[int], cells: int, keep: float) -> Float[Array, "H W"]:
    """A mask of RISE, (H, W) in [0, 1]: a random grid, interpolated between cells and mirrored at its sides."""
    grid, *shifts = jax.random.split(key, 3)
    mask = jax.random.bernoulli(grid, keep, (cells, cells)).astype(jnp.float32)
    for axis, (length, shift) in enumerate(zip(size, shifts, strict=True)):
        cell = -(-length // cells)
        coordinates = (np.arange((cells + 1) * cell) + 0.5) * cells / ((cells + 1) * cell) - 0.5
        mirrored = cells - 1 - np.abs(cells - 1 - np.abs(coordinates))
        weights = np.maximum(0, 1 - np.abs(mirrored[:, None] - np.arange(cells))).astype(np.float32)
        start = jax.random.randint(shift, (), 0, cell)
        shown = lax.dynamic_slice_in_dim(weights, start, length)
        mask = contract("yi,ij->yj" if axis == 0 else "xj,yj->yx", shown, mask)
    return mask


def _mean_colours(x, segments, num_segments):
    """The image with each segment in its mean colour."""
    ones = jax.ops.segment_sum(jnp.ones(segments.size), segments.ravel(), num_segments)
    sums = jax.ops.segment_sum(x.reshape(-1, x.shape[2]), segments.ravel(), num_segments)
    return (sums / jnp.maximum(ones, 1)[:, None])[segments]


def _ridge(features, values, weights, alpha):
    """Coefficients (K,) that minimise sum of weights (values - features @ c - intercept)^2 + alpha |c|^2."""
    centre = weights / jnp.sum(weights)
    features = features - contract("n,nk->k", centre, features)[None]
    values = values - contract("n,n->", centre, values)
    weighted = features * weights[:, None]
    normal = contract("nk,nl->kl", weighted, features) + alpha * jnp.eye(features.shape[1])
    return jax.scipy.linalg.solve(normal, contract("nk,n->k", weighted, values), assume_a="pos")
