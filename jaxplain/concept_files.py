"""Fitted concepts as files, which know what they belong to: the network, its parameters, its preprocessing, the layers.

Images are (N, S, S, 3) uint8 levels, as the model's pixels are. A file is JSON; arrays in it are float32 or uint8 in
base64, so that reading one executes nothing, and needs no more memory than the file takes.
"""

import base64
import binascii
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxplain.explain.concepts import Concept, fit_concept
from jaxplain.net import view
from jaxplain.significance import null_concepts

VERSION = 1
LARGEST = 200_000_000  # bytes of a file
EXAMPLES, EXAMPLE_SIDE = 4, 96
PREPROCESSING = ("input_size", "resize", "mean", "std", "interpolation")


class Fitted(NamedTuple):
    """A concept at each of some layers, with null concepts (draws, C) beside it, and where it is at home.

    `parameters` is the sha256 of the net's. There were so many `images` of the concept and `random` ones, and
    `examples` (n, side, side, 3) uint8 are some of the first.
    """

    name: str
    model: str
    parameters: str
    preprocessing: dict[str, Any]
    images: int
    random: int
    seed: int
    concepts: dict[str, Concept]
    nulls: dict[str, Concept]
    examples: np.ndarray


class Activations:
    """A layer's activations of images, (n, h, w, C) for `batch` of them at a time, computed whenever they are read."""

    def __init__(self, model: Any, layer: str, images: np.ndarray, batch: int = 16) -> None:
        self.model, self.layer, self.images, self.batch = model, layer, images, batch

    def __iter__(self) -> Iterator[np.ndarray]:
        count = len(self.images)
        for start in range(0, count, self.batch):
            index = np.minimum(np.arange(start, start + self.batch), count - 1)  # one shape, compiled once
            found = _activations(self.model.net, self.model.normalise, self.images[index], self.layer)
            yield np.asarray(found)[: count - start]


def _at(net, normalise, images, layer):
    return jax.vmap(lambda image: view(net, layer, normalise(image.astype(jnp.float32) / 255))[0])(images)


_activations = jax.jit(_at, static_argnums=3)


