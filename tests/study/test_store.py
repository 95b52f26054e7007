"""The store of plays: what goes in comes out, changes are whole or none, and other files are refused."""

import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from PIL import Image
from tiny import tiny_model

from jaxplain.study import (
    Play,
    add_plays,
    kept_target,
    load_study,
    new_study,
    opened,
    progress,
    rounds,
    status_table,
    stored_plays,
)
from jaxplain.study import _store as module
from jaxplain.study._store import FILE, changing, row, rows

HOSTILE = (
    "Robert'); DROP TABLE plays;--",
    '"><script>alert(1)</script>',
    "=cmd|' /C calc'!A0",
    "مرحبا \u202eabc",
    "\U0001f9d1\u200d\U0001f680 zero\u200bwidth",
    "x" * 10_000,
)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    images = [Image.fromarray(one) for one in np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3), np.uint8)]
    folder = tmp_path_factory.mktemp("made") / "study"
    return new_study(folder, tiny_model(), images, targets=[0, 3, 1], layers=["relu"], clustering="kmeans")


@pytest.fixture
def study(made):
    """The study without plays."""
    for path in made.folder.glob(f"{FILE}*"):
        path.unlink()
    return made


def of(study, number, guess, labels=(), *, player="net", kind: Any = "network", level=0, language="en"):
    """A play of a round of the study."""
    one = rounds(study)[number]
    truth = next(image.truth for image in study.images if image.id == one.image)
    outcome = "resign" if guess is None else "win" if guess == truth else "lose"
    place = (one.image, one.layer, one.cluster)
    return Play(player, kind, *place, truth, guess, outcome, level, labels, language)


def truth_of(study, number):
    return of(study, number, None).truth


def test_what_goes_in_comes_out(study):
    plays = (
        of(study, 0, truth_of(study, 0), ("fins", "scales"), level=2),
        of(study, 1, "class 4", HOSTILE, level=5),
        of(study, 1, None, player="ada", kind="file", level=5, language="it"),
        of(study, 1, None, player="ada", kind="file", level=3, language="it"),
        of(study, 0, "class 2", player=HOSTILE[0], kind="person"),
    )
    with opened(study) as store:
        add_plays(store, plays)
        assert stored_plays(store) == plays
    with opened(load_study(study.folder)) as store:
        assert stored_plays(store) == plays


def test_plays_that_could_not_be_read_again_are_refused(study):
    """With what is wrong in them, and before anything is stored."""
    good = of(study, 0, "class 2")
    with opened(study) as store:
        for change, says in (
            ({"level": 9}, "column level"),
            ({"labels": ("",)}, "Play 1"),
            ({"kind": "robot"}, "column kind"),
            ({"outcome": "win"}, "column outcome"),
            ({"labels": ("x" * 20_000,)}, "at most 10,000 characters"),
        ):
            with pytest.raises(ValueError, match=says):
                add_plays(store, [good, good._replace(**change)])
        assert stored_plays(store) == ()


def test_what_was_exported_can_be_added_again(study):
    """Of equal plays there are as many as the larger of both sides has."""
    one, other = of(study, 0, "class 2", ("a",), kind="file"), of(study, 1, "class 2", ("b",))
    with opened(study) as store:
        assert add_plays(store, [one, one, other]) == (3, 0)
        assert add_plays(store, stored_plays(store)) == (0, 3)
        assert add_plays(store, [one, one, one]) == (1, 2)
        assert add_plays(store, [other._replace(labels=("c",))]) == (1, 0)
        assert len(stored_plays(store)) == 5


def test_a_network_plays_anew(study):
    first, second = (of(study, 0, "class 2", ("a", "b")), of(study, 0, "class 3", ("c",)))
    kept = of(study, 0, "class 2", ("d",), player="net", kind="file")
    other = of(study, 1, "class 2", player="other net")
    with opened(study) as store:
        for plays in ([first, kept], [other], [second]):
            add_plays(store, plays, replace=True)
        assert stored_plays(store) == (kept, other, second)
        assert [tuple(one) for one in rows(store, "SELECT text FROM labels")] == [("d",), ("c",)]
        add_plays(store, [of(study, 1, "class 3")])
        assert len(stored_plays(store)) == 4  # nothing is removed without being asked to


