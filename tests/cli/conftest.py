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
from jax.experimental.compilation_cache import compilation_cache

from jaxplain.models import Conv, Dense, GlobalMean, Relu, Spec, _registry, load

PROGRAM = Path(sys.executable).with_name("jaxplain")


class Result(NamedTuple):
    """How a command ended, and what it printed."""

    status: int
    out: str
    err: str


def run(*arguments):
    """The command in this process."""
    from jaxplain.cli import main

    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
    with (
        mock.patch.object(sys, "argv", ["jaxplain", *map(str, arguments)]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        warnings.catch_warnings(),
        pytest.raises(SystemExit) as ended,
    ):
        main()
    return Result(ended.value.code or 0, *(stream.buffer.getvalue().decode() for stream in (out, err)))  # pyright: ignore[reportArgumentType] main exits with numbers


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


@pytest.fixture(scope="session")
def compiled_folder(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="package", autouse=True)
def compiled_functions(compiled_folder):
    """JAX's persistent cache in a folder of the tests, shared with the programs that they start."""
    options = {"jax_compilation_cache_dir": str(compiled_folder), "jax_persistent_cache_min_compile_time_secs": 0.1}
    before = {name: getattr(jax.config, name) for name in options}
    for settings in (options, before):
        for name, value in settings.items():
            jax.config.update(name, value)
        compilation_cache.reset_cache()
        if settings is options:
            yield


@pytest.fixture(autouse=True)
def users_cache(monkeypatch, tmp_path_factory, compiled_folder):
    """A cache of the user's own with nothing in it."""
    folder = tmp_path_factory.mktemp("user")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(compiled_folder))
    return folder


@pytest.fixture(name="run", scope="session")
def run_fixture():
    return run


@pytest.fixture(name="program", scope="session")
def program_fixture(compiled_folder):
    """`program`, with a cache of compiled functions that the tests share."""

    def shared(*arguments, cwd=None, **environment):
        return program(*arguments, cwd=cwd, **({"JAX_COMPILATION_CACHE_DIR": str(compiled_folder)} | environment))

    return shared


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
    spec = Spec("tiny", input_size=16, resize=16, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25), cam_layer="relu")
    known = _registry.Architecture(Net, "fc", (_registry.Published("NONE", spec, "tiny-0.pth"),))
    monkeypatch.setattr(_registry, "_ARCHITECTURES", (*_registry._ARCHITECTURES, known))
    load("tiny", jax.random.key(0)).save(tmp_path / "tiny")
    return tmp_path / "tiny"
