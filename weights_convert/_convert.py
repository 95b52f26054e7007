"""From a state dict, wherever it is, to the parameters of one of the networks.

`expected.json` has every scope of every network, with the shapes of its leaves; "classes" in a shape is the number of
classes, which only the classifier has, and "channels" that of the image's channels, which only the stem has. A test
holds it equal to what the networks in `models` initialise.
"""

import json
import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxplain.weights_convert._engine import Table, assemble, entry_for, nested, scope_of
from jaxplain.weights_convert._entries import holds
from jaxplain.weights_convert._heads import modules_of, with_head
from jaxplain.weights_convert._published import find_network
from jaxplain.weights_convert._state_dict import named, read_entries
from jaxplain.weights_convert._tables import TABLES
from jaxplain.weights_convert._text import few

Shapes = Mapping[str, Mapping[str, list[int | str]]]  # {scope: {leaf: shape}}

CLASSES, CHANNELS = "classes", "channels"


class Converted(NamedTuple):
    """The parameters of a network, and what a reader of its results should know of where they come from."""

    parameters: dict[str, Any]
    notes: tuple[str, ...]


def convert(source: Any, model: str, *, entry: str | None = None) -> dict[str, Any]:
    """The parameters of the network named `model`: a nested dict of float32 numpy arrays, BatchNorm folded.

    `source` is whatever `read_state_dict` reads; `entry` names the one of a checkpoint's state dicts that is meant,
    such as "state_dict_ema". Where a trainer has put the network into a scope, such as `model.`, the scope whose names
    fit best is taken. Images may have another number of channels than 3. The head is the network's own classifier, with
    or without bias; or the dense layers of a module in its place or beside the scope, with a ReLU between each two; or
    none. ValueError lists every entry that is missing, unexpected, matched twice, of the wrong shape, no floats or not
    finite. Entries do not say how a network computes; a live module does, and `jaxplain.models.load` compares it.
    """
    return converted(source, model, entry=entry).parameters


def converted(source: Any, model: str, *, entry: str | None = None) -> Converted:
    """As `convert`, with notes on what was chosen and what was left out."""
    table, shapes = find_network(model, TABLES), expected_shapes()[model]
    classifier, features = _classifier(shapes)
    found = read_entries(source, entry)
    scope = scope_of(found.tensors, table, sum(map(len, shapes.values())))
    inside = {name.removeprefix(scope): a for name, a in found.tensors.items() if name.startswith(scope)}
    beside = {name: a for name, a in found.tensors.items() if not name.startswith(scope)}
    _check_others(found.others, scope, table, named(source))
    try:
        head = with_head(inside, modules_of(beside, scope), table, classifier, features)
        channels = _channels(head.entries, head.table, shapes)
        params = assemble(head.entries, head.table, parameter_shapes(model, head.widths, channels))
    except ValueError as error:
        outside = f"; outside of {scope} are {few([*beside, *found.others])}" if scope and beside else ""
        raise ValueError(f"{named(source)} does not fit {model}: {error}{outside}") from error
    left_out = [*(name for name in beside if name not in head.taken), *found.others]
    notes = (*found.notes, *head.notes, *((f"left out: {few(left_out)}",) if left_out else ()))
    return Converted(params, notes)


def _check_others(others: Mapping[str, str], scope: str, table: Table, source: str) -> None:
    """Refuses what is no tensor where a weight should be."""
    for name, kind in others.items():
        inner = name.removeprefix(scope)
        if any(row.target is not None and re.fullmatch(row.source, inner) for row in table.rows):
            raise ValueError(f"{source} {holds(kind, name)}, not a tensor: save the module's state_dict()")


def stem(model: str) -> str:
    """The scope of a network's first convolution."""
    return _stem(find_network(model, expected_shapes()))


def _stem(shapes: Shapes) -> str:
    return next(scope for scope, leaves in shapes.items() if CHANNELS in leaves["kernel"])


def _channels(entries: Mapping[str, np.ndarray], table: Table, shapes: Shapes) -> int:
    """The number of an image's channels, by the first convolution (O, I, H, W); 3 where there is none."""
    name = entry_for(f"{_stem(shapes)}/kernel", entries, table)
    return entries[name].shape[1] if name is not None and entries[name].ndim == 4 else 3


def _classifier(shapes: Shapes) -> tuple[str, int]:
    """The classifier's scope, and how many features it takes."""
    scope, leaves = next(item for item in shapes.items() if CLASSES in item[1]["bias"])
    return scope, int(leaves["kernel"][0])


def parameter_shapes(model: str, widths: Sequence[int] = (1000,), channels: int = 3) -> dict[str, Any]:
    """What `convert` gives for a network of images of so many channels with dense layers of those widths, as shapes.

    A nested dict of jax.ShapeDtypeStruct.
    """
    shapes = find_network(model, expected_shapes())
    classifier, features = _classifier(shapes)
    scopes = {scope: leaves for scope, leaves in shapes.items() if scope != classifier}
    scopes |= {
        f"{classifier}.{2 * number}" if len(widths) > 1 else classifier: {"bias": [width], "kernel": [inputs, width]}
        for number, (inputs, width) in enumerate(zip((features, *widths), widths, strict=False))
    }
    return nested(
        {scope: {name: _leaf(shape, channels) for name, shape in leaves.items()} for scope, leaves in scopes.items()}
    )


def _leaf(shape, channels):
    return jax.ShapeDtypeStruct(tuple(channels if size == CHANNELS else int(size) for size in shape), np.float32)


def expected_shapes() -> dict[str, Shapes]:
    """The shapes of each network's parameters, by scope and leaf."""
    return json.loads((files("jaxplain.weights_convert") / "expected.json").read_text(encoding="utf-8"))
