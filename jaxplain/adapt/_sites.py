"""What nets from all frameworks share: images get a batch axis, sites see none, and nothing runs as in training."""

import inspect
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, cast

import jax
import jax.extend.core
import jax.numpy as jnp
from jaxtyping import Array

from jaxplain._checks import is_array
from jaxplain._types import Site

Tapped = Callable[[str, Any, Callable[[], bool]], Any]  # a submodule's name and output, whether it is fixed
Options = tuple[tuple[str, Any], ...]  # of a module's call, as a key
FLAGS = ("deterministic", "use_running_average")  # Flax's, False in training
RATES = ("rate", "dropout_rate")  # of dropout, which does nothing at 0


class Call(NamedTuple):
    """The options of a module's call: what is hashable, and the names of arrays, which are inputs beside the image."""

    options: Options
    inputs: tuple[str, ...]

    def given(self, arrays: Sequence[Array], add: Callable[[Any], Any]) -> dict[str, Any]:
        """All of them, the arrays with the axis that the image gets."""
        return dict(self.options) | {name: add(a) for name, a in zip(self.inputs, arrays, strict=True)}


def call_of(options: dict[str, Any]) -> tuple[Call, tuple[Array, ...]]:
    """A call's options, and the arrays among them."""
    arrays = {name: value for name, value in options.items() if is_array(value)}
    others = tuple(sorted((name, value) for name, value in options.items() if name not in arrays))
    try:
        hash(others)
    except TypeError:
        raise ValueError(
            f"The call options {dict(others)} must be hashable: give tuples instead of lists, and arrays as inputs."
        ) from None
    return Call(others, tuple(arrays)), tuple(jnp.asarray(a) for a in arrays.values())


def sites(batched: bool, site: Site) -> tuple[Callable[[Any], Any], Tapped]:
    """How an image gets its batch axis, and how a submodule's output passes through the site without one.

    An output without the axis of length 1, such as a table of position embeddings, is no activation of the image, and
    neither is what is computed inside of a vmap, scan or remat. A submodule may be used several times: where it is
    fixed, without parameters, the later uses are numbered.
    """
    uses: Counter[str] = Counter()
    outside = _trace()

    def tapped(name: str, out: Any, fixed: Callable[[], bool]) -> Any:
        of_image = isinstance(out, jax.Array) and (not batched or (out.ndim and out.shape[0] == 1))
        if not of_image or _trace() != outside:
            return out
        number = uses[name]
        uses[name] += 1
        name = f"{name}_{number}" if number and fixed() else name
        return site(name, out[0])[None] if batched else site(name, out)

    return (lambda a: a[None]) if batched else (lambda a: a), tapped


def _trace() -> Any:
    """What JAX is tracing, to be compared."""
    state = getattr(jax.extend.core, "get_opaque_trace_state", None) or jax.core.get_opaque_trace_state  # pyright: ignore[reportAttributeAccessIssue] older JAX has it
    return state(convention="jaxplain")


def outputs_of(outputs: Any, batched: bool) -> Any:
    """What a module returned, without the batch axis."""
    if not batched:
        return outputs
    if isinstance(outputs, jax.Array) and outputs.shape[:1] != (1,):
        raise ValueError(
            f"The module returned shape {outputs.shape} for a batch of one image, but a leading axis of 1 is expected: "
            "give batched=False for a module of single images."
        )
    first = cast(Callable[[Any], Any], lambda a: a[0] if is_array(a) and a.shape[:1] == (1,) else a)
    return jax.tree.map(first, outputs)


def training_flag(module: Any, given: dict[str, Any] | None = None) -> str | None:
    """Which flag of a Flax module has it run as in training, such as "deterministic=False".

    An argument given to a call stands before the module's own attribute. Dropout of rate 0 is never active.
    """
    for flag in FLAGS:
        if not hasattr(module, flag) or (flag == "deterministic" and not _rate(module)):
            continue
        value = (given or {}).get(flag)
        value = getattr(module, flag) if value is None else value
        if not value:
            return f"{flag}={value}"
    return None


def _rate(module):
    return next((getattr(module, rate) for rate in RATES if hasattr(module, rate)), 1)


def arguments(call: Callable[..., Any], /, *args: Any, **kwargs: Any) -> dict[str, Any]:
    """What a call is given, by the names of its parameters."""
    return inspect.signature(call).bind_partial(*args, **kwargs).arguments


def refuse_training(found: Sequence[str], remedy: str) -> None:
    """Raises ValueError where submodules were found that run as in training."""
    if found:
        raise ValueError(f"The module is in training mode, by {', '.join(dict.fromkeys(found))}: {remedy}.")
