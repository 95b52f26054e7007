"""Rivals timed side by side.

A rival is a function without arguments that returns its maps as a numpy array, after all set-up. What the rivals return
is compared first; then every round runs each of them once, in an order that rotates, so that what slows the machine
slows all of them; and a ratio is the median over rounds of paired times, with its 95 % bootstrap interval.
"""

import os
import platform
import sys
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Any, NamedTuple

import numpy as np

# glibc then reuses freed memory; otherwise the system hands out fresh pages in every call, to us and to the rivals.
REUSED_MEMORY = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "16000000000",
    "MALLOC_TOP_PAD_": "1000000000",
}


def reuse_memory() -> None:
    """Starts the program anew with REUSED_MEMORY in its environment, unless it is there."""
    if not REUSED_MEMORY.items() <= os.environ.items():
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | REUSED_MEMORY)


class Rival(NamedTuple):
    """A name, and what is timed."""

    name: str
    run: Callable[[], np.ndarray]


def check_agreement(
    ours: np.ndarray, theirs: np.ndarray, name: str, tolerance: float, size: Callable[[np.ndarray], Any] = np.max
) -> float:
    """The size of the difference over the size of the values; SystemExit where it is above the tolerance.

    The size of an array is its largest absolute value, or size(absolute values).
    """
    difference = float(size(np.abs(ours - theirs)) / size(np.abs(theirs)))
    if not difference <= tolerance:
        raise SystemExit(f"{name} gives other maps: they differ by {difference:.1e} of the {size.__name__}.")
    return difference


def root_mean_square(values: np.ndarray) -> np.ndarray:
    """Of an array: less than its maximum a matter of single pixels, where gradients jump between rounding errors."""
    return np.sqrt(np.mean(values**2))


def time_interleaved(rivals: Sequence[Rival], rounds: int, warm_up: int = 2) -> dict[str, np.ndarray]:
    """Seconds (rounds,) of each rival."""
    seconds = {rival.name: [] for rival in rivals}
    for number in range(-warm_up, rounds):
        shift = number % len(rivals)
        for rival in [*rivals[shift:], *rivals[:shift]]:
            start = time.perf_counter()
            rival.run()
            if number >= 0:
                seconds[rival.name].append(time.perf_counter() - start)
    return {name: np.array(values) for name, values in seconds.items()}


def ratio(theirs: np.ndarray, ours: np.ndarray, draws: int = 2000) -> tuple[float, float, float]:
    """How many times as fast ours is: the median of the paired ratios, and the ends of its 95 % interval."""
    ratios = theirs / ours
    resampled = np.random.default_rng(0).choice(ratios, (draws, len(ratios)))
    low, high = np.percentile(np.median(resampled, axis=1), [2.5, 97.5])
    return float(np.median(ratios)), float(low), float(high)


def table(seconds: dict[str, np.ndarray], images: int) -> str:
    """A Markdown table: median time, images a second, and how many times as fast as each the first rival is."""
    (first, ours), *_ = seconds.items()
    rows = ["| | median s | images / s | times as fast is " + first + " |", "|---|---|---|---|"]
    for name, values in seconds.items():
        median, low, high = ratio(values, ours)
        against = "" if name == first else f"{median:.2f} ({low:.2f} to {high:.2f})"
        rows.append(f"| {name} | {np.median(values):.3f} | {images / np.median(values):.1f} | {against} |")
    return "\n".join(rows)


def machine(*packages: str) -> str:
    """What the figures were measured with."""
    import jax

    device = jax.devices()[0]
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    return f"{device.platform} ({device.device_kind}), {platform.processor() or platform.machine()}; {versions}"
