"""Tables of plays: exact on the way there and back, and checked when they come from others."""

import csv
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pa = pytest.importorskip("pyarrow", reason="the extra labels is not installed")
import pyarrow.parquet as pq

from jaxplain.study import COLUMNS, Play, _plays, outcome_of, read_plays, write_plays

PLAYS = (
    Play("ada", "person", "3f", "layer4", 0, "tench", "tench", "win", 1, ("fin", "scales")),
    Play("ada", "person", "3f", "layer4", 1, "tench", "church", "lose", 0, ("tower",), "it"),
    Play("bob", "person", "3f", "layer4", 1, "tench", None, "resign", 5),
    Play("bob", "person", "3f", "layer4", 1, "tench", None, "resign", 5),  # once more
    Play("net", "network", "99", "a,b", 12, "x", "y", "lose", 3, ("twice", "twice")),
)
HOSTILE = (
    "=HYPERLINK(1)", "'=1", "''+1", "'tis", "-1", "@x", "\tx", "\r\nx", "a\nb", 'a"b', "\x00\x07\x1b[31m", "\ufeff",
    "🦎👩‍🔬", "\u202eevil", "שלום", "  spaces ", ",", "NULL", "nan", "0", "é" * 1000,
)  # fmt: skip
SUFFIXES = ("csv", "parquet")


def table(path, rows, columns=COLUMNS):
    """A file of rows of texts, as others may write it."""
    if path.suffix == ".csv":
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([columns, *rows])
    else:
        data = [list(column) for column in zip(*rows, strict=True)]
        pq.write_table(pa.table(dict(zip(columns, data, strict=True))), path)
    return path


def row(**changes):
    cells = dict(zip(COLUMNS, ["0", "ada", "person", "3f", "l", "0", "t", "t", "win", "1", "fin", "en"], strict=True))
    return list((cells | changes).values())


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_plays_come_back(tmp_path, suffix):
    path = tmp_path / "new" / f"plays.{suffix}"
    write_plays(path, iter(PLAYS))
    assert read_plays(path) == PLAYS
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    write_plays(path, [])
    assert read_plays(path) == ()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_hostile_texts_come_back(tmp_path, suffix):
    plays = [Play(text, "person", text, text, 0, text, text, "win", 0, (text, "x", text), text) for text in HOSTILE]
    write_plays(tmp_path / f"plays.{suffix}", plays)
    assert read_plays(tmp_path / f"plays.{suffix}") == tuple(plays)


TEXTS = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from("=+-@'\t\r\n\","), min_size=1, max_size=8)


@given(st.lists(st.builds(
    lambda player, truth, guess, labels, level: Play(
        player, "person", "i", "l", 0, truth, guess, outcome_of(truth, guess), level, tuple(labels)
    ),
    TEXTS, TEXTS, st.none() | TEXTS, st.lists(TEXTS, max_size=3), st.integers(0, 5),
), max_size=4))  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_any_texts_come_back(tmp_path_factory, plays):
    folder = tmp_path_factory.mktemp("plays")
    for suffix in SUFFIXES:
        write_plays(folder / f"p.{suffix}", plays)
        assert read_plays(folder / f"p.{suffix}") == tuple(plays)


def test_no_cell_of_a_csv_is_a_formula(tmp_path):
    path = tmp_path / "plays.csv"
    write_plays(path, [Play("=1+1", "person", "@i", "l", 0, "-t", "-t", "win", 0, ("+x", "\t=2"))])
    with path.open(newline="", encoding="utf-8") as file:
        cells = [cell for record in csv.reader(file) for cell in record]
    assert "'=1+1" in cells
    assert not [cell for cell in cells if cell[:1] in "=+-@\t\r" and cell]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_rows_made_elsewhere_need_five_columns(tmp_path, suffix):
    rows = [("wings", "t", "3f", "4", "layer4"), ("", "t", "3f", "1", "layer4")]
    path = table(tmp_path / f"labels.{suffix}", rows, ("label", "truth", "image", "cluster", "layer"))
    assert read_plays(path) == (
        Play("file", "file", "3f", "layer4", 4, "t", "t", "win", 0, ("wings",)),
        Play("file", "file", "3f", "layer4", 1, "t", "t", "win", 0, ()),
    )


def test_outcomes_follow_from_guesses(tmp_path):
    columns = tuple(name for name in COLUMNS if name != "outcome")
    rows = [[cell for name, cell in zip(COLUMNS, row(play=str(i), guess=guess), strict=True) if name != "outcome"]
            for i, guess in enumerate(("t", "u", ""))]  # fmt: skip
    assert [play.outcome for play in read_plays(table(tmp_path / "p.csv", rows, columns))] == ["win", "lose", "resign"]


