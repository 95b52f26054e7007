"""Superpixels: an image cut into segments of like colour, as a label map (H, W) of integers from 0.

`slic` runs where the explainers run, under jit and vmap; `connected`, `quickshift` and `felzenszwalb` are for the host.
`pixels` are RGB in [0, 1], (H, W, 3), as model.pixels gives them, and not preprocessed.

    segment = jax.jit(slic, static_argnames=("num_segments", "iterations"))
"""
# pyright: reportUnknownMemberType=false

import functools
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import Tracer
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int32

from jaxplain._checks import as_rgb
from jaxplain._loops import reused
from jaxplain._numerics import at_least_float32, contract

# The nine cells whose centres a pixel may belong to; of equal distances the pixel's own cell is the least.
_AROUND = ((0, 0), (-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1))
# Linear RGB to XYZ over that of white, and the cube roots of these to Lab; the numbers are scikit-image's.
_WHITE = np.array([[0.95047], [1.0], [1.08883]], np.float32)
_XYZ = (
    np.array(
        [[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]], np.float32
    )
    / _WHITE
)
_LAB = np.array([[0, 116, 0], [500, -500, 0], [0, 200, -200]], np.float32)


def slic(
    pixels: ArrayLike, *, num_segments: int = 50, compactness: ArrayLike = 10.0, iterations: int = 10
) -> Int32[Array, "H W"]:
    """Labels (H, W) from 0 to num_segments - 1 by k-means of colours and places, the same under jit and vmap.

    Centres start on a grid of at most `num_segments` cells, and a pixel belongs to the nearest of the nine around its
    cell: by |Lab - Lab'|^2 + (compactness / step)^2 |yx - yx'|^2, with step^2 = H W / num_segments. As in scikit-image,
    colours are scaled to [0, 1] first, and the first of the `iterations` is the grid itself. In the end each label
    keeps its largest connected part, and neighbours take over the rest, by fixed numbers of label-propagation steps:
    they suffice for all but very winding parts, and `connected` is exact.

    Under vmap on CPUs images come one after the other, and stay in the cache. Raises ValueError for what is no image
    in [0, 1], of which grey ones have one channel or none, and unless there are 1 to H W segments.

    Achanta, Shaji, Smith, Lucchi, Fua, Suesstrunk, "SLIC Superpixels Compared to State-of-the-Art Superpixel Methods",
    2012.
    """
    pixels = lax.stop_gradient(jnp.asarray(as_rgb(pixels), jnp.float32))
    count = pixels.shape[0] * pixels.shape[1]
    if not 1 <= num_segments <= count:
        raise ValueError(f"num_segments is {num_segments}, but 1 to {count}, the number of pixels, is expected.")
    if iterations < 1:
        raise ValueError(f"iterations is {iterations}, but at least 1 is expected.")
    return _cut(pixels, jnp.asarray(compactness, jnp.float32), num_segments, iterations)


@reused
def _cut(pixels: Array, compactness: Array, num_segments: int, iterations: int) -> Array:
    one = functools.partial(_slic, num_segments=num_segments, iterations=iterations)
    in_turn = jax.custom_batching.sequential_vmap(one)
    return cast(Array, lax.platform_dependent(pixels, compactness, cpu=in_turn, default=one))


def check_segments(segments: ArrayLike, size: Sequence[int], num_segments: int) -> Array:
    """The label map as an array (H, W).

    Raises ValueError unless it has the image's size, and labels from 0 to num_segments - 1 where they are known.
    """
    labels = jnp.asarray(segments)
    if labels.shape != tuple(size) or not jnp.issubdtype(labels.dtype, jnp.integer):
        raise ValueError(f"segments is {labels.dtype} {labels.shape}, but integers {tuple(size)} are expected.")
    if num_segments < 1:
        raise ValueError(f"num_segments is {num_segments}, but at least 1 is expected.")
    if not isinstance(segments, Tracer):
        low, high = np.min(segments), np.max(segments)
        if low < 0 or high >= num_segments:
            raise ValueError(f"segments has labels from {low} to {high}, but 0 to {num_segments - 1} are expected.")
    return labels


def segment_means(heat: ArrayLike, segments: ArrayLike, num_segments: int) -> Float[Array, " num_segments"]:
    """The mean of a map (H, W) in each segment, (num_segments,); 0 for a label without pixels.

    Raises ValueError for label maps of another size, and for labels that are known and not below num_segments.
    """
    heat = at_least_float32(heat)
    labels = check_segments(segments, heat.shape, num_segments).ravel()
    sums = jax.ops.segment_sum(heat.ravel(), labels, num_segments)
    counts = jax.ops.segment_sum(jnp.ones(heat.size, heat.dtype), labels, num_segments)
    return sums / jnp.maximum(counts, 1)


