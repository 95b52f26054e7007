"""What the pages for signing up, in and out answer."""

import ipaddress
from collections.abc import Mapping
from typing import TYPE_CHECKING

from jaxplain.study.game import _players, _rules
from jaxplain.study.game._limits import Limit
from jaxplain.study.game._pages import Visit, go_to, page, session_of, with_cookie
from jaxplain.study.game._playing import resumed
from jaxplain.study.game._rules import RefusedError

if TYPE_CHECKING:
    from starlette.responses import Response

Limits = Mapping[str, Limit]


def sign_up(limits: Limits, visit: Visit) -> "Response":
    """A new player with a password, who is shown the instructions; or the form again, with what is wrong."""
    name = visit.field("name")
    try:
        if not limits["sign_up"].allowed(_address(visit)):
            raise RefusedError("error_attempts", 429)
        return _welcome(visit, _players.sign_up(visit.store, name, visit.field("password")))
    except RefusedError as refused:
        return _account(visit, "/sign-up", name, refused)


def log_in(limits: Limits, visit: Visit) -> "Response":
    """Of an address, of a name, and of both only so many attempts may fail."""
    name = visit.field("name")
    keys = _keys(visit, name)
    try:
        allowed = [limits[kind].allowed(key) for kind, key in keys.items()]  # each is counted
        if not all(allowed):
            raise RefusedError("error_attempts", 429)
        player = _players.log_in(visit.store, name, visit.field("password"))
        if player is None:
            raise RefusedError("error_password_wrong", 401)
        for kind, key in keys.items():
            limits[kind].forgiven(key)
        return _signed_in(visit, player, resumed(visit._replace(player=player)))
    except RefusedError as refused:
        return _account(visit, "/log-in", name, refused)


def _keys(visit: Visit, name: str) -> dict[str, str]:
    """What attempts to log in are counted by."""
    address, account = _address(visit), _rules.account_of(name)
    return {"log_in": address, "account": account, "account_at": f"{address} {account}"}


def invitation(visit: Visit) -> "Response":
    """The page that an invitation leads to."""
    there, player = _players.invited(visit.store, visit.request.path_params["token"])
    if not there:
        raise RefusedError("error_invitation", 404)
    return page(visit, "join", invited=player, name="", error=None)


def join(limits: Limits, visit: Visit) -> "Response":
    """The player of an invitation signed in, who is new the first time."""
    token, name = visit.request.path_params["token"], visit.field("name")
    try:
        if not limits["sign_up"].allowed(_address(visit)):
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
    back = visit.field("back")
    return page(visit, "account", refused.status, action=action, name=name[:200], error=error, back=back)


def _welcome(visit: Visit, player: _players.Player) -> "Response":
    return _signed_in(visit, player, go_to("/instructions"))


def _signed_in(visit: Visit, player: _players.Player, response: "Response") -> "Response":
    session = _players.new_session(visit.store, player)
    return with_cookie(visit, response, session_of(visit.store), session, _players.SESSION)


def log_out(visit: Visit) -> "Response":
    """The start, without a session."""
    name = session_of(visit.store)
    _players.end_session(visit.store, visit.request.cookies.get(name))
    response = go_to("/")
    response.delete_cookie(name)
    return response


def _address(visit: Visit) -> str:
    """Whence a request comes; of IPv6 the network, since a single customer has all of its addresses."""
    host = visit.request.client.host if visit.request.client else ""
    try:
        return str(ipaddress.IPv6Network((host, 64), strict=False))
    except ValueError:  # of IPv4, or a name
        return host