def test_plays_of_no_round_are_refused(study):
    good, bad = of(study, 0, "class 2", ("a",), kind="file"), of(study, 1, "class 3", kind="file")
    elsewhere = {"truth": "class 4", "outcome": "lose"}
    with opened(study) as store:
        for change in ({"cluster": 999}, {"image": "0" * 16}, {"layer": "conv"}, elsewhere):
            with pytest.raises(ValueError, match=r"Play 1 is of image .* which is no round of the study"):
                add_plays(store, [good, bad._replace(**change)])
        assert stored_plays(store) == ()


def test_the_target_is_kept(study):
    with opened(study) as store:
        assert kept_target(store) == 5
        assert kept_target(store, 3) == 3
    with opened(study) as store:
        assert kept_target(store) == 3


def test_progress_counts_what_people_played(study):
    """By hand: three clusters of two plays or more, one of one; times of 10, 20 and 60 seconds have the median 20."""
    count = len(rounds(study))
    with opened(study) as store, changing(store) as db:
        db.execute("INSERT INTO players VALUES (1, 'ada', 'person', 'ada', NULL, 0)")
        db.execute("INSERT INTO players VALUES (2, 'bob', 'person', 'bob', NULL, 0)")
        for number, (player, place, seconds, outcome) in enumerate(
            [(1, 1, 10, "win"), (1, 2, 20, "resign"), (2, 1, 60, "win"), (2, 3, None, None)]
        ):
            guess, ended = ("class 1" if outcome == "win" else None), seconds and 100 + seconds
            values = (number, str(number), player, place, guess, outcome, ended)
            db.execute("INSERT INTO plays VALUES (?, ?, ?, ?, 0, ?, ?, 0, 'en', 100, ?)", values)
        db.execute("INSERT INTO labels VALUES (0, 0, 'fins')")
    with opened(study) as store:
        add_plays(store, [of(study, 0, None)] * 2)
        found = progress(store, 2)
    assert found.plays == {0: count - 2, 1: 1, 2: 1}
    assert (found.players, found.missing, found.seconds, found.labels) == (2, 2 * (count - 2) + 1, 20, 1)
    assert found.outcomes == {"win": 2, "resign": 1}
    assert found.others == {("net", "network"): 2}
    table: dict[Any, str] = dict(cast(Any, status_table(found, 2).rows))
    assert table["clusters"] == f"{count}, of which 1 have 2 plays or more"
    assert table["people"] == "2 played 3 rounds (2 win, 0 lose, 1 resign) and wrote 1 label"
    hours = (2 * (count - 2) + 1) * 20 / 3600
    assert table["left"] == f"{2 * (count - 2) + 1} plays, about {hours:.1f} hours of play at 20 s each"
    assert table["net (network)"] == "2 plays"


def test_a_change_is_whole_or_none(study):
    with opened(study) as store:
        with pytest.raises(sqlite3.IntegrityError), changing(store) as db:
            db.executemany("INSERT INTO players VALUES (1, ?, 'person', ?, NULL, 0)", [("ada", "ada"), ("bob", "bob")])
        assert rows(store, "SELECT * FROM players") == []
        assert not store.db.in_transaction


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO plays (player, round, level, language) VALUES (99, 1, 0, 'en')",  # nobody's
        "INSERT INTO plays (player, round, level, language) VALUES (1, 99999, 0, 'en')",  # of no round
        "INSERT INTO plays (player, round, level, language) VALUES (1, 1, 6, 'en')",
        "INSERT INTO plays (player, round, level, language, outcome) VALUES (1, 1, 0, 'en', 'win')",  # without a guess
        "INSERT INTO plays (player, round, level, language, outcome, guess) VALUES (1, 1, 0, 'en', 'draw', 'x')",
        "INSERT INTO labels VALUES (77, 0, 'of no play')",
        "INSERT INTO players VALUES (2, 'Ada', 'person', 'ada', NULL, 0)",  # an account there is
        "INSERT INTO players VALUES (2, 'Ada', 'robot', NULL, NULL, 0)",
    ],
)
def test_the_tables_keep_their_rules(study, statement):
    with opened(study) as store:
        with changing(store) as db:
            db.execute("INSERT INTO players VALUES (1, 'ada', 'person', 'ada', NULL, 0)")
        with pytest.raises(sqlite3.IntegrityError), changing(store) as db:
            db.execute(statement)


