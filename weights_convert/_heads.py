"""What stands at the end of a network, where people change it: the dense layers that make outputs of its features.

Published networks have one. A state dict may have several, of a Sequential in its place or of a module beside the
network, or none. What is between them is not in it: a ReLU is taken, and that is noted.
"""

import re
from collections.abc import Mapping
from itertools import pairwise, permutations
from typing import NamedTuple

import numpy as np

from jaxplain.weights_convert._engine import Table, entry_for, source_of
from jaxplain.weights_convert._tables import dense
from jaxplain.weights_convert._text import few

Arrays = Mapping[str, np.ndarray]

_LEAVES = ("weight", "bias")


class Head(NamedTuple):
    """A network's entries by names that the table knows, the widths of its dense layers, and notes.

    Without a head there are no widths. `taken` are the names of entries from outside of the network.
    """

    entries: Arrays
    table: Table
    widths: tuple[int, ...]
    notes: tuple[str, ...]
    taken: tuple[str, ...] = ()


def with_head(entries: Arrays, beside: Mapping[str, Arrays], table: Table, classifier: str, features: int) -> Head:
    """The head that the network calls `classifier`, from its own entries or from one of the modules `beside` it.

    ValueError for layers in its place that are not dense.
    """
    own = str(source_of(f"{classifier}/kernel", table)).removesuffix(".weight")
    kernel = entry_for(f"{classifier}/kernel", entries, table) or f"{own}.weight"
    bias = kernel.removesuffix("weight") + "bias"
    if kernel in entries or bias in entries:
        entries, notes = _with_bias(entries, kernel)
        width = entries[bias].size
        flat = [module for module in beside.values() if all(a.ndim < 3 for a in module.values())]  # no second network
        if heads := [module for module in flat if _takes(module, (features, width))]:
            raise ValueError(
                f"it has a classifier, and beside it {few([*heads[0]])}, which may follow it or take its place: that "
                "is not told; save the state dict of the network alone, or explain the whole as a network of your own"
            )
        return Head(entries, table, (width,), notes)
    inside = {name: a for name, a in entries.items() if name.startswith(f"{own}.")}
    rest = {name: a for name, a in entries.items() if name not in inside}
    if inside and (problem := _problem(inside)):
        raise ValueError(f"its head has {problem}; explain such a module as a network of your own")
    fitting = [module for module in beside.values() if _takes(module, (features,)) and not _problem(module)]
    if inside or len(fitting) == 1:
        return _placed(rest, inside or fitting[0], own, table, classifier, () if inside else tuple(fitting[0]))
    return Head(entries, table, (), (f"there is no {own}: the outputs are the {features} features that it would get",))


def modules_of(entries: Arrays, scope: str) -> dict[str, Arrays]:
    """The entries by the module that they are of, of those that lie beside the one with that scope."""
    parent, modules = scope.removesuffix(".").rpartition(".")[0], {}
    for name, values in entries.items():
        inner = name.removeprefix(f"{parent}.")
        modules.setdefault(inner.partition(".")[0], {})[name] = values
    return modules


def _placed(rest, inside, own, table, classifier, taken):
    """The entries with those of a head: a single layer by the classifier's name, several numbered as in a Chain."""
    layers = [kernel.removesuffix(".weight") for kernel in _kernels(inside)]
    if len(layers) == 1:
        names, note = [own], f"{layers[0]} is taken as the classifier; a ReLU around it, say, is not told"
    else:
        names = [f"{classifier}.{2 * number}" for number in range(len(layers))]
        table = table._replace(rows=(*table.rows, *dense(rf"{re.escape(classifier)}\.\d+")))
        note = f"{few(layers)} are taken as the head, with a ReLU between each two, which is not told"
    entries, notes, widths = dict(rest), (note,), []
    for layer, name in zip(layers, names, strict=True):
        entries |= {f"{name}.{leaf}": inside[f"{layer}.{leaf}"] for leaf in _LEAVES if f"{layer}.{leaf}" in inside}
        entries, more = _with_bias(entries, f"{name}.weight")
        notes, widths = notes + more, [*widths, entries[f"{name}.bias"].size]
    return Head(entries, table, tuple(widths), notes, taken)


def _problem(module):
    """What speaks against a module's entries being those of dense layers that follow each other, or ""."""
    kernels = _kernels(module)
    layers = {kernel.removesuffix(".weight") for kernel in kernels}
    strange = [
        name for name in module if name.rpartition(".")[0] not in layers or name.rpartition(".")[2] not in _LEAVES
    ]
    if strange or not kernels:
        return f"{few(strange)}, expected dense layers alone, of which ReLU and dropout may be in between"
    for first, second in pairwise(kernels):
        outputs, inputs = len(module[first]), module[second].shape[1]
        if outputs != inputs:
            return f"{first} of {outputs} outputs before {second} of {inputs} inputs, expected as many"
    return ""


def _takes(module, sizes):
    """Whether the first of its dense layers takes as many inputs as one of the sizes."""
    return any(module[kernel].shape[1] in sizes for kernel in _kernels(module)[:1])


def _kernels(module):
    """The names of the kernels of dense layers, in the order of their numbers, or else of their sizes or entries."""
    names = [name for name, a in module.items() if name.endswith(".weight") and a.ndim == 2]
    if len({re.sub(r"\d+", "", name) for name in names}) == 1:
        return sorted(names, key=lambda name: [*map(int, re.findall(r"\d+", name))])
    orders = permutations(names) if len(names) < 6 else ()
    fitting = [order for order in orders if all(len(module[a]) == module[b].shape[1] for a, b in pairwise(order))]
    return [*fitting[0]] if len(fitting) == 1 else names


def _with_bias(entries, kernel):
    """The entries with a bias of that layer, and a note where it had none."""
    layer = kernel.removesuffix(".weight")
    if f"{layer}.bias" in entries:
        return entries, ()
    note = f"the classifier {layer} has no bias, which is 0 then"
    return {**entries, f"{layer}.bias": np.zeros(entries[kernel].shape[:1], np.float32)}, (note,)
