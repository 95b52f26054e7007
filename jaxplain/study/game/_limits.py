"""What the game takes from the network: small forms of its own pages, and not too many."""

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

from jaxplain.study.game._rules import RefusedError

if TYPE_CHECKING:
    from starlette.requests import Request

Form = Mapping[str, list[str]]

MOST_BYTES = 64_000  # of a form
_MOST_FIELDS = 50
_FORM = "application/x-www-form-urlencoded"
_MOST_KEYS = 10_000  # of a limit, from which on those are forgotten whose time has passed


def limit(most: int, seconds: float | int, clock: Callable[[], float] = time.monotonic) -> Callable[[str], bool]:
    """A function of a key that says whether it was called at most `most` times with it within `seconds`.

    allowed = limit(2, 60)
    allowed("ada"), allowed("ada"), allowed("ada")              # (True, True, False)
    """
    calls: dict[str, deque[float]] = {}
    lock = threading.Lock()

    def allowed(key: str) -> bool:
        with lock:
            now = clock()
            if len(calls) >= _MOST_KEYS:
                for old in [old for old, times in calls.items() if times[-1] <= now - seconds]:
                    del calls[old]
            times = calls.setdefault(key, deque(maxlen=most))
            if len(times) == most and times[0] > now - seconds:
                return False
            times.append(now)
            return True

    return allowed


def same_origin(headers: Mapping[str, str]) -> bool:
    """Whether a browser sends this from a page of the same host; what is no browser has neither header."""
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site is not None:
        return site in ("same-origin", "none")
    return origin is None or urlsplit(origin).netloc == headers.get("host")


async def form_of(request: "Request") -> Form:
    """The fields of a form that is sent; Refused for one that is too large or of another kind."""
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
