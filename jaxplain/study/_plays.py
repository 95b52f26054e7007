"""What players did, as tables: CSV or Parquet, one row a label.

The columns are

    play       the number of the play; the rows of one play differ in their labels only
    player     who played
    kind       "person", "network", or "file" for labels that come from elsewhere
    image      the image's id
    layer      the layer's name
    cluster    the cluster's number in the layer, from 0
    truth      the image's class
    guess      the class that was guessed; empty for a play that was resigned
    outcome    "win" if the guess is the truth, "lose" if it is another class, "resign" without a guess
    level      the reveal level at the end, 0 to 5
    label      what the player says to have recognised; empty in the one row of a play without labels
    language   of the label, such as "en"

image, layer, cluster, truth and label are needed. Without the others each row is a play of its own, of a "file" called
"file", which guessed the truth at level 0, in "en". In CSV a text that a spreadsheet would take for a formula has an
apostrophe before it, which is taken away on reading.
"""

import csv
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from jaxplain.workflows import write_file

Kind = Literal["person", "network", "file"]
End = Literal["win", "lose", "resign"]

MOST_BYTES = 200_000_000
MOST_ROWS = 2_000_000
LONGEST = 10_000  # characters of a text
HIGHEST_LEVEL = 5

_NEEDED = ("image", "layer", "cluster", "truth", "label")
_DEFAULTS = {"player": "file", "kind": "file", "level": "0", "language": "en"}
COLUMNS = (
    "play", "player", "kind", "image", "layer", "cluster", "truth", "guess", "outcome", "level", "label", "language",
)  # fmt: skip
_NUMBERS = {"play": 10**9, "cluster": 10**6, "level": HIGHEST_LEVEL}  # and the largest
_VALUES = {"kind": ("person", "network", "file"), "outcome": ("win", "lose", "resign")}
_MAY_BE_EMPTY = ("guess", "label")
_FORMULA = re.compile(r"'*[=+\-@\t\r]")  # how a cell begins that a spreadsheet may execute, quoted or not


class Play(NamedTuple):
    """One round as it was played: a cluster of one image's layer, shown through its mask.

    `truth` is the image's class and `guess` what it was taken for, None if the player resigned, at reveal level `level`
    from 0 to 5. `labels` are what the player recognised.

        Play("ada", "person", "3f2a", "layer4", 0, "tench", "tench", "win", 1, ("fin", "scales"))
    """

    player: str
    kind: Kind
    image: str
    layer: str
    cluster: int
    truth: str
    guess: str | None
    outcome: End
    level: int
    labels: tuple[str, ...] = ()
    language: str = "en"


def outcome_of(truth: str, guess: str | None) -> End:
    """How a round ends: "resign" without a guess, "win" if the guess is the truth, "lose" if it is not."""
    if guess is None:
        return "resign"
    return "win" if guess == truth else "lose"


def is_english(play: Play) -> bool:
    """Whether its labels are in English, of any country."""
    return play.language.lower().replace("_", "-").split("-")[0] == "en"


def check_plays(plays: Iterable[Play]) -> None:
    """Raises ValueError for a play that could not be read again, such as one with an empty label."""
    for number, play in enumerate(plays):
        _checked_rows(number, play)


def write_plays(path: str | os.PathLike[str], plays: Iterable[Play]) -> None:
    """Writes plays to a .csv or .parquet file, which appears when it is complete; `read_plays` gives the same plays.

    ValueError for a play that could not be read again, such as one with an empty label, for another suffix, and for
    Parquet without pyarrow.
    """
    path = Path(path)
    rows = [row for number, play in enumerate(plays) for row in _checked_rows(number, play)]
    if len(rows) > MOST_ROWS:
        raise ValueError(f"There are {len(rows):,} rows, expected at most {MOST_ROWS:,}: write several files.")
    write = {".csv": _write_csv, ".parquet": _write_parquet}[_suffix(path)]
    write_file(path, lambda draft: write(draft, rows))


def read_plays(path: str | os.PathLike[str]) -> tuple[Play, ...]:
    """The plays in a .csv or .parquet file with the columns that this module names, in any order.

    ValueError with the number of the row, of which the header is row 1, and the name of the column for the first value
    that cannot be; for unknown and missing columns; for more than 200 MB or 2,000,000 rows; and for Parquet without
    pyarrow.
    """
    records = _records(Path(path))
    try:
        return _plays(records)
    except ValueError as error:
        raise ValueError(f"{path} is no table of plays: {error}.") from error


