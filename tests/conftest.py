"""Strict mode for all tests: eight host devices, no silent rank promotion, shapes checked when functions return.

Products are float32 on accelerators too, whose own defaults have fewer digits. What is compiled is kept in memory until
the end of a module, and on disk until the end of the process, for it and for the programs that it starts.
"""

import atexit
import gc
import os
import shutil
import tempfile
from importlib.metadata import version

# Code that XLA makes in half the time; what the environment says goes last, and so holds.
flags = ["--xla_force_host_platform_device_count=8", "--xla_cpu_parallel_codegen_split_count=1"]
if tuple(map(int, version("jaxlib").split(".")[:2])) < (0, 12):  # which ends at a flag that it does not know
    flags.append("--xla_cpu_use_fusion_emitters=false")
os.environ["XLA_FLAGS"] = " ".join([*flags, os.environ.get("XLA_FLAGS", "")])
compiled = tempfile.mkdtemp(
    prefix="compiled-"
)  # one for each process: JAX writes it in place, and reads what is half-written
atexit.register(shutil.rmtree, compiled, ignore_errors=True)
os.environ["JAX_COMPILATION_CACHE_DIR"] = compiled
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.3")

from jaxtyping import install_import_hook

install_import_hook("jaxplain", "strict.check")

import jax
import pytest

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_default_matmul_precision", "highest")


# Modules that compute for so long that optimised code pays, or whose subject is what XLA makes of a program.
OPTIMISED = ("test_readme", "test_files", "test_target")


@pytest.fixture(scope="module", autouse=True)
def _compiled_quickly_and_freed(request):
    jax.config.update("jax_disable_most_optimizations", request.path.stem not in OPTIMISED)
    yield
    jax.clear_caches()
    gc.collect()