def connected(labels: ArrayLike) -> np.ndarray:
    """The label map with every segment in one piece, none too small or too large, numbered from 0, (H, W) int32.

    scikit-image's rule: connected parts are numbered in reading order; one of less than half the mean segment's pixels
    joins a neighbour, and one of more than three times as many is divided. A loop over pixels on the host.
    """
    labels = np.asarray(labels)
    if labels.ndim != 2 or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"labels is {labels.dtype} {labels.shape}, but integers (H, W) are expected.")
    mean = labels.size / max(1, len(np.unique(labels)))
    least, most, width = int(0.5 * mean), int(3 * mean), labels.shape[1] + 2
    old = np.pad(labels.astype(np.int64), 1, constant_values=labels.min(initial=0) - 1).ravel().tolist()
    new, number = [-1] * len(old), 0
    for start in np.arange(len(old)).reshape(-1, width)[1:-1, 1:-1].ravel().tolist():
        if new[start] < 0:
            part, neighbour = _flood(old, new, start, number, most, width)
            if len(part) < least:
                for place in part:
                    new[place] = neighbour
            else:
                number += 1
    return np.array(new, np.int32).reshape(-1, width)[1:-1, 1:-1]


def quickshift(pixels: ArrayLike, **options: Any) -> np.ndarray:
    """scikit-image's quickshift of pixels in [0, 1], with its options, (H, W) int32 from 0; on the host.

    Vedaldi, Soatto, "Quick Shift and Kernel Methods for Mode Seeking", 2008.
    """
    from skimage import segmentation

    return np.asarray(segmentation.quickshift(np.asarray(as_rgb(pixels), np.float64), **options), np.int32)


def felzenszwalb(pixels: ArrayLike, **options: Any) -> np.ndarray:
    """scikit-image's felzenszwalb of pixels in [0, 1], with its options, (H, W) int32 from 0; on the host.

    Felzenszwalb, Huttenlocher, "Efficient Graph-Based Image Segmentation", 2004.
    """
    from skimage import segmentation

    return np.asarray(segmentation.felzenszwalb(np.asarray(as_rgb(pixels), np.float64), **options), np.int32)