def fit(
    name: str, model: Any, images: np.ndarray, random: np.ndarray, layers: Sequence[str], *, nulls: int, seed: int
) -> Fitted:
    """The concept that images show and random ones do not, at each layer, with so many null concepts of random images.

    ValueError for fewer than 2 images and 4 random ones, for images that are in both, and as `fit_concept` has it.
    """
    few = min(len(images) - 2, len(random) - 4)
    if few < 0:
        raise ValueError(
            f"There are {len(images)} images of {name!r} and {len(random)} random ones, but at least 2 and 4 are "
            "expected, and 30 or more of each make a good concept."
        )
    both = {image.tobytes() for image in images} & {image.tobytes() for image in random}
    if both:
        raise ValueError(
            f"{len(both)} of the images are among the random ones too, as the network sees them: a concept is what "
            "tells the two apart, so remove them from one of the folders."
        )
    concepts, null = {}, {}
    for layer in layers:
        ours, theirs = (Activations(model, layer, some) for some in (images, random))
        concepts[layer] = fit_concept(ours, theirs)
        null[layer] = null_concepts(theirs, nulls, seed=seed, size=min(len(images), len(random) // 2))
    spec = model.spec._asdict()
    preprocessing = {key: _plain(spec[key]) for key in PREPROCESSING}
    examples = _small(images[:EXAMPLES])
    counts = len(images), len(random)
    return Fitted(name, model.spec.name, fingerprint(model.net), preprocessing, *counts, seed, concepts, null, examples)


def fingerprint(net: Any) -> str:
    """The sha256 of a net's parameters, in the order of its leaves."""
    digest = hashlib.sha256()
    for leaf in jax.tree.leaves(net):
        digest.update(np.ascontiguousarray(leaf).data)
    return digest.hexdigest()


def check_home(fitted: Fitted, model: Any, parameters: str) -> None:
    """Raises ValueError unless the concept was fitted in this model, with these parameters and this preprocessing."""
    if fitted.model != model.spec.name:
        raise ValueError(
            f"The concept {fitted.name!r} was fitted in {fitted.model}, but the model is {model.spec.name}: directions "
            "of one network mean nothing in another, so fit it again."
        )
    if fitted.parameters != parameters:
        raise ValueError(
            f"The concept {fitted.name!r} was fitted in {fitted.model} with other weights than "
            f"{model.weights.source}: name those with --weights, or fit it again."
        )
    spec = model.spec._asdict()
    other = [key for key in PREPROCESSING if _plain(spec[key]) != fitted.preprocessing.get(key)]
    if other:
        raise ValueError(
            f"The concept {fitted.name!r} was fitted with another preprocessing ({', '.join(other)}): fit it again."
        )


def save(path: str | os.PathLike[str], fitted: Fitted) -> None:
    """Writes the concept to a file, which appears when it is complete."""
    path = Path(path)
    record = fitted._asdict() | {
        "version": VERSION,
        "concepts": {layer: _packed(concept) for layer, concept in fitted.concepts.items()},
        "nulls": {layer: _packed(concept) for layer, concept in fitted.nulls.items()},
        "examples": _encoded(fitted.examples),
    }
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_text(json.dumps({"jaxplain concept": record}), encoding="utf-8")
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def read(path: str | os.PathLike[str]) -> Fitted:
    """The concept in a file; ValueError for a file that is none, is cut short, or is of a newer version."""
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"There is no file {path}; `jaxplain concept fit` writes one.")
    if path.stat().st_size > LARGEST:
        raise ValueError(f"{path} is larger than any concept: check the path.")
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
    texts = {key: _of(str, record[key]) for key in ("name", "model", "parameters")}
    counts = {key: _of(int, record[key]) for key in ("images", "random", "seed")}
    facts: dict[str, Any] = texts | counts | {"preprocessing": _of(dict, record["preprocessing"])}
    concepts = {layer: _unpacked(packed, 1) for layer, packed in _of(dict, record["concepts"]).items()}
    nulls = {layer: _unpacked(packed, 2) for layer, packed in _of(dict, record["nulls"]).items()}
    if not concepts or concepts.keys() != nulls.keys():
        raise ValueError("its layers and those of its null concepts differ")
    if any(concepts[layer].direction.shape != nulls[layer].direction.shape[1:] for layer in concepts):
        raise ValueError("its null concepts have another number of channels")
    examples = _decoded(record["examples"], np.uint8)
    if examples.ndim != 4 or not len(examples) or examples.shape[1:] != (EXAMPLE_SIDE, EXAMPLE_SIDE, 3):
        raise ValueError("its examples are no pictures")
    return Fitted(**facts, concepts=concepts, nulls=nulls, examples=examples)


def _of(kind, value):
    if type(value) is not kind:
        raise ValueError(f"{value!r:.40} is no {kind.__name__}")
    return value


def _packed(concept):
    return {name: _encoded(np.asarray(array, np.float32)) for name, array in concept._asdict().items()}


def _unpacked(packed, ndim):
    concept = Concept(*(jnp.asarray(_decoded(_of(dict, packed)[name], np.float32)) for name in Concept._fields))
    shape = concept.direction.shape
    scales = {np.shape(scale) for scale in (concept.low, concept.high)}
    if len(shape) != ndim or not all(shape) or scales != {shape[:-1]}:
        raise ValueError(f"a direction has shape {shape}")
    if not all(np.isfinite(array).all() for array in concept):
        raise ValueError("a direction or a scale is not finite")
    return concept


def _encoded(array):
    data = base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()
    return {"shape": list(array.shape), "data": data}


def _decoded(packed, dtype):
    shape = tuple(_of(int, size) for size in _of(list, _of(dict, packed)["shape"]))
    data = np.frombuffer(base64.b64decode(_of(str, packed["data"]), validate=True), np.dtype(dtype).newbyteorder("<"))
    return data.reshape(shape).astype(dtype)


def _plain(value):
    """A tuple as the list that JSON makes of it."""
    return list(value) if isinstance(value, tuple) else value


def _small(images):
    from PIL import Image

    side = EXAMPLE_SIDE, EXAMPLE_SIDE
    return np.stack([np.asarray(Image.fromarray(image).resize(side, Image.Resampling.BICUBIC)) for image in images])
