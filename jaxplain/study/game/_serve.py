"""The game on a port."""

import contextlib
import os
import socket
from collections.abc import Callable

from jaxplain.study._store import Store, kept_target
from jaxplain.study.game._app import game

_OPEN = 8192  # connections and files, where the system allows as many


def serve(
    store: Store,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    target: int | None = None,
    ready: Callable[[], None] = lambda: None,
) -> None:
    """Serves the game of a study until the process is ended, to this machine alone unless another `host` is given.

    `target`, the plays of each cluster, is kept in the study; by default it is what was kept, or 5. ready() is called
    when the port is had. What a proxy on this machine forwards is read from its X-Forwarded headers. Requests are not
    logged: their addresses may be invitations. ValueError for a host or port that cannot be had, and without uvicorn.

        with opened(load_study("study")) as store:
            serve(store, port=8080)
    """
    app = game(store, kept_target(store, target))
    try:
        import uvicorn
    except ImportError as error:
        raise ValueError('The game needs uvicorn: pip install "jaxplain[study]".') from error
    _allow_connections()
    with _listening(host, port) as listening:
        ready()
        config = uvicorn.Config(
            app, log_level="warning", access_log=False, server_header=False, timeout_graceful_shutdown=5
        )
        uvicorn.Server(config).run(sockets=[listening])


def _listening(host: str, port: int) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=1024)
    except (OSError, OverflowError) as error:
        number = getattr(error, "errno", None) or 0
        reason = os.strerror(number) if number > 0 else error  # names that are not found have negative ones
        raise ValueError(f"{host}:{port} cannot be served on ({reason}): give another --host or --port.") from error


def _allow_connections() -> None:
    """As many as the system allows: each is an open file, of which shells allow 1024."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft != resource.RLIM_INFINITY and soft < _OPEN:
            wanted = _OPEN if hard == resource.RLIM_INFINITY else min(_OPEN, hard)
            resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
