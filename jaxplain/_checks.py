"""What is no net, no image, no layer and no target, told in one sentence before anything is computed."""

# pyright: reportUnknownMemberType=false

import difflib
import inspect
import math
import os
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.typing import ArrayLike
from jaxtyping import Array


class Framework(NamedTuple):
    """What a framework's networks are called, and what makes a net of one."""

    what: str
    use: str


FRAMEWORKS = {
    "flax.linen": Framework("a Linen module", "from_linen(module, variables)"),
    "flax.nnx": Framework("an NNX module", "from_nnx(module)"),
    "equinox": Framework("an Equinox module", "from_equinox(module)"),
    "keras": Framework("a Keras layer", "from_keras(model)"),
    "torch": Framework("a torch module", "jaxplain.models.load(name, module), for the networks that jaxplain has"),
}


def framework_of(module: Any) -> str | None:
    """The name in FRAMEWORKS of the framework that a module, or a class of modules, is made with."""
    kind = module if isinstance(module, type) else type(module)
    for base in kind.__mro__:
        for name in FRAMEWORKS:
            if f"{base.__module__}.".startswith(f"{name}."):
                return name
    return None


def check_framework(module: Any, name: str) -> None:
    """Raises ValueError unless a module is made with the framework of this name."""
    found, expected = framework_of(module), FRAMEWORKS[name]
    if isinstance(module, type):
        called = module.__name__
        raise ValueError(f"This is the class {called}, but {expected.what} is expected: make one, {called}(...).")
    if found is None:
        raise ValueError(f"This is a {type(module).__name__}, but {expected.what} is expected.")
    if found != name:
        raise ValueError(
            f"This is {FRAMEWORKS[found].what}, but {expected.what} is expected: use {FRAMEWORKS[found].use}."
        )


def described(value: Any) -> str:
    """What something is that is no array: a text, a path, a PIL image, or its type."""
    if isinstance(value, str):
        return f"the text {value!r}"
    if isinstance(value, os.PathLike):
        return f"the path {os.fspath(value)!r}"
    return "a PIL image" if type(value).__module__.startswith("PIL.") else f"a {type(value).__name__}"


def is_array(value: Any) -> bool:
    """Whether JAX takes a value as an array of numbers; a torch tensor and a PIL image are none, a tracer is one."""
    numbers = isinstance(getattr(value, "dtype", None), np.dtype)
    return numbers or isinstance(value, jax.Array) or hasattr(value, "__jax_array__")


def told(value: Any) -> str:
    """An array by its shape, anything else by what it is, as the verb of a sentence."""
    number = isinstance(value, int | float | complex)
    return f"has shape {jnp.shape(value)}" if is_array(value) or number else f"is {described(value)}"


def check_image(x: Any) -> None:
    """Raises ValueError unless x is one float image (H, W, C)."""
    if not is_array(x):
        raise ValueError(
            f"x is {described(x)}, but a preprocessed float image (H, W, C) is expected: use model.prepare(x)."
        )
    shape, dtype = x.shape, x.dtype
    if len(shape) == 4:
        raise ValueError(f"x has shape {shape}, but one image (H, W, C) is expected: use batched or vmap for a batch.")
    if len(shape) != 3:
        raise ValueError(f"x has shape {shape}, but one image (H, W, C), channels last, is expected.")
    if min(shape[1:]) >= {3: 8, 1: 16, 4: 16}.get(shape[0], math.inf):
        raise ValueError(f"x has shape {shape}, channels first, but (H, W, C) is expected: use jnp.moveaxis(x, 0, -1).")
    if not jnp.issubdtype(dtype, jnp.floating):
        raise ValueError(f"x is {dtype}, but a preprocessed float image is expected: use model.prepare.")


def takes_site(net: Callable[..., Any]) -> bool:
    """Whether a function is called as net(x, site): its second parameter has no default, or a function as default."""
    try:
        parameters = list(inspect.signature(net).parameters.values())
    except (TypeError, ValueError):  # of a builtin
        return False
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if len(positional) > 1:
        return positional[1].default is inspect.Parameter.empty or callable(positional[1].default)
    return any(p.kind is p.VAR_POSITIONAL for p in parameters)


def check_net(net: Any) -> None:
    """Raises ValueError for what is no net: a Model, a module of a framework, whatever cannot be called."""
    expected = "but a function net(x, site) is expected"
    if not callable(net) and callable(getattr(net, "net", None)):
        raise ValueError(f"The net is a {type(net).__name__}, {expected}: give its net, model.net.")
    framework = framework_of(net)
    if framework and (not callable(net) or "site" not in inspect.signature(net).parameters):
        raise ValueError(f"The net is {FRAMEWORKS[framework].what}, {expected}: use {FRAMEWORKS[framework].use}.")
    if not callable(net):
        raise ValueError(f"The net is {described(net)}, {expected}: see from_linen, from_nnx and jaxplain.models.load.")


def layer_names(layers: Any) -> list[Any]:
    """One layer or several as a list without repetitions; what is no name is left for check_layers."""
    one = isinstance(layers, str) or not isinstance(layers, Iterable)
    return [layers] if one else list(dict.fromkeys(layers))


