"""The plays of a study, in plays.sqlite in its folder: people's, as they play, and those of networks and of files.

Every change is one transaction, which is on disk before it is acknowledged, and one thread at a time makes one.
"""

import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from jaxplain.study._plays import Play, check_plays
from jaxplain.study._study import Study, rounds

FILE = "plays.sqlite"

_APPLICATION = 0x6A78_706C  # "jxpl", by which a file of ours is known
_WAIT = 10  # seconds for another process that writes
_SHORTLY = 0.05  # seconds that SQLite itself waits, with the lock
TARGET = 5  # plays of each cluster, by default
_MIGRATIONS = (  # from each version of the tables to the next; user_version counts those that were made
    """
    CREATE TABLE players (
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL,
        kind TEXT NOT NULL CHECK (kind IN ('person', 'network', 'file')),
        account TEXT UNIQUE,    -- the name as names are compared; NULL for who does not play the game of this study
        password TEXT,          -- its hash; NULL for who was invited
        joined INTEGER NOT NULL
    );
    CREATE TABLE invitations (
        token TEXT PRIMARY KEY, -- the hash of what the link has
        player INTEGER REFERENCES players (id) ON DELETE CASCADE,   -- NULL until it is accepted
        made INTEGER NOT NULL
    );
    CREATE TABLE sessions (
        token TEXT PRIMARY KEY, -- the hash of what the cookie has
        player INTEGER NOT NULL REFERENCES players (id) ON DELETE CASCADE,
        ends INTEGER NOT NULL
    );
    CREATE TABLE rounds (
        id INTEGER PRIMARY KEY,
        image TEXT NOT NULL,
        layer TEXT NOT NULL,
        cluster INTEGER NOT NULL,
        truth TEXT NOT NULL,
        UNIQUE (image, layer, cluster)
    );
    CREATE TABLE plays (
        id INTEGER PRIMARY KEY,
        token TEXT UNIQUE,      -- of its address in the game; NULL for what was not played there
        player INTEGER NOT NULL REFERENCES players (id) ON DELETE CASCADE,
        round INTEGER NOT NULL REFERENCES rounds (id),
        level INTEGER NOT NULL CHECK (level BETWEEN 0 AND 5),
        guess TEXT,
        outcome TEXT CHECK (outcome IN ('win', 'lose', 'resign')),  -- NULL until it ends
        points INTEGER NOT NULL DEFAULT 0,
        language TEXT NOT NULL,
        dealt INTEGER,
        ended INTEGER,
        CHECK ((guess IS NULL) = (outcome IS NULL OR outcome = 'resign')),
        CHECK (token IS NULL OR (outcome IS NULL) = (ended IS NULL))
    );
    CREATE UNIQUE INDEX once ON plays (player, round) WHERE token IS NOT NULL;
    CREATE UNIQUE INDEX one_at_a_time ON plays (player) WHERE outcome IS NULL;
    CREATE INDEX plays_of_a_round ON plays (round, outcome);
    CREATE TABLE labels (
        play INTEGER NOT NULL REFERENCES plays (id) ON DELETE CASCADE,
        number INTEGER NOT NULL,
        text TEXT NOT NULL CHECK (text <> ''),
        PRIMARY KEY (play, number)
    ) WITHOUT ROWID;
    CREATE TABLE settings (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
    """,
)

# Of the plays in the game; one that was left behind stays open, and keeps no one from the round.
ENDED_BY_PEOPLE = "token IS NOT NULL AND outcome IS NOT NULL"


class Store(NamedTuple):
    """An open store: the study, and one connection, which one thread at a time uses."""

    study: Study
    db: sqlite3.Connection
    lock: threading.RLock


@contextmanager
def opened(study: Study) -> Generator[Store]:
    """The store of a study, made if it is not there; ValueError for a file that is none, is damaged or newer.

    with opened(load_study("study")) as store:
        plays = stored_plays(store)
    """
    path = study.folder / FILE
    if path.is_symlink():
        raise ValueError(f"{path} is a link, but a file is expected: move the plays there.")
    try:
        with closing(_connected(path)) as db:
            _when_free(lambda: _set_up(db))
            store = Store(study, db, threading.RLock())
            _prepared(store, path)
            yield store
    except sqlite3.IntegrityError:  # of what was to be written, not of the file
        raise
    except sqlite3.Error as error:
        raise ValueError(f"{path} cannot be used ({error}): see to its disk and rights, or take a copy.") from error


