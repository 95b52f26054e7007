"""Intervals of means, and tests against chance, on the host.

Samples are along the first axis of an array. Of concepts there is one sample for each that was fitted: its mean
attribution over the images, or its TCAV score; random concepts, fitted as if some random images were a concept's and
explained at the same images, give the null distribution. Comparing the images' own attributions instead would ask
whether the null distribution's mean is met exactly, which a random concept with many images does not do either.
"""
# pyright: reportUnknownMemberType=false, reportMissingTypeStubs=false

import itertools
import math
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import ArrayLike

from jaxplain._types import Test

__all__ = ["Interval", "bootstrap_interval", "compare", "holm", "interval", "null_band"]

Numbers = np.ndarray | np.float64

_ARRANGEMENTS = 10_000  # of labels, in a permutation test
_DRAWN_AT_ONCE = 100  # bootstrap samples in memory


class Interval(NamedTuple):
    """A mean, a population deviation, and the ends `low` and `high` of an interval, each (...)."""

    mean: Numbers
    deviation: Numbers
    low: Numbers
    high: Numbers


def compare(
    values: ArrayLike, null_values: ArrayLike, *, test: Test = "welch", two_sided: bool = False, seed: int = 0
) -> Numbers:
    """p values (...) of samples (n, ...) for a larger mean than null samples (m, ...) have, or two_sided for another.

    "welch" is Welch's t test; a single value, which has no deviation of its own, has the null's. "permutation" is the
    share of arrangements of all n + m samples whose first n have as large a mean: all of them, or 10,000 from the seed
    with the given one. It assumes nothing, and with one value p is at least 1 / (m + 1).

    TCAV's scores are compared with two_sided=True.
    """
    values, null_values = np.asarray(values, np.float64), np.asarray(null_values, np.float64)
    if not len(values) or len(null_values) < 2 or values.shape[1:] != null_values.shape[1:]:
        raise ValueError(
            f"There are samples {values.shape} and null samples {null_values.shape}, but (n, ...) and (m, ...) with "
            "the same further axes, n of at least 1 and m of at least 2, are expected."
        )
    if not (np.isfinite(values).all() and np.isfinite(null_values).all()):
        raise ValueError("There are samples that are not finite: look at the images and the concepts they are of.")
    match test:
        case "welch":
            return _welch(values, null_values, two_sided)
        case "permutation":
            return _permutation(values, null_values, two_sided, seed)
    raise ValueError(f"test is {test!r}, but welch or permutation is expected.")


def holm(p: ArrayLike) -> np.ndarray:
    """p values adjusted for being several, same shape: the i-th smallest of m times m + 1 - i, rising, at most 1.

    Holm, "A simple sequentially rejective multiple test procedure", 1979.
    """
    p = np.asarray(p, np.float64)
    order = np.argsort(p, axis=None)
    rising = np.maximum.accumulate(p.ravel()[order] * np.arange(p.size, 0, -1))
    adjusted = np.empty(p.size)
    adjusted[order] = np.minimum(rising, 1)
    return adjusted.reshape(p.shape)


def interval(values: ArrayLike) -> Interval:
    """The mean of values (N, ...) from 0 over images, and the ends two standard errors away, the lower one not below 0.

    One image tells nothing of the spread, and its ends are its value. Raises ValueError for negative values.
    """
    values = np.asarray(values, np.float64)
    if (values < 0).any():
        raise ValueError(
            f"The least value is {values.min():.3g}, but the interval is for values that are not negative."
        )
    mean, deviation = values.mean(axis=0), values.std(axis=0)
    reach = 2 * deviation / np.sqrt(len(values))
    return Interval(mean, deviation, np.maximum(mean - reach, 0), mean + reach)


def bootstrap_interval(
    values: ArrayLike, *, share: float = 0.95, draws: int = 2000, seed: int = 0
) -> tuple[Numbers, Numbers]:
    """The ends (...) of the percentile bootstrap interval of the mean of values (N, ...) over images, N at least 2.

    They are percentiles of the means of `draws` times N images, drawn with replacement. Of few images the interval is
    too short: at 95 % it covers the mean of normal numbers in 52 of 100 cases for N = 2, 83 for 5, 89 for 10 and 94
    for 30.

    Efron, Tibshirani, "An Introduction to the Bootstrap", 1993.
    """
    import scipy.stats

    values = np.asarray(values, np.float64)
    if len(values) < 2:
        raise ValueError(f"There are values {values.shape}, but (N, ...) with N of at least 2 images are expected.")
    options: dict[str, Any] = {"method": "percentile", "batch": _DRAWN_AT_ONCE, "axis": 0}
    options["random_state"] = np.random.default_rng(seed)  # which scipy calls rng from 1.15 on, and still takes
    sampled = scipy.stats.bootstrap((values,), np.mean, n_resamples=draws, confidence_level=share, **options)
    found = cast(Any, sampled)
    return found.confidence_interval.low, found.confidence_interval.high


def null_band(null_values: ArrayLike, share: float = 0.95) -> tuple[Numbers, Numbers]:
    """The ends (...) of the central `share` of null samples (m, ...)."""
    low, high = np.quantile(np.asarray(null_values, np.float64), [(1 - share) / 2, (1 + share) / 2], axis=0)
    return low, high


def _welch(values: np.ndarray, null_values: np.ndarray, two_sided: bool) -> Numbers:
    from scipy.stats import t

    n, m = len(values), len(null_values)
    null_square = null_values.var(axis=0, ddof=1) / m
    square = values.var(axis=0, ddof=1) / n if n > 1 else null_square * m
    difference, error = values.mean(axis=0) - null_values.mean(axis=0), square + null_square
    parts = square**2 / max(n - 1, 1) + null_square**2 / (m - 1)
    with np.errstate(divide="ignore", invalid="ignore"):  # of samples that are all the same, any difference is certain
        distance = np.where(difference == 0, 0, difference / np.sqrt(error))
        freedom = np.where((error > 0) & (n > 1), error**2 / parts, m - 1)
    return np.minimum(2 * t.sf(abs(distance), freedom), 1) if two_sided else t.sf(distance, freedom)


def _permutation(values: np.ndarray, null_values: np.ndarray, two_sided: bool, seed: int) -> Numbers:
    n, together = len(values), np.concatenate([values, null_values])
    together = together - together.mean(axis=0)
    if math.comb(len(together), n) <= _ARRANGEMENTS:
        chosen = np.array([*itertools.combinations(range(len(together)), n)])
    else:
        draw = np.random.default_rng(seed)
        chosen = np.stack([np.arange(n), *(draw.permutation(len(together))[:n] for _ in range(_ARRANGEMENTS))])
    means = np.stack([together[some].mean(axis=0) for some in chosen])
    means = abs(means) if two_sided else means
    # a rounding error decides no tie
    return np.mean(means >= means[0] - 1e-12 * abs(together).max(), axis=0)
