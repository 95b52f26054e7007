"""The one comparison of arrays that the tests use."""

from typing import Any

import jax
import numpy as np

# Accelerators sum in other orders and have their own exponentials; TPUs put float32 products together from bfloat16.
SLACK = {"cpu": 1, "gpu": 10, "tpu": 100}
SLACKEST = 0.01  # what differs by more is another thing on any of them


def slack(tolerance: float, platform: str) -> float:
    """A platform's tolerance, up to SLACK times as large, where that is no more than SLACKEST."""
    return max(tolerance, min(tolerance * SLACK[platform], SLACKEST))


def _plain(tree: Any) -> Any:
    """Ordered dicts as dicts: their order is for other tests."""
    if isinstance(tree, dict):
        return {name: _plain(value) for name, value in tree.items()}
    return tree


def assert_close(actual: Any, expected: Any, tolerance: float = 1e-5) -> None:
    """Asserts that two pytrees of arrays are finite, and have one structure, the same shapes and close values.

    Each array may differ by `tolerance` times its largest |expected|, on accelerators by more: see `slack`.
    """
    tolerance = slack(tolerance, jax.default_backend())
    actual, expected = _plain(actual), _plain(expected)
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    for a, e in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        a, e = np.asarray(a, np.float64), np.asarray(e, np.float64)
        assert a.shape == e.shape, f"shape {a.shape}, expected {e.shape}"
        assert np.isfinite(a).all(), "not finite"
        assert np.isfinite(e).all(), "expected values are not finite"
        error, scale = np.max(np.abs(a - e), initial=0), np.max(np.abs(e), initial=0)
        assert error <= tolerance * scale, f"differs by {error:.3g} where the largest value is {scale:.3g}"
