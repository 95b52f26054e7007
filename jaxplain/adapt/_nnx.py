"""Nets from NNX modules."""

import functools
from collections.abc import Callable
from typing import Any, cast

import jax
from jax.typing import ArrayLike
from jaxtyping import Array

from jaxplain._checks import check_framework
from jaxplain._types import Site
from jaxplain.adapt._sites import Call, arguments, call_of, outputs_of, refuse_training, sites, training_flag
from jaxplain.net import BoundNet, check_image, untouched

EVALUATION = "call model.eval() first, or give from_nnx the call's option that stops it, for example train=False"


def from_nnx(module: Any, *, batched: bool = True, **call_options: Any) -> BoundNet:
    """The net of an NNX module, which is left as it is: the net runs a copy made of its graph and state.

    `batched` and `call_options` are as for from_linen. Put the module in evaluation mode first, model.eval():
    ValueError where dropout is active or a BatchNorm uses the batch's statistics, and for what is no NNX module. With
    call options, which may decide that, the net raises it.
    """
    from flax import nnx

    check_framework(module, "flax.nnx")
    if not call_options:
        flags = [(path, training_flag(node)) for path, node in nnx.iter_modules(module)]
        refuse_training([f"{_named(path)} ({flag})" for path, flag in flags if flag], "call model.eval() first")
    graph, state = cast(tuple[Any, Any], nnx.split(module))
    call, arrays = call_of(call_options)
    return BoundNet(_applied(batched, call), graph, _copied(state), arrays)


@functools.cache
def _applied(batched: bool, options: Call) -> Callable[..., Any]:
    from flax import nnx

    def apply(graph: Any, state: Any, arrays: tuple[Array, ...], x: ArrayLike, site: Site = untouched) -> Any:
        check_image(x)
        add, tapped = sites(batched, site)
        module = nnx.merge(graph, _copied(state))
        training: list[str] = []
        for path, node in nnx.iter_graph(module):
            if isinstance(node, nnx.RngStream):
                _tap_calls(node, functools.partial(_draws, _named(path[:-1]), training))
            elif path and isinstance(node, nnx.Module) and callable(node):
                _tap_calls(node, functools.partial(_calls, _named(path), tapped, training))
        outputs = module(add(x), **options.given(arrays, add))
        refuse_training(training, EVALUATION)
        return outputs_of(outputs, batched)

    return apply


def _named(path: Any) -> str:
    return ".".join(map(str, path)) or "the module itself"


def _draws(name, training, stream, call, /, *args, **kwargs):
    """A stream of random numbers draws: dropout is active, or whatever else changes from call to call."""
    training.append(f"{name} (draws random numbers)")
    return call(stream, *args, **kwargs)


def _calls(name, tapped, training, module, call, /, *args, **kwargs):
    if flag := training_flag(module, arguments(call, module, *args, **kwargs)):
        training.append(f"{name} ({flag})")
    return tapped(name, call(module, *args, **kwargs), lambda: not jax.tree.leaves(_parameters(module)))


def _parameters(module):
    from flax import nnx

    return nnx.state(module, nnx.Not(nnx.RngState))


def _tap_calls(module: Any, tap: Callable[..., Any]) -> None:
    """Has tap(module, call, *args, **kwargs) make the module's calls. It is a copy of the user's and keeps its type."""
    object.__setattr__(module, "__class__", _calls_tapped(module.__class__))
    object.__setattr__(module, "_jaxplain_tap", tap)


@functools.cache
def _calls_tapped(kind: Any) -> Any:
    def call(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        return self._jaxplain_tap(self, kind.__call__, *args, **kwargs)

    return kind.__class__(kind.__name__, (kind,), {"__call__": call})


def _copied(state: Any) -> Any:
    """The same arrays in variables of their own: a module writes to its variables."""
    leaves, structure = cast(tuple[list[Any], Any], jax.tree.flatten(state))
    return jax.tree.unflatten(structure, leaves)


def nnx_layer(f: Callable[..., Any]) -> Any:
    """A function as an NNX module without parameters, which makes it a layer of its own, of the same shape.

    self.relu = nnx_layer(nnx.relu)          # in __init__: each self.relu(x) is the layer "relu"
    """
    return _function()(f)


@functools.cache
def _function() -> Any:
    from flax import nnx

    class Function(nnx.Module):
        """f(*inputs)."""

        def __init__(self, f: Callable[..., Any]):
            self.f = f

        def __call__(self, *inputs: Any, **options: Any) -> Any:
            return self.f(*inputs, **options)

    return Function
