"""What the pages of rounds and of what was played answer."""

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxplain.study._masks import LEVELS
from jaxplain.study._plays import HIGHEST_LEVEL, outcome_of
from jaxplain.study._study import picture as whole_picture
from jaxplain.study.game import _players, _rounds
from jaxplain.study.game._pages import Visit, go_to, page, picture
from jaxplain.study.game._rules import MOST_LABELS, RefusedError, accepted, checked_labels, points_of
from jaxplain.study.game._views import (
    PRACTICE_CLASSES,
    PRACTICE_TRUTH,
    practice_webp,
    view,
    webp,
)

if TYPE_CHECKING:
    from starlette.responses import Response

_FIELDS = 3  # for characteristics, of an empty form


def deal(target: int, visit: Visit) -> "Response":
    """The player's open round or a new one; where there is none left, thanks."""
    token = _rounds.deal(visit.store, _player(visit), target, visit.language)
    return go_to(f"/rounds/{token}" if token else "/done")


def show_round(visit: Visit) -> "Response":
    """The page of a round, or how it ended."""
    return _shown_round(visit, _dealt(visit))


def resumed(visit: Visit) -> "Response":
    """After logging in: the round in which a session ended, with what was written, or the start."""
    found = re.fullmatch(r"/rounds/([\w-]+)", visit.field("back"))
    try:
        return _shown_round(visit, _rounds.dealt(visit.store, _player(visit), found[1])) if found else go_to("/")
    except RefusedError:  # another player's
        return go_to("/")


def round_view(visit: Visit) -> "Response":
    """The picture through the mask of a level that was reached."""
    dealt, level = _dealt(visit), _level(visit.request.path_params["level"], 404)
    if level > dealt.level:
        raise RefusedError("error_level", 404)
    image = next(image for image in visit.store.study.images if image.id == dealt.image)
    heat = np.asarray(image.features[dealt.layer].maps[dealt.cluster])
    return picture(view(whole_picture(visit.store.study, dealt.image), heat, level))


def round_picture(visit: Visit) -> "Response":
    """The whole picture, of a round that has ended."""
    dealt = _dealt(visit)
    if dealt.outcome is None:
        raise RefusedError("error_level", 404)
    return picture(webp(whole_picture(visit.store.study, dealt.image)))


def answer(visit: Visit) -> "Response":
    """More of the picture, a guess, or neither: what is written in the form stays while the round goes on."""
    token, action = visit.request.path_params["token"], visit.field("action")
    store, player = visit.store, _player(visit)
    try:
        if action == "more":
            return _shown_round(visit, _rounds.show_more(store, player, token, _level(visit.field("level"))))
        if action not in ("guess", "resign"):
            raise RefusedError("error_form")
        guess = _guess(visit, store.study.classes) if action == "guess" else None
        ended = _rounds.end_round(store, player, token, guess, visit.form.get("label", []), visit.language)
        return go_to(f"/rounds/{token}" + ("" if ended else "?late=1"))
    except RefusedError as refused:
        if refused.status == 404:
            raise
        return _shown_round(visit, _dealt(visit), refused)


def _shown_round(visit: Visit, dealt: _rounds.Dealt, refused: RefusedError | None = None) -> "Response":
    classes = visit.store.study.classes
    if dealt.outcome is not None:
        counted = _rounds.counted(visit.store, dealt.guess, dealt.labels) if dealt.outcome == "win" else ()
        late = "late" in visit.request.query_params
        values = {"truth": visit.named(dealt.truth), "guess": dealt.guess and visit.named(dealt.guess), "late": late}
        base = f"/rounds/{dealt.token}"
        return page(visit, "result", 200, base=base, ended=dealt, counted=counted, practice=False, **values)
    names = {number: visit.named(known) for number, known in enumerate(classes)}
    return _form(visit, f"/rounds/{dealt.token}", dealt.level, names, refused)


