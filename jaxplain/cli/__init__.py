"""The command line: each command parses, calls the library and prints."""

import contextlib
import gc
import os
import sys
import warnings
from importlib.metadata import version
from typing import Annotated, NoReturn

import jax
import typer

from jaxplain._program import check_platform, end_by_signals, lenient_streams
from jaxplain._types import Note
from jaxplain.cli.concept import concept
from jaxplain.cli.convert import convert
from jaxplain.cli.errors import say, tell
from jaxplain.cli.evaluate import evaluate
from jaxplain.cli.explain import explain
from jaxplain.cli.features import features
from jaxplain.cli.fetch import fetch
from jaxplain.cli.finetune import finetune
from jaxplain.cli.layers import layers
from jaxplain.cli.methods import methods
from jaxplain.cli.models import models
from jaxplain.cli.parsing import Command
from jaxplain.cli.retrieve import retrieve
from jaxplain.cli.samples import samples
from jaxplain.cli.study import study
from jaxplain.weights_convert import cache_folder, remove_drafts, sweep

app: typer.Typer = typer.Typer(
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for command in (explain, features, evaluate, retrieve, methods, layers, models, fetch, convert, finetune, samples):
    app.command(cls=Command)(command)
app.add_typer(concept, name="concept")
app.add_typer(study, name="study")


@app.callback(invoke_without_command=True)
def jaxplain(
    show_version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False,
) -> None:
    """Show what image classifiers look at.

    For a start: jaxplain explain sample:chelsea
    """
    if show_version:
        tell(f"jaxplain {version('jaxplain')}")
        raise typer.Exit


def main() -> None:
    """The program: `run`, which SIGINT and SIGTERM end at once, without what is half-written."""
    end_by_signals(remove_drafts)
    if not gc.get_freeze_count():  # looking through what is imported for garbage takes a tenth of a short command
        gc.freeze()
    run()


def run() -> NoReturn:
    """Runs the command line, with compiled functions kept in the user's cache folder from one run to the next."""
    if not sys.warnoptions:
        warnings.simplefilter("ignore")  # they are for developers; what a user has to know is an error or a note
        warnings.simplefilter("always", Note)
        warnings.showwarning = lambda message, *_: say(message)
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        jax.config.update("jax_compilation_cache_dir", _cache_folder())
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
    with contextlib.suppress(OSError, ValueError):
        sweep(cache_folder() / "weights")
    with lenient_streams() as (out, err):
        status = _status()
        if out.error is not None and not isinstance(out.error, BrokenPipeError):  # whose reader has read enough
            say(f"What is printed is not complete ({out.error.strerror}): give stdout another place.")
    sys.exit(status or (1 if out.error or err.lost else 0))


def _status():
    """The exit status of the command. What is wrong with it, or with what it was given, is told in one sentence."""
    try:
        check_platform()
        return app(sys.argv[1:] or ["--help"], prog_name="jaxplain", standalone_mode=False)
    except typer.TyperException as error:
        context = getattr(error, "ctx", None)
        command = context.command_path if context else "jaxplain"
        say(f"{error.format_message().rstrip('.')}; see `{command} --help`.")
    except (ValueError, OSError) as error:
        say(error)
    return 2


def _cache_folder():
    """The folder for compiled functions, or None where there is no place for it."""
    try:
        folder = cache_folder() / "compiled"
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError):
        return None
    return str(folder) if os.access(folder, os.W_OK) else None
