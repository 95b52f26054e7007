"""What every kind of file has in common: a flat mapping of names to raw little-endian arrays."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

# bfloat16 is the upper half of a float32, and becomes one; a bool is stored as a byte.
STORED = {
    "float64": "<f8",
    "float32": "<f4",
    "float16": "<f2",
    "bfloat16": "<u2",
    "int64": "<i8",
    "int32": "<i4",
    "int16": "<i2",
    "int8": "|i1",
    "uint8": "|u1",
    "bool": "|u1",
}
WRAPPERS = ("state_dict", "model_state_dict", "model", "net")  # the first of these is taken


class BadFileError(ValueError):
    """A file's content is refused; the message says why and follows the file's name."""


def itemsize(dtype: str) -> int:
    """Bytes that one value of the dtype takes in a file."""
    return np.dtype(STORED[dtype]).itemsize


def decode(data, dtype: str) -> np.ndarray:
    """The values (n,) of a buffer that holds nothing else; a view of it where the dtype is numpy's own."""
    values = np.frombuffer(data, STORED[dtype])
    if dtype == "bfloat16":
        return (values.astype("<u4") << 16).view("<f4")
    return values != 0 if dtype == "bool" else values


class Entries(NamedTuple):
    """A state dict inside what a file held: its tensors, the kinds of what is no tensor, and what was chosen."""

    tensors: dict[str, Any]
    others: dict[str, str]
    notes: tuple[str, ...]


def entries(
    tree: Any, is_tensor: Callable[[Any], bool], kind: Callable[[Any], str], entry: str | None = None
) -> Entries:
    """The state dict inside what a file held: out of a training checkpoint, without DataParallel's `module.`.

    `entry` names the one of a checkpoint's entries that is meant.
    """
    if not isinstance(tree, Mapping):
        raise BadFileError(f"{holds(kind(tree))}, expected a state dict: save the module's state_dict()")
    tree, notes = _chosen(tree, is_tensor, entry)
    if not tree:
        raise BadFileError("holds no entries, expected a state dict: save the module's state_dict()")
    if strange := [key for key in tree if not isinstance(key, str)]:
        raise BadFileError(f"holds an entry named by a {kind(strange[0])}, expected names: save a state dict")
    prefix = "module." if all(key.startswith("module.") for key in tree) else ""
    named = {key.removeprefix(prefix): value for key, value in tree.items()}
    tensors = {key: value for key, value in named.items() if is_tensor(value)}
    others = {key: kind(value) for key, value in named.items() if key not in tensors}
    if not tensors:
        name, found = next(iter(others.items()))
        raise BadFileError(f"{holds(found, name)}, expected a state dict: save the module's state_dict()")
    return Entries(tensors, others, notes)


def _chosen(tree, is_tensor, entry):
    """The state dict, and a note where others lie beside it."""
    held = [key for key, value in tree.items() if isinstance(value, Mapping) and any(map(is_tensor, value.values()))]
    flat = any(map(is_tensor, tree.values()))
    if entry is not None and entry not in held:
        names = ", ".join(map(str, held)) or "no such entry"
        raise BadFileError(f"has no entry {entry[:80]!r} that holds weights, expected one of its own: {names}")
    known = [key for key in (entry, *WRAPPERS) if key in held] or ([] if flat else held)
    if len(known) > 1 and known[0] not in (entry, *WRAPPERS):
        raise BadFileError(f"holds weights in {', '.join(map(str, held))}; name one of them with --entry (entry=)")
    if not known:
        return next((tree[key] for key in WRAPPERS if isinstance(tree.get(key), Mapping)), tree), ()
    others = ", ".join(str(key) for key in held if key != known[0])
    note = f"{known[0]} is taken; {others} beside it has weights too, and --entry (entry=) chooses"
    return tree[known[0]], (note,) if others else ()


def holds(kind: str, name: str = "") -> str:
    """What a message says of what is no tensor; a dotted kind is a function that a file asks for."""
    if "." in kind:
        where = f" for {name[:80]!r}" if name else ""
        return f"asks to run {kind[:80]} when it is read; refusing{where}, if you trust the file, load it with torch"
    return f"holds a {kind}" + (f" named {name[:80]!r}" if name else "")
