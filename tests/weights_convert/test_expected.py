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
COUNT, CHANNELS = 1009, 13  # no other size of a network is one of these primes
REGENERATE = f"{FILE.name} is not what the networks initialise: run python tests/weights_convert/test_expected.py"


def shapes(name):
    """The shapes of a network's parameters, by scope and leaf."""
    module, side, found = architecture(name).module(COUNT), architecture(name).spec.input_size, {}
    variables = jax.eval_shape(
        module.init, jax.random.key(0), jax.ShapeDtypeStruct((1, side, side, CHANNELS), jnp.float32)
    )
    for path, leaf in jax.tree_util.tree_leaves_with_path(variables["params"]):
        *scope, last = (key.key for key in path)
        names = {COUNT: _convert.CLASSES, CHANNELS: _convert.CHANNELS}
        found.setdefault(".".join(scope), {})[last] = [names.get(size, size) for size in leaf.shape]
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
def test_only_the_ends_depend_on_the_numbers_of_classes_and_channels(name):
    shapes = _convert.expected_shapes()[name]
    dependent = [scope for scope, leaves in shapes.items() if _convert.CLASSES in str(leaves)]
    assert dependent == [architecture(name).classifier]
    assert [scope for scope, leaves in shapes.items() if _convert.CHANNELS in str(leaves)] == [_convert.stem(name)]


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")
