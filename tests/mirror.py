"""A web server on this machine that has one file and sends it well or badly, and published sets of weights to get."""

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

from jaxplain.models import _registry
from jaxplain.weights_convert import _published


class Mirror(NamedTuple):
    """The server's address, under which `url/WAY` sends the file in one of the ways, and the paths asked for so far."""

    url: str
    asked: list[str]


class Handler(BaseHTTPRequestHandler):
    """Answers with `body` in the way that the path names."""

    def __init__(self, body, asked, closing, *args):
        self.body, self.asked, self.closing = body, asked, closing
        super().__init__(*args)

    def do_GET(self):
        self.asked.append(self.path)
        try:
            getattr(self, self.path.strip("/"))()
        except ConnectionError:  # the other side has heard enough
            self.close_connection = True

    def log_message(self, *_):
        pass

    def answer(self, status=200, **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()

    def whole(self):
        self.answer(Content_Length=len(self.body))
        self.wfile.write(self.body)

    def without_length(self):
        self.answer()
        self.wfile.write(self.body)

    def truncated(self):
        self.answer(Content_Length=len(self.body))
        self.wfile.write(self.body[:100_000])

    def corrupted(self):
        self.answer(Content_Length=len(self.body))
        self.wfile.write(self.body[:-1] + bytes([self.body[-1] ^ 1]))

    def stalled(self):
        self.truncated()
        self.wfile.flush()
        self.closing.wait()

    def silent(self):
        self.closing.wait()

    def moved(self):
        self.answer(302, Location="/whole", Content_Length=0)

    def moved_in_circles(self):
        self.answer(302, Location="/moved_in_circles", Content_Length=0)

    def moved_to_a_file(self):
        self.answer(302, Location="file:///etc/hostname", Content_Length=0)

    def moved_to_ftp(self):
        self.answer(302, Location="ftp://127.0.0.1/whole", Content_Length=0)

    def endless(self):
        self.answer()
        while not self.closing.is_set():
            self.wfile.write(bytes(65_536))

    def enormous(self):
        self.answer(Content_Length=3 * 1024**3)
        self.wfile.write(self.body)

    def missing(self):
        self.send_error(404)

    def garbled(self):
        self.wfile.write(b"what is asked of me?\r\n\r\n")


@contextmanager
def mirror(body: bytes) -> Iterator[Mirror]:
    """The server, as long as it lasts."""
    asked, closing = [], threading.Event()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, body, asked, closing)) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield Mirror(f"http://127.0.0.1:{server.server_port}", asked)
        finally:
            closing.set()
            server.shutdown()
            thread.join()


def publish(monkeypatch, body: bytes, url: str | None, name: str = "IMAGENET1K_V2") -> _published.Published:
    """EfficientNet-Lite0 with a second published set, whose file is `body` at `url`; images are resized to 232."""
    first = _registry.architecture("efficientnet_lite0")
    file = f"lite0-{hashlib.sha256(body).hexdigest()[:8]}.pth"
    sets = _published.published("efficientnet_lite0")
    row = _published.Published(name, file, {**sets[0].preprocessing, "resize": 232}, url=url)
    monkeypatch.setitem(_published.PUBLISHED, "efficientnet_lite0", (*sets, row))
    changed = first._replace(published=(*first.published, row))
    rows = tuple(changed if row is first else row for row in _registry._ARCHITECTURES)
    monkeypatch.setattr(_registry, "_ARCHITECTURES", rows)
    return row
