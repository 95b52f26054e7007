"""Options of methods as text, as the command line has them."""

import ast
from collections.abc import Iterable
from typing import Any


def parsed_settings(given: Iterable[str]) -> dict[str, dict[str, Any]]:
    """{method: {option: value}} of METHOD.OPTION=VALUE; ValueError for anything else."""
    found: dict[str, dict[str, Any]] = {}
    for one in given:
        name, equals, value = one.partition("=")
        method, dot, option = name.partition(".")
        if not (equals and dot and method and option):
            raise ValueError(f"--set is {one!r}, but METHOD.OPTION=VALUE is expected, such as rise.samples=1000.")
        found.setdefault(method, {})[option] = _value(value)
    return found


def _value(text):
    """The number or truth that a text says, or the text."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def parsed_box(given: str) -> tuple[float, float, float, float]:
    """A box as it is written on a command line, LEFT,TOP,RIGHT,BOTTOM."""
    try:
        left, top, right, bottom = map(float, given.split(","))
    except ValueError as error:
        raise ValueError(
            f"--box is {given!r}, but four numbers LEFT,TOP,RIGHT,BOTTOM are expected, such as 10,20,110,95."
        ) from error
    return left, top, right, bottom
