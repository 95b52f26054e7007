"""Strict mode for all tests: eight host devices, no silent rank promotion, shapes checked when functions return.

Products are float32 on accelerators too, whose own defaults have fewer digits. What is compiled is kept in memory until
the end of a module, and on disk until the end of the run, for all of its processes and the programs that they start.
Both compile quickly: only the modules in OPTIMISED, of which one runs the README, have optimised code.
"""

import atexit
import ctypes
import gc
import os
import platform
import shutil
import signal
import tempfile
from importlib.metadata import version
from importlib.util import find_spec

# Code that XLA makes in half the time, on CPUs: with a GPU's plugin these tests ended in a crash.
ON_CPU = find_spec("jax_plugins") is None
flags = ["--xla_force_host_platform_device_count=8"]
if ON_CPU:
    flags += ["--xla_cpu_parallel_codegen_split_count=1", "--xla_backend_optimization_level=1"]
if ON_CPU and tuple(map(int, version("jaxlib").split(".")[:2])) < (0, 12):  # which ends at a flag that it does not know
    flags.append("--xla_cpu_use_fusion_emitters=false")
if "PYTEST_XDIST_WORKER" not in os.environ:  # a worker has what the process has that started it
    os.environ["XLA_FLAGS"] = " ".join([*flags, os.environ.get("XLA_FLAGS", "")])  # the last one holds
    os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="compiled-")
    atexit.register(shutil.rmtree, os.environ["JAX_COMPILATION_CACHE_DIR"], ignore_errors=True)
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.3")
else:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # torch's threads of several workers wait for each other

from jaxtyping import install_import_hook

install_import_hook("jaxplain", "strict.check")

import jax
import pytest

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_default_matmul_precision", "highest")


# Modules that compute for so long that optimised code pays, or whose subject is what XLA makes of a program.
OPTIMISED = ("test_readme", "test_files", "test_target")

# Files that take minutes are first in line where each goes to a process of its own (--dist loadfile).
LONG = (
    "test_readme",
    "test_maps",
    "test_explain",
    "test_networks",
    "test_signed_saliency",
    "test_layers",
    "test_concept",
)


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: LONG.index(item.path.stem) if item.path.stem in LONG else len(LONG))


@pytest.fixture(scope="module", autouse=True)
def _compiled_quickly_and_freed(request):
    quickly = ON_CPU and request.path.stem not in OPTIMISED
    jax.config.update("jax_disable_most_optimizations", quickly)
    os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = str(int(quickly))  # for programs
    yield
    jax.clear_caches()
    gc.collect()
    if platform.libc_ver()[0] == "glibc":  # which keeps a gigabyte of what is free
        ctypes.CDLL(None).malloc_trim(0)


@pytest.fixture(scope="module", autouse=True)
def _signals_are_left_alone():
    """The command's `main` has them end the process, which later tests would not outlive: they call `run`."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    found = {number: signal.signal(number, handler) for number, handler in before.items()}
    assert (signal.set_wakeup_fd(-1), found) == (-1, before)
