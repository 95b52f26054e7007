"""Nets from Linen modules."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from jax.typing import ArrayLike
from jaxtyping import Array

from jaxplain._checks import check_framework
from jaxplain._types import Site
from jaxplain.adapt._sites import Call, Tapped, arguments, call_of, outputs_of, refuse_training, sites, training_flag
from jaxplain.net import BoundNet, check_image, untouched

EVALUATION = "give from_linen the option of the module's call that stops it, for example train=False"


def from_linen(module: Any, variables: Any, *, batched: bool = True, **call_options: Any) -> BoundNet:
    """The net of a Linen module and its variables.

    `batched` says that the module wants a leading batch axis; the net adds one of length 1 and strips it, at the sites
    too. `call_options` go to the module's call: arrays are inputs beside the image, also without a batch axis, and
    others, for example train=False, must be hashable. A submodule without parameters that is used several times has the
    layers drop, drop_1, ... ValueError for what is no Linen module; the net raises it where dropout or a BatchNorm runs
    as in training.

        net = from_linen(CNN(), variables)          # variables as module.init returned them
    """
    check_framework(module, "flax.linen")
    call, arrays = call_of(call_options)
    return BoundNet(_applied(_Key(module), batched, call), variables, arrays)


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
def _applied(key: _Key, batched: bool, options: Call) -> Callable[..., Any]:
    from flax import errors, linen

    def apply(variables: Any, arrays: tuple[Array, ...], x: ArrayLike, site: Site = untouched) -> Any:
        check_image(x)
        add, tapped = sites(batched, site)
        training: list[str] = []
        with linen.intercept_methods(_tap(tapped, training)):
            try:
                outputs = key.module.apply(variables, add(x), **options.given(arrays, add))
            except (errors.InvalidRngError, errors.ModifyScopeVariableError) as error:
                refuse_training(training or [str(error).split(" (https")[0]], EVALUATION)
        refuse_training(training, EVALUATION)
        return outputs_of(outputs, batched)

    apply.__name__ = type(key.module).__name__
    return apply


def _tap(tapped: Tapped, training: list[str]) -> Callable[..., Any]:
    """What a Linen interceptor does: outputs pass through `tapped`; what runs as in training is listed, not run."""
    from flax import linen

    # The modules whose calls have not returned: a call of super().__call__ is not another output.
    inside: list[tuple[str, ...]] = []

    def tap(call: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], context: Any) -> Any:
        path = context.module.path
        if context.method_name != "__call__" or path in inside:
            return call(*args, **kwargs)
        given = arguments(type(context.module).__call__, context.module, *args, **kwargs)
        if flag := training_flag(context.module, given):
            training.append(f"{'.'.join(path) or 'the module itself'} ({flag})")
            if isinstance(context.module, linen.Dropout | linen.BatchNorm):
                return args[0] if args else next(iter(kwargs.values()))
        inside.append(path)
        try:
            out = call(*args, **kwargs)
        finally:
            inside.pop()
        return tapped(".".join(path), out, lambda: not jax.tree.leaves(context.module.variables)) if path else out

    return tap


def linen_layer(f: Callable[..., Any], name: str | None = None) -> Any:
    """A function as a Linen module without parameters, which makes it a layer of its own, of the same shape.

    x = linen_layer(nn.relu, name="relu")(x)          # inside of a compact module: the layer "relu"
    """
    return _function()(f, name=name)


@functools.cache
def _function() -> Any:
    from flax import linen

    class Function(linen.Module):
        """f(*inputs)."""

        f: Callable[..., Any]

        def __call__(self, *inputs: Any, **options: Any) -> Any:
            return self.f(*inputs, **options)

    return Function