def _form(visit: Visit, base: str, level: int, names: Mapping[Any, str], refused: RefusedError | None) -> "Response":
    """A round that goes on."""
    ordered = sorted(names.items(), key=lambda pair: pair[1].casefold())
    labels = [text[:200] for text in visit.form.get("label", []) if text.strip()][:MOST_LABELS]
    error = None if refused is None else visit.say(refused.key, **refused.values)
    return page(
        visit,
        "round",
        200 if refused is None else refused.status,
        base=base,
        level=level,
        levels=LEVELS,
        classes=[(str(value), name) for value, name in ordered],
        guess=visit.field("guess"),
        labels=[*labels, *[""] * (_FIELDS - len(labels))],
        most=MOST_LABELS,
        worth=points_of("win", level, ()),
        error=error,
        practice=base == "/practice",
    )


def _dealt(visit: Visit) -> _rounds.Dealt:
    return _rounds.dealt(visit.store, _player(visit), visit.request.path_params["token"])


def _player(visit: Visit) -> _players.Player:
    assert visit.player is not None  # its handler is for those who are signed in
    return visit.player


def _guess(visit: Visit, classes: Sequence[str]) -> str:
    number = visit.field("guess")
    if not number:
        raise RefusedError("error_no_guess")
    if not (number.isascii() and number.isdigit() and len(number) < 6 and int(number) < len(classes)):
        raise RefusedError("error_guess")
    return classes[int(number)]


def _level(text: str, status: int = 400) -> int:
    if text not in map(str, range(HIGHEST_LEVEL + 1)):
        raise RefusedError("error_level", status)
    return int(text)


def show_statistics(visit: Visit) -> "Response":
    """What the player has played."""
    return page(visit, "statistics", totals=_rounds.totals(visit.store, _player(visit)))


def show_leaderboard(visit: Visit) -> "Response":
    """Who has the most points."""
    return page(visit, "leaderboard", ranking=_rounds.leaderboard(visit.store, _player(visit)))


# The practice round, of which nothing is kept


def practice(visit: Visit) -> "Response":
    """The practice round, as it begins."""
    return _practice_form(visit, 0)


def _practice_form(visit: Visit, level: int, refused: RefusedError | None = None) -> "Response":
    names = {known: visit.say(f"practice_{known}") for known in PRACTICE_CLASSES}
    return _form(visit, "/practice", level, names, refused)


def practise(visit: Visit) -> "Response":
    """What `answer` is for a round, for the practice round."""
    level, action, guess = _level(visit.field("level")), visit.field("action"), visit.field("guess") or None
    try:
        if action == "more":
            return _practice_form(visit, min(level + 1, HIGHEST_LEVEL))
        if action not in ("guess", "resign"):
            raise RefusedError("error_form")
        labels = checked_labels(visit.form.get("label", []))
        guess = guess if action == "guess" else None
        if guess not in (*PRACTICE_CLASSES, None) or (action == "guess" and guess is None):
            raise RefusedError("error_no_guess")
    except RefusedError as refused:
        return _practice_form(visit, level, refused)
    truth = visit.say(f"practice_{PRACTICE_TRUTH}")
    outcome = outcome_of(PRACTICE_TRUTH, guess)
    counted = accepted(labels, [truth]) if outcome == "win" else ()
    points = points_of(outcome, level, counted)
    ended = {"outcome": outcome, "level": level, "points": points, "labels": labels}
    named = guess and visit.say(f"practice_{guess}")
    values = {"truth": truth, "guess": named, "late": False, "counted": counted, "practice": True}
    return page(visit, "result", base="/practice", ended=ended, **values)


def practice_view(visit: Visit) -> "Response":
    """The practice picture at a reveal level, of which none is kept from anybody."""
    return picture(practice_webp(_level(visit.request.path_params["level"], 404)))


def whole_practice(_visit: Visit) -> "Response":
    """The whole practice picture."""
    return picture(practice_webp(None))