@contextmanager
def changing(store: Store) -> Generator[sqlite3.Connection]:
    """A transaction: all changes inside or, after an error, none."""
    _begin(store)
    try:
        yield store.db
        store.db.execute("COMMIT")
    except BaseException:
        if store.db.in_transaction:
            store.db.execute("ROLLBACK")
        raise
    finally:
        store.lock.release()


def _begin(store: Store) -> None:
    """Takes the lock and begins a transaction. While another process writes, other threads may read in between."""

    def attempt() -> None:
        store.lock.acquire()
        try:
            store.db.execute("BEGIN IMMEDIATE")
        except BaseException:
            store.lock.release()
            raise

    _when_free(attempt)


def _when_free(attempt: Callable[[], None]) -> None:
    """Attempts what fails while another process, or another connection that is being opened, holds the file."""
    until = time.monotonic() + _WAIT
    while True:
        try:
            return attempt()
        except sqlite3.OperationalError as error:
            busy = getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY  # of any kind
            if not busy or time.monotonic() > until:
                raise
        time.sleep(0.01)


def rows(store: Store, query: str, *values: Any) -> list[sqlite3.Row]:
    """What a query finds."""
    with store.lock:
        return store.db.execute(query, values).fetchall()


def row(store: Store, query: str, *values: Any) -> Any:
    """The first row that a query finds, None without one."""
    return next(iter(rows(store, query, *values)), None)


def stored_plays(store: Store) -> tuple[Play, ...]:
    """All plays that have ended, in the order in which they were begun or added."""
    labels: dict[int, list[str]] = {}
    with store.lock:
        for play, text in store.db.execute("SELECT play, text FROM labels ORDER BY play, number"):
            labels.setdefault(play, []).append(text)
        found = rows(
            store,
            """SELECT plays.id, players.name, kind, image, layer, cluster, truth, guess, outcome, level, language
            FROM plays JOIN players ON players.id = player JOIN rounds ON rounds.id = round
            WHERE outcome IS NOT NULL ORDER BY plays.id""",
        )
    return tuple(
        Play(
            one["name"], one["kind"], one["image"], one["layer"], one["cluster"], one["truth"], one["guess"],
            one["outcome"], one["level"], tuple(labels.get(one["id"], ())), one["language"],
        )
        for one in found
    )  # fmt: skip


def add_plays(store: Store, plays: Iterable[Play], *, replace: bool = False) -> tuple[int, int]:
    """Adds plays that were not played in the game, and returns how many were added and how many were there already.

    Of equal plays the store has as many as the larger of both sides, so that what was exported can be added again. With
    `replace` the earlier plays of the same networks are removed. ValueError, and nothing changes, for a play that could
    not be read again, and for one of no round of the study.
    """
    plays = list(plays)
    check_plays(plays)
    known = {(one["image"], one["layer"], one["cluster"]): one for one in rows(store, "SELECT * FROM rounds")}
    places = [_round_of(known, number, play) for number, play in enumerate(plays)]
    with changing(store) as db:
        if replace:
            networks = {play.player for play in plays if play.kind == "network"}
            db.executemany(_FORGET, [(name,) for name in networks])
        there = Counter(stored_plays(store))
        new = []
        for play, place in zip(plays, places, strict=True):
            there[play] -= 1
            if there[play] < 0:
                new.append((play, place))
        _add(db, new)
    return len(new), len(plays) - len(new)


_FORGET = """
    DELETE FROM plays WHERE token IS NULL
    AND player IN (SELECT id FROM players WHERE kind = 'network' AND name = ?)"""


def kept_target(store: Store, target: int | None = None) -> int:
    """The plays that each cluster is to have: `target`, which is kept from now on, or what was kept."""
    if target is None:
        found = row(store, "SELECT value FROM settings WHERE name = 'target'")
        return found["value"] if found else TARGET
    with changing(store) as db:
        db.execute("INSERT OR REPLACE INTO settings VALUES ('target', ?)", (target,))
    return target


