"""A labelling study served by a process of its own."""

import contextlib
import socket
import subprocess
import sys
import time

import httpx2

_SERVE = """
import sys
from jaxplain.study import load_study, opened
from jaxplain.study.game import serve
with opened(load_study(sys.argv[1])) as store:
    serve(store, port=int(sys.argv[2]), target=1000)
"""


@contextlib.contextmanager
def served(study, port):
    """The address of a server, which is killed at the end."""
    server = subprocess.Popen([sys.executable, "-c", _SERVE, str(study.folder), str(port)])
    base = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            with contextlib.suppress(httpx2.TransportError):
                httpx2.get(base)
                break
            assert server.poll() is None
            time.sleep(0.1)
        yield base
    finally:
        server.kill()
        server.wait()


def free_port():
    """A port that nothing listens on."""
    with socket.create_server(("127.0.0.1", 0)) as one:
        return one.getsockname()[1]
