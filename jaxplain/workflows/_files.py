"""Results as files: all of them or none, with what a reader needs to make them again."""

import csv
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from jaxplain.weights_convert import draft, undivided

Writer = Callable[[Path], object]

# A surrogate, which stands for a byte of a file name that is no UTF-8, is escaped as JSON does it.
_TEXT: dict[str, Any] = {"encoding": "utf-8", "errors": "backslashreplace"}


def write_together(path: str | os.PathLike[str], writers: Mapping[str, Writer]) -> tuple[Path, ...]:
    """Writes path + suffix for each suffix, all or none, and returns the files' paths.

    Each writer gets a path beside the final one. ValueError that names the folder where it cannot be written to.
    """
    path = Path(path)
    with writing(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        with draft(path.parent) as folder:
            drafts = {suffix: folder / f"{path.name}{suffix}" for suffix in writers}
            for suffix, write in writers.items():
                write(drafts[suffix])
            with undivided:
                for suffix, finished in drafts.items():
                    os.replace(finished, f"{path}{suffix}")
    return tuple(Path(f"{path}{suffix}") for suffix in writers)


def write_file(path: str | os.PathLike[str], write: Writer) -> None:
    """Writes a file by a function of the path of its draft; it appears when it is complete. ValueError as above."""
    path = Path(path)
    if path.is_dir():
        raise ValueError(f"{path} is a folder, but a file is expected: name one in it.")
    write_together(path.with_suffix(""), {path.suffix: write})


@contextmanager
def writing(folder: Path):
    """Around what writes to a folder: an OSError there becomes a ValueError that names the way out."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise ValueError(f"{folder} cannot be written to ({reason}); name another folder with --out.") from error


def json_writer(record: Mapping[str, Any]) -> Writer:
    """Writes a record as JSON, with the versions of what made it."""
    text = json.dumps({**record, "versions": versions()}, indent=1, ensure_ascii=False)

    def write(path):
        path.write_text(text, **_TEXT)

    return write


def csv_writer(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Writer:
    """Writes a table."""

    def write(path):
        with path.open("w", newline="", **_TEXT) as file:
            csv.writer(file).writerows([columns, *rows])

    return write


def versions() -> dict[str, str]:
    """The versions of jaxplain and of what computes for it."""
    return {name: version(name) for name in ("jaxplain", "jax", "flax", "optax", "numpy")}


def file_name(path: Any) -> str:
    """The last part of a path, without bytes that cannot be shown."""
    return Path(str(path)).name.encode(errors="replace").decode()
