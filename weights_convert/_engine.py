"""One engine for all tables: a state dict goes in, a network's parameters come out, and nothing is left over.

A table says, as data, where each entry of a state dict belongs. It is read both ways: forwards to place what a file
has, and backwards to name what a file lacks. Paths are `scope/leaf`, the scope dotted as torch writes it. A convolution
and the BatchNorm after it share the BatchNorm's scope, with leaves kernel, scale, bias, mean and var until folded.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from jaxplain.weights_convert._text import few

LEAVES = ("kernel", "scale", "bias", "mean", "var")
LISTED = 10  # problems named of each kind; fewer where a file is for another network altogether
GROUP = re.compile(r"\((?!\?)[^()]*\)")


class Row(NamedTuple):
    """Entries whose whole name matches the regular expression `source` go to `target`, or are read past if it is None.

    `target` refers to each of the source's groups once, as \\1; groups do not nest: so a row can be read backwards.
    """

    source: str
    target: str | None
    layout: str = "vector"


class Table(NamedTuple):
    """The rows of one network, and the epsilon of its BatchNorms."""

    rows: tuple[Row, ...]
    epsilon: float


class Given(NamedTuple):
    """An entry of the state dict in our layout, its name and shape there, and the layout's name."""

    name: str
    values: np.ndarray
    shape: tuple[int, ...]
    layout: str


