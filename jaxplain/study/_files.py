"""Files that appear when they are complete."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jaxplain.weights_convert import draft
from jaxplain.workflows import writing


def write_whole(path: Path, write: Callable[[Path], Any]) -> None:
    """Writes a file by a function of the path of its draft; ValueError where its folder cannot be written to."""
    if path.is_dir():
        raise ValueError(f"{path} is a folder, but a file is expected: name one in it.")
    with writing(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        with draft(path.parent) as folder:
            write(folder / path.name)
            os.replace(folder / path.name, path)
