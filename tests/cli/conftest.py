"""Running the command line: in this process where that is enough, as a program of its own where it is not."""

import contextlib
import io
import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import jax
import pytest
from flax import linen as nn

from jaxplain.models import Conv, Dense, GlobalMean, Relu, Spec, _registry, load
from jaxplain.weights_convert import Published, _convert

PROGRAM = Path(sys.executable).with_name("jaxplain")


class Result(NamedTuple):
    """How a command ended, and what it printed."""

    status: int
    out: str
    err: str


def run(*arguments):
    """The command in this process."""
    from jaxplain.cli import run

    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
    with (
        mock.patch.object(sys, "argv", ["jaxplain", *map(str, arguments)]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        warnings.catch_warnings(),
        pytest.raises(SystemExit) as ended,
    ):
        run()
    return Result(ended.value.code or 0, *(stream.buffer.getvalue().decode() for stream in (out, err)))  # pyright: ignore[reportArgumentType] run exits with numbers


def started(command, **options):
    """A program that goes on meanwhile, and heeds Ctrl-C also where the tests run in the background."""
    heed = "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); os.execvp(sys.argv[1], sys.argv[1:])"
    heeding = [sys.executable, "-c", heed, *map(str, command)]
    return subprocess.Popen(heeding, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


def program(*arguments, cwd=None, **environment):
    """The command as a program of its own."""
    done = subprocess.run(
        [PROGRAM, *map(str, arguments)],
        cwd=cwd,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return Result(done.returncode, done.stdout, done.stderr)


@pytest.fixture(autouse=True)
def users_cache(monkeypatch, tmp_path_factory):
    """A cache of the user's own with nothing in it."""
    folder = tmp_path_factory.mktemp("user")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder


@pytest.fixture(name="run", scope="session")
def run_fixture():
    return run


@pytest.fixture(name="started", scope="session")
def started_fixture():
    return started


@pytest.fixture(name="program", scope="session")
def program_fixture():
    return program


@pytest.fixture(scope="session")
def program_path():
    return PROGRAM


class Net(nn.Module):
    """Logits (B, classes) of a network whose gradient is quickly compiled."""

    classes: int

    @nn.compact
    def __call__(self, x):
        x = Relu(name="relu")(Conv(6, 3, 1, 1, name="conv")(x))
        return Dense(self.classes, name="fc")(GlobalMean(name="mean")(x)[:, 0, 0])


@pytest.fixture
def tiny(monkeypatch, tmp_path):
    """The folder of weights for a network "tiny", which is known until the test has ended."""
    spec = Spec("tiny", input_size=16, resize=16, mean=(0.5,) * 3, std=(0.25,) * 3, cam_layer="relu")  # pyright: ignore[reportArgumentType]
    known = _registry.Architecture(spec, Net, "fc", (Published("NONE", "tiny-0.pth", {}),))
    monkeypatch.setattr(_registry, "_ARCHITECTURES", (*_registry._ARCHITECTURES, known))
    shapes = {
        "conv": {"kernel": [3, 3, "channels", 6], "bias": [6]},
        "fc": {"kernel": [6, "classes"], "bias": ["classes"]},
    }
    networks = _convert.expected_shapes() | {"tiny": shapes}
    monkeypatch.setattr(_convert, "expected_shapes", lambda: networks)
    load("tiny", jax.random.key(0)).save(tmp_path / "tiny")
    return tmp_path / "tiny"