# Opening


def _connected(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=_SHORTLY, isolation_level=None, check_same_thread=False)
    db.row_factory = sqlite3.Row
    return db


def _set_up(db: sqlite3.Connection) -> None:
    """Has the connection trust nothing in the file, which may be anybody's, and keep what it acknowledges."""
    for setting in ("trusted_schema = OFF", "foreign_keys = ON", "journal_mode = WAL", "synchronous = FULL"):
        db.execute(f"PRAGMA {setting}")


def _prepared(store: Store, path: Path) -> None:
    """Brings the tables to this version, with the rounds of the study."""
    with changing(store) as db:
        application, version = (_pragma(db, name) for name in ("application_id", "user_version"))
        if application != _APPLICATION and (version or db.execute("SELECT 1 FROM sqlite_schema").fetchone()):
            raise ValueError(f"{path} is no store of plays: move it away.")
        if version > len(_MIGRATIONS):
            raise ValueError(f"{path} is of version {version}, expected at most {len(_MIGRATIONS)}: update jaxplain.")
        if version < len(_MIGRATIONS):
            for script in _MIGRATIONS[version:]:
                _run(db, script)
            db.execute(f"PRAGMA application_id = {_APPLICATION}")
            db.execute(f"PRAGMA user_version = {len(_MIGRATIONS)}")
        _add_rounds(db, store.study, path)


def _pragma(db: sqlite3.Connection, name: str) -> int:
    return db.execute(f"PRAGMA {name}").fetchone()[0]


def _run(db: sqlite3.Connection, script: str) -> None:
    """The statements of a script, inside the transaction, which executescript would end."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            db.execute(statement)
            statement = ""


def _add_rounds(db: sqlite3.Connection, study: Study, path: Path) -> None:
    truths = {image.id: image.truth for image in study.images}
    wanted = [(one.image, one.layer, one.cluster, truths[one.image]) for one in rounds(study)]
    there = [tuple(one) for one in db.execute("SELECT image, layer, cluster, truth FROM rounds ORDER BY id")]
    if not there:
        db.executemany("INSERT INTO rounds (image, layer, cluster, truth) VALUES (?, ?, ?, ?)", wanted)
    elif there != wanted:
        raise ValueError(f"{path} has the plays of another study: move it to that, or away.")


# Plays that are not of the game


def _round_of(known: Mapping[Any, Any], number: int, play: Play) -> int:
    found = known.get((play.image, play.layer, play.cluster))
    if found is None or found["truth"] != play.truth:
        place = f"image {play.image!r:.40}, layer {play.layer!r:.40}, cluster {play.cluster}"
        raise ValueError(
            f"Play {number} is of {place}, {play.truth!r:.40}, which is no round of the study: leave it out."
        )
    return found["id"]


def _add(db: sqlite3.Connection, plays: Sequence[tuple[Play, int]]) -> None:
    """Adds plays with their rounds."""
    players = {who: _player(db, *who) for who in dict.fromkeys((play.player, play.kind) for play, _ in plays)}
    for play, place in plays:
        play_id = db.execute(
            "INSERT INTO plays (player, round, level, guess, outcome, language) VALUES (?, ?, ?, ?, ?, ?)",
            (players[play.player, play.kind], place, play.level, play.guess, play.outcome, play.language),
        ).lastrowid
        db.executemany(
            "INSERT INTO labels VALUES (?, ?, ?)", [(play_id, number, text) for number, text in enumerate(play.labels)]
        )


def _player(db: sqlite3.Connection, name: str, kind: str) -> int:
    """Who does not play the game, by name and kind."""
    query = "SELECT id FROM players WHERE account IS NULL AND name = ? AND kind = ?"
    if found := db.execute(query, (name, kind)).fetchone():
        return found["id"]
    values = (name, kind, int(time.time()))
    return db.execute("INSERT INTO players (name, kind, joined) VALUES (?, ?, ?)", values).lastrowid or 0
