"""A server that is killed at any moment has kept every answer that it acknowledged; and many idle connections."""

import contextlib
import random
import re
import socket
import threading
import time

import pytest

from jaxplain.study import opened, stored_plays
from jaxplain.study._store import FILE, row, rows

httpx2 = pytest.importorskip("httpx2", reason="httpx2 is not installed")
pytest.importorskip("uvicorn", reason="the extra study is not installed")
from serving import free_port, served

pytestmark = pytest.mark.slow

KILLS = 40


@pytest.fixture
def study(made):
    for path in made.folder.glob(f"{FILE}*"):
        path.unlink()
    return made


def play_on(base, name, acknowledged, stop):
    """Plays rounds until the server is gone, and notes what it has acknowledged: (player, guess, label)."""
    with contextlib.suppress(httpx2.TransportError), httpx2.Client(base_url=base) as client:
        assert client.post("/sign-up", data={"name": name, "password": "correct horse"}).status_code == 303
        for number in range(1000):
            path = client.post("/rounds").headers.get("location")
            if path is None or stop.is_set():
                return
            client.post(path, data={"action": "more", "level": 0})
            label = f"{name} {number}"
            if client.post(path, data={"action": "guess", "guess": number % 4, "label": label}).status_code == 303:
                acknowledged.append((name, label))


def test_no_acknowledged_answer_is_lost(study):
    """Five times: players in eight threads, new ones whenever one has had all rounds, until SIGKILL at some moment."""
    acknowledged, chance, port = [], random.Random(0), free_port()
    for kill in range(KILLS):
        with served(study, port) as base:
            stop = threading.Event()

            def play(thread, kill=kill, base=base, stop=stop):
                for number in range(100):
                    if not stop.is_set():
                        play_on(base, f"player {kill} {thread} {number}", acknowledged, stop)

            threads = [threading.Thread(target=play, args=(thread,)) for thread in range(8)]
            for thread in threads:
                thread.start()
            time.sleep(1 + chance.random())
        stop.set()
        for thread in threads:
            thread.join()
        with opened(study) as store:
            assert row(store, "PRAGMA integrity_check")[0] == "ok"
            assert rows(store, "PRAGMA foreign_key_check") == []
            kept = {(play.player, *play.labels) for play in stored_plays(store)}
        assert {*acknowledged} <= kept
        assert len(kept) - len({*acknowledged}) <= 8 * (kill + 1)  # whose answers were on their way
    assert len(acknowledged) > 50


def test_a_thousand_idle_connections_keep_no_one_out(study):
    port = free_port()
    with served(study, port) as base:
        idle = [socket.create_connection(("127.0.0.1", port)) for _ in range(900)]
        half = [socket.create_connection(("127.0.0.1", port)) for _ in range(100)]
        for one in half:
            one.sendall(b"POST /log-in HTTP/1.1\r\nhost: x\r\ncontent-length: 50000\r\n\r\nname=")
        started = time.monotonic()
        with httpx2.Client(base_url=base, timeout=20) as client:
            assert client.post("/sign-up", data={"name": "ada", "password": "correct horse"}).status_code == 303
            path = client.post("/rounds").headers["location"]
            assert re.search("Show more", client.get(path).text)
            assert client.post(path, data={"action": "resign"}).status_code == 303
        assert time.monotonic() - started < 10
        for one in idle + half:
            one.close()
    with opened(study) as store:
        assert [play.outcome for play in stored_plays(store)] == ["resign"]
