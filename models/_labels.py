"""Images with labels that do not exclude each other, from a table in CSV.

The first line has the names: of the column of files, and of a label each. Then there is a line for each image, with its
file in the folder, and 1 where it has the label, else 0:

    file,cat,outdoors
    a.jpg,1,0
    b/c.jpg,1,1

A table whose second and last column is called "labels" has the names of the image's labels there, parted by semicolons.
"""

import csv
import os
from collections import Counter
from pathlib import Path

import numpy as np

from jaxplain.models._finetune import Examples, read_images
from jaxplain.models._spec import Spec
from jaxplain.models._training import Track, untracked

LARGEST = 16 * 1024**2  # bytes of a table
MOST = 10_000  # labels


def read_labels(
    table: str | os.PathLike[str], folder: str | os.PathLike[str], spec: Spec, track: Track = untracked
) -> Examples:
    """The images that a table of labels (.csv) names in a folder, and their labels (N, n), 0 or 1.

    The table has a line of names, and then a line of file,0,1,... for each image, or of file,NAME;NAME... under the
    names file,labels. ValueError for any other table, for a file that is not in the folder, that is named twice, or
    that is no image.
    """
    table, folder = Path(table), Path(folder)
    names, files, labels = _read(table)
    paths = tuple(_inside(folder, name, table, number) for number, name in enumerate(files, 2))
    if twice := _repeated(paths):
        raise ValueError(f"{table} names {twice[0]} twice, expected a line for each image; join the lines.")
    return Examples(read_images(paths, spec, track), labels, names, paths)


def _read(table):
    """(the labels' names, the files' names, labels (N, n)) of a table."""
    (_, *names), *rows = _cells(table)
    if names == ["labels"]:
        listed = [[name.strip() for name in cell.split(";") if name.strip()] for _, cell in rows]
        names = sorted({name for cell in listed for name in cell})
        cells = [["01"[name in cell] for name in names] for cell in listed]
    else:
        cells = [[cell.strip() for cell in row[1:]] for row in rows]
    _check_names(table, names)
    for number, row in enumerate(cells, 2):
        if wrong := [cell for cell in row if cell not in ("0", "1")]:
            raise ValueError(f"{table} has {wrong[0][:40]!r} in line {number}, expected 0 or 1 for a label; mend it.")
    return tuple(names), [row[0] for row in rows], np.array(cells, int)


def _cells(table):
    """The rows of cells of a table, all of one length; ValueError where it is none."""
    if not table.is_file():
        raise ValueError(f"There is no file {table}, expected a table of labels (.csv); check the path.")
    if table.stat().st_size > LARGEST:
        raise ValueError(f"{table} has more than {LARGEST:,} bytes, expected a line for each image; name another file.")
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            rows = [row for row in csv.reader(file, strict=True) if row]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{table} is no CSV in UTF-8 ({error}); save it as that.") from error
    if len(rows) < 2 or len(rows[0]) < 2:
        raise ValueError(f"{table} has no names of labels or no images, expected file,LABEL,... and lines of them.")
    for number, row in enumerate(rows, 1):
        if len(row) != len(rows[0]):
            raise ValueError(
                f"{table} has {len(row)} cells in line {number}, expected {len(rows[0])} as in the first; mend it."
            )
    return [rows[0][:1] + [name.strip() for name in rows[0][1:]], *rows[1:]]


def _check_names(table, names):
    if not 0 < len(names) <= MOST:
        raise ValueError(f"{table} has {len(names):,} labels, expected 1 to {MOST:,}; name another file.")
    wrong = [name for name in names if not name or not name.isprintable()] or _repeated(names)
    if wrong:
        raise ValueError(f"{table} has the label {wrong[0][:40]!r}, expected a name that is there once; mend it.")


def _repeated(names):
    return [name for name, count in Counter(names).items() if count > 1]


def _inside(folder, name, table, number):
    """The path of a file in the folder."""
    path = folder / name
    if Path(name).is_absolute() or ".." in Path(name).parts or not os.path.isfile(path):
        raise ValueError(f"{table} has {name[:200]!r} in line {number}, which is no file in {folder}; mend it.")
    return path
