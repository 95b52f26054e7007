"""Weights of one's own, with their class names and preprocessing."""

import os
from pathlib import Path
from typing import Any

from jaxplain._types import OutputKind
from jaxplain.models import Model, load, published_set

LONGEST = 1024**2  # bytes of a file of class names


def convert(
    name: str,
    weights: Any,
    *,
    categories: str | os.PathLike[str] | None = None,
    preprocessing: str | None = None,
    outputs: OutputKind | None = None,
) -> Model:
    """The network of that name with weights that were trained elsewhere, as `load` takes them.

    `categories` is a text file of the class names, one a line, in UTF-8. `preprocessing` is the name of a published set
    of weights whose preprocessing these were trained with, by default the one that the weights came with, or else the
    first set's. `outputs` is what the outputs are, as `load` has it, and is kept with them. The model's `save` writes a
    folder that `load` takes as weights. ValueError as `load` has it, for a file that is no list of names, and for an
    unknown set.

        convert("resnet50", "mine.pth", categories="names.txt", preprocessing="IMAGENET1K_V2").save("mine")
    """
    model = load(name, weights, None if categories is None else _names(Path(categories)), outputs=outputs)
    if preprocessing is None:
        return model
    return model._replace(spec=model.spec._replace(**published_set(name, preprocessing).preprocessing))


def _names(path):
    """The class names in a text file; ValueError where it holds anything else."""
    if not path.is_file():
        raise ValueError(f"There is no file {path}, expected a text file of class names; check the path.")
    if path.stat().st_size > LONGEST:
        raise ValueError(f"{path} has more than {LONGEST:,} bytes, expected a class name a line; name another file.")
    try:
        lines = path.read_text(encoding="utf-8-sig").rstrip().split("\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no text in UTF-8, expected a class name a line; save it as UTF-8.") from error
    names = [line.strip() for line in lines]
    for number, name in enumerate(names, 1):
        if not name or not name.isprintable():
            raise ValueError(f"{path} has no class name in line {number}, but {name[:40]!r}; give one on each line.")
    return names
