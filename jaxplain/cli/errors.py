"""How the command line says what is wrong."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import typer


def say(message: object) -> None:
    """Prints one line on stderr."""
    print(f"jaxplain: {' '.join(str(message).splitlines())}", file=sys.stderr)


def fail(message: object) -> NoReturn:
    """Prints one sentence on stderr and ends with exit status 2."""
    say(message)
    raise typer.Exit(2)


@contextmanager
def in_one_sentence() -> Iterator[None]:
    """Around what depends on the user's input alone: a ValueError or OSError there is told without a traceback."""
    try:
        yield
    except (ValueError, OSError) as error:
        fail(error)
