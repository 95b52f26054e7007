"""What a transform returns looks like what it was given: its name, its docstring, and its signature."""

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])

REQUIRED = inspect.Parameter.empty


def like(
    explain: Callable[..., Any], *, added: Mapping[str, Any] | None = None, without: str | None = None
) -> Callable[[F], F]:
    """Decorates a function with the name, docstring and signature of `explain`.

    The signature has the `added` keyword-only options, with their defaults, and lacks the one named `without`.
    """
    options = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=d) for name, d in (added or {}).items()]

    def decorate(f: F) -> F:
        wrapped: Any = functools.wraps(explain)(f)
        wrapped.__name__ = wrapped.__qualname__ = getattr(explain, "__name__", f.__name__)  # a partial has none
        try:
            signature = inspect.signature(explain)
        except ValueError:  # of a builtin
            return wrapped
        left_out = {without, *(added or {})}
        kept = [p for p in signature.parameters.values() if p.name not in left_out]
        rest = [p for p in kept if p.kind is inspect.Parameter.VAR_KEYWORD]
        kept = [p for p in kept if p.kind is not inspect.Parameter.VAR_KEYWORD]
        wrapped.__signature__ = signature.replace(parameters=[*kept, *options, *rest])
        return wrapped

    return decorate