def check_layers(found: dict[str, Any], wanted: Iterable[Any]) -> None:
    """Raises ValueError for a layer that is not among those found, with the nearest names."""
    for layer in wanted:
        if layer in found:
            continue
        if not found:
            raise ValueError(
                f"There is no layer {layer!r}, since this net has none: a function f(x, site=jaxplain.untouched) gets "
                "them by a = site(name, a), a module by from_linen, from_nnx, from_equinox or from_keras."
            )
        near = difflib.get_close_matches(layer, found, n=3, cutoff=0.4) if isinstance(layer, str) else []
        raise ValueError(
            f"There is no layer {layer!r} in this net; near are {', '.join(map(repr, near or list(found)[-3:]))}, "
            "and jaxplain.layers(net, x) lists them all."
        )


def one_array(outputs: Any) -> Array:
    """A net's outputs as one array; ValueError says how to choose one of several."""
    if is_array(outputs) or isinstance(outputs, int | float):
        return jnp.asarray(outputs)
    parts = [(f"out{jax.tree_util.keystr(path)}", leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(outputs)]
    arrays = [(name, leaf.shape) for name, leaf in parts if is_array(leaf)]
    returned = f"The net returned a {type(outputs).__name__}, but one array is expected"
    if not arrays:
        raise ValueError(f"{returned}: return the logits or the embedding.")
    example = next((name for name, shape in arrays if shape), arrays[0][0])
    listed = ", ".join(f"{name} {shape}" for name, shape in arrays)
    raise ValueError(f"{returned}: choose one of {listed}, for example by then(net, lambda out: {example}).")


def check_vector(outputs: Array) -> None:
    """Raises ValueError unless a net's outputs are one vector (n,)."""
    if outputs.ndim != 1:
        raise ValueError(
            f"The net returned shape {outputs.shape} for one image, but one vector (n,) is expected: use "
            "then(net, jnp.ravel)."
        )


def covector(target: Any, shape: tuple[int, ...]) -> Array:
    """A target as an array of the outputs' shape; ValueError says how to make one."""
    use = f"use one_hot(k, {shape[0]})" if len(shape) == 1 else "use 1.0"
    if len(shape) > 1:
        use = f"use jnp.zeros({shape}) with 1 where it is explained, or then(net, jnp.ravel) and one_hot"
    if not is_array(target) and not isinstance(target, int | float | list | tuple):
        raise ValueError(f"The target is {described(target)}, but a covector of shape {shape} is expected: {use}.")
    target = jnp.asarray(target)
    if target.ndim == 0 and (shape or not jnp.issubdtype(target.dtype, jnp.floating)):
        kind = "a single number" if shape else "an integer"
        raise ValueError(f"The target is {kind}, but a covector of shape {shape} is expected: {use}.")
    if target.shape != shape:
        raise ValueError(
            f"The target has shape {target.shape}, but the net's outputs have shape {shape}: {use}; "
            "for several targets use over_classes, for several images batched."
        )
    return target


def check_rows(targets: Any) -> None:
    """Raises ValueError unless targets have a leading axis."""
    for target in jax.tree.leaves(targets):
        if not is_array(target) or not target.shape:
            raise ValueError(
                f"The last argument {told(target)}, but one covector a row, (K, n), is expected: use one_hot(ks, n)."
            )


def checked_for(f: Callable[[Any], Any], outputs: Any) -> Any:
    """The outputs; ValueError if they are one, of which f makes the same whatever it is: tried if f has no arrays."""
    if getattr(outputs, "shape", None) != (1,) or jax.tree.leaves(f):
        return outputs
    with jax.ensure_compile_time_eval():
        tried = [f(jnp.full(1, value)) for value in (-1e4, -1.0, 0.0, 1.0, 1e4)]
    if not any(isinstance(z, Tracer) for z in tried) and all(np.array_equal(tried[0], z) for z in tried):
        raise ValueError(
            "The net has one output, and what follows it is the same whatever that is, as the softmax of one number is "
            "always 1: use jax.nn.sigmoid, or the output itself."
        )
    return outputs


def several(outputs: Array) -> Array:
    """The outputs; ValueError for one, which is always the largest."""
    if outputs.shape == (1,):
        raise ValueError(
            "The net has one output, which is always the largest: give a net of two, such as it and its negative."
        )
    return outputs


def as_rgb(pixels: ArrayLike) -> Any:
    """The float image (H, W, 3); a grey one, (H, W) or (H, W, 1), has its channel repeated.

    Raises ValueError for anything else, and for values beyond [0, 1] where they are known.
    """
    if not hasattr(pixels, "shape"):
        raise ValueError(f"pixels is a {type(pixels).__name__}, but an array (H, W, 3) is expected: use model.pixels.")
    shape, dtype = jnp.shape(pixels), jnp.result_type(pixels)
    if shape[2:] not in ((), (1,), (3,)) or len(shape) < 2 or 0 in shape:
        raise ValueError(
            f"pixels has shape {shape}, but one image (H, W, 3), (H, W, 1) or (H, W) is expected, channels last: "
            "use model.pixels."
        )
    if not jnp.issubdtype(dtype, jnp.floating):
        raise ValueError(f"pixels is {dtype}, but floats in [0, 1] are expected: use model.pixels.")
    if not isinstance(pixels, Tracer):
        known = np.asarray(pixels)
        _check_range(float(known.min()), float(known.max()))
    if shape[2:] == (3,):
        return pixels
    return jnp.broadcast_to(jnp.reshape(jnp.asarray(pixels), (*shape[:2], 1)), (*shape[:2], 3))


def _check_range(low, high):
    if not -1e-3 <= low <= high <= 1 + 1e-3:
        raise ValueError(
            f"pixels has values from {low:.3g} to {high:.3g}, but ones in [0, 1] are expected: divide levels by 255, "
            "and give model.pixels, not model.prepare."
        )
