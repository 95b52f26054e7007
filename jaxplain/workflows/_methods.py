"""Methods as workflows are given them: names of the table, rows of it, or functions of one's own."""

import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from jax.typing import ArrayLike
from jaxtyping import Array

from jaxplain.methods import Method, Need, Output, Target, method, named

Explainer = Callable[..., Any] | Method
Methods = str | Iterable[str | Explainer] | Mapping[str, Explainer]


class Bound(NamedTuple):
    """What is static when a row's map is compiled: its explainer, the options that it is called with, and its layer."""

    explain: Callable[..., Any]
    options: tuple[tuple[str, Any], ...] = ()
    needs: tuple[Need, ...] = ()
    output: Output = "pixels"
    target: Target = "any"
    layer: str = ""
    seed: int = 0


def rows(methods: Methods) -> dict[str, Method]:
    """The rows by name, each once; ValueError for an unknown name."""
    if isinstance(methods, Mapping):
        found = [method(explain, str(name)) for name, explain in methods.items()]
    else:
        several = [methods] if isinstance(methods, str) else methods
        found = [named(one) if isinstance(one, str) else method(one) for one in several]
    if not found:
        raise ValueError("There are no methods; give names of jaxplain.methods.METHODS, or {name: function}.")
    return {row.name: row for row in found}


def bound(row: Method, layer: str) -> Bound:
    """The row at a layer; its option `seed` is for the key that it needs, and is not passed on."""
    options = dict(row.options)
    seed = options.pop("seed", 0) if "key" in row.needs else 0
    return Bound(row.explain, tuple(options.items()), row.needs, row.output, row.target, layer, seed)


def supplied(method: Bound, key: Array, segments: ArrayLike | None, num_segments: int | None) -> Callable[..., Any]:
    """explain(net, x, target) of the method, with its options and what it needs."""
    given: dict[Need, dict[str, Any]] = {
        "layer": {"layer": method.layer},
        "segments": {"segments": segments, "num_segments": num_segments},
        "key": {"key": key},
    }
    options = dict(method.options)
    for need in method.needs:
        options |= given[need]
    return functools.partial(method.explain, **options)
