"""What workflows return: frozen values that show and save themselves."""

import functools
import io
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from jaxplain.render import SIDE, figure
from jaxplain.workflows._files import Writer, write_together

if TYPE_CHECKING:
    from PIL.Image import Image

FIGURES = (".png", ".pdf", ".svg")
WIDEST = 4  # panels beside each other, so that a figure is readable in a column of text


class Table(NamedTuple):
    """A result in words and rounded numbers: rows of text below the names of the columns. `print` aligns them."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def __str__(self) -> str:
        lines = [[cell.replace("\n", " ") for cell in row] for row in (self.columns, *self.rows)]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        aligned = ("  ".join(map(str.ljust, row, widths)).rstrip() for row in lines)
        return "\n".join([self.title, *aligned])


class Result:
    """A value with a figure, a table and files: a frozen dataclass, which tells panels, title, table and writers.

    Its figure has at most `_columns` panels beside each other, each `_side` inches wide.
    """

    _columns: ClassVar[int] = WIDEST
    _side: ClassVar[float] = SIDE

    def _panels(self) -> Sequence[Sequence[Any]]:
        """The rows of the figure's panels; none where there is nothing to draw."""
        raise NotImplementedError

    def _title(self) -> str:
        """The figure's title."""
        raise NotImplementedError

    def _writers(self) -> Mapping[str, Writer]:
        """{suffix: writer} of the files beside the figure."""
        raise NotImplementedError

    def table(self) -> Table:
        """What came out, as the command prints it."""
        raise NotImplementedError

    def figure(self) -> "Image":
        """The figure as a PIL image."""
        from PIL import Image

        panels = wrapped(self._panels(), self._columns)
        if not panels:
            raise ValueError(f"There is nothing to draw in {self!r}: look at what failed.")
        return Image.fromarray(figure(panels, title=self._title(), side=self._side))

    def save(self, path: str | os.PathLike[str]) -> tuple[Path, ...]:
        """Writes the figure and the data as path.png and so on, all or none, and returns the files' paths.

        A path that ends with .png, .pdf or .svg names the kind of the figure.
        """
        path, kind = Path(path), ".png"
        if path.suffix in FIGURES:
            path, kind = path.with_suffix(""), path.suffix
        panels = wrapped(self._panels(), self._columns)
        drawn: dict[str, Writer] = {kind: functools.partial(_draw, panels, self._title(), self._side)} if panels else {}
        return write_together(path, drawn | dict(self._writers()))

    def _repr_png_(self) -> bytes | None:
        """The figure, which notebooks show for the last line of a cell; None where there is nothing to draw."""
        if not self._panels():
            return None
        buffer = io.BytesIO()
        self.figure().save(buffer, "png")
        return buffer.getvalue()


def wrapped(rows: Sequence[Sequence[Any]], widest: int = WIDEST) -> Sequence[Sequence[Any]]:
    """The rows of panels, of which no figure is wider than `widest`: the columns beyond are in rows below, evenly."""
    columns = max(map(len, rows), default=0)
    width = math.ceil(columns / math.ceil(columns / widest)) if columns else 1
    parts = (row[start : start + width] for start in range(0, columns, width) for row in rows)
    return [part for part in parts if any(panel is not None for panel in part)]


def _draw(panels, title, side, file):
    figure(panels, title=title, side=side, path=file)
