"""The classes that are asked about."""

from collections.abc import Iterable
from typing import Any, SupportsIndex

import numpy as np

from jaxplain._types import OutputKind
from jaxplain.methods import Method
from jaxplain.models import Asked, find_target
from jaxplain.target import one_hot

MOST_LABELS = 10  # that are explained where none is named


def asked_of(targets: Any, categories: tuple[str, ...]) -> tuple[Asked, ...]:
    """What is asked for by one target or by several, as `find_target` takes them, each once.

    ValueError where there are none.
    """
    axes = getattr(targets, "ndim", None)
    one = isinstance(targets, str | SupportsIndex | Asked) if axes is None else axes == 0 or _is_covector(targets)
    several: Any = [targets] if one else targets
    found = tuple(dict.fromkeys(find_target(one, categories) for one in several))
    if not found:
        raise ValueError("There are no targets, expected names or indices of classes, or None for the most probable.")
    return found


def _is_covector(targets):
    """Whether it is an array (n,) that is no list of indices."""
    return targets.ndim == 1 and not np.issubdtype(targets.dtype, np.integer)


def check_signs(rows: Iterable[Method], asked: Iterable[Asked], categories: tuple[str, ...]) -> None:
    """Raises ValueError for anything but a class where a method is about one class."""
    other = next((one.name(categories) for one in asked if one.sign < 0), None)
    alone = [row.name for row in rows if row.target == "class"]
    if other is not None and alone:
        raise ValueError(f"{alone[0]} holds one class against all others, and has no map of {other!r}: name a class.")


def predicted(outputs: np.ndarray, kind: OutputKind | None, without: int | None = None) -> tuple[Asked, ...]:
    """What outputs (n,) say is there: the class with the largest one; of labels all from a probability of 0.5 on.

    These are at most MOST_LABELS, the most probable first, and where there are none, the most probable label. The class
    `without` is not among them, unless it is the largest of all.
    """
    order = np.argsort(-outputs, kind="stable").tolist()
    likely = [k for k in order if outputs[k] >= 0 and k != without] if kind == "sigmoid" else []
    return tuple(map(Asked, likely[:MOST_LABELS] or order[:1]))


def covectors(asked: Iterable[Asked], count: int) -> np.ndarray:
    """The targets (K, n): one_hot of each class, negative for what is anything else."""
    asked = list(asked)
    signs = np.array([one.sign for one in asked], np.float32)[:, None]
    return signs * np.asarray(one_hot(np.array([one.index for one in asked], int), count))
