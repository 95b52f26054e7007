"""The command as a process: signals, full and closed streams, platforms that are not there."""

import contextlib
import io
import signal
import subprocess
import sys
import time
from pathlib import Path
from unittest import mock

import jax
import numpy as np
import pytest
from PIL import Image

from jaxplain._program import Stream
from jaxplain.cli import run as run_here

DEAF = """
import time
from jaxplain import _program
_program.end_by_signals(lambda: print("clean", flush=True))
print("ready", flush=True)
while True:
    try:
        time.sleep(60)
    except BaseException:
        pass
"""


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_what_swallows_exceptions(number, status, started):
    with started([sys.executable, "-c", DEAF]) as process:
        assert process.stdout.readline() == "ready\n"  # pyright: ignore[reportOptionalMemberAccess] a pipe
        process.send_signal(number)
        assert process.communicate(timeout=30) == ("clean\n", "")
    assert process.returncode == status


@pytest.mark.parametrize(("wait", "number"), [(0.0, signal.SIGTERM), (1.5, signal.SIGINT)], ids=["import", "compile"])
def test_a_signal_ends_the_command_while_it_imports_and_compiles(wait, number, program_path, tmp_path, started):
    with started([program_path, "explain", "sample:chelsea", "--method", "rise", "--out", tmp_path]) as process:
        maps = Path(f"/proc/{process.pid}/maps")  # jaxlib is loaded
        while "jaxlib" not in maps.read_text():
            time.sleep(0.02)
        time.sleep(wait)
        process.send_signal(number)
        start = time.monotonic()
        _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (128 + number, "")
    assert time.monotonic() - start < 10  # a tenth of a second where nothing else runs
    assert list(tmp_path.iterdir()) == []


def test_a_full_stdout_loses_only_what_is_printed(tiny, tmp_path):
    for name in "ab":
        Image.fromarray(np.full((20, 20, 3), 90, np.uint8)).save(tmp_path / f"{name}.png")
    network = "--model", "tiny", "--weights", str(tiny), "--method", "random", "--out", str(tmp_path / "out")
    command = ["jaxplain", "explain", str(tmp_path / "a.png"), str(tmp_path / "b.png"), *network]
    err = io.StringIO()
    with (
        open("/dev/full", "w") as full,
        mock.patch.object(sys, "argv", command),
        contextlib.redirect_stdout(full),
        contextlib.redirect_stderr(err),
        pytest.raises(SystemExit) as ended,
    ):
        run_here()
    assert ended.value.code == 1
    (said,) = [line for line in err.getvalue().splitlines() if line.startswith("jaxplain: ")]
    assert said.startswith("jaxplain: What is printed is not complete (No space left on device)")
    assert len(list((tmp_path / "out").iterdir())) == 6


def test_closed_streams(program_path):
    def shell(redirection):
        done = subprocess.run(
            ["sh", "-c", f'"$0" explain nix.jpg {redirection}', program_path],
            capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip
        return done.returncode, done.stdout, done.stderr

    assert shell("2>&-") == (2, "", "")
    assert shell("2>/dev/full") == (2, "", "")
    status, out, err = shell(">&-")
    assert (status, out) == (2, "")
    assert err.count("\n") == 2
    assert "nix.jpg" in err
    assert "not complete (it is closed)" in err


def test_a_stream_keeps_its_first_error(tmp_path):
    with open(tmp_path / "text", "w", encoding="ascii") as file:
        stream = Stream(file)
        assert stream.write("é") == 1
        assert stream.error is None
        assert not stream.lost
    assert (tmp_path / "text").read_text() == r"\xe9"
    closed = Stream(None)
    assert closed.error is not None
    assert not closed.lost
    closed.write("a note")
    assert closed.lost


@pytest.mark.parametrize("error", [AssertionError(), RuntimeError("Unable to initialize backend 'cuda'.\nmore")])
def test_a_platform_that_is_not_there(run, error):
    before = jax.config.jax_platforms  # pyright: ignore[reportAttributeAccessIssue] JAX has it
    jax.config.update("jax_platforms", "cuda")
    try:
        with mock.patch.object(jax, "devices", side_effect=error):
            status, out, err = run("layers", "resnet50")
    finally:
        jax.config.update("jax_platforms", before)
    assert (status, out) == (2, "")
    assert err.startswith("jaxplain: JAX_PLATFORMS is ")
    assert err.endswith("unset it, or set it to cpu.\n")
    assert err.count("\n") == 1
