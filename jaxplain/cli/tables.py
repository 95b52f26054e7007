"""How the command line prints tables."""

import contextlib
from collections.abc import Iterable, Sequence


def show(title: str | None, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Prints a table on stdout; in narrow terminals its cells are folded, so nothing is cut off."""
    from rich.console import Console
    from rich.table import Column, Table

    table = Table(*(Column(name, overflow="fold") for name in columns), title=title)
    for row in rows:
        table.add_row(*row)
    with contextlib.suppress(SystemExit):  # rich's answer to a reader that stops reading; the work goes on
        Console(markup=False, emoji=False).print(table)  # names of files and classes may have brackets and colons
