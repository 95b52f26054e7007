"""What the commands that go through images share: options, checks before the work, a bar and a report."""

import ast
import itertools
import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jaxplain.cli.errors import fail, say

if TYPE_CHECKING:
    from jaxplain.models import Track
    from jaxplain.workflows import Watch

Images = Annotated[list[str], typer.Argument(metavar="IMAGE", help="Files, or sample:chelsea, sample:coffee...")]
ModelName = Annotated[str, typer.Option(metavar="NAME", help="Network, as `jaxplain models` lists them.")]
WeightsPath = Annotated[
    Path | None,
    typer.Option(
        metavar="PATH",
        help="A .pth, a .safetensors, a converted folder, or a published set's name, such as IMAGENET1K_V2.",
    ),
]
Layer = Annotated[
    str | None, typer.Option(metavar="NAME", help="Layer of class activation maps; see `jaxplain layers MODEL`.")
]
Skip = Annotated[bool, typer.Option("--skip-unreadable", help="Leave out files that are no images, and say which.")]
Out = Annotated[Path, typer.Option(metavar="DIR", help="Folder for the results.")]


def check_out(out: Path) -> None:
    """Whether the folder, or the nearest one above it, can be written to; nothing is left in either."""
    from jaxplain.workflows import writing

    with writing(out):
        nearest = next(folder for folder in (out, *out.absolute().parents) if folder.exists())
        with tempfile.TemporaryFile(dir=nearest):
            pass


def keep_photographs(images: Iterable[str], paths: Iterable[Path]) -> None:
    """Refuses to write a figure, path.png, over one of the photographs."""
    photographs = {os.path.realpath(image) for image in images}
    for path in paths:
        if os.path.realpath(f"{path}.png") in photographs:
            raise ValueError(f"{path}.png is one of the images, and a figure would replace it; name another --out.")


def stems(images: Sequence[str]) -> list[str]:
    """A file name for each image, numbered where several would be the same on some file system."""
    found: dict[str, str] = {}
    for image in images:
        stem = image.removeprefix("sample:") if image.startswith("sample:") else Path(image).stem
        numbered = (f"{stem}~{number}" for number in itertools.count(2))
        unused = next(name for name in itertools.chain([stem], numbered) if name.casefold() not in found)
        found[unused.casefold()] = unused
    return list(found.values())


def in_turn(work: Sequence[Any], title: str) -> Iterator[Any]:
    """The work, one after another, with a bar on stderr if there is more than one."""
    if len(work) == 1:
        yield from work
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = TextColumn(title), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    # A bar redirects stdout to keep above it what is printed there, which must not happen to what goes to a file.
    with Progress(*columns, console=Console(stderr=True), redirect_stdout=sys.stdout.isatty()) as progress:
        yield from progress.track(work)


@contextmanager
def bars() -> "Iterator[Track]":
    """A function that goes through work and shows a bar on stderr, if that is a terminal; it vanishes at the end."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    console = Console(stderr=True)
    options = {"redirect_stdout": sys.stdout.isatty(), "transient": True, "disable": not console.is_terminal}
    with Progress(*columns, console=console, **options) as progress:
        yield lambda work, title: progress.track(work, description=title)


@contextmanager
def progress(count: int, title: str) -> "Iterator[tuple[Callable[[], None], Watch | None]]":
    """Bars on stderr: a function that says another of `count` images is done, and one that says so of parts of one.

    A single image has no bar, and parts have theirs on terminals alone.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    terminal = sys.stderr.isatty()
    if count == 1 and not terminal:
        yield (lambda: None), None
        return
    # A bar redirects stdout to keep above it what is printed there, which must not happen to what goes to a file.
    options: dict[str, Any] = {"redirect_stdout": sys.stdout.isatty(), "transient": count == 1}
    with Progress(*columns, console=Console(stderr=True), **options) as bar:
        images = bar.add_task(title, total=count, visible=count > 1)
        tasks: dict[str, Any] = {}

        def watch(method, done, of):
            if method not in tasks:
                tasks[method] = bar.add_task(method, total=of)
            bar.update(tasks[method], completed=done)

        def step():
            for task in tasks.values():
                bar.remove_task(task)
            tasks.clear()
            bar.advance(images)

        yield step, watch if terminal else None


def settings(given: Iterable[str] | None) -> dict[str, dict[str, Any]]:
    """{method: {option: value}} of METHOD.OPTION=VALUE; ValueError for anything else."""
    found: dict[str, dict[str, Any]] = {}
    for one in given or ():
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


def report(failures: Sequence[tuple[str, Exception]], count: int, done: str) -> None:
    """Says which of the images could not be `done`, and ends with status 2 for a single image and 1 for several."""
    if not failures:
        return
    if count == 1:
        fail(failures[0][1])
    say(f"{len(failures)} of {count} images could not be {done}:")
    for image, error in failures:
        say(error if image in str(error) else f"{image}: {error}")
    raise typer.Exit(1)
