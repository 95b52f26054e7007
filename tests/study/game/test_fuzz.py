"""Requests that no page of the game makes: whatever comes, the answer is plain, and the store stays whole."""

import re
from typing import Any, cast
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jaxplain.study import rounds, stored_plays
from jaxplain.study._store import row, rows
from jaxplain.study.game._pages import session_of
from jaxplain.study.game._players import new_session, player_of

pytest.importorskip("starlette", reason="the extra study is not installed")
pytestmark = pytest.mark.slow

MARK = "<i onload=x>"  # which no page has of itself
HARD = [
    MARK,
    "' OR 1=1 --",
    "../../etc/passwd",
    "\x00",
    "\u202e",
    "%s%n",
    "{{7*7}}",
    "-1",
    "0",
    "1",
    "9" * 30,
    "\u00e9",
]
TEXTS = st.one_of(st.text(max_size=40), st.sampled_from(HARD))
FOLDERS = ["rounds", "join", "practice", "static", "log-in", "sign-up", "log-out", "language", "statistics", ".."]
FILES = ["TOKEN", "0.webp", "5.webp", "picture.webp", "game.css", "-1.webp", "99999999999999999999.webp", ""]
SEGMENTS = st.one_of(st.sampled_from(FOLDERS), st.sampled_from(FILES), TEXTS)
PAGES = st.sampled_from(
    ["rounds/TOKEN"] * 4 + ["rounds/TOKEN/0.webp", "log-in", "sign-up", "join/x", "language", "practice"]
)
PATHS = st.one_of(st.lists(SEGMENTS, max_size=4), PAGES.map(lambda page: page.split("/")))
FIELDS = st.sampled_from(["action", "level", "guess", "label", "name", "password", "language", "back", "other"])
VALUES = st.one_of(TEXTS, st.sampled_from(["guess", "more", "resign", "it", "en", "ada", "/about", "//evil.example"]))
ANSWERS = st.sampled_from([[("action", "resign")], [("action", "guess"), ("guess", "1"), ("label", MARK)]])
FORMS = st.one_of(st.lists(st.tuples(FIELDS, VALUES), max_size=60), ANSWERS)
NAMES = ["accept-language", "origin", "sec-fetch-site", "content-type", "cookie", "x-forwarded-for", "host"]
PRINTABLE = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=60)
ORIGINS = st.just("http://testserver")
HEADERS = st.one_of(st.just({}), st.dictionaries(st.sampled_from(NAMES), st.one_of(PRINTABLE, ORIGINS), max_size=3))
METHODS = st.sampled_from(["GET", *["POST"] * 4, "HEAD", "PUT", "DELETE", "OPTIONS"])


def test_any_request(browser, store):
    """1,000 of them, by a player and by nobody, each to the player's own round as it may be."""
    player, nobody = browser("ada", raise_server_exceptions=False), browser(None, raise_server_exceptions=False)
    ada: Any = player_of(store, player.cookies[session_of(store)])
    found = {"requests": 0, "ended": 0}

    @settings(
        max_examples=1000,
        deadline=None,
        derandomize=True,
        suppress_health_check=cast(Any, [*HealthCheck]),
        database=None,
    )
    @given(st.booleans(), METHODS, PATHS, FORMS, HEADERS, st.binary(max_size=200), st.booleans())
    def send(signed_in, method, segments, form, headers, body, with_form):
        client = player if signed_in else nobody
        player.cookies.set(session_of(store), new_session(store, ada))  # the last request may have ended it
        location = player.post("/rounds").headers.get("location", "/rounds/none")
        path = "/".join("" if part is None else quote(part, safe="") for part in segments)
        path = path.replace("TOKEN", location.removeprefix("/rounds/"))  # or /done, when all are played
        before = stored_plays(store)
        given = {"data": {}} if with_form else {"content": body}
        if with_form:
            for name, value in form:
                given["data"].setdefault(name, []).append(value.encode(errors="replace").decode())
        answer = client.request(method, f"http://testserver/{path}", headers=headers, **given)
        found["requests"] += 1
        assert answer.status_code < 500, answer.text
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert MARK not in answer.text
        assert not re.search(r"Traceback|sqlite3|jaxplain", answer.text)
        after = stored_plays(store)
        assert after[: len(before)] == before  # nothing that was answered changes
        assert len(after) <= len(before) + 1
        assert not (len(after) > len(before) and (method != "POST" or not signed_in))
        found["ended"] = len(after)

    send()
    assert found["requests"] >= 1000
    assert 0 < found["ended"] <= len(rounds(store.study))
    assert row(store, "PRAGMA integrity_check")[0] == "ok"
    assert rows(store, "PRAGMA foreign_key_check") == []
