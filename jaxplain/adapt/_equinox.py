"""Nets from Equinox modules."""

import functools
from collections.abc import Callable, Hashable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array

from jaxplain._checks import check_framework, framework_of, is_array
from jaxplain._types import Site
from jaxplain.adapt._sites import Call, arguments, call_of, outputs_of, refuse_training, sites
from jaxplain.net import BoundNet, check_image, untouched

EVALUATION = "call eqx.nn.inference_mode(model) first"
Path = tuple[str, ...]


class _Frozen(NamedTuple):
    """What of a module is no array, hashable: its structure, and its leaves with None for arrays."""

    structure: Any
    leaves: tuple[Hashable, ...]
    places: tuple[tuple[str, str], ...]  # of the arrays: folder and name


def from_equinox(
    module: Any, state: Any = None, *, channels_first: bool = True, batched: bool = False, **call_options: Any
) -> BoundNet:
    """The net of an Equinox module, which is left as it is.

    Equinox's networks take one image with its channels first: the net moves the axes of its image (H, W, C), and those
    of activations with three axes, so that sites see (h, w, C). `state` is that of eqx.nn.make_with_state; with it the
    module is called as module(x, state) and returns a pair. `batched` and `call_options` are as for from_linen.
    ValueError where dropout is active or a BatchNorm uses the batch: call eqx.nn.inference_mode(model) first.

        net = from_equinox(eqx.nn.inference_mode(CNN(jax.random.key(0))))
    """
    check_framework(module, "equinox")
    active = [f"{'.'.join(path) or 'the module itself'} (inference=False)" for path, node in _modules(module)
              if getattr(node, "inference", True) is False and getattr(node, "p", 1) != 0]  # fmt: skip
    refuse_training(active, EVALUATION)
    call, inputs = call_of(call_options)
    frozen, arrays = _parted(module)
    return BoundNet(_applied(frozen, channels_first, batched, call), arrays, state, inputs)


def _parted(module: Any) -> tuple[_Frozen, dict[str, dict[str, Array]]]:
    """A module as what is static and its arrays by the names of submodules and fields."""
    with_paths, structure = jax.tree_util.tree_flatten_with_path(module)
    places, arrays = [], {}
    for path, leaf in with_paths:
        if is_array(leaf):
            *folder, name = map(_key, path)
            places.append((".".join(folder), name))
            arrays.setdefault(".".join(folder), {})[name] = jnp.asarray(leaf)
    leaves = tuple(None if is_array(leaf) else leaf for _, leaf in with_paths)
    frozen = _Frozen(structure, leaves, tuple(places))
    try:
        hash(frozen)
    except TypeError as error:
        raise ValueError(f"What is no array in the module must be hashable, but: {error}.") from None
    return frozen, arrays


def _whole(frozen: _Frozen, arrays: dict[str, dict[str, Array]]) -> Any:
    values = iter(arrays[folder][name] for folder, name in frozen.places)
    leaves = [next(values) if leaf is None else leaf for leaf in frozen.leaves]
    return jax.tree.unflatten(frozen.structure, leaves)


def _key(key: Any) -> str:
    return str(getattr(key, "name", getattr(key, "key", getattr(key, "idx", key))))


def _modules(value: Any, path: Path = ()) -> list[tuple[Path, Any]]:
    """Every module inside of one, by its path, itself included."""
    found = [(path, value)] if framework_of(value) == "equinox" else []
    inner = jax.tree_util.tree_flatten_with_path(value, is_leaf=lambda node: node is not value)[0]
    for keys, node in inner:
        if not is_array(node) and not jax.tree_util.all_leaves([node]):
            found += _modules(node, (*path, *map(_key, keys)))
    return found


@functools.cache
def _applied(frozen: _Frozen, channels_first: bool, batched: bool, options: Call) -> Callable[..., Any]:
    def moved(a: Any, source: int, destination: int) -> Any:
        spatial = channels_first and isinstance(a, jax.Array) and a.ndim == 3
        return jnp.moveaxis(a, source, destination) if spatial else a

    def apply(arrays: Any, state: Any, inputs: tuple[Array, ...], x: ArrayLike, site: Site = untouched) -> Any:
        check_image(x)
        add, tapped = sites(batched, lambda name, a: moved(site(name, moved(a, 0, -1)), -1, 0))
        module, training = _whole(frozen, arrays), []
        for path, node in _modules(module):
            if path and callable(node):
                _tap_calls(node, functools.partial(_calls, ".".join(path), tapped, training))
        given = options.given(inputs, add)
        image = add(moved(jnp.asarray(x), -1, 0))
        outputs = module(image, **given) if state is None else module(image, state, **given)[0]
        refuse_training(training, EVALUATION)
        return jax.tree.map(lambda a: moved(a, 0, -1), outputs_of(outputs, batched))

    return apply


def _calls(name, tapped, training, module, call, /, *args, **kwargs):
    if arguments(call, module, *args, **kwargs).get("inference") is False and getattr(module, "p", 1) != 0:
        training.append(f"{name} (inference=False)")
    out = call(module, *args, **kwargs)

    def fixed():
        return not any(map(is_array, jax.tree.leaves(module)))

    if isinstance(out, tuple) and len(out) == 2 and type(out[1]).__name__ == "State":  # of a layer with statistics
        return tapped(name, out[0], fixed), out[1]
    return tapped(name, out, fixed)


def _tap_calls(module: Any, tap: Callable[..., Any]) -> None:
    """Has tap(module, call, *args, **kwargs) make the calls of a module, which is a copy of the user's."""
    object.__setattr__(module, "_jaxplain_tap", tap)
    object.__setattr__(module, "__class__", _calls_tapped(module.__class__))


@functools.cache
def _calls_tapped(kind: Any) -> Any:
    def call(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        tap = self.__dict__.get("_jaxplain_tap")  # a copy made from leaves, as vmap makes one, has none
        return tap(self, kind.__call__, *args, **kwargs) if tap else kind.__call__(self, *args, **kwargs)

    return type(kind)(kind.__name__, (kind,), {"__call__": call})
