"""The game as a web application: its addresses, and what each answers."""

import sqlite3
from collections.abc import Callable, Mapping
from functools import partial
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from jaxplain.study._store import TARGET, Store
from jaxplain.study.game import _accounts, _players, _playing, _rounds
from jaxplain.study.game._limits import form_of, limit, same_origin
from jaxplain.study.game._pages import (
    LANGUAGE,
    Visit,
    environment,
    go_to,
    page,
    session_of,
    with_cookie,
    with_headers,
)
from jaxplain.study.game._rules import RefusedError
from jaxplain.study.game._texts import FOLDER, language_for, read_texts, speaking

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

Handler = Callable[[Visit], "Response"]

_WINDOW = 10 * 60  # seconds, in which an address and a name have so many attempts
_ATTEMPTS = {"sign_up": 200, "log_in": 100, "account": 100, "account_at": 10}


def game(store: Store, target: int = TARGET) -> Any:
    """The game of a study, in which every cluster is to be played `target` times, as an ASGI application.

    ValueError where Starlette or Jinja2 is missing, and for languages in the study's folder that cannot be read.

        with opened(load_study("study")) as store:
            app = game(store)                       # for any ASGI server; `serve` has one
    """
    try:
        from starlette.applications import Starlette
        from starlette.staticfiles import StaticFiles

        render = environment().get_template
    except ImportError as error:
        raise ValueError('The game needs Starlette and Jinja2: pip install "jaxplain[study]".') from error
    texts = read_texts(store.study.folder / FOLDER)
    visited = partial(_visited, store, texts, lambda template, values: render(template).render(values))
    app = Starlette(
        routes=_routes(visited, target),
        exception_handlers={
            404: visited(partial(_message, RefusedError("error_page", 404))),
            405: visited(partial(_message, RefusedError("error_form", 405))),
            Exception: visited(partial(_message, RefusedError("error_server", 500))),
        },
    )
    app.mount("/static", StaticFiles(directory=str(files("jaxplain.study.game") / "static")))
    return with_headers(app)


def _routes(visited: Callable[[Handler], Any], target: int) -> list[Any]:
    from starlette.routing import Route

    limits = {name: limit(most, _WINDOW) for name, most in _ATTEMPTS.items()}
    pages: Mapping[str, Handler] = {
        "/": _home,
        "/about": partial(_shown, "about"),
        "/instructions": partial(_shown, "instructions"),
        "/forgotten": partial(_shown, "forgotten"),
        "/practice": _playing.practice,
        "/practice/picture.webp": _playing.whole_practice,
        "/practice/{level}.webp": _playing.practice_view,
        "/sign-up": partial(_shown, "account", action="/sign-up", name="", error=None, back=""),
        "/log-in": partial(_shown, "account", action="/log-in", name="", error=None, back=""),
        "/join/{token}": _accounts.invitation,
        "/rounds/{token}": _for_players(_playing.show_round),
        "/rounds/{token}/picture.webp": _for_players(_playing.round_picture),
        "/rounds/{token}/{level}.webp": _for_players(_playing.round_view),
        "/rounds": lambda _visit: go_to("/"),  # a page that answered a form may be asked for again
        "/done": _for_players(partial(_shown, "done")),
        "/statistics": _for_players(_playing.show_statistics),
        "/leaderboard": _for_players(_playing.show_leaderboard),
    }
    forms: Mapping[str, Handler] = {
        "/practice": _playing.practise,
        "/sign-up": partial(_accounts.sign_up, limits),
        "/log-in": partial(_accounts.log_in, limits),
        "/join/{token}": partial(_accounts.join, limits),
        "/log-out": _accounts.log_out,
        "/language": _speak,
        "/rounds": _for_players(partial(_playing.deal, target)),
        "/rounds/{token}": _for_players(_playing.answer),
    }
    return [
        *(Route(path, visited(handler), methods=["GET"]) for path, handler in pages.items()),
        *(Route(path, visited(handler), methods=["POST"]) for path, handler in forms.items()),
    ]


def _visited(store: Store, texts: Any, render: Callable[..., str], handler: Handler) -> Any:
    """The endpoint of a handler, which runs in a thread: it may wait for the disk, or for a hash."""
    from starlette.concurrency import run_in_threadpool

    def answered(visit: Visit) -> "Response":
        try:
            player = _players.player_of(store, visit.request.cookies.get(session_of(store)))
            visit = visit._replace(player=player)
            return handler(visit)
        except RefusedError as refused:
            return _message(refused, visit)
        except sqlite3.Error:  # a full disk, say: nothing was changed
            return _message(RefusedError("error_store", 503), visit)

    async def endpoint(request: "Request", _error: Exception | None = None) -> "Response":
        language = language_for(texts, request.cookies.get(LANGUAGE), request.headers.get("accept-language", ""))
        visit = Visit(store, request, {}, None, language, texts, speaking(texts, language), render)
        try:
            if request.method == "POST" and _error is None:
                if not same_origin(request.headers):
                    raise RefusedError("error_origin", 403)
                visit = visit._replace(form=await form_of(request))
        except RefusedError as refused:
            return _message(refused, visit)
        return await run_in_threadpool(answered, visit)

    return endpoint


def _for_players(handler: Handler) -> Handler:
    """The handler for players; others are asked who they are."""

    def handled(visit: Visit) -> "Response":
        if visit.player is not None:
            return handler(visit)
        error, back = visit.say("error_session"), visit.request.url.path
        return page(visit, "account", 401, action="/log-in", name="", error=error, back=back)

    return handled


def _shown(template: str, visit: Visit, /, **values: Any) -> "Response":
    return page(visit, template, **values)


def _message(refused: RefusedError, visit: Visit) -> "Response":
    return page(visit, "message", refused.status, text=visit.say(refused.key, **refused.values))


def _home(visit: Visit) -> "Response":
    return page(visit, "home", totals=_rounds.totals(visit.store, visit.player) if visit.player else None)


def _speak(visit: Visit) -> "Response":
    """Another language, on the page from which it was asked for."""
    wanted, back = visit.field("language"), visit.field("back")
    if wanted not in visit.texts:
        raise RefusedError("error_form")
    path = back if back.startswith("/") and not back.startswith(("//", "/\\")) and back.isprintable() else "/"
    return with_cookie(visit, go_to(path), LANGUAGE, wanted)