def test_rows_of_plays_may_be_mixed(tmp_path):
    rows = [row(play="7", label="a"), row(play="3", label="b", image="4f"), row(play="7", label="c")]
    assert [(play.image, play.labels) for play in read_plays(table(tmp_path / "p.csv", rows))] == [
        ("3f", ("a", "c")), ("4f", ("b",)),
    ]  # fmt: skip


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"level": "6"}, "row 3, column level: got '6', expected a whole number from 0 to 5"),
        ({"level": "1.0"}, "row 3, column level: got '1.0'"),
        ({"level": "٣"}, "row 3, column level"),
        ({"cluster": "-1"}, "row 3, column cluster: got '-1'"),
        ({"cluster": "9" * 30}, "row 3, column cluster"),
        ({"play": ""}, "row 3, column play: got ''"),
        ({"kind": "robot"}, "row 3, column kind: got 'robot', expected person or network or file"),
        ({"outcome": "draw"}, "row 3, column outcome: got 'draw'"),
        ({"outcome": "lose"}, "row 3, column outcome: got 'lose' with the guess 't' and the truth 't', expected 'win'"),
        ({"guess": ""}, "row 3, column outcome: got 'win' with .*, expected 'resign'"),
        ({"image": ""}, "row 3, column image: got '', expected a text that is not empty"),
        ({"truth": "x" * 10_001}, "row 3, column truth: got 'xxx.* at most 10,000 characters"),
        ({"play": "0", "level": "2"}, "row 3, column level: differs from the row before of the same play"),
        ({"play": "0", "label": ""}, "row 3, column label: is empty"),
    ],
)
def test_the_first_bad_value_is_named(tmp_path, suffix, changes, says):
    path = table(tmp_path / f"plays.{suffix}", [row(), row(**{"play": "1"} | changes), row(play="2", level="99")])
    with pytest.raises(ValueError, match=says) as found:
        read_plays(path)
    assert str(found.value).startswith(str(path))
    assert "\n" not in str(found.value)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_columns_are_checked(tmp_path, suffix):
    with pytest.raises(ValueError, match="it has no column cluster"):
        read_plays(table(tmp_path / f"a.{suffix}", [["i", "l", "t", "x"]], ("image", "layer", "truth", "label")))
    with pytest.raises(ValueError, match="there is no column 'levels'"):
        read_plays(table(tmp_path / f"b.{suffix}", [[*row(), "1"]], (*COLUMNS, "levels")))


def test_values_of_other_types_are_named(tmp_path):
    columns = {name: [cell] for name, cell in zip(COLUMNS, row(), strict=True)}
    for name, values in {"level": [True], "cluster": [0.5], "play": [b"0"], "label": [None]}.items():
        pq.write_table(pa.table(columns | {name: values}), tmp_path / "p.parquet")
        if name == "label":
            assert read_plays(tmp_path / "p.parquet")[0].labels == ()
        else:
            with pytest.raises(ValueError, match=f"row 2, column {name}"):
                read_plays(tmp_path / "p.parquet")
    pq.write_table(pa.table(columns | {"level": [3], "cluster": [2]}), tmp_path / "p.parquet")
    assert read_plays(tmp_path / "p.parquet")[0][4::4] == (2, 3)


