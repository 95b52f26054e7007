"""Options that a call does not use are errors. What uses them is seen in the programs: JAX drops unused arguments."""

import functools
import inspect
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny import tiny_model

from jaxplain import workflows
from jaxplain.methods import METHODS
from jaxplain.net import then
from jaxplain.workflows import MEASURES
from jaxplain.workflows._measures import Case
from jaxplain.workflows._methods import bound, supplied
from jaxplain.workflows._options import OPTIONS, check_used

VALUES = {
    "layer": "relu",
    "segmenter": "slic",
    "num_segments": 9,
    "reference": "sample:coffee",
    "against": 1,
    "target": 1,
    "fill": "white",
    "box": (1, 2, 3, 4),
}
# What every call of a workflow uses, whatever the methods and metrics.
ALWAYS = {"model", "images", "methods", "metrics", "options", "smooth", "failed", "predicted", "watch", "track"}
ALWAYS |= {"background", "levels", "outputs"}


def used(f, *arguments):
    """The shapes, as in "5xf32", of those of the arguments that the result of f is made of; nothing is computed."""
    signature = re.search(r"@main\((.*?)\) ->", jax.jit(f).lower(*arguments).as_text())
    return set(re.findall(r"%arg\d+: tensor<(\w+)>", signature.group(1)))  # pyright: ignore[reportOptionalMemberAccess] each has one


@pytest.fixture(scope="module")
def model():
    return tiny_model()


@pytest.fixture(scope="module")
def case(model):
    """A case of the tiny network, and a map."""
    pixels, one_hot = jnp.full((16, 16, 3), 0.5), jnp.eye(5)[0]
    net = then(model.net, jax.nn.softmax)
    return Case(
        model.net, pixels, pixels, one_hot, net, model.net, net, one_hot, jnp.zeros(()), jnp.zeros(()),
        jnp.array([1, 2, 9, 9]), None, 0,
    )  # fmt: skip


def is_refused(option, row, metrics=()):
    try:
        check_used({option: VALUES[option]}, [row], metrics)
    except ValueError as error:
        flag = f"--{option.replace('_', '-')}"
        assert str(error).startswith(f"{flag} is for ")  # noqa: PT017 a refusal is one of two right answers
        assert f"or leave {flag} out." in str(error)  # noqa: PT017
        return True
    return False


@pytest.mark.parametrize("row", METHODS.values(), ids=METHODS)
def test_methods_use_an_option_or_it_is_refused(row, model):
    def heat(segments, third, layer="relu"):
        explain = supplied(bound(row, layer), jax.random.key(0), segments, 4)
        return explain(model.net, jnp.full((16, 16, 3), 0.5), third)

    segments, third = jnp.zeros((16, 16), int), jnp.eye(6 if row.target == "reference" else 5)[0]
    found = used(heat, segments, third)
    assert is_refused("segmenter", row) == is_refused("num_segments", row) == ("16x16xi32" not in found)
    assert is_refused("reference", row) == ("6xf32" not in found)
    assert is_refused("target", row) == ("5xf32" not in found)
    assert is_refused("against", row) == (row.target != "any")
    at_another = functools.partial(jax.eval_shape, functools.partial(heat, layer="no layer"), segments, third)
    if is_refused("layer", row):
        at_another()
    else:
        with pytest.raises(ValueError, match="no layer"):
            at_another()


@pytest.mark.parametrize("name", MEASURES)
def test_metrics_use_an_option_or_it_is_refused(name, case):
    def measured(target, fill, box):
        subject = {"method": lambda net, x, target: x[..., 0], "heat": jnp.eye(16), "raw": jnp.eye(16)}[measure.of]
        return measure.measure(case._replace(target=target, deleted=fill, start=fill, box=box), subject)

    measure = MEASURES[name]
    found = used(measured, jnp.ones(5), jnp.zeros((16, 16, 3)), jnp.array([1, 2, 9, 9]))
    for row in (METHODS["random"], METHODS["grad_cam"], METHODS["fam"]):
        assert is_refused("fill", row, [name]) == ("16x16x3xf32" not in found)
        assert is_refused("box", row, [name]) == ("4xi32" not in found)
    assert is_refused("target", METHODS["random"], [name]) == ("5xf32" not in found)
    assert not is_refused("target", METHODS["grad_cam"], [name])  # its maps are the target's
    assert is_refused("target", METHODS["fam"], [name])  # whose target is the reference


@pytest.mark.parametrize("workflow", [workflows.explain, workflows.evaluate], ids=["explain", "evaluate"])
def test_the_table_has_every_option(workflow, model):
    names = set(inspect.signature(workflow).parameters) - ALWAYS
    assert {name.replace("targets", "target") for name in names} <= set(OPTIONS) == set(VALUES)
    for name in names:  # of maps that know nothing, by a metric that asks for nothing
        chosen = {"metrics": ["allegiance"]} if workflow is workflows.evaluate else {}
        given = {name: VALUES[name.replace("targets", "target")]}
        with pytest.raises(ValueError, match="and there is none: add --"):
            workflow(model, np.zeros((16, 16, 3), np.uint8), methods=["random"], **chosen, **given)


def test_one_of_several_methods_is_enough(model):
    check_used({"layer": "relu", "target": None}, [METHODS["saliency"], METHODS["grad_cam"]])
    with pytest.raises(ValueError, match="energy_in_box compares a map with the object's box, which is not given"):
        check_used({"box": None}, [METHODS["saliency"]], ["deletion", "energy_in_box"])
