"""Who plays: accounts with a password or from an invitation, and sessions. Tokens are kept as hashes alone."""

import hashlib
import secrets
import sqlite3
import threading
import time
from typing import NamedTuple

from jaxplain.study._store import Store, changing, row
from jaxplain.study.game._rules import LONGEST_PASSWORD, RefusedError, account_of, checked_name, checked_password

SESSION = 30 * 24 * 3600  # seconds

# Of a password that nobody knows, so that asking for a name that is not there takes as long.
_NOBODYS = "$argon2id$v=19$m=65536,t=3,p=4$a+ZXh5RsNGYXrrmJnnppOw$n3WYbvDaj304BCY+juWMgqVfjghBGRpHhACpns7HEyI"
_HASHING = threading.BoundedSemaphore(2)  # at once: each takes a core and tens of MB


class Player(NamedTuple):
    """Who plays, by number and nickname."""

    id: int
    name: str


def sign_up(store: Store, name: str, password: str) -> Player:
    """A new player; RefusedError for a name that is taken, and for what the rules refuse."""
    name, hashed = checked_name(name), _hashed(checked_password(password))
    with changing(store) as db:
        return _new_player(db, name, hashed)


def log_in(store: Store, name: str, password: str) -> Player | None:
    """The player with that name and password, if there is one."""
    found = row(store, "SELECT id, name, password FROM players WHERE account = ?", account_of(name))
    hashed = found["password"] if found else None
    same = _same(hashed or _NOBODYS, password[:LONGEST_PASSWORD])
    return Player(found["id"], found["name"]) if found and hashed and same else None


def invite(store: Store, count: int = 1, name: str | None = None) -> tuple[str, ...]:
    """Tokens of invitations, each for one player, or for the player who is called so.

    That player's earlier invitations and sessions end, in case they are somebody else's by now. ValueError where nobody
    is called so.
    """
    tokens = tuple(secrets.token_urlsafe(16) for _ in range(count))
    with changing(store) as db:
        player = None if name is None else _known(db, name)
        if player is not None:
            db.execute("DELETE FROM invitations WHERE player = ?", (player,))
            db.execute("DELETE FROM sessions WHERE player = ?", (player,))
        made = int(time.time())
        db.executemany("INSERT INTO invitations VALUES (?, ?, ?)", [(_digest(one), player, made) for one in tokens])
    return tokens


def invited(store: Store, token: str) -> tuple[bool, Player | None]:
    """Whether there is such an invitation, and the player who has accepted it."""
    query = """SELECT players.id, name FROM invitations LEFT JOIN players ON players.id = player WHERE token = ?"""
    found = row(store, query, _digest(token))
    return found is not None, Player(found["id"], found["name"]) if found and found["id"] else None


def accept(store: Store, token: str, name: str) -> Player:
    """The player of an invitation, who is new if it is used for the first time; RefusedError for one that is none."""
    with changing(store) as db:
        there, player = invited(store, token)
        if not there:
            raise RefusedError("error_invitation", 404)
        if player is None:
            player = _new_player(db, checked_name(name), None)
            db.execute("UPDATE invitations SET player = ? WHERE token = ?", (player.id, _digest(token)))
        return player


def new_session(store: Store, player: Player) -> str:
    """The token of a new session. Those that have ended are forgotten."""
    token, now = secrets.token_urlsafe(32), int(time.time())
    with changing(store) as db:
        db.execute("DELETE FROM sessions WHERE ends <= ?", (now,))
        db.execute("INSERT INTO sessions VALUES (?, ?, ?)", (_digest(token), player.id, now + SESSION))
    return token


def player_of(store: Store, token: str | None) -> Player | None:
    """Whose session it is, if it goes on."""
    query = "SELECT id, name FROM sessions JOIN players ON id = player WHERE token = ? AND ends > ?"
    found = row(store, query, _digest(token), int(time.time())) if token else None
    return Player(*found) if found else None


def end_session(store: Store, token: str | None) -> None:
    """Ends a session, if there is one."""
    if token:
        with changing(store) as db:
            db.execute("DELETE FROM sessions WHERE token = ?", (_digest(token),))


def _new_player(db: sqlite3.Connection, name: str, password: str | None) -> Player:
    values = (name, account_of(name), password, int(time.time()))
    query = "INSERT INTO players (name, kind, account, password, joined) VALUES (?, 'person', ?, ?, ?)"
    try:
        return Player(db.execute(query, values).lastrowid or 0, name)
    except sqlite3.IntegrityError as error:
        raise RefusedError("error_taken", 409) from error


def _known(db: sqlite3.Connection, name: str) -> int:
    found = db.execute("SELECT id FROM players WHERE account = ?", (account_of(name),)).fetchone()
    if found is None:
        raise ValueError(f"No player is called {name!r:.60}: give a nickname, as the leaderboard shows it.")
    return found["id"]


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode(errors="replace")).hexdigest()


def _hashed(password: str) -> str:
    from argon2 import PasswordHasher

    with _HASHING:
        return PasswordHasher().hash(password)


def _same(hashed: str, password: str) -> bool:
    from argon2 import PasswordHasher
    from argon2.exceptions import Argon2Error, InvalidHashError

    try:
        with _HASHING:
            return PasswordHasher().verify(hashed, password)
    except (Argon2Error, InvalidHashError):
        return False