def test_damaged_files_are_refused_in_a_sentence(tmp_path):
    for suffix in SUFFIXES:
        (tmp_path / f"empty.{suffix}").touch()
        write_plays(tmp_path / f"whole.{suffix}", PLAYS)
        content = (tmp_path / f"whole.{suffix}").read_bytes()
        (tmp_path / f"cut.{suffix}").write_bytes(content[: len(content) // 2])
        for name in ("empty", "cut"):
            with pytest.raises(ValueError, match=f"{name}.{suffix} is no table of plays: "):
                read_plays(tmp_path / f"{name}.{suffix}")
    rows = {"latin": ",".join(row(label="é")).encode("latin-1"), "quote": b'"open', "short": b"1,2",
            "wide": b'"' + b"x" * 200_000 + b'"'}  # fmt: skip
    says = {"latin": "UTF-8", "quote": "damaged", "short": "row 2 has 2 values, expected 12", "wide": "damaged"}
    for name, line in rows.items():
        (tmp_path / f"{name}.csv").write_bytes(",".join(COLUMNS).encode() + b"\r\n" + line)
        with pytest.raises(ValueError, match=says[name]):
            read_plays(tmp_path / f"{name}.csv")


def test_a_byte_order_mark_is_no_column_name(tmp_path):
    path = table(tmp_path / "p.csv", [row()])
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert len(read_plays(path)) == 1


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_large_files_are_refused(tmp_path, monkeypatch, suffix):
    path = table(tmp_path / f"p.{suffix}", [row(play=str(i)) for i in range(6)])
    monkeypatch.setattr(_plays, "MOST_ROWS", 6)
    assert len(read_plays(path)) == 6
    monkeypatch.setattr(_plays, "MOST_ROWS", 5)
    with pytest.raises(ValueError, match="rows"):
        read_plays(path)
    with pytest.raises(ValueError, match="There are 6 rows, expected at most 5"):
        write_plays(path, [PLAYS[2]] * 6)
    monkeypatch.setattr(_plays, "MOST_BYTES", 10)
    with pytest.raises(ValueError, match="bytes, expected at most 10"):
        read_plays(path)


def test_a_small_parquet_of_many_long_texts_is_read_in_little_memory(tmp_path):
    """A dictionary has a text once: 2,000 rows of 10,000 characters."""
    import tracemalloc

    columns = {name: pa.array([cell] * 2_000) for name, cell in zip(COLUMNS, row(label="x" * 10_000), strict=True)}
    del columns["play"]
    pq.write_table(pa.table(columns), tmp_path / "p.parquet")
    assert (tmp_path / "p.parquet").stat().st_size < 100_000
    tracemalloc.start()
    assert len(read_plays(tmp_path / "p.parquet")) == 2_000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10_000_000


def test_a_parquet_of_lists_or_of_more_than_its_file_is_refused_before_it_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr("jaxplain.study._plays.MOST_BYTES", 1_000_000)
    columns = {name: pa.array([cell]) for name, cell in zip(COLUMNS, row(label="x"), strict=True)}
    pq.write_table(pa.table(columns | {"label": pa.array([["x", "y"]])}), tmp_path / "p.parquet")
    with pytest.raises(ValueError, match=r"its column 'label' is list<.*expected texts or whole numbers"):
        read_plays(tmp_path / "p.parquet")
    pq.write_table(pa.table(columns | {"label": pa.array(["x" * 2_000_000])}), tmp_path / "p.parquet")
    assert (tmp_path / "p.parquet").stat().st_size < 200_000
    with pytest.raises(ValueError, match=r"bytes unpacked, expected at most 1,000,000, divide it"):
        read_plays(tmp_path / "p.parquet")


@pytest.mark.parametrize(
    ("play", "says"),
    [
        (PLAYS[0]._replace(labels=("",)), "Play 0 would be read as another one"),
        (PLAYS[0]._replace(labels=("a", "")), "Play 0 cannot be written: .*label: is empty"),
        (PLAYS[0]._replace(guess=""), "column outcome"),
        (PLAYS[0]._replace(level=6), "Play 0 cannot be written: .*column level: got '6'"),
        (PLAYS[0]._replace(level=True), "column level: got 'True'"),
        (PLAYS[0]._replace(player="\ud800"), "halves of characters"),
        (PLAYS[0]._replace(player=3), "another one"),
        (PLAYS[0]._replace(outcome="lose"), "column outcome"),
    ],
)
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_cannot_be_read_is_not_written(tmp_path, suffix, play, says):
    write_plays(tmp_path / f"p.{suffix}", PLAYS)
    with pytest.raises(ValueError, match=says):
        write_plays(tmp_path / f"p.{suffix}", [play])
    assert read_plays(tmp_path / f"p.{suffix}") == PLAYS


def test_files_of_other_kinds_are_refused(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"ends in '\.xlsx', expected \.csv or \.parquet"):
        write_plays(tmp_path / "p.xlsx", PLAYS)
    with pytest.raises(ValueError, match="There is no file"):
        read_plays(tmp_path / "p.csv")
    write_plays(tmp_path / "p.parquet", PLAYS)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    for use in (lambda: read_plays(tmp_path / "p.parquet"), lambda: write_plays(tmp_path / "p.parquet", PLAYS)):
        with pytest.raises(ValueError, match=r"pip install 'jaxplain\[labels\]'"):
            use()
    write_plays(tmp_path / "p.csv", PLAYS)
    assert read_plays(tmp_path / "p.csv") == PLAYS
