"""The shapes that conversion expects are those that the networks initialise.

Run as a program, this file writes them anew.
"""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from jaxplain.models import architecture, available
from jaxplain.weights_convert import _convert

FILE = Path(_convert.__file__).with_name("expected.json")
COUNT = 1009  # classes: no other size of a network is this prime
REGENERATE = f"{FILE.name} is not what the networks initialise: run python tests/weights_convert/test_expected.py"


def shapes(name):
    """The shapes of a network's parameters, by scope and leaf."""
    module, side, found = architecture(name).module(COUNT), architecture(name).spec.input_size, {}
    variables = jax.eval_shape(module.init, jax.random.key(0), jax.ShapeDtypeStruct((1, side, side, 3), jnp.float32))
    for path, leaf in jax.tree_util.tree_leaves_with_path(variables["params"]):
        *scope, last = (key.key for key in path)
        sizes = [_convert.CLASSES if size == COUNT else size for size in leaf.shape]
        found.setdefault(".".join(scope), {})[last] = sizes
    return found


def text():
    """The file's content, a scope a line."""
    networks = []
    for name in available():
        lines = (f"  {json.dumps(scope)}: {json.dumps(leaves)}" for scope, leaves in shapes(name).items())
        networks.append(f" {json.dumps(name)}: {{\n" + ",\n".join(lines) + "\n }")
    return "{\n" + ",\n".join(networks) + "\n}\n"


def test_every_network_is_expected():
    assert list(_convert.expected_shapes()) == list(available()), REGENERATE


@pytest.mark.parametrize("name", available())
def test_what_is_expected_is_what_the_network_initialises(name):
    assert _convert.expected_shapes()[name] == shapes(name), REGENERATE


@pytest.mark.parametrize("name", available())
def test_only_the_classifier_depends_on_the_number_of_classes(name):
    dependent = [scope for scope, leaves in _convert.expected_shapes()[name].items() if "classes" in str(leaves)]
    assert dependent == [architecture(name).classifier]


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")
