"""What every kind of file has in common: a flat mapping of names to raw little-endian arrays."""

from collections.abc import Mapping
from typing import Any

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
WRAPPERS = ("state_dict", "model_state_dict", "model", "net")


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


def entries(tree: Any) -> dict[str, Any]:
    """The state dict inside what a file held: out of a training checkpoint, without DataParallel's `module.`."""
    if not isinstance(tree, Mapping):
        raise BadFileError(f"holds a {type(tree).__name__}, expected a state dict: save the module's state_dict()")
    tree = next((tree[key] for key in WRAPPERS if isinstance(tree.get(key), Mapping)), tree)
    if not tree:
        raise BadFileError("holds no entries, expected a state dict: save the module's state_dict()")
    if strange := [key for key in tree if not isinstance(key, str)]:
        raise BadFileError(f"holds an entry named by a {type(strange[0]).__name__}, expected names: save a state dict")
    prefix = "module." if all(key.startswith("module.") for key in tree) else ""
    return {key.removeprefix(prefix): value for key, value in tree.items()}
