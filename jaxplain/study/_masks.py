"""What a player sees of a picture: the few percent of it where a cluster's map is highest, and black elsewhere.

Cells of a map are drawn as tiles of a square picture, the tiles are shown or not, and their edges are blurred.
"""

import functools
import math
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, UInt8

from jaxplain._numerics import at_least_float32, contract

LEVELS = (2, 4.5, 8, 13, 20, 30)  # percent of a picture that is shown, from level 0 on
SIDE = 512  # pixels of a picture that people see

_TRUNCATED = 1.5  # standard deviations, from which on a blur is 0


def blur_sigma(cells: float | int, side: int = SIDE) -> float | int:
    """The blur's standard deviation in pixels, min(1.5 f, 8 + f / 2) for tiles of f = side / cells pixels.

    Published are 3, 6, 12, 16 and 24 for tiles of 2, 4, 8, 16 and 32 pixels, which it equals. Between and beyond these,
    where the authors' code has 3, the formula is a choice.
    """
    tile = side / cells
    return min(1.5 * tile, 8 + tile / 2)


def reveal_mask(
    heat: ArrayLike, percent: float | int, side: int = SIDE, *, sigma: float | int | None = None
) -> Float[np.ndarray, "side side"]:
    """The mask (side, side) in [0, 1] that shows `percent` of a picture, where a map (h, w) is highest.

    M is the map in tiles, pixel (i, j) of cell (floor((i + 1/2) h / side), floor((j + 1/2) w / side)), and the mask is
    M >= percentile(M, 100 - percent), blurred by a Gaussian that ends at 1.5 sigma. Pixels equal to the threshold are
    shown, so ties show more and never less; of a constant map everything is shown. `sigma` is by default blur_sigma of
    sqrt(h w) cells, and 0 blurs nothing. Tiles, threshold and blur are published; that the picture is mirrored at its
    edges, and all sizes that are no multiples, are a choice. ValueError for a map that is not (h, w) or not finite.

    Bianchi, De Santis, Tocchetti, Brambilla, "Interpretable Network Visualizations: A Human-in-the-Loop Approach for
    Post-hoc Explainability of CNN-based Image Classification", 2024.

        shown = revealed(picture, reveal_mask(features.maps[0], LEVELS[0]))     # (512, 512, 3)
    """
    heat = np.asarray(heat, np.result_type(np.asarray(heat), np.float32))
    _check_map(heat.shape, side)
    if not np.isfinite(heat).all():
        raise ValueError("The map has values that are not finite, but a number is expected in each cell: leave it out.")
    return _masks(np, heat, (percent,), side, sigma)[0].astype(np.float32)


def reveal_masks(
    heat: ArrayLike, percents: tuple[float | int, ...] = LEVELS, side: int = SIDE, *, sigma: float | int | None = None
) -> Float[Array, "L side side"]:
    """As `reveal_mask`, the masks (L, side, side) of several percentages, for jit and vmap: only the map is traced.

    jax.vmap(lambda heat: reveal_masks(heat, side=224))(maps)               # (N, 6, 224, 224)
    """
    heat = at_least_float32(heat)
    _check_map(heat.shape, side)
    return _masks(jnp, heat, percents, side, sigma)


def revealed(picture: np.ndarray, mask: np.ndarray) -> UInt8[np.ndarray, "H W 3"]:
    """The picture (H, W, 3) times the mask (H, W), rounded; ValueError where their sizes differ."""
    if picture.shape != (*mask.shape, 3) or picture.dtype != np.uint8:
        raise ValueError(
            f"The picture is {picture.dtype} of shape {picture.shape} and the mask has shape {mask.shape}, expected "
            "uint8 (H, W, 3) and (H, W): make the mask with the picture's side."
        )
    return np.rint(picture * mask[..., None]).astype(np.uint8)


def _check_map(shape, side):
    if len(shape) != 2 or 0 in shape:
        raise ValueError(f"The map has shape {shape}, but (h, w) is expected: give one map of one cluster.")
    if side < max(shape):
        raise ValueError(f"The side is {side}, less than the map's {max(shape)} cells: give at least as many pixels.")


def _masks(xp: Any, heat: Any, percents: tuple[float | int, ...], side: int, sigma: float | int | None) -> Any:
    """The masks by numpy or by JAX. A blur of tiles is a product of each axis with one matrix."""
    sigma = blur_sigma(math.sqrt(heat.size), side) if sigma is None else sigma
    rows, columns = (_blurred_tiles(cells, side, sigma).astype(heat.dtype) for cells in heat.shape)
    shown = (heat[None] >= _thresholds(xp, heat, percents, side)[:, None, None]).astype(heat.dtype)
    product = functools.partial(np.einsum, optimize=True) if xp is np else contract
    return xp.clip(product("ih,lhw,jw->lij", rows, shown, columns), 0, 1)


def _thresholds(xp: Any, heat: Any, percents: tuple[float | int, ...], side: int) -> Any:
    """The smallest values (L,) that are shown.

    A percentile lies between two pixels of neighbouring ranks: what is at least as large is the upper one and more.
    """
    counts = np.multiply.outer(*(np.bincount(_cell(cells, side), minlength=cells) for cells in heat.shape))
    ranks = xp.asarray([_rank(percent, side**2) for percent in percents])
    order = xp.argsort(heat.ravel())
    reached = xp.cumsum(xp.asarray(counts.ravel())[order])
    return heat.ravel()[order][xp.searchsorted(reached, ranks, side="right")]


def _rank(percent: float | int, pixels: int) -> int:
    if not 0 < percent <= 100:
        raise ValueError(f"percent is {percent}, but more than 0 and at most 100 is expected: LEVELS has the game's.")
    return math.ceil((pixels - 1) * (100 - percent) / 100)


def _cell(cells: int, side: int) -> np.ndarray:
    """The cell in which each pixel's centre is."""
    return (2 * np.arange(side) + 1) * cells // (2 * side)


def _blurred_tiles(cells: int, side: int, sigma: float | int) -> np.ndarray:
    """How much of each cell every pixel shows, (side, cells)."""
    from scipy.ndimage import gaussian_filter1d

    tiles = np.eye(cells)[_cell(cells, side)]
    return gaussian_filter1d(tiles, sigma, axis=0, truncate=_TRUNCATED) if sigma else tiles
