"""jaxplain fetch: published weights, downloaded once."""

import shlex
from pathlib import Path
from typing import Annotated

from typer import Option

from jaxplain.cli.errors import tell
from jaxplain.cli.options import Model
from jaxplain.cli.progress import bar

_SET = "One of its published sets of weights; default: the first."
Set = Annotated[str | None, Option(metavar="SET", help=_SET)]
_URL = "Address of the same file elsewhere, such as a mirror's."
Url = Annotated[str | None, Option(metavar="URL", help=_URL)]
_FILE = "The same file on this machine, for one without a network."
File = Annotated[Path | None, Option(metavar="FILE", help=_FILE)]


def fetch(model: Model, weights: Set = None, from_url: Url = None, file: File = None) -> None:
    """Get a network's published weights, check and convert them.

    They are kept in the user's cache folder ($XDG_CACHE_HOME, by default ~/.cache), where the other commands find them.
    """
    from rich.progress import DownloadColumn, TimeRemainingColumn, TransferSpeedColumn

    from jaxplain.models import published_set
    from jaxplain.weights_convert import fetch

    published = published_set(model, weights)
    with bar(DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn()) as shown:
        task = shown.add_task(published.file, total=None)

        def progress(done, total):
            shown.update(task, completed=done, total=total)

        folder = fetch(model, weights, url=from_url, file=file, progress=progress)
    choice = "" if published == published_set(model) else f" --weights {shlex.quote(published.name)}"
    go_on = f"jaxplain explain sample:chelsea --model {model}{choice}"
    tell(f"The {published.name} weights of {model} are in {folder}; go on with", go_on)
