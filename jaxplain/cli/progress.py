"""Bars on stderr."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from jaxplain.cli.errors import printable

if TYPE_CHECKING:
    from rich.progress import Progress

    from jaxplain.models import Track
    from jaxplain.workflows import Watch


def bar(*columns: Any, alone: bool = True) -> "Progress":
    """rich's bars, with columns to their right. One that is `alone` is for terminals, and vanishes at the end.

    A bar redirects stdout to keep above it what is printed there, which must not happen to what goes to a file.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    shown = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        *(columns or (MofNCompleteColumn(), TimeElapsedColumn())),
    )
    options: dict[str, Any] = {"transient": alone, "disable": alone and not console.is_terminal}
    return Progress(*shown, console=console, redirect_stdout=sys.stdout.isatty(), **options)


@contextmanager
def bars() -> "Iterator[Track]":
    """A function that goes through work and shows a bar meanwhile, if stderr is a terminal."""
    with bar() as shown:
        yield lambda work, title: shown.track(work, description=printable(title))


def in_turn(work: Sequence[Any], title: str) -> Iterator[Any]:
    """The work, one after another, with a bar if there is more than one."""
    if len(work) == 1:
        yield from work
        return
    with bar(alone=False) as shown:
        yield from shown.track(work, description=title)


def parts(shown: "Progress") -> "Watch | None":
    """A function that shows how far a method is with an image, for terminals alone."""

    def watch(method, done, of):
        task = next((task.id for task in shown.tasks if task.description == method), None)
        shown.update(shown.add_task(method) if task is None else task, completed=done, total=of)

    return watch if shown.console.is_terminal else None
