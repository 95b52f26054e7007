"""Class names, and finding a class by its name or index, or what is anything but that class.

Names are compared without regard to case, apostrophes, and whether spaces, underscores or hyphens part their words.
"""

import difflib
import operator
import re
from typing import Any, NamedTuple

import numpy as np


def is_text(value: object) -> bool:
    """Whether it is text that can be printed and written: no surrogate, no control character."""
    return isinstance(value, str) and value.isprintable()


class Asked(NamedTuple):
    """What a target asks for: a class by its index, or, where the sign is -1, anything but that class."""

    index: int
    sign: int = 1

    def name(self, categories: tuple[str, ...]) -> str:
        """The class's name, its number where classes have none, after "not" where it is anything else."""
        return "not " * (self.sign < 0) + (categories[self.index] if categories else str(self.index))


def find_target(asked: Any, categories: tuple[str, ...]) -> Asked:
    """What is asked for: a class as `find_class` takes it, "not " and a class, one_hot(k, n) or its negative, an Asked.

    A class that is itself called "not ..." is that class. ValueError as `find_class` has it.
    """
    if isinstance(asked, Asked):
        return Asked(find_class(asked.index, categories), asked.sign)
    if getattr(asked, "ndim", 0) == 1:
        return _of_covector(np.asarray(asked), categories)
    if not isinstance(asked, str) or not re.match(r"\s*not\s+\S", asked, re.IGNORECASE):
        return Asked(find_class(asked, categories))
    if any(_words(category) == _words(asked) for category in categories):
        return Asked(find_class(asked, categories))
    return Asked(find_class(re.sub(r"^\s*not\s+", "", asked, flags=re.IGNORECASE), categories), -1)


def _of_covector(target: np.ndarray, categories: tuple[str, ...]) -> Asked:
    (places,) = np.nonzero(target)
    if len(places) != 1 or abs(target[places[0]]) != 1 or len(categories) not in (0, len(target)):
        raise ValueError(
            f"Got a target of shape {target.shape} with {len(places)} entries other than 0, expected one_hot(k, "
            f"{len(categories)}) or its negative; give a class, and what it is held against as against."
        )
    return Asked(int(places[0]), int(target[places[0]]))


def find_class(name_or_index: Any, categories: tuple[str, ...]) -> int:
    """The index of a class, given as an index, a digit string, a name, or whole words that only one name contains.

    The first of these that fits decides: the name as listed, the index, the name without regard to case and
    separators, the words. Raises ValueError where a name fits several classes or none, or an index no class. Without
    categories any index is taken as it is.
    """
    if not isinstance(name_or_index, str):
        return _in_range(_integer(name_or_index), categories)
    if categories.count(name_or_index) == 1:
        return categories.index(name_or_index)
    if re.fullmatch(r"\s*[+-]?[0-9]+\s*", name_or_index):
        return _in_range(int(name_or_index), categories)
    if not categories:
        raise ValueError(f"Got the class name {name_or_index!r}, but the model's classes have no names; give an index.")
    return _only(name_or_index, categories)


def _integer(index: Any) -> int:
    try:
        return operator.index(index)
    except TypeError as error:
        raise ValueError(f"Got the class {index!r}, expected a name or an integer; give one of these.") from error


def _in_range(index: int, categories: tuple[str, ...]) -> int:
    if index < 0 or (categories and index >= len(categories)):
        expected = f"0 to {len(categories) - 1}" if categories else "0 or more"
        raise ValueError(f"There is no class {index}, expected {expected}; give an index in that range or a name.")
    return index


def _only(name: str, categories: tuple[str, ...]) -> int:
    """The index of the one class that `name` fits, exactly or else in part."""
    wanted = _words(name)
    listed = [_words(category) for category in categories]
    fits = [i for i, words in enumerate(listed) if words == wanted] if wanted else []
    fits = fits or [i for i, words in enumerate(listed) if wanted and f" {wanted} " in f" {words} "]
    if len(fits) == 1:
        return fits[0]
    if fits:
        candidates = ", ".join(f"{categories[i]} ({i})" for i in fits)
        raise ValueError(f"The class {name!r} is ambiguous, it fits {candidates}; give the index.")
    near = difflib.get_close_matches(wanted, listed, n=3, cutoff=0.0)
    nearest = ", ".join(f"{categories[i]} ({i})" for i in map(listed.index, near))
    raise ValueError(f"There is no class {name!r}, the nearest are {nearest}; give one of the class names or an index.")


def _words(name: str) -> str:
    return " ".join(re.split(r"[\s_-]+", re.sub("['\u2019]", "", name).casefold())).strip()
