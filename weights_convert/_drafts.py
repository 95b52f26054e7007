"""Hidden folders for what is not finished yet, beside where it goes.

They go at the end of the work, when a signal ends the process, and where a process was killed, when the next one writes
to the same place.
"""

import contextlib
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

try:
    import fcntl
except ImportError:  # there is none on Windows
    fcntl = None

PREFIX = ".jaxplain-"
YOUNG = 60.0  # seconds: the process that made a younger draft may not have locked it yet
OLD = 24 * 3600.0  # seconds: older drafts are nobody's where there are no locks

undivided = threading.RLock()  # held where several files take their places; a signal waits for it
_open: set[Path] = set()  # the drafts of this process, for its end by a signal


@contextlib.contextmanager
def draft(folder: str | os.PathLike[str]) -> Iterator[Path]:
    """A new hidden folder in a folder, which is removed at the end with all that was not moved out of it."""
    sweep(folder)
    path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=folder))
    _open.add(path)
    try:
        with _locked(path):
            yield path
    finally:
        undisturbed(shutil.rmtree, path, True)
        _open.discard(path)


def sweep(folder: str | os.PathLike[str]) -> None:
    """Removes the drafts of processes that were killed from a folder."""
    for path in Path(folder).glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):  # of another user, or removed meanwhile
            if _abandoned(path):
                shutil.rmtree(path, ignore_errors=True)


def remove_drafts(seconds: float = 0.5) -> None:
    """Removes all drafts of this process, whose threads may still write to them, within some time: before its end."""
    end = time.monotonic() + seconds
    undivided.acquire(timeout=seconds)
    while time.monotonic() < end and any(path.exists() for path in _open):
        for path in tuple(_open):
            shutil.rmtree(path, ignore_errors=True)


def undisturbed(f: Callable[..., Any], *args: Any) -> Any:
    """f(*args), run to its end also if the program is interrupted: signals do not reach a thread of its own.

    Orbax writes with threads that would go on, and make folders anew, after an interruption.
    """
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(f, *args).result()


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """The folder is locked for as long as the process lives, where the file system has locks."""
    if fcntl is None:
        yield
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def _abandoned(path: Path) -> bool:
    """Whether no process that lives works on a draft."""
    age = time.time() - path.stat().st_mtime
    if fcntl is None or age < YOUNG:
        return age > OLD
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return age > OLD
    finally:
        os.close(descriptor)
    return True
