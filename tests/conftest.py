"""Strict mode for all tests: eight host devices, no silent rank promotion, shapes checked when functions return.

Products are float32 on accelerators too, whose own defaults have fewer digits.
"""

import os

os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"

from jaxtyping import install_import_hook

install_import_hook("jaxplain", "strict.check")

import jax

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_default_matmul_precision", "highest")