def read_rows(path: str | os.PathLike[str], columns: tuple[str, ...]) -> list[tuple[str, ...]]:
    """The rows of a .csv or .parquet file with these columns, in any order; ValueError for any other."""
    records = _records(Path(path))
    try:
        header = list(next(records, ()))
        if sorted(header) != sorted(columns):
            raise ValueError(f"it has the columns {', '.join(header)[:200] or 'none'}, expected {', '.join(columns)}")
        places = [header.index(name) for name in columns]
        return [tuple(record[place] for place in places) for _, record in _numbered(records, len(header))]
    except ValueError as error:
        raise ValueError(f"{path} is no table of {', '.join(columns)}: {error}.") from error


def _numbered(records: Iterator[Sequence[str]], count: int) -> Iterator[tuple[int, Sequence[str]]]:
    """Each row with its number, of which the header's is 1; ValueError for too many, and for one of another length."""
    for number, record in enumerate(records, 2):
        if number > MOST_ROWS + 1:
            raise ValueError(f"it has more than {MOST_ROWS:,} rows, divide it")
        if len(record) != count:
            raise ValueError(f"row {number} has {len(record)} values, expected {count}, one for each column")
        yield number, record


def _records(path: Path) -> Iterator[Sequence[str]]:
    """The header and the rows of a file."""
    if not path.is_file():
        raise ValueError(f"There is no file {path}, expected a .csv or .parquet table: check the path.")
    if path.stat().st_size > MOST_BYTES:
        raise ValueError(f"{path} has {path.stat().st_size:,} bytes, expected at most {MOST_BYTES:,}: divide it.")
    return {".csv": _csv_records, ".parquet": _parquet_records}[_suffix(path)](path)


def _suffix(path: Path) -> str:
    suffix = path.suffix.lower()
    if suffix not in (".csv", ".parquet"):
        raise ValueError(f"{path} ends in {suffix!r}, expected .csv or .parquet: name it so.")
    return suffix


# Rows of texts, and plays


def _checked_rows(number: int, play: Play) -> list[tuple[str, ...]]:
    rows = _rows(number, play)
    try:
        same = _plays(iter([COLUMNS, *rows])) == (play,)
    except ValueError as error:
        raise ValueError(f"Play {number} cannot be written: {error}.") from error
    if not same:
        raise ValueError(f"Play {number} would be read as another one: give it texts, whole numbers, no empty label.")
    return rows


def _rows(number: int, play: Play) -> list[tuple[str, ...]]:
    given = {"play": number, **play._asdict(), "guess": "" if play.guess is None else play.guess}
    return [tuple(str((given | {"label": label})[name]) for name in COLUMNS) for label in play.labels or ("",)]


def _plays(records: Iterator[Sequence[str]]) -> tuple[Play, ...]:
    """The plays of a header and rows of texts."""
    header = _header(next(records, ()))
    found: dict[str, tuple[Play, list[str]]] = {}
    for number, record in _numbered(records, len(header)):
        cells = _completed(dict(zip(header, record, strict=True)), number)
        play, label = _play(cells), cells["label"]
        first, labels = found.setdefault(cells["play"], (play, []))
        if play is not first:
            _check_same(play, first, labels and label, number)
        labels += [label] * bool(label)
    return tuple(play._replace(labels=tuple(labels)) for play, labels in found.values())


def _header(names: Sequence[str]) -> list[str]:
    missing = [name for name in _NEEDED if name not in names]
    if missing:
        raise ValueError(f"it has no column {missing[0]}, expected {', '.join(_NEEDED)}")
    unknown = [name for name in names if name not in COLUMNS or names.count(name) > 1]
    if unknown:
        raise ValueError(f"there is no column {unknown[0]!r:.60}, or it is there twice, known are {', '.join(COLUMNS)}")
    return list(names)


def _completed(cells: dict[str, str], row: int) -> dict[str, str]:
    """All columns of a row, checked."""
    cells = {"play": str(row), "guess": cells["truth"], **_DEFAULTS, **cells}
    ends = outcome_of(cells["truth"], cells["guess"] or None)
    cells = {"outcome": ends, **cells}
    for name, text in cells.items():
        if fault := _fault(name, text):
            raise ValueError(f"row {row}, column {name}: got {text!r:.60}, expected {fault}")
    if cells["outcome"] != ends:
        given = f"the guess {cells['guess']!r:.40} and the truth {cells['truth']!r:.40}"
        raise ValueError(f"row {row}, column outcome: got {cells['outcome']!r} with {given}, expected {ends!r}")
    return cells


