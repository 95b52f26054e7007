"""What the game takes from the network: small forms of its own pages, and not too many."""

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import parse_qs, urlsplit

from jaxplain.study.game._rules import RefusedError

if TYPE_CHECKING:
    from starlette.requests import Request

Form = Mapping[str, list[str]]

MOST_BYTES = 64_000  # of a form
_MOST_FIELDS = 50
_FORM = "application/x-www-form-urlencoded"


class Limit(NamedTuple):
    """`allowed(key)` counts an attempt unless it is one too many, and says so; `forgiven(key)` takes one back."""

    allowed: Callable[[str], bool]
    forgiven: Callable[[str], None]


def limit(most: int, seconds: float | int, clock: Callable[[], float] = time.monotonic) -> Limit:
    """At most `most` attempts with a key within `seconds`.

    log_in = limit(2, 60)
    log_in.allowed("ada"), log_in.allowed("ada"), log_in.allowed("ada")     # (True, True, False)
    """
    calls: dict[str, deque[float]] = {}
    lock, swept = threading.Lock(), [clock()]

    def forget_old(now: float) -> None:
        if now >= swept[0] + seconds:
            swept[0] = now
            for key in [key for key, times in calls.items() if not times or times[-1] <= now - seconds]:
                del calls[key]

    def allowed(key: str) -> bool:
        with lock:
            now = clock()
            forget_old(now)
            times = calls.setdefault(key, deque(maxlen=most))
            if len(times) == most and times[0] > now - seconds:
                return False
            times.append(now)
            return True

    def forgiven(key: str) -> None:
        with lock:
            if calls.get(key):
                calls[key].pop()

    return Limit(allowed, forgiven)


def same_origin(headers: Mapping[str, str]) -> bool:
    """Whether a browser sends this from a page of the same host; what is no browser has neither header."""
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site is not None:
        return site in ("same-origin", "none")
    try:
        return origin is None or urlsplit(origin).netloc == headers.get("host")
    except ValueError:  # no address
        return False


async def form_of(request: "Request") -> Form:
    """The fields of a form that is sent; RefusedError for one that is too large or of another kind."""
    kind = request.headers.get("content-type", _FORM).split(";")[0].strip().lower()
    if kind != _FORM:
        raise RefusedError("error_form", 415)
    body, size = [], 0
    async for chunk in request.stream():
        body.append(chunk)
        size += len(chunk)
        if size > MOST_BYTES:
            raise RefusedError("error_size", 413)
    try:
        text = b"".join(body).decode("utf-8")
        return parse_qs(text, keep_blank_values=True, max_num_fields=_MOST_FIELDS, errors="strict")
    except ValueError as error:
        raise RefusedError("error_form") from error
