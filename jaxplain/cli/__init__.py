"""The command line: each command parses, calls the library and prints."""

import os
import sys
from pathlib import Path

import jax
import typer

from jaxplain.cli.explain import explain
from jaxplain.cli.layers import layers
from jaxplain.cli.models import models

app = typer.Typer(
    help="Shows what image classifiers look at.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for command in (explain, layers, models):
    app.command()(command)


def main() -> None:
    """Runs the command line, with compiled functions kept in the user's cache folder from one run to the next."""
    if jax.config.jax_compilation_cache_dir is None:
        jax.config.update("jax_compilation_cache_dir", str(_cache_folder() / "compiled"))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(130)


def _cache_folder():
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "jaxplain"
