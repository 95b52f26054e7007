"""Fitted concepts as files: JSON, with arrays as float32 or uint8 in base64.

Reading one executes nothing, and needs no more memory than the file takes.
"""

import base64
import binascii
import json
import os
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxplain.concepts._images import EXAMPLE_SIDE, Fitted
from jaxplain.explain import Concept

VERSION = 1
LARGEST = 16_000_000  # bytes of a file; one with 20 null concepts at four layers of 2,048 channels has 1 million
MOST = 16_384  # channels of a layer
FAR = 1e15  # of a direction's numbers and of scales, whose squares overflow from 1e19 on


def save(path: str | os.PathLike[str], fitted: Fitted) -> None:
    """Writes the concept to a file, which appears when it is complete; ValueError for one too large to be read."""
    path = Path(path)
    record = fitted._asdict() | {
        "version": VERSION,
        "concepts": {layer: _packed(concept) for layer, concept in fitted.concepts.items()},
        "nulls": {layer: _packed(concept) for layer, concept in fitted.nulls.items()},
        "examples": _encoded(fitted.examples),
    }
    text = json.dumps({"jaxplain concept": record})
    if len(text) > LARGEST:
        raise ValueError(f"The concept has {len(text):,} bytes, but at most {LARGEST:,} can be read: fit fewer nulls.")
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_text(text, encoding="utf-8")
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def read(path: str | os.PathLike[str]) -> Fitted:
    """The concept in a file; ValueError for a file that is none, is cut short, or is of a newer version."""
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"There is no file {path}; `jaxplain concept fit` writes one.")
    if path.stat().st_size > LARGEST:
        raise ValueError(
            f"{path} has {path.stat().st_size:,} bytes, but a concept has at most {LARGEST:,}: check the path."
        )
    try:
        record = json.loads(path.read_bytes())["jaxplain concept"]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ValueError(f"{path} is no concept, or is cut short: fit it again.") from error
    if isinstance(record, dict) and isinstance(record.get("version"), int) and record["version"] > VERSION:
        raise ValueError(f"{path} is of a newer jaxplain's version {record['version']}: update jaxplain.")
    try:
        return _fitted(record)
    except (ValueError, TypeError, KeyError, AttributeError, binascii.Error) as error:
        raise ValueError(f"{path} is a damaged concept ({error}): fit it again.") from error


def _fitted(record):
    texts = {key: _checked(str, record[key]) for key in ("name", "model", "parameters")}
    counts = {key: _checked(int, record[key]) for key in ("images", "random", "seed")}
    facts: dict[str, Any] = texts | counts | {"preprocessing": _checked(dict, record["preprocessing"])}
    concepts = {layer: _unpacked(packed, 1) for layer, packed in _checked(dict, record["concepts"]).items()}
    nulls = {layer: _unpacked(packed, 2) for layer, packed in _checked(dict, record["nulls"]).items()}
    if not concepts or concepts.keys() != nulls.keys():
        raise ValueError("its layers and those of its null concepts differ")
    if any(concepts[layer].direction.shape != nulls[layer].direction.shape[1:] for layer in concepts):
        raise ValueError("its null concepts have another number of channels")
    examples = _decoded(record["examples"], np.uint8)
    if examples.ndim != 4 or not len(examples) or examples.shape[1:] != (EXAMPLE_SIDE, EXAMPLE_SIDE, 3):
        raise ValueError("its examples are no pictures")
    for name in (*texts.values(), *concepts):
        if not name.isprintable():  # it goes to terminals
            raise ValueError(f"its name {name!r:.60} has characters that cannot be shown")
    return Fitted(**facts, concepts=concepts, nulls=nulls, examples=examples)


def _checked(kind, value):
    if type(value) is not kind:
        raise ValueError(f"{value!r:.40} is no {kind.__name__}")
    return value


def _packed(concept):
    return {name: _encoded(np.asarray(array, np.float32)) for name, array in concept._asdict().items()}


def _unpacked(packed, ndim):
    concept = Concept(*(jnp.asarray(_decoded(_checked(dict, packed)[name], np.float32)) for name in Concept._fields))
    shape = concept.direction.shape
    scales = {np.shape(scale) for scale in (concept.low, concept.high)}
    if len(shape) != ndim or not all(shape) or scales != {shape[:-1]}:
        raise ValueError(f"a direction has shape {shape}")
    if shape[-1] > MOST:
        raise ValueError(f"a direction has {shape[-1]} channels, and no layer has more than {MOST}")
    if not all(np.isfinite(array).all() for array in concept):
        raise ValueError("a direction or a scale is not finite")
    if any(np.abs(array).max() > FAR for array in concept):
        raise ValueError(f"a direction or a scale is beyond {FAR:g}")
    return concept


def _encoded(array):
    data = base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()
    return {"shape": list(array.shape), "data": data}


def _decoded(packed, dtype):
    shape = tuple(_checked(int, size) for size in _checked(list, _checked(dict, packed)["shape"]))
    data = np.frombuffer(
        base64.b64decode(_checked(str, packed["data"]), validate=True), np.dtype(dtype).newbyteorder("<")
    )
    return data.reshape(shape).astype(dtype)
