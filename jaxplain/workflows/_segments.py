"""Superpixels for the methods that need them."""

from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np
from jax.typing import ArrayLike

from jaxplain.methods import check_name
from jaxplain.segment import connected, felzenszwalb, quickshift, slic

Segmenter = Literal["slic", "quickshift", "felzenszwalb"]


def segmented(pixels: ArrayLike, segmenter: Segmenter, num_segments: int) -> np.ndarray:
    """Labels (H, W) from 0 of pixels in [0, 1], each segment in one piece; about num_segments of them for slic."""
    return SEGMENTERS[check_name("segmenter", segmenter, SEGMENTERS)](pixels, num_segments)


def segment_options(labels: np.ndarray) -> dict[str, Any]:
    """The options of an explainer for labels: one compiled function serves many numbers of segments."""
    return {"segments": labels, "num_segments": 1 << int(labels.max()).bit_length()}


SEGMENTERS: Mapping[str, Callable[..., np.ndarray]] = {
    "slic": lambda pixels, count: connected(np.asarray(slic(pixels, num_segments=count))),
    "quickshift": lambda pixels, _: quickshift(pixels, kernel_size=4, max_dist=200, ratio=0.2),  # as lime's
    "felzenszwalb": lambda pixels, _: felzenszwalb(pixels, scale=100, sigma=0.5, min_size=50),
}
