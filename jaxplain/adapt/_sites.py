"""What nets from all frameworks share: images get a batch axis, sites see none, and nothing runs as in training."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import jax
from jaxtyping import Array

from jaxplain._types import Site

Options = tuple[tuple[str, Any], ...]  # of a module's call, as a key
FLAGS = ("deterministic", "use_running_average")  # Flax's, False in training
RATES = ("rate", "dropout_rate")  # of dropout, which does nothing at 0


def hashable(call_options: dict[str, Any]) -> Options:
    options = tuple(sorted(call_options.items()))
    try:
        hash(options)
    except TypeError:
        raise ValueError(f"The call options {call_options} must be hashable: give tuples instead of lists.") from None
    return options


def sites(batched: bool, site: Site) -> tuple[Callable[[Any], Any], Callable[[str, Any], Any]]:
    """How an image gets its batch axis, and how a submodule's output passes through the site without one.

    An output without the axis of length 1, such as a table of position embeddings, is no activation of the image.
    """
    if not batched:
        return lambda a: a, lambda name, out: site(name, out) if isinstance(out, jax.Array) else out

    def tapped(name: str, out: Any) -> Any:
        of_image = isinstance(out, jax.Array) and out.ndim and out.shape[0] == 1
        return site(name, out[0])[None] if of_image else out

    return lambda a: a[None], tapped


def outputs_of(outputs: Any, batched: bool) -> Array:
    if not isinstance(outputs, jax.Array):
        raise ValueError(
            f"The module returned a {type(outputs).__name__}, but one array is expected: wrap it in a module that "
            "returns the logits or the embedding."
        )
    return outputs[0] if batched else outputs


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


def arguments(call: Callable[..., Any], *args: Any, **kwargs: Any) -> dict[str, Any]:
    """What a call is given, by the names of its parameters."""
    return inspect.signature(call).bind_partial(*args, **kwargs).arguments


def refuse_training(found: Sequence[str], remedy: str) -> None:
    """Raises ValueError where submodules were found that run as in training."""
    if found:
        raise ValueError(f"The module is in training mode, by {', '.join(dict.fromkeys(found))}: {remedy}.")
