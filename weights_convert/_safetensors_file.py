"""The .safetensors format: the length of a header (8 bytes, little-endian), the header (JSON), the arrays' bytes."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from jaxplain.weights_convert._entries import BadFileError, Entries, decode, entries, itemsize

LONGEST_HEADER = 100_000_000  # the format's own limit
DTYPES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U8": "uint8",
    "BOOL": "bool",
}


def read_safetensors(path: Path, entry: str | None = None) -> Entries:
    """The entries of a .safetensors file, in its header's order; arrays are read-only views of its bytes."""
    data = memoryview(path.read_bytes())
    length = int.from_bytes(data[:8], "little")
    if length > min(LONGEST_HEADER, len(data) - 8):
        raise BadFileError(f"is damaged or cut short: it announces a header of {length} bytes; get the file again")
    header = json.loads(bytes(data[8 : 8 + length]))
    header.pop("__metadata__", None)
    body = data[8 + length :]
    _check_cover(header, len(body))
    found = entries(header, _is_described, lambda value: type(value).__name__, entry)
    return found._replace(tensors={name: _array(name, facts, body) for name, facts in found.tensors.items()})


def _is_described(facts: Any) -> bool:
    return isinstance(facts, dict) and "data_offsets" in facts


def _check_cover(header: dict[str, Any], length: int) -> None:
    """The arrays lie end to end and fill the body: nothing overlaps, sticks out, or is missing."""
    position = 0
    for start, end in sorted(facts["data_offsets"] for facts in header.values()):
        if type(start) is not int or type(end) is not int or start != position or end < start:
            raise BadFileError(f"is damaged: its arrays overlap or leave holes at byte {position}; get the file again")
        position = end
    if position != length:
        raise BadFileError(f"is damaged or cut short: {length} bytes, expected {position}; get the file again")


def _array(name: str, facts: dict[str, Any], body: memoryview) -> np.ndarray:
    shape, (start, end) = facts["shape"], facts["data_offsets"]
    if facts["dtype"] not in DTYPES:
        raise BadFileError(f"holds {name[:80]!r} as {facts['dtype']!s:.20}, expected one of {', '.join(DTYPES)}")
    dtype = DTYPES[facts["dtype"]]
    if not all(type(n) is int and n >= 0 for n in shape) or math.prod(shape) * itemsize(dtype) != end - start:
        raise BadFileError(f"gives {name[:80]!r} another shape than its {end - start} bytes have; get the file again")
    return decode(body[start:end], dtype).reshape(shape)