def test_settings_of_the_connection(study):
    """A write-ahead log, on disk before a change is acknowledged, and nothing in the file is trusted."""
    with opened(study) as store:
        asked = ("journal_mode", "synchronous", "foreign_keys", "trusted_schema", "user_version")
        found = [row(store, f"PRAGMA {name}")[0] for name in asked]
    assert found == ["wal", 2, 1, 0, len(module._MIGRATIONS)]


def test_other_files_are_refused(study, tmp_path):
    path = study.folder / FILE
    path.write_bytes(b"no database" * 1000)
    with pytest.raises(ValueError, match=r"plays\.sqlite cannot be used \(file is not a database\)"), opened(study):
        pass
    path.unlink()
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE others (id)")
    with pytest.raises(ValueError, match="is no store of plays"), opened(study):
        pass
    path.unlink()
    with opened(study):
        pass
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 99")
    with pytest.raises(ValueError, match="is of version 99, expected at most 1: update jaxplain"), opened(study):
        pass
    path.unlink()
    path.symlink_to(tmp_path / "elsewhere.sqlite")
    with pytest.raises(ValueError, match="is a link"), opened(study):
        pass
    assert not (tmp_path / "elsewhere.sqlite").exists()


def test_the_plays_of_another_study_are_refused(study, tmp_path):
    image = Image.fromarray(np.zeros((16, 16, 3), np.uint8) + np.arange(16, dtype=np.uint8)[:, None, None])
    other = new_study(tmp_path / "other", tiny_model(), [image], layers=["relu"], clustering="kmeans")
    with opened(study):
        pass
    (study.folder / FILE).rename(other.folder / FILE)
    with pytest.raises(ValueError, match="has the plays of another study"), opened(other):
        pass


def test_tables_are_brought_to_a_new_version(study, monkeypatch):
    play = of(study, 0, "class 2", ("a",))
    with opened(study) as store:
        add_plays(store, [play])
    broken = "ALTER TABLE players ADD COLUMN town TEXT;\nCREATE TABLE players (id);"
    monkeypatch.setattr(module, "_MIGRATIONS", (*module._MIGRATIONS, broken))
    with pytest.raises(ValueError, match="already exists"), opened(study):
        pass
    whole = "ALTER TABLE players ADD COLUMN town TEXT;\nUPDATE players SET town = 'a; b';"
    monkeypatch.setattr(module, "_MIGRATIONS", (*module._MIGRATIONS[:-1], whole))
    for _ in range(2):
        with opened(study) as store:
            assert row(store, "SELECT town FROM players")[0] == "a; b"
            assert row(store, "PRAGMA user_version")[0] == 2
            assert stored_plays(store) == (play,)


def test_a_new_store_is_opened_by_many_at_once(study):
    found = []

    def open_it():
        with opened(study) as store:
            found.append(row(store, "SELECT count(*) FROM rounds")[0])

    for _ in range(5):
        for path in study.folder.glob(f"{FILE}*"):
            path.unlink()
        threads = [threading.Thread(target=open_it) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert found == [len(rounds(study))] * 40


def test_what_is_not_busy_is_told_at_once(study):
    """A fault of the disk, say: only another writer is waited for."""

    def fail(_):
        raise sqlite3.OperationalError("disk I/O error")

    with opened(study) as store:
        failing = store._replace(db=SimpleNamespace(execute=fail, in_transaction=False))
        before = time.perf_counter()
        with pytest.raises(sqlite3.OperationalError, match="disk I/O error"), changing(failing):
            pass
        assert time.perf_counter() - before < 1


def test_threads_and_processes_write_side_by_side(study, tmp_path):
    """50 changes of 8 threads and 20 of another process: all are there."""
    script = f"""
from jaxplain.study import *
study = load_study({str(study.folder)!r})
one = study.images[0]
with opened(study) as store:
    for number in range(20):
        add_plays(store, [Play(f"p{{number}}", "file", one.id, "relu", 0, one.truth, None, "resign", 0)])
"""
    with opened(study) as store:
        other = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE)

        def write(thread):
            for number in range(50):
                add_plays(store, [of(study, 0, None, player=f"{thread} {number}", kind="file")])

        threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert other.communicate()[1] == b""
        assert len(stored_plays(store)) == 8 * 50 + 20
        assert len({play.player for play in stored_plays(store)}) == 8 * 50 + 20
