"""What the pages for signing up, in and out answer."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from jaxplain.study.game import _players
from jaxplain.study.game._pages import SESSION, Visit, go_to, page, with_cookie
from jaxplain.study.game._rules import RefusedError

if TYPE_CHECKING:
    from starlette.responses import Response

Attempts = Mapping[str, Callable[[str], bool]]


def sign_up(attempts: Attempts, visit: Visit) -> "Response":
    name = visit.field("name")
    try:
        if not attempts["sign_up"](_address(visit)):
            raise RefusedError("error_attempts", 429)
        return _welcome(visit, _players.sign_up(visit.store, name, visit.field("password")))
    except RefusedError as refused:
        return _account(visit, "/sign-up", name, refused)


def log_in(attempts: Attempts, visit: Visit) -> "Response":
    """Of an address and of a name only so many attempts are allowed, right or wrong."""
    name = visit.field("name")
    try:
        if not (attempts["log_in"](_address(visit)) and attempts["account"](f"{_address(visit)} {name[:100]}")):
            raise RefusedError("error_attempts", 429)
        player = _players.log_in(visit.store, name, visit.field("password"))
        if player is None:
            raise RefusedError("error_password_wrong", 401)
        return _welcome(visit, player, "/")
    except RefusedError as refused:
        return _account(visit, "/log-in", name, refused)


def invitation(visit: Visit) -> "Response":
    there, player = _players.invited(visit.store, visit.request.path_params["token"])
    if not there:
        raise RefusedError("error_invitation", 404)
    return page(visit, "join", invited=player, name="", error=None)


def join(attempts: Attempts, visit: Visit) -> "Response":
    token, name = visit.request.path_params["token"], visit.field("name")
    try:
        if not attempts["sign_up"](_address(visit)):
            raise RefusedError("error_attempts", 429)
        return _welcome(visit, _players.accept(visit.store, token, name))
    except RefusedError as refused:
        if refused.status == 404:
            raise
        error = visit.say(refused.key, **refused.values)
        return page(visit, "join", refused.status, invited=None, name=name, error=error)


def _account(visit: Visit, action: str, name: str, refused: RefusedError) -> "Response":
    """The form again, with what is wrong."""
    error = visit.say(refused.key, **refused.values)
    return page(visit, "account", refused.status, action=action, name=name[:200], error=error)


def _welcome(visit: Visit, player: _players.Player, path: str = "/instructions") -> "Response":
    session = _players.new_session(visit.store, player)
    return with_cookie(visit, go_to(path), SESSION, session, _players.SESSION)


def log_out(visit: Visit) -> "Response":
    _players.end_session(visit.store, visit.request.cookies.get(SESSION))
    response = go_to("/")
    response.delete_cookie(SESSION)
    return response


def _address(visit: Visit) -> str:
    return visit.request.client.host if visit.request.client else ""
