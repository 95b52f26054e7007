"""The harness measures what it says, and refuses to time rivals that compute something else."""

import itertools
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))
import harness


def test_rivals_that_disagree_are_refused():
    with pytest.raises(SystemExit, match="another gives other maps"):
        harness.check_agreement(np.array([1.0, 2.0]), np.array([1.0, 2.1]), "another", 1e-3)
    with pytest.raises(SystemExit):
        harness.check_agreement(np.array([1.0, np.nan]), np.array([1.0, 2.0]), "another", 1e-3)
    assert harness.check_agreement(np.array([1.0, 2.0]), np.array([1.0, 2.001]), "another", 1e-3) < 1e-3


def test_ratio_is_the_median_of_paired_ratios():
    ours, theirs = np.array([1.0, 2.0, 4.0]), np.array([3.0, 4.0, 40.0])
    median, low, high = harness.ratio(theirs, ours)
    assert median == 3
    assert (low, high) == (2, 10)


def test_rounds_are_interleaved_and_rotate(monkeypatch):
    calls, clock = [], itertools.count()
    monkeypatch.setattr(harness.time, "perf_counter", lambda: float(next(clock)))
    rivals = [harness.Rival(name, lambda name=name: calls.append(name)) for name in "ab"]
    seconds = harness.time_interleaved(rivals, rounds=3, warm_up=1)
    assert "".join(calls) == "ba" + "ab" + "ba" + "ab"
    assert {name: list(values) for name, values in seconds.items()} == {"a": [1, 1, 1], "b": [1, 1, 1]}


def test_table_names_the_ratio_to_each():
    text = harness.table({"ours": np.array([0.5, 0.5]), "theirs": np.array([1.0, 1.0])}, images=8)
    assert text.splitlines()[2:] == ["| ours | 0.500 | 16.0 |  |", "| theirs | 1.000 | 8.0 | 2.00 (2.00 to 2.00) |"]
