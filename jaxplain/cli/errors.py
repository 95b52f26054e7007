"""How the command line says what is wrong."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
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
def told() -> Iterator[None]:
    """Around what depends on the user's input alone: a ValueError or OSError there is told without a traceback."""
    try:
        yield
    except (ValueError, OSError) as error:
        fail(error)


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Around what writes to the output folder: an OSError there becomes a ValueError that names the way out."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise ValueError(f"{folder} cannot be written to ({reason}); name another folder with --out.") from error
