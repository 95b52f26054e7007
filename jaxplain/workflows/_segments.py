"""Superpixels of an image by the name of what cuts them."""

from collections.abc import Callable

import numpy as np
from jax.typing import ArrayLike

from jaxplain._types import Segmenter
from jaxplain.methods import check_name
from jaxplain.segment import connected, felzenszwalb, quickshift, slic

SEGMENTERS: dict[str, Callable[[ArrayLike, int], np.ndarray]] = {
    "slic": lambda pixels, count: connected(np.asarray(slic(pixels, num_segments=count))),
    "quickshift": lambda pixels, _: quickshift(pixels, kernel_size=4, max_dist=200, ratio=0.2),  # as lime's
    "felzenszwalb": lambda pixels, _: felzenszwalb(pixels, scale=100, sigma=0.5, min_size=50),
}


def segmented(pixels: ArrayLike, segmenter: Segmenter = "slic", num_segments: int = 50) -> np.ndarray:
    """Labels (H, W) from 0 of pixels in [0, 1], every segment in one piece; about num_segments of them for slic."""
    return SEGMENTERS[check_name("segmenter", segmenter, SEGMENTERS)](pixels, num_segments)


def checked_segments(segmenter: Segmenter | None, num_segments: int | None) -> tuple[Segmenter, int]:
    """What cuts the segments, by default slic, and about how many, by default 50; ValueError where they do not fit."""
    if num_segments is not None and num_segments < 1:
        raise ValueError(f"The number of segments is {num_segments}, expected 1 or more; give a larger one.")
    if segmenter is not None:
        check_name("segmenter", segmenter, SEGMENTERS)
    if num_segments is not None and segmenter not in (None, "slic"):
        raise ValueError(f"The number of segments is for slic; {segmenter} finds it itself: leave it out.")
    return segmenter or "slic", 50 if num_segments is None else num_segments


def static_count(labels: np.ndarray) -> int:
    """The number of labels, rounded up to a power of two: one compiled function serves many numbers of segments."""
    return 1 << int(labels.max()).bit_length()
