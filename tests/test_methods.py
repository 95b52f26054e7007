"""The table of methods says what is true of its explainers."""

import ast
import functools
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import nets
import numpy as np
import pytest

import jaxplain as jp
from jaxplain.methods import METHODS, Method, check_name, method, named, smoothed, with_options

NET = nets.net(nets.RIDGE, nets.params(nets.RIDGE))
X = jnp.asarray(nets.images(1)[0])
TARGET = jnp.eye(nets.CLASSES)[1]
SMALL = {"samples": 8, "window": 2, "stride": 2, "cells": 3, "steps": 4}


def mapped(row):
    """A row's map on a tiny net, with what it needs filled in."""
    options: dict[str, Any] = {name: SMALL.get(name, value) for name, value in row.options.items() if name != "seed"}
    if "layer" in row.needs:
        options["layer"] = "relu"
    if "segments" in row.needs:
        options |= {"segments": np.kron(np.arange(4).reshape(2, 2), np.ones((3, 3), int)), "num_segments": 4}
    if "key" in row.needs:
        options["key"] = jax.random.key(0)
    about = jp.embedding(NET, "relu")(X[::-1]) if row.target == "reference" else TARGET
    return np.asarray(row.explain(NET, X, about, **options))


@pytest.mark.parametrize("name", METHODS)
def test_what_comes_out_is_what_the_row_says(name):
    row = METHODS[name]
    heat = mapped(row)
    shape = {"layer": (4, 4), "pixels": (6, 6), "segments": (6, 6), "channels": (6, 6, 3)}[row.output]
    assert heat.shape == shape
    assert row.signed or heat.min() >= 0
    assert row.name == name
    assert row.question.endswith("?")
    assert row.source or name in ("gradient", "random")


def test_every_public_explainer_has_a_row():
    explainers = set(METHODS) - {"random"}
    others = {"cam", "channel_map", "concept_attribution", "concept_map", "fam_contributions", "grid_mask", "response"}
    others |= {"stack_concepts", "steps_for", "tcav_score", "Attribution", "Concept", "filter_weights", "weighted"}
    assert explainers == set(jp.explain.__all__) - others


def test_no_other_file_compares_a_methods_name():
    """Neither == nor in, nor a key of a table: a method's name stands in methods.py alone."""
    package = Path(jp.__file__).parent
    found = []
    for path in [*package.rglob("workflows/*.py"), *package.rglob("cli/*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Compare | ast.Dict):
                parts = node.keys if isinstance(node, ast.Dict) else [node.left, *node.comparators]
                names = {n.value for part in parts if part for n in ast.walk(part) if isinstance(n, ast.Constant)}
                found += [f"{path.name}: {name}" for name in names & {*METHODS} - {"random"}]
    assert found == []


def test_options_are_set_and_checked():
    row = with_options(named("rise"), {"samples": 10, "keep": 1})
    assert (row.options["samples"], row.options["keep"], row.options["cells"]) == (10, 1, 7)
    assert named("rise").options["samples"] == 4000
    for options, says in (
        ({"sample": 3}, r"rise has no option 'sample'; it has samples"),
        ({"samples": "many"}, r"rise.samples is 'many', but a whole number is expected"),
        ({"samples": True}, r"rise.samples is True"),
        ({"keep": "x"}, r"rise.keep is 'x', but a number is expected"),
    ):
        with pytest.raises(ValueError, match=says):
            with_options(named("rise"), options)


def test_unknown_names_have_neighbours():
    with pytest.raises(ValueError, match=r"There is no method 'gradcam'; there is grad_cam"):
        named("gradcam")
    assert check_name("fill", "black", ("black", "white")) == "black"


def test_a_function_of_ones_own_is_a_row():
    def ours(net, x, target, *, layer, key):
        return jnp.zeros((2, 2))

    row = method(ours)
    assert (row.name, row.needs, row.output, row.signed) == ("ours", ("layer", "key"), "layer", True)
    assert method(lambda net, x, target: x, "mine").name == "mine"
    assert method(Method("m", ours, "pixels", "?"), "n").name == "n"
    partial = method(functools.partial(jp.rise, samples=3), "few")
    assert (partial.needs, partial.output) == (("key",), "pixels")
    with pytest.raises(ValueError, match=r"needs \['other'\], which nobody gives"):
        method(lambda net, x, target, *, other: x)
    with pytest.raises(ValueError, match="expected a function explain"):
        method(3)  # pyright: ignore[reportArgumentType]


def test_smoothed_is_smooth():
    row = smoothed(named("grad_cam"), 3, 0.1)
    assert (row.name, row.needs, row.forward) == ("smooth_grad_cam", ("layer", "key"), "3 * (1)")
    key = jax.random.key(4)
    expected = jp.smooth(jp.grad_cam, samples=3, sigma=0.1)(NET, X, TARGET, layer="relu", key=key)
    np.testing.assert_allclose(row.explain(NET, X, TARGET, layer="relu", key=key), expected, rtol=1e-6)