def _slic(pixels: Array, compactness: Array, num_segments: int, iterations: int) -> Array:
    h, w = pixels.shape[:2]
    cells = rows, columns = grid((h, w), num_segments)
    index, real = _cells((h, w), cells)
    places = np.float32(np.stack([index // w, index % w], axis=2) * np.sqrt(num_segments / (h * w)))
    colours = jnp.moveaxis(_lab(pixels)[:, index], 0, 2)
    features = jnp.concatenate([colours, compactness * places, jnp.ones_like(colours[:, :, :1])], axis=2) * real

    def move(_: Any, state: tuple[Array, Array]) -> tuple[Array, Array]:
        which, centres = state
        centres = _centres(features, which, centres)
        return _nearest(features, centres), centres

    start = jnp.zeros((*cells, index.shape[2]), jnp.int32), jnp.zeros((*cells, 5), jnp.float32)
    which, _ = cast(tuple[Array, Array], lax.fori_loop(0, iterations - 1, move, start))
    steps = jnp.asarray([i * columns + j for i, j in _AROUND], jnp.int32)
    labels = jnp.arange(rows * columns, dtype=jnp.int32).reshape(*cells, 1) + steps[which]
    back = np.zeros(h * w, np.int64)
    back[index[real[:, :, 0] > 0]] = np.flatnonzero(real > 0)
    return _in_one_piece(labels.ravel()[back].reshape(h, w), max(-(-h // rows), -(-w // columns)), rows * columns)


def grid(size: Sequence[int], num_segments: int) -> tuple[int, int]:
    """The rows and columns, at most num_segments cells in all, whose number and squareness have the largest product."""
    h, w = size

    def fit(rows: int) -> float:
        columns = min(num_segments // rows, w)
        aspect = (h / rows) / (w / columns)
        return rows * columns * min(aspect, 1 / aspect)

    rows = max(range(1, min(num_segments, h) + 1), key=fit)
    return rows, min(num_segments // rows, w)


def _cells(size: tuple[int, int], cells: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Pixels' numbers by cell (rows, columns, P), P that of the largest, and 1 where real, with an axis before P."""

    def ranges(length: int, parts: int) -> tuple[np.ndarray, np.ndarray]:
        edges = np.arange(parts + 1) * length // parts
        places = edges[:-1, None] + np.arange(int(np.max(np.diff(edges))))
        return np.minimum(places, length - 1), places < edges[1:, None]

    (y, y_real), (x, x_real) = map(ranges, size, cells)
    index = y[:, None, :, None] * size[1] + x[:, None]
    real = y_real[:, None, :, None] & x_real[:, None]
    return index.reshape(*cells, -1), real.reshape(*cells, 1, -1).astype(np.float32)


def _lab(pixels: Array) -> Array:
    """CIE Lab (3, H W) of RGB (H, W, 3), after scaling all values to [0, 1]."""
    low, high = jnp.min(pixels), jnp.max(pixels)
    rgb = (pixels.reshape(-1, 3) - low) / jnp.where(high > low, high - low, 1)
    linear = jnp.where(rgb > 0.04045, jnp.exp(2.4 * jnp.log((rgb + 0.055) / 1.055)), rgb / 12.92)
    xyz = contract("pj,ij->ip", linear, _XYZ)
    roots = jnp.where(xyz > 0.008856, jnp.exp(jnp.log(xyz) / 3), 7.787 * xyz + 16 / 116)
    return contract("ij,jp->ip", _LAB, roots)  # L without its - 16, which no distance sees


def _nearest(features: Array, centres: Array) -> Array:
    """Which of the nine centres around its cell is nearest to each pixel, (rows, columns, P)."""
    rows, columns = centres.shape[:2]
    padded = jnp.pad(centres, ((1, 1), (1, 1), (0, 0)), constant_values=jnp.inf)
    best, which = jnp.asarray(jnp.inf, jnp.float32), jnp.asarray(0, jnp.int32)
    for k, (i, j) in enumerate(_AROUND):
        centre = padded[1 + i : 1 + i + rows, 1 + j : 1 + j + columns, :, None]
        distance = sum((features[:, :, f] - centre[:, :, f]) ** 2 for f in range(5))
        best, which = jnp.where(distance < best, distance, best), jnp.where(distance < best, k, which)
    return which


def _centres(features: Array, which: Array, centres: Array) -> Array:
    """The means (rows, columns, 5) of the pixels that belong to each centre; where there are none it stays."""
    rows, columns = centres.shape[:2]
    kept = (which[:, :, None] == jnp.arange(9, dtype=jnp.int32)[None, None, :, None]).astype(jnp.float32)
    parts = contract("rckp,rcfp->krcf", kept, features)
    total = jnp.zeros((rows + 2, columns + 2, 6), jnp.float32)
    for part, (i, j) in zip(parts, _AROUND, strict=True):
        total = total.at[1 + i : 1 + i + rows, 1 + j : 1 + j + columns].add(part)
    sums, count = jnp.split(total[1:-1, 1:-1], [5], axis=2)
    return jnp.where(count > 0, sums / jnp.maximum(count, 1), centres)


def _in_one_piece(labels: Array, side: int, count: int) -> Array:
    """Labels below `count`, of which each keeps its largest connected part; `side` is the longer one of a cell."""
    same = [near == labels for near in _neighbours(jnp.pad(labels, 1, constant_values=-1))]

    def join(own: Array, near: Sequence[Array]) -> Array:
        return functools.reduce(jnp.maximum, (jnp.where(s, n, own) for s, n in zip(same, near, strict=True)))

    def adopt(own: Array, near: Sequence[Array]) -> Array:
        return jnp.where(own < 0, functools.reduce(jnp.maximum, near), own)

    part = _spread(jnp.arange(labels.size, dtype=jnp.int32).reshape(labels.shape), join, 4 * side)
    size = jax.ops.segment_sum(jnp.ones(labels.size, jnp.int32), part.ravel(), labels.size)[part]
    most = jax.ops.segment_max(size.ravel(), labels.ravel(), count)[labels]
    largest = jax.ops.segment_max(jnp.where(size == most, part, -1).ravel(), labels.ravel(), count)[labels]
    owner = _spread(jnp.where(part == largest, labels, -1), adopt, side)
    return jnp.where(owner < 0, labels, owner)


def _spread(values: Array, change: Callable[[Array, Sequence[Array]], Array], steps: int) -> Array:
    """Values (H, W) after steps of change(own, the four neighbours'), which are -1 outside of the image."""

    def step(_: Any, padded: Array) -> Array:
        return padded.at[1:-1, 1:-1].set(change(padded[1:-1, 1:-1], _neighbours(padded)))

    return cast(Array, lax.fori_loop(0, steps, step, jnp.pad(values, 1, constant_values=-1)))[1:-1, 1:-1]


def _neighbours(padded: Array) -> Sequence[Array]:
    return padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:]


def _flood(old: list[int], new: list[int], start: int, number: int, most: int, width: int) -> tuple[list[int], int]:
    """Numbers the part of equal old labels around a place, and returns it with a neighbouring part's number, or 0.

    The maps are lists of rows of `width`, with a border that has a label of its own and stays -1.
    """
    new[start], part, neighbour, waiting = number, [start], 0, deque([start])
    while waiting and len(part) < most:
        place = waiting.popleft()
        for near in (place + 1, place - 1, place + width, place - width):
            if new[near] < 0 and old[near] == old[start]:
                new[near] = number
                part.append(near)
                waiting.append(near)
                if len(part) >= most:
                    break
            elif new[near] >= 0 and new[near] != number:
                neighbour = new[near]
    return part, neighbour
