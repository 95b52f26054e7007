"""What the command line says: results on stdout, and on stderr what is wrong, also by errors that reach `main`."""

import sys
from collections.abc import Sequence
from typing import Any

import typer


def printable(text: object) -> str:
    """The text with escapes for what would move the cursor, turn text or hide it; names may be anybody's."""
    return "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in str(text))


def tell(*lines: str) -> None:
    """Prints lines on stdout."""
    print(*(printable(line).replace("\n", "\\n") for line in lines), sep="\n", flush=True)


def say(message: object) -> None:
    """Prints one line on stderr."""
    print(f"jaxplain: {printable(' '.join(str(message).splitlines()))}", file=sys.stderr)


def say_notes(model: Any) -> None:
    """Says what was chosen for the model's weights without being asked for, or is a guess."""
    for note in model.weights.notes:
        say(f"note: {note}")


def say_left_out(image: object, error: Exception) -> None:
    """Says that an image is left out, and why."""
    say(f"left out: {_named(image, error)}")


def report(failures: Sequence[tuple[object, Exception]], count: int, done: str) -> None:
    """Says which of several images could not be `done`, and ends with status 1; the error of a single one is raised."""
    if not failures:
        return
    if count == 1:
        raise failures[0][1]
    say(f"{len(failures)} of {count} images could not be {done}:")
    for failure in failures:
        say(_named(*failure))
    raise typer.Exit(1)


def _named(image, error):
    told = str(error) if isinstance(error, ValueError | OSError) else f"{type(error).__name__}: {error}"
    return told if str(image) in told else f"{image}: {told}"
