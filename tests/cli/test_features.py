"""jaxplain features: what it writes and prints is the library's."""

import numpy as np
import pytest

from jaxplain import workflows
from jaxplain.models import load

TINY = ("--model", "tiny", "--weights", "tiny")


@pytest.fixture
def place(tiny, monkeypatch):
    monkeypatch.chdir(tiny.parent)
    return tiny.parent


def test_a_photograph_is_explained_layer_by_layer(run, place):
    options = ("--target", 1, "--layer", "conv", "--layer", "relu", "--seed", 5, "--clustering", "kmeans")
    done = run("features", "sample:chelsea", "sample:coffee", *TINY, *options)
    assert done.status == 0
    expected = workflows.features(
        load("tiny", "tiny"), "sample:coffee", target=1, layers=("conv", "relu"), seed=5, clustering="kmeans"
    )
    arrays = np.load(place / "out" / "coffee_features.npz")
    for layer, found in expected.layers.items():
        assert (arrays[f"{layer}/weights"] == found.weights).all()
        assert (arrays[f"{layer}/maps"] == found.maps).all()
    for row in expected.table().rows:
        assert row[0] in done.out
    assert "out/chelsea_features.png, .npz and .json written" in done.out


def test_what_is_wrong_is_told(run, place):
    for arguments, says in (
        (("--layer", "rely"), "There is no layer 'rely'; near are relu"),
        (("--clustering", "ward"), "clustering is 'ward', but 'tsne' or 'kmeans' is expected"),
        (("--target", "dog cat"), "no class"),
        (("--max-clusters", 2), "'--max-clusters'"),
    ):
        done = run("features", "sample:chelsea", *TINY, *arguments)
        assert done.status == 2
        assert says in done.err
        assert not (place / "out").exists()
