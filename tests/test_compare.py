import numpy as np
import pytest
from compare import assert_close


@pytest.mark.parametrize(
    ("actual", "expected"),
    [
        ([1.0, 2.0], [1.0, 2.1]),
        ([1.0, np.nan], [1.0, np.nan]),
        ([1.0, 2.0], [1.0, np.inf]),
        ([[1.0]], [1.0]),
        ([0.0, 1e-9], [0.0, 0.0]),
    ],
)
def test_what_differs_fails(actual, expected):
    with pytest.raises(AssertionError):
        assert_close(np.array(actual), np.array(expected))


def test_another_structure_fails():
    with pytest.raises(AssertionError):
        assert_close({"a": np.ones(2)}, {"b": np.ones(2)})


def test_what_is_close_passes():
    assert_close({"a": np.array([1.0, 2.0])}, {"a": np.array([1.0, 2.0 + 1e-6])})
