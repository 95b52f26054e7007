"""Strict mode for all tests: eight host devices, no silent rank promotion, shapes checked when functions return."""

import os

os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"

from jaxtyping import install_import_hook

install_import_hook("jaxplain", "beartype.beartype")

import jax

jax.config.update("jax_numpy_rank_promotion", "raise")
