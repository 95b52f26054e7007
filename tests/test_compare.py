import numpy as np
import pytest
from compare import assert_close, slack


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


@pytest.mark.parametrize(
    ("platform", "given", "expected"),
    [("cpu", 1e-4, 1e-4), ("gpu", 1e-4, 1e-3), ("gpu", 5e-3, 1e-2), ("tpu", 1e-5, 1e-3), ("gpu", 0.1, 0.1)],
)
def test_accelerators_have_slack_but_no_other_answers(platform, given, expected):
    assert slack(given, platform) == pytest.approx(expected)
