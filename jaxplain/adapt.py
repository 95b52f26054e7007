"""Nets from Flax modules: the only place where jaxplain meets Flax.

Every array that a submodule's `__call__` returns is a site, named by the submodule's path with dots. Activations that a
module computes with plain functions, such as `nn.relu(x)`, are invisible: wrap the function in a small named module to
see it.
"""
# pyright: reportUnknownMemberType=false

import functools
from collections.abc import Callable
from typing import Any, NamedTuple, cast

import jax
from jax.typing import ArrayLike
from jaxtyping import Array

from jaxplain._types import Site
from jaxplain.net import BoundNet, check_image, untouched

Options = tuple[tuple[str, Any], ...]  # of a module's call, as a key


def from_linen(module: Any, variables: Any, *, batched: bool = True, **call_options: Any) -> BoundNet:
    """The net of a Linen module and its variables.

    `batched` says that the module wants a leading batch axis; the net adds one of length 1 and strips it, at the sites
    too. `call_options` go to the module's call, for example train=False, and must be hashable.

        net = from_linen(CNN(), variables)          # variables as module.init returned them
    """
    return BoundNet(_linen(_Key(module), batched, _hashable(call_options)), variables)


def from_nnx(module: Any, *, batched: bool = True, **call_options: Any) -> BoundNet:
    """The net of an NNX module, which is left as it is: the net runs a copy made of its graph and state.

    `batched` and `call_options` are as for from_linen. Put the module in evaluation mode first (module.eval()).
    """
    from flax import nnx

    graph, state = cast(tuple[Any, Any], nnx.split(module))
    return BoundNet(_nnx(batched, _hashable(call_options)), graph, _copied(state))


def _hashable(call_options: dict[str, Any]) -> Options:
    options = tuple(sorted(call_options.items()))
    try:
        hash(options)
    except TypeError:
        raise ValueError(f"The call options {call_options} must be hashable: give tuples instead of lists.") from None
    return options


class _Key(NamedTuple):
    """A module as a key: equal modules are one key, also where a field, such as a list of layers, has no hash."""

    module: Any

    def __hash__(self) -> int:
        return hash(self.module.__class__)

    def __eq__(self, other: Any) -> bool:
        try:
            return self.module is other.module or bool(self.module == other.module)
        except ValueError:  # a field is an array
            return False


@functools.cache  # one function per module: jit knows a function by its identity
def _linen(key: _Key, batched: bool, call_options: Options) -> Callable[..., Array]:
    from flax import linen

    def apply(variables: Any, x: ArrayLike, site: Site = untouched) -> Array:
        check_image(x)
        add, tapped = _sites(batched, site)
        # The modules whose calls have not returned: a call of super().__call__ is not another output.
        inside: list[tuple[str, ...]] = []

        def tap(call: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], context: Any) -> Any:
            path = context.module.path
            if context.method_name != "__call__" or not path or path in inside:
                return call(*args, **kwargs)
            inside.append(path)
            try:
                out = call(*args, **kwargs)
            finally:
                inside.pop()
            return tapped(".".join(path), out)

        with linen.intercept_methods(tap):
            return _outputs(key.module.apply(variables, add(x), **dict(call_options)), batched)

    apply.__name__ = type(key.module).__name__
    return apply


@functools.cache
def _nnx(batched: bool, call_options: Options) -> Callable[..., Array]:
    from flax import nnx

    def apply(graph: Any, state: Any, x: ArrayLike, site: Site = untouched) -> Array:
        check_image(x)
        add, tapped = _sites(batched, site)
        module = nnx.merge(graph, _copied(state))
        for path, node in nnx.iter_modules(module):
            if path and callable(node):
                _tap_calls(node, ".".join(map(str, path)), tapped)
        return _outputs(module(add(x), **dict(call_options)), batched)

    return apply


def _tap_calls(module: Any, name: str, tapped: Callable[[str, Any], Any]) -> None:
    """Passes what the module's calls return through `tapped`. It is a copy of the user's, and keeps its type."""
    object.__setattr__(module, "__class__", _calls_tapped(module.__class__))
    object.__setattr__(module, "_jaxplain_tap", functools.partial(tapped, name))


@functools.cache
def _calls_tapped(kind: Any) -> Any:
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        return self._jaxplain_tap(kind.__call__(self, *args, **kwargs))

    return kind.__class__(kind.__name__, (kind,), {"__call__": call})


def _sites(batched: bool, site: Site) -> tuple[Callable[[Any], Any], Callable[[str, Any], Any]]:
    """How an image gets its batch axis, and how a submodule's output passes through the site without one.

    An output without the axis of length 1, such as a table of position embeddings, is no activation of the image.
    """
    if not batched:
        return lambda a: a, lambda name, out: site(name, out) if isinstance(out, jax.Array) else out

    def tapped(name: str, out: Any) -> Any:
        of_image = isinstance(out, jax.Array) and out.ndim and out.shape[0] == 1
        return site(name, out[0])[None] if of_image else out

    return lambda a: a[None], tapped


def _outputs(outputs: Any, batched: bool) -> Array:
    if not isinstance(outputs, jax.Array):
        raise ValueError(
            f"The module returned a {type(outputs).__name__}, but one array is expected: wrap it in a module that "
            "returns the logits or the embedding."
        )
    return outputs[0] if batched else outputs


def _copied(state: Any) -> Any:
    """The same arrays in variables of their own: a module writes to its variables."""
    leaves, structure = cast(tuple[list[Any], Any], jax.tree.flatten(state))
    return jax.tree.unflatten(structure, leaves)
