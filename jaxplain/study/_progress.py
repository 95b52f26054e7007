"""How far a study is."""

import statistics
from typing import NamedTuple

from jaxplain.study._store import ENDED_BY_PEOPLE, Store, row, rows
from jaxplain.workflows import Table


class Progress(NamedTuple):
    """How far a study is: `plays` by the number of a cluster's plays in the game, and people's totals.

    `players` have ended a play, `missing` are the plays until each cluster has as many as it is to have, and `seconds`
    is the median time of a play, None before there is one. `others` {(player, kind): plays} are not of the game.
    """

    plays: dict[int, int]
    players: int
    missing: int
    seconds: float | None
    outcomes: dict[str, int]
    labels: int
    others: dict[tuple[str, str], int]


def progress(store: Store, target: int) -> Progress:
    """How far people are from `target` plays of each cluster."""
    with store.lock:
        counts = dict(map(tuple, rows(store, _COUNTS)))
        times = [one["seconds"] for one in rows(store, _TIMES)]
        outcomes = dict(map(tuple, rows(store, _OUTCOMES)))
        (players,) = row(store, f"SELECT count(DISTINCT player) FROM plays WHERE {ENDED_BY_PEOPLE}")
        (labels,) = row(store, _LABELS)
        others = {(one["name"], one["kind"]): one["plays"] for one in rows(store, _OTHERS)}
    return Progress(
        plays=dict(sorted(counts.items())),
        players=players,
        missing=sum((target - plays) * clusters for plays, clusters in counts.items() if plays < target),
        seconds=statistics.median(times) if times else None,
        outcomes=outcomes,
        labels=labels,
        others=others,
    )


_COUNTS = f"""
    SELECT plays, count(*) FROM (
        SELECT (SELECT count(*) FROM plays WHERE round = rounds.id AND {ENDED_BY_PEOPLE}) AS plays FROM rounds
    ) GROUP BY plays"""
_TIMES = f"SELECT ended - dealt AS seconds FROM plays WHERE {ENDED_BY_PEOPLE}"
_OUTCOMES = f"SELECT outcome, count(*) FROM plays WHERE {ENDED_BY_PEOPLE} GROUP BY outcome"
_LABELS = f"SELECT count(*) FROM labels JOIN plays ON plays.id = play WHERE {ENDED_BY_PEOPLE}"
_OTHERS = """
    SELECT name, kind, count(*) AS plays FROM plays JOIN players ON players.id = player WHERE token IS NULL
    GROUP BY player ORDER BY player"""


def status_table(found: Progress, target: int) -> Table:
    """How far a study is, in words, as `jaxplain study status` prints it."""
    clusters = sum(found.plays.values())
    plays = sum(found.outcomes.values())
    done = sum(count for number, count in found.plays.items() if number >= target)
    ends = ", ".join(f"{found.outcomes.get(end, 0)} {end}" for end in ("win", "lose", "resign"))
    people = f"{found.players} played {how_many(plays, 'round')} ({ends}) and wrote {how_many(found.labels, 'label')}"
    lines = [
        ("clusters", f"{clusters}, of which {done} have {target} plays or more"),
        ("clusters by plays", ", ".join(f"{count} with {number}" for number, count in found.plays.items())),
        ("people", people),
        ("left", _left(found)),
        *((f"{name} ({kind})", how_many(count, "play")) for (name, kind), count in found.others.items()),
    ]
    return Table("", ("of the study", "so far"), tuple(lines))


def _left(found: Progress) -> str:
    if not found.missing:
        return "nothing"
    if found.seconds is None:
        return how_many(found.missing, "play")
    hours = found.missing * found.seconds / 3600
    return f"{how_many(found.missing, 'play')}, about {hours:.1f} hours of play at {found.seconds:.0f} s each"


def how_many(count: int, what: str) -> str:
    """The number of something in words, such as "1 play" and "1,200 plays"."""
    return f"{count:,} {what}{'s' * (count != 1)}"
