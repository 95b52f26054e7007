"""The harness measures what it says, and refuses to time rivals that compute something else."""

import itertools

import harness
import jax
import numpy as np
import pytest
import signed_saliency
from flax import linen as nn

from jaxplain.metrics import PUBLISHED_FRACTIONS, Curve
from jaxplain.models import Conv, Dense


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
    rivals = [harness.Rival(name, lambda name=name: calls.append(name)) for name in "ab"]  # pyright: ignore[reportArgumentType]
    seconds = harness.time_interleaved(rivals, rounds=3, warm_up=1)
    assert "".join(calls) == "ba" + "ab" + "ba" + "ab"
    assert {name: list(values) for name, values in seconds.items()} == {"a": [1, 1, 1], "b": [1, 1, 1]}


def test_table_names_the_ratio_to_each():
    text = harness.table({"ours": np.array([0.5, 0.5]), "theirs": np.array([1.0, 1.0])}, images=8)
    assert text.splitlines()[2:] == ["| ours | 0.500 | 16.0 |  |", "| theirs | 1.000 | 8.0 | 2.00 (2.00 to 2.00) |"]


def removed(heat):
    """How many pixels the published rule removes at each fraction."""
    falling = np.append(-np.sort(-heat.ravel()), -np.inf)
    counts = np.round(np.array(PUBLISHED_FRACTIONS) * heat.size).astype(int)
    return [int(((heat > falling[count]) & (heat != 0)).sum()) for count in counts]


def test_matched_maps_lose_equally_many_pixels():
    draw = np.random.default_rng(0)
    kept = draw.uniform(size=(3, 20, 20)) < np.array([0.9, 0.5, 0.3])[:, None, None]
    heats = np.where(kept, draw.uniform(0.1, 1, (3, 20, 20)), 0).astype(np.float32)
    found = np.asarray(signed_saliency.matched(heats))  # pyright: ignore[reportArgumentType]
    fewest = min(np.count_nonzero(heats, axis=(1, 2)))
    for heat, kept in zip(heats, found, strict=True):
        np.testing.assert_array_equal(kept, np.where(heat >= np.sort(heat.ravel())[-fewest], heat, 0))
    assert removed(heats[0]) != removed(heats[2])
    assert removed(found[0]) == removed(found[1]) == removed(found[2])
    assert removed(found[0])[-1] == fewest


def test_tiles_to_train_on_and_to_test_with_are_apart():
    photo = np.arange(200 * 300).reshape(200, 300, 1)
    parts = signed_saliency.tiles(photo)
    assert [len(part) for part in parts] == [4, 2]
    trained, tested = (np.unique(part) for part in parts)
    assert len(trained) == 4 * 96**2
    assert not np.intersect1d(trained, tested).size
    ends = signed_saliency.ends(photo)
    assert [end.shape for end in ends] == [(150, 150, 1)] * 2
    assert not np.intersect1d(*ends).size  # pyright: ignore[reportArgumentType, reportCallIssue]


@pytest.mark.parametrize(
    ("middle", "ours", "verdict"),
    [
        (0.3, "positive < active < standard", "The order agrees: of 3 pairs 3"),
        (0.2, "positive ~ active < standard", "The order is not settled: of 3 pairs 2"),
        (0.6, "positive < standard < active", "The order disagrees: of 3 pairs 2 as in the paper, 1"),
    ],
)
def test_order_counts_what_is_beyond_the_noise(middle, ours, verdict):
    noise = np.array([[0.01, 0, 0.02, 0], [0, 0.01, 0, 0], [0.01, 0.02, 0.01, 0]])
    areas = np.tile((np.array([0.5, 0.2, middle, 0]) + noise)[:, None, None], (1, 2, 2, 1))
    samples = signed_saliency.Deletion(Curve(None, None, areas), None)  # pyright: ignore[reportArgumentType]
    experiment = signed_saliency.Experiment("", "", samples, signed_saliency.student, ["CIFAR-10, basic CNN"])
    line = signed_saliency.order(experiment, "black", "matched")
    theirs = "the paper has positive < active < standard"
    assert line.startswith(f"- black deletion, matched: {ours}; {theirs}. {verdict}")


class OneConvolution(nn.Module):
    """A network that is trained and compiled in seconds."""

    classes: int

    @nn.compact
    def __call__(self, x):
        x = nn.relu(Conv(16, 5, 2, 2)(x))
        return Dense(self.classes)(x.reshape(len(x), -1))


def test_the_positive_map_finds_a_digit_sooner_than_chance():
    data = signed_saliency.digits()
    data = data._replace(X=data.X[:, ::2, ::2], X_test=data.X_test[:, ::2, ::2])
    net = signed_saliency.train(data, jax.random.key(0), 3, OneConvolution)
    assert np.mean(signed_saliency.predicted(net, data.X_test) == data.labels_test) > 0.5
    curve, share = signed_saliency.deletions(net, data.X_test[:8], key=jax.random.key(1))
    np.testing.assert_array_equal(share[:, :, 1, :3], share[:, :, 1, 1:])
    _, positive, _, random = curve.area[:, 0, 0].mean(axis=0)
    assert positive < random - 0.2


def test_the_papers_network():
    module = signed_saliency.BasicCNN(7)
    variables = jax.eval_shape(module.init, jax.random.key(0), np.zeros((1, 48, 48, 3), np.float32))
    kernels = [leaf.shape for leaf in jax.tree.leaves(variables) if leaf.ndim > 1]
    widths = [(3, 32), *itertools.pairwise([32] * 4 + [64] * 3 + [128] * 3), (128, 7)]
    assert sorted(shape[-2:] for shape in kernels) == sorted(widths)
    outputs = jax.eval_shape(module.apply, variables, np.zeros((2, 48, 48, 3), np.float32))
    assert outputs.shape == (2, 7)
