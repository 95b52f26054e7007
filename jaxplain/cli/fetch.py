"""jaxplain fetch: published weights, downloaded once."""

import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from jaxplain.cli.errors import in_one_sentence


def fetch(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A network, as `jaxplain models` lists them.")],
    weights: Annotated[
        str | None, typer.Option(metavar="SET", help="One of its published sets of weights; default: the first.")
    ] = None,
    from_url: Annotated[
        str | None, typer.Option(metavar="URL", help="Address of the same file elsewhere, such as a mirror's.")
    ] = None,
    file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The same file on this machine, for one without a network.")
    ] = None,
) -> None:
    """Get a network's published weights, check and convert them.

    They are kept in the user's cache folder ($XDG_CACHE_HOME, by default ~/.cache), where the other commands find them.
    """
    from jaxplain.models import published_set
    from jaxplain.weights_convert import fetch

    with in_one_sentence():
        published = published_set(model, weights)
        with _bar(published.file) as progress:
            folder = fetch(model, weights, url=from_url, file=file, progress=progress)
    default = published == published_set(model)
    print(f"The {published.name} weights of {model} are in {folder}; go on with")
    choice = "" if default else f" --weights {shlex.quote(published.name)}"
    print(f"jaxplain explain sample:chelsea --model {model}{choice}", flush=True)


@contextmanager
def _bar(name: str) -> Iterator[Callable[[int, int | None], None] | None]:
    """A function that shows on stderr how many bytes have come, or None where stderr is not a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = TextColumn(name), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn()
    with Progress(*columns, console=Console(stderr=True), redirect_stdout=False, transient=True) as bar:
        task = bar.add_task(name, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
