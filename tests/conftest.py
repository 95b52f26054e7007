"""Strict mode for all tests: eight host devices, no silent rank promotion, shapes checked when functions return.

Products are float32 on accelerators too, whose own defaults have fewer digits. What is compiled is kept on disk for the
other processes and for the next run, and in memory until the end of a module.
"""

import gc
import os
from pathlib import Path

os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path(__file__).parents[1] / ".pytest_cache" / "compiled"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.3")

from jaxtyping import install_import_hook

install_import_hook("jaxplain", "strict.check")

import jax
import pytest

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_default_matmul_precision", "highest")


@pytest.fixture(scope="module", autouse=True)
def _compiled_functions_are_freed():
    yield
    jax.clear_caches()
    gc.collect()
