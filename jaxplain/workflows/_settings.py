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
