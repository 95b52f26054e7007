"""How the command line prints tables."""

from collections.abc import Iterable, Sequence

from jaxplain.cli.errors import printable


def show(title: str | None, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Prints a table on stdout; in narrow terminals its cells are folded, so nothing is cut off."""
    from rich.console import Console
    from rich.table import Column, Table

    table = Table(*(Column(name, overflow="fold") for name in columns), title=title and printable(title))
    for row in rows:
        table.add_row(*map(printable, row))
    console = Console(markup=False, emoji=False)  # names of files and classes may have brackets and colons
    with console.capture() as captured:
        console.print(table)
    print(captured.get(), end="", flush=True)
