"""From a state dict, wherever it is, to the parameters of one of the networks.

`expected.json` has every scope of every network, with the shapes of its leaves; "classes" in a shape is the number of
classes, which only the classifier has. A test holds it equal to what the networks in `models` initialise.
"""

import json
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

import jax
import numpy as np

from jaxplain.weights_convert._engine import Table, assemble, entry_for, nested, without_prefix
from jaxplain.weights_convert._published import find_network
from jaxplain.weights_convert._state_dict import read_state_dict
from jaxplain.weights_convert._tables import TABLES

Shapes = Mapping[str, Mapping[str, list[int | str]]]  # {scope: {leaf: shape}}

CLASSES = "classes"
DEFAULT_CLASSES = 1000  # where the classifier is missing, which is reported with the rest


def convert(source: Any, model: str) -> dict[str, Any]:
    """The parameters of the network named `model`: a nested dict of float32 numpy arrays, BatchNorm folded.

    `source` is whatever `read_state_dict` reads; a scope that all its entries are in, such as a trainer's `model.`, is
    taken off. The number of classes is that of its classifier. ValueError lists every entry that is missing,
    unexpected, matched twice, of the wrong shape, no floats or not finite.
    """
    table, shapes = find_network(model, TABLES), expected_shapes()[model]
    state_dict = without_prefix(read_state_dict(source), table)
    try:
        return assemble(state_dict, table, parameter_shapes(model, _classes(state_dict, table, shapes)))
    except ValueError as error:
        raise ValueError(f"{_named(source)} does not fit {model}: {error}") from error


def parameter_shapes(model: str, classes: int = DEFAULT_CLASSES) -> dict[str, Any]:
    """What `convert` gives for a network with that many classes, as shapes: a nested dict of jax.ShapeDtypeStruct."""

    def leaf(shape: list[int | str]) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(tuple(classes if size == CLASSES else int(size) for size in shape), np.float32)

    scopes = find_network(model, expected_shapes())
    return nested({scope: {name: leaf(shape) for name, shape in leaves.items()} for scope, leaves in scopes.items()})


def expected_shapes() -> dict[str, Shapes]:
    """The shapes of each network's parameters, by scope and leaf."""
    return json.loads((files("jaxplain.weights_convert") / "expected.json").read_text(encoding="utf-8"))


def _classes(state_dict: Mapping[str, np.ndarray], table: Table, shapes: Shapes) -> int:
    classifier = next(scope for scope, leaves in shapes.items() if CLASSES in leaves["bias"])
    bias = entry_for(f"{classifier}/bias", state_dict, table)
    return (bias and state_dict[bias].size) or DEFAULT_CLASSES


def _named(source: Any) -> str:
    return str(source) if isinstance(source, str) or hasattr(source, "__fspath__") else f"the {type(source).__name__}"
