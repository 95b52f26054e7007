"""The classes that are asked about."""

from collections.abc import Iterable
from typing import Any, SupportsIndex

from jaxplain.models import find_class


def class_indices(targets: Any, categories: tuple[str, ...]) -> tuple[int, ...]:
    """The indices of one class or of several, by names or indices, each once; ValueError where there are none."""
    several: Iterable[Any] = [targets] if isinstance(targets, str | SupportsIndex) else targets
    found = tuple(dict.fromkeys(find_class(one, categories) for one in several))
    if not found:
        raise ValueError("There are no targets, expected names or indices of classes, or None for the most probable.")
    return found
