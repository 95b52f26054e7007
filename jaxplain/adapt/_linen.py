"""Nets from Linen modules."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

from jax.typing import ArrayLike
from jaxtyping import Array

from jaxplain._checks import check_framework
from jaxplain._types import Site
from jaxplain.adapt._sites import Options, arguments, hashable, outputs_of, refuse_training, sites, training_flag
from jaxplain.net import BoundNet, check_image, untouched

EVALUATION = "give from_linen the option of the module's call that stops it, for example train=False"


def from_linen(module: Any, variables: Any, *, batched: bool = True, **call_options: Any) -> BoundNet:
    """The net of a Linen module and its variables.

    `batched` says that the module wants a leading batch axis; the net adds one of length 1 and strips it, at the sites
    too. `call_options` go to the module's call, for example train=False, and must be hashable. ValueError for what is
    no Linen module; the net raises it where dropout or a BatchNorm runs as in training.

        net = from_linen(CNN(), variables)          # variables as module.init returned them
    """
    check_framework(module, "flax.linen")
    return BoundNet(_applied(_Key(module), batched, hashable(call_options)), variables)


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
def _applied(key: _Key, batched: bool, call_options: Options) -> Callable[..., Array]:
    from flax import errors, linen

    def apply(variables: Any, x: ArrayLike, site: Site = untouched) -> Array:
        check_image(x)
        add, tapped = sites(batched, site)
        training: list[str] = []
        with linen.intercept_methods(_tap(tapped, training)):
            try:
                outputs = key.module.apply(variables, add(x), **dict(call_options))
            except (errors.InvalidRngError, errors.ModifyScopeVariableError) as error:
                refuse_training(training or [str(error).split(" (https")[0]], EVALUATION)
        refuse_training(training, EVALUATION)
        return outputs_of(outputs, batched)

    apply.__name__ = type(key.module).__name__
    return apply


def _tap(tapped: Callable[[str, Any], Any], training: list[str]) -> Callable[..., Any]:
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
        return tapped(".".join(path), out) if path else out

    return tap
