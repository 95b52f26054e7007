"""From a state dict, wherever it is, to the parameters of one of the networks.

`expected.json` has every scope of every network, with the shapes of its leaves; "classes" in a shape is the number of
classes, which only the classifier has. A test holds it equal to what the networks in `models` initialise.
"""

import json
import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxplain.weights_convert._engine import Table, assemble, entry_for, nested, scope_of, source_of
from jaxplain.weights_convert._entries import holds
from jaxplain.weights_convert._published import find_network
from jaxplain.weights_convert._state_dict import named, read_entries
from jaxplain.weights_convert._tables import TABLES

Shapes = Mapping[str, Mapping[str, list[int | str]]]  # {scope: {leaf: shape}}

CLASSES = "classes"
DEFAULT_CLASSES = 1000  # where the classifier is missing, which is reported with the rest


class Converted(NamedTuple):
    """The parameters of a network, and what a reader of its results should know of where they come from."""

    parameters: dict[str, Any]
    notes: tuple[str, ...]


def convert(source: Any, model: str, *, entry: str | None = None) -> dict[str, Any]:
    """The parameters of the network named `model`: a nested dict of float32 numpy arrays, BatchNorm folded.

    `source` is whatever `read_state_dict` reads; `entry` names the one of a checkpoint's state dicts that is meant,
    such as "state_dict_ema". Where a trainer has put the network into a scope, such as `model.`, the scope whose names
    fit best is taken. The classifier is the network's own, with or without bias, or the only dense layer of a
    Sequential in its place; the number of classes is its. ValueError lists every entry that is missing, unexpected,
    matched twice, of the wrong shape, no floats or not finite. Entries do not say how a network computes; a live module
    does, and `jaxplain.models.load` compares it.
    """
    return converted(source, model, entry=entry).parameters


def converted(source: Any, model: str, *, entry: str | None = None) -> Converted:
    """As `convert`, with notes on what was chosen and what was left out."""
    table, shapes = find_network(model, TABLES), expected_shapes()[model]
    found = read_entries(source, entry)
    scope = scope_of(found.tensors, table, sum(map(len, shapes.values())))
    state_dict = {name.removeprefix(scope): a for name, a in found.tensors.items() if name.startswith(scope)}
    left_out = [name for name in found.tensors if not name.startswith(scope)] + list(found.others)
    _check_others(found.others, scope, table, named(source))
    try:
        state_dict, notes = _with_classifier(state_dict, table, shapes)
        params = assemble(state_dict, table, parameter_shapes(model, _classes(state_dict, table, shapes)))
    except ValueError as error:
        outside = f"; outside of {scope} are {_few(left_out)}" if scope and left_out else ""
        raise ValueError(f"{_named(source)} does not fit {model}: {error}{outside}") from error
    notes = (*found.notes, *notes, *((f"left out: {_few(left_out)}",) if left_out else ()))
    return Converted(params, notes)


def _check_others(others: Mapping[str, str], scope: str, table: Table, source: str) -> None:
    """Refuses what is no tensor where a weight should be."""
    for name, kind in others.items():
        inner = name.removeprefix(scope)
        if any(row.target is not None and re.fullmatch(row.source, inner) for row in table.rows):
            raise ValueError(f"{source} {holds(kind, name)}, not a tensor: save the module's state_dict()")


def _few(names: Sequence[str]) -> str:
    return ", ".join(name[:80] for name in names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _with_classifier(
    state_dict: Mapping[str, np.ndarray], table: Table, shapes: Shapes
) -> tuple[Mapping[str, np.ndarray], tuple[str, ...]]:
    """The entries with a classifier under its own name and with a bias, and notes on what that took."""
    classifier = _classifier(shapes)
    kernel = entry_for(f"{classifier}/kernel", state_dict, table)
    notes: tuple[str, ...] = ()
    if kernel is None:
        scope = source_of(f"{classifier}/kernel", table).removesuffix(".weight")  # pyright: ignore[reportOptionalMemberAccess]
        inside = [name for name in state_dict if re.fullmatch(rf"{re.escape(scope)}\.[\w.]+\.weight", name)]
        if len(inside) > 1:
            raise ValueError(
                f"the classifier {scope} has the layers {_few(inside)}, expected one dense layer: what is between them "
                "is not in a state dict; explain such a module as a network of your own."
            )
        if not inside or state_dict[inside[0]].ndim != 2:
            return state_dict, ()
        layer, kernel = inside[0].removesuffix(".weight"), f"{scope}.weight"
        state_dict = {re.sub(rf"\A{re.escape(layer)}\.", f"{scope}.", name): a for name, a in state_dict.items()}
        notes = (f"{layer} is taken as the classifier; a ReLU around it, say, is not told",)
    bias = kernel.removesuffix("weight") + "bias"
    if bias not in state_dict and state_dict[kernel].ndim:
        state_dict = {**state_dict, bias: np.zeros(len(state_dict[kernel]), np.float32)}
        notes = (*notes, "the classifier has no bias, which is 0 then")
    return state_dict, notes


def _classifier(shapes: Shapes) -> str:
    return next(scope for scope, leaves in shapes.items() if CLASSES in leaves["bias"])


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
    bias = entry_for(f"{_classifier(shapes)}/bias", state_dict, table)
    return (bias and state_dict[bias].size) or DEFAULT_CLASSES


def _named(source: Any) -> str:
    return str(source) if isinstance(source, str) or hasattr(source, "__fspath__") else f"the {type(source).__name__}"
