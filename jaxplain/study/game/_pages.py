"""What every page of the game has: who asks for it, in which language, and the headers that keep it safe."""

import hashlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from jaxplain.study._store import Store
from jaxplain.study.game._limits import Form
from jaxplain.study.game._players import Player
from jaxplain.study.game._texts import Texts

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

LANGUAGE = "language"  # a cookie

_RIGHT_TO_LEFT = ("ar", "ckb", "dv", "fa", "he", "ps", "sd", "ug", "ur", "yi")
_YEAR = 365 * 24 * 3600
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; img-src 'self'; style-src 'self'; script-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",  # an invitation's address stays here; without any, browsers hide the origin too
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


class Visit(NamedTuple):
    """A request: of the player who is signed in, if any, in a language, with the fields of a form."""

    store: Store
    request: "Request"
    form: Form
    player: Player | None
    language: str
    texts: Texts
    say: Callable[..., str]
    render: Callable[..., str]

    def field(self, name: str) -> str:
        """The first value of a field, "" without one."""
        return self.form.get(name, [""])[0]

    def named(self, known: str) -> str:
        """What players know a class by, in the language of the visit."""
        names = self.store.study.names.get(known, {})
        return names.get(self.language) or names.get("en") or known

    @property
    def direction(self) -> str:
        """That in which the language is written, "ltr" or "rtl"."""
        return "rtl" if self.language.split("-")[0] in _RIGHT_TO_LEFT else "ltr"


def session_of(store: Store) -> str:
    """The name of the session's cookie: another one for each study, since cookies are those of all ports of a host."""
    return f"session-{hashlib.sha256(store.study.images[0].id.encode()).hexdigest()[:8]}"


def environment() -> Any:
    """The templates, in which every value is escaped."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    loader = PackageLoader("jaxplain.study.game", "pages")
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)


def page(visit: Visit, template: str, status: int = 200, /, **values: Any) -> "Response":
    """A page that is not kept in caches, since it is one player's."""
    from starlette.responses import HTMLResponse

    shown = visit.render(f"{template}.html", {"visit": visit, "say": visit.say, **values})
    return HTMLResponse(shown, status, _UNCACHED)


def picture(content: bytes) -> "Response":
    """A picture, which the player's own browser may keep for a while."""
    from starlette.responses import Response

    return Response(content, media_type="image/webp", headers={"Cache-Control": "private, max-age=600"})


def go_to(path: str) -> "Response":
    """Sends the browser on, by a GET request."""
    from starlette.responses import RedirectResponse

    return RedirectResponse(path, 303, _UNCACHED)


def with_cookie(visit: Visit, response: "Response", name: str, value: str, seconds: int = _YEAR) -> "Response":
    """The response with a cookie that no script reads and no other site sends; over https alone where that is used."""
    secure = visit.request.url.scheme == "https"
    response.set_cookie(name, value, max_age=seconds, httponly=True, samesite="lax", secure=secure)
    return response


def with_headers(app: Any) -> Any:
    """The ASGI application with HEADERS in each of its answers, those to its own faults too."""
    headers = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]

    async def answered(scope: Any, receive: Any, send: Any) -> None:
        async def sent(message: Any) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), *headers]}
            await send(message)

        await app(scope, receive, sent)

    return answered


_UNCACHED: Mapping[str, str] = {"Cache-Control": "no-store"}
