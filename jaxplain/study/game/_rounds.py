"""Rounds as they are dealt and played. Only what the store says counts: which level is shown, and who answers."""

import random
import secrets
import sqlite3
import time
from collections.abc import Sequence
from typing import NamedTuple

from jaxplain.study._plays import HIGHEST_LEVEL, End, outcome_of
from jaxplain.study._store import ENDED_BY_PEOPLE, Store, changing, row, rows
from jaxplain.study.game._players import Player
from jaxplain.study.game._rules import RefusedError, accepted, checked_labels, points_of

ABANDONED = 30 * 60  # seconds after which an open round keeps nobody else from it


class Dealt(NamedTuple):
    """A player's round: the cluster, its image's class, and how far it is. `outcome` is None while it goes on."""

    id: int
    token: str
    image: str
    layer: str
    cluster: int
    truth: str
    level: int
    guess: str | None
    outcome: End | None
    points: int
    labels: tuple[str, ...]


class Totals(NamedTuple):
    """What a player has played: rounds by their ends, points, labels, and the mean level of the rounds won."""

    wins: int
    losses: int
    resigns: int
    points: int
    labels: int
    level: float | None


class Ranking(NamedTuple):
    """A place on the leaderboard."""

    place: int
    name: str
    points: int
    rounds: int
    own: bool


def deal(store: Store, player: Player, target: int, language: str) -> str | None:
    """The token of the player's open round, or of a new one; None where the player has had all.

    New are, of the rounds with fewer than `target` plays, if there are any, those of an image that the player has seen
    least, and of these one with the fewest plays, by chance. Open rounds of others count as plays for half an hour.
    """
    with changing(store) as db:
        if found := db.execute("SELECT token FROM plays WHERE player = ? AND outcome IS NULL", (player.id,)).fetchone():
            return found["token"]
        now = int(time.time())
        free = db.execute(_FREE, {"player": player.id, "since": now - ABANDONED, "target": target}).fetchall()
        if not free:
            return None
        least = tuple(free[0])[1:]
        chosen = random.SystemRandom().choice([one["id"] for one in free if tuple(one)[1:] == least])
        token = secrets.token_urlsafe(12)
        values = (token, player.id, chosen, language, now)
        db.execute("INSERT INTO plays (token, player, round, level, language, dealt) VALUES (?, ?, ?, 0, ?, ?)", values)
        return token


_FREE = f"""
    WITH plays_of AS (
        SELECT rounds.id, image, (
            SELECT count(*) FROM plays
            WHERE round = rounds.id AND token IS NOT NULL AND (outcome IS NOT NULL OR dealt > :since)
        ) AS plays
        FROM rounds
    ), seen AS (
        SELECT image, count(*) AS times FROM plays JOIN rounds ON rounds.id = round
        WHERE player = :player AND {ENDED_BY_PEOPLE} GROUP BY image
    )
    SELECT plays_of.id, plays >= :target AS enough, coalesce(times, 0) AS times, plays
    FROM plays_of LEFT JOIN seen ON seen.image = plays_of.image
    WHERE plays_of.id NOT IN (SELECT round FROM plays WHERE player = :player AND token IS NOT NULL)
    ORDER BY enough, times, plays"""


def dealt(store: Store, player: Player, token: str) -> Dealt:
    """The player's round of that token; RefusedError where the player was dealt none."""
    found = row(
        store,
        """SELECT plays.id, token, image, layer, cluster, truth, level, guess, outcome, points
        FROM plays JOIN rounds ON rounds.id = round WHERE token = ? AND player = ?""",
        token,
        player.id,
    )
    if found is None:
        raise RefusedError("error_round", 404)
    labels = rows(store, "SELECT text FROM labels WHERE play = ? ORDER BY number", found["id"])
    return Dealt(*found, labels=tuple(text for (text,) in labels))


def show_more(store: Store, player: Player, token: str, level: int) -> Dealt:
    """The round at the level after `level`. Asked again, as by another tab, or after its end, nothing changes."""
    with changing(store) as db:
        now = dealt(store, player, token)
        if level > now.level:
            raise RefusedError("error_level")
        if level == now.level < HIGHEST_LEVEL and now.outcome is None:
            db.execute("UPDATE plays SET level = ? WHERE id = ?", (level + 1, now.id))
        return dealt(store, player, token)


def end_round(
    store: Store, player: Player, token: str, guess: str | None, texts: Sequence[str], language: str
) -> Dealt | None:
    """The round after the guess, or after it was resigned without one; None where it had ended before.

    RefusedError for a class that is not the study's, and for labels that the rules refuse.
    """
    labels = checked_labels(texts) if guess is not None else ()
    if guess is not None and guess not in store.study.classes:
        raise RefusedError("error_guess")
    with changing(store) as db:
        now = dealt(store, player, token)
        if now.outcome is not None:
            return None
        points = points_of(outcome_of(now.truth, guess), now.level, counted(store, guess, labels))
        _end(db, now, guess, labels, points, language)
        return dealt(store, player, token)


def counted(store: Store, guess: str | None, labels: Sequence[str]) -> tuple[str, ...]:
    """The labels that count with this guess: not its names in any language."""
    return accepted(labels, [guess, *store.study.names.get(guess, {}).values()] if guess else [])


def _end(
    db: sqlite3.Connection, now: Dealt, guess: str | None, labels: Sequence[str], points: int, language: str
) -> None:
    ended = (guess, outcome_of(now.truth, guess), points, language, int(time.time()), now.id)
    db.execute("UPDATE plays SET guess = ?, outcome = ?, points = ?, language = ?, ended = ? WHERE id = ?", ended)
    db.executemany("INSERT INTO labels VALUES (?, ?, ?)", [(now.id, place, text) for place, text in enumerate(labels)])


def totals(store: Store, player: Player) -> Totals:
    """What the player has played."""
    ends = row(
        store,
        f"""SELECT count(*) FILTER (WHERE outcome = 'win'), count(*) FILTER (WHERE outcome = 'lose'),
        count(*) FILTER (WHERE outcome = 'resign'), coalesce(sum(points), 0),
        (SELECT count(*) FROM labels JOIN plays ON plays.id = play WHERE player = ?1),
        avg(level) FILTER (WHERE outcome = 'win') FROM plays WHERE player = ?1 AND {ENDED_BY_PEOPLE}""",
        player.id,
    )
    return Totals(*ends)


def leaderboard(store: Store, player: Player, most: int = 20) -> tuple[Ranking, ...]:
    """The players with the most points, and the player's own place if it is further down."""
    found = rows(
        store,
        f"""SELECT rank() OVER (ORDER BY sum(points) DESC) AS place, name, sum(points) AS points, count(*) AS rounds,
        players.id FROM plays JOIN players ON players.id = player WHERE {ENDED_BY_PEOPLE}
        GROUP BY players.id ORDER BY place, name""",
    )
    ranked = [Ranking(*tuple(one)[:4], own=one["id"] == player.id) for one in found]
    return tuple(one for number, one in enumerate(ranked) if number < most or one.own)