def assemble(state_dict: Mapping[str, np.ndarray], table: Table, expected: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters, float32, as a nested dict of the shapes in `expected` (a tree with `.shape` leaves).

    ValueError lists everything that is missing, unexpected, matched twice, of the wrong shape, no floats or not finite.
    """
    scopes = dict(_scopes(expected))
    shapes = {
        f"{scope}/{leaf}": leaves["kernel" if leaf == "kernel" else "bias"].shape
        for scope, leaves in scopes.items()
        for leaf in LEAVES
        if leaf in leaves or source_of(f"{scope}/{leaf}", table)
    }
    given, problems = place(state_dict, table, shapes)
    problems["missing"] = [_missing(target, table) for target in shapes if target not in given]
    problems |= check(given, shapes)
    if not any(problems.values()):
        folded = {scope: fold(_leaves(scope, given), table.epsilon) for scope in scopes}
        problems["not finite"] = [scope for scope in scopes if not _finite(_new(folded[scope], scope, given))]
    if any(problems.values()):
        raise ValueError(_report(problems, len(given), len(state_dict), len(shapes)))
    return nested(folded)


def place(
    state_dict: Mapping[str, np.ndarray], table: Table, shapes: Mapping[str, Any]
) -> tuple[dict[str, Given], dict[str, list[str]]]:
    """{target: entry} for every entry that a row sends to one of the targets in `shapes`, and problems by kind."""
    given, problems = {}, {"unexpected": [], "matched twice": []}
    for name, values in state_dict.items():
        rows = [row for row in table.rows if re.fullmatch(row.source, name)]
        if len(rows) > 1:
            problems["matched twice"].append(f"{name} by the rows {' and '.join(row.source for row in rows)}")
        target = _forwards(rows[0], name) if rows else ""
        if target is None:
            continue
        if target not in shapes:
            problems["unexpected"].append(name)
        elif target in given:
            problems["matched twice"].append(f"{target} by the entries {given[target].name} and {name}")
        else:
            given[target] = Given(name, _laid_out(values, rows[0].layout), values.shape, rows[0].layout)
    return given, problems


def check(given: Mapping[str, Given], shapes: Mapping[str, Any]) -> dict[str, list[str]]:
    """Problems by kind of the entries themselves, each called by its name in the state dict."""
    problems = {"wrong shape": [], "no floats": [], "not finite": []}
    for target, (name, values, shape, layout) in given.items():
        if values.shape != (expected := tuple(shapes[target])):
            wanted = tuple(expected[axis] for axis in LAYOUTS[layout][2])
            problems["wrong shape"].append(f"{name} for {target}: given {shape}, expected {wanted}")
        if values.dtype.kind != "f":
            problems["no floats"].append(f"{name} has {values.dtype}")
        elif not np.isfinite(values).all():
            kinds = [kind for kind, has in (("NaN", np.isnan), ("inf", np.isinf)) if has(values).any()]
            problems["not finite"].append(f"{name} has {' and '.join(kinds)}")
    return problems


def fold(leaves: Mapping[str, np.ndarray], epsilon: float) -> dict[str, np.ndarray]:
    """A convolution and the BatchNorm after it as one convolution, in float64 and returned as float32.

    kernel * s and bias - mean * s, where s = scale / sqrt(var + epsilon) is per output channel (the kernel's last
    axis); a layer without statistics keeps its values, and its arrays where they are float32 already.
    """
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # what is not finite is an error afterwards
        if "var" in leaves:
            kernel, scale, bias, mean, var = (leaves[leaf].astype(np.float64) for leaf in LEAVES)
            s = scale / np.sqrt(var + epsilon)
            leaves = {"kernel": kernel * s, "bias": bias - mean * s}
        return {leaf: values.astype(np.float32, copy=False) for leaf, values in leaves.items()}


def source_of(target: str, table: Table) -> str | None:
    """The name of the entry that the table sends to that path, or None: the table read backwards."""
    return next((name for row in table.rows if (name := _backwards(row, target))), None)


def entry_for(target: str, state_dict: Mapping[str, np.ndarray], table: Table) -> str | None:
    """The name of the entry that the table sends to that path, or None: the table read forwards."""
    matches = ((row, name) for name in state_dict for row in table.rows if re.fullmatch(row.source, name))
    return next((name for row, name in matches if _forwards(row, name) == target), None)


def scope_of(names: Iterable[str], table: Table, expected: int) -> str:
    """The scope, such as a trainer's `model.`, in which most names are ones that the table knows, or "".

    It is "" too where these are fewer than half of the entries that are expected: then the names are another network's.
    """
    counts: Counter[str] = Counter()
    for name in names:
        for start in (0, *(dot.end() for dot in re.finditer(r"\.", name))):
            counts[name[:start]] += _known(name[start:], table)
    best = max(counts, key=lambda scope: (counts[scope], -len(scope)), default="")
    return best if 2 * counts[best] >= expected else ""


def _known(name: str, table: Table) -> bool:
    return any(row.target is not None and re.fullmatch(row.source, name) for row in table.rows)


def _forwards(row: Row, name: str) -> str | None:
    return None if row.target is None else re.sub(rf"\A(?:{row.source})\Z", row.target, name)


def _backwards(row: Row, target: str) -> str | None:
    if row.target is None:
        return None
    pieces = re.split(r"\\(\d)", row.target)
    pattern = "".join(f"(?P<g{p}>.+)" if i % 2 else re.escape(p) for i, p in enumerate(pieces))
    found = re.fullmatch(pattern, target)
    if not found:
        return None
    groups = iter(range(1, 1 + len(GROUP.findall(row.source))))
    name = GROUP.sub(lambda _: found[f"g{next(groups)}"], row.source.replace("\\.", "."))
    return name if re.fullmatch(row.source, name) else None


def _copied(view: np.ndarray, block: int = 16) -> np.ndarray:
    """A contiguous copy, a few columns at a time: of a large transpose numpy's own takes five times as long."""
    copy = np.empty(view.shape, view.dtype)
    for start in range(0, view.shape[-1], block):
        copy[..., start : start + block] = view[..., start : start + block]
    return copy


def _convolution(kernel: np.ndarray) -> np.ndarray:
    """OIHW to HWIO."""
    return _copied(kernel.transpose(2, 3, 1, 0))


def _dense(kernel: np.ndarray) -> np.ndarray:
    """(out, in) to (in, out); OIHW of a convolution over the whole map is a dense layer on the flattened map."""
    return _copied(kernel.reshape(len(kernel), -1).transpose(1, 0))


def _after_flattening(kernel: np.ndarray, side: int = 7) -> np.ndarray:
    """As `_dense`, where torch flattens channels, rows, columns; here it is rows, columns, channels."""
    if kernel[0].size % side**2:
        return _dense(kernel)
    turned = _copied(kernel.reshape(len(kernel), -1, side**2).transpose(2, 1, 0))
    return turned.reshape(-1, len(kernel))


# Each layout makes a new array, of entries of these ranks. The axes turn its shape into torch's.
LAYOUTS = {
    "vector": (np.array, (1,), (0,)),
    "conv": (_convolution, (4,), (3, 2, 0, 1)),
    "dense": (_dense, (2, 4), (1, 0)),
    "flattened": (_after_flattening, (2, 4), (1, 0)),
}


def _laid_out(values: np.ndarray, layout: str) -> np.ndarray:
    """Entries of a rank that the layout is not for stay as they are: their shape is reported as wrong."""
    turn, ranks, _ = LAYOUTS[layout]
    return turn(values) if values.ndim in ranks and values.size else values


def _scopes(tree: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _scopes(value, (*path, name))
    if leaves := {name: value for name, value in tree.items() if not isinstance(value, Mapping)}:
        yield ".".join(path), leaves


def _leaves(scope: str, given: Mapping[str, Given]) -> dict[str, np.ndarray]:
    return {leaf: given[f"{scope}/{leaf}"].values for leaf in LEAVES if f"{scope}/{leaf}" in given}


def _new(folded: Mapping[str, np.ndarray], scope: str, given: Mapping[str, Given]) -> list[np.ndarray]:
    """The arrays of a scope that are not the given ones, which have been checked."""
    checked = _leaves(scope, given)
    return [values for leaf, values in folded.items() if values is not checked[leaf]]


def _finite(arrays: list[np.ndarray]) -> bool:
    return all(np.isfinite(values).all() for values in arrays)


def nested(flat: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """{"a.b": {leaf: value}} as {"a": {"b": {leaf: value}}}."""
    tree = {}
    for scope, leaves in flat.items():
        node = tree
        for name in scope.split("."):
            node = node.setdefault(name, {})
        node.update(leaves)
    return tree


def _missing(target: str, table: Table) -> str:
    source = source_of(target, table)
    return f"{source} for {target}" if source else f"{target}, which no row of the table fills"


def _report(problems: Mapping[str, list[str]], matched: int, entries: int, expected: int) -> str:
    listed = LISTED if 2 * matched >= expected else 3
    kinds = []
    for kind in ("missing", "unexpected", "matched twice", "wrong shape", "no floats", "not finite"):
        if found := problems.get(kind):
            kinds.append(f"{kind} ({len(found)}): {few(found, listed)}")
    return f"{matched} of its {entries} entries match, expected {expected}; " + "; ".join(kinds)