def _fault(name: str, text: str) -> str | None:
    """What is expected instead of a text, if anything."""
    if name in _NUMBERS:
        fits = re.fullmatch("0|[1-9][0-9]{0,9}", text) and int(text) <= _NUMBERS[name]
        return None if fits else f"a whole number from 0 to {_NUMBERS[name]:,}"
    if name in _VALUES:
        return None if text in _VALUES[name] else " or ".join(_VALUES[name])
    if len(text) > LONGEST:
        return f"at most {LONGEST:,} characters"
    if not text.isascii() and re.search("[\ud800-\udfff]", text):
        return "text without halves of characters"
    return None if text or name in _MAY_BE_EMPTY else "a text that is not empty"


def _play(cells: dict[str, str]) -> Play:
    numbers: Any = {"cluster": int(cells["cluster"]), "level": int(cells["level"])}
    texts: Any = {name: cells[name] for name in Play._fields if name in cells}
    return Play(**texts | numbers | {"guess": cells["guess"] or None})


def _check_same(play: Play, first: Play, another: str | list[str], row: int) -> None:
    """Raises ValueError unless a row goes on with its play, by another label."""
    differs = [name for name in Play._fields if getattr(play, name) != getattr(first, name)]
    if differs:
        raise ValueError(f"row {row}, column {differs[0]}: differs from the row before of the same play")
    if not another:
        raise ValueError(f"row {row}, column label: is empty, or was before, expected another label of the play")


# CSV


def _write_csv(path: Path, rows: list[tuple[str, ...]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([COLUMNS, *([_defused(text) for text in row] for row in rows)])


def _csv_records(path: Path) -> Iterator[Sequence[str]]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        try:
            for record in csv.reader(file, strict=True):
                yield [text[1:] if text[:1] == "'" and _FORMULA.match(text) else text for text in record]
        except csv.Error as error:
            raise ValueError(f"it is damaged ({error})") from error
        except UnicodeDecodeError as error:
            raise ValueError("it is not in UTF-8, save it as UTF-8") from error


def _defused(text: str) -> str:
    return f"'{text}" if _FORMULA.match(text) else text


# Parquet


def _pyarrow() -> Any:
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise ValueError("Parquet needs pyarrow: pip install 'jaxplain[labels]', or name a .csv file.") from error
    return pyarrow


def _write_parquet(path: Path, rows: list[tuple[str, ...]]) -> None:
    pa = _pyarrow()
    columns = dict(zip(COLUMNS, zip(*rows, strict=True) if rows else [()] * len(COLUMNS), strict=True))
    arrays = {
        name: pa.array(map(int, texts), pa.int64()) if name in _NUMBERS else pa.array(texts, pa.string())
        for name, texts in columns.items()
    }
    pa.parquet.write_table(pa.table(arrays), path)


def _parquet_records(path: Path) -> Iterator[Sequence[str]]:
    """The header and the rows. Texts stay in dictionaries, which a small file could otherwise fill the memory with."""
    pa = _pyarrow()
    try:
        with pa.parquet.ParquetFile(path) as file:
            names = file.schema_arrow.names
            if file.metadata.num_rows > MOST_ROWS:
                raise ValueError(f"it has {file.metadata.num_rows:,} rows, expected at most {MOST_ROWS:,}, divide it")
            _check_columns(pa, file)
        yield names
        with pa.parquet.ParquetFile(path, read_dictionary=names) as file:
            for batch in file.iter_batches():
                yield from zip(*map(_texts, batch.columns), strict=True)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"it is damaged ({error!s:.200})") from error


def _check_columns(pa: Any, file: Any) -> None:
    """Raises ValueError for columns of anything but texts and numbers, and for more than may be read."""
    kinds = ("string", "large_string", "integer", "null", "boolean", "floating", "binary")
    plain = [getattr(pa.types, f"is_{kind}") for kind in kinds]
    for field in file.schema_arrow:
        inner = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        if not any(kind(inner) for kind in plain):
            raise ValueError(f"its column {field.name!r:.40} is {field.type!s:.40}, expected texts or whole numbers")
    size = sum(file.metadata.row_group(number).total_byte_size for number in range(file.metadata.num_row_groups))
    if size > MOST_BYTES:
        raise ValueError(f"it has {size:,} bytes unpacked, expected at most {MOST_BYTES:,}, divide it")


def _texts(column: Any) -> list[str]:
    """The values of an Arrow array as texts; what is neither a text nor a whole number is shown as it is."""
    if not hasattr(column, "dictionary"):
        return [_text(value) for value in column.to_pylist()]
    values = [_text(value) for value in column.dictionary.to_pylist()]
    return ["" if index is None else values[index] for index in column.indices.to_pylist()]


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else repr(value)
