"""The command as a process: how signals end it, from its first import on, and what becomes of its standard streams.

Importing this does nothing unless jaxplain itself is the program that runs.
"""

import contextlib
import errno
import io
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

ENDING = (signal.SIGINT, signal.SIGTERM)
SHOW_CURSOR = b"\x1b[?25h\n"  # which a progress bar hides


def end_by_signals(clean_up: Callable[[], None]) -> None:
    """From now on SIGINT and SIGTERM end the process after clean_up(), with the statuses 130 and 143.

    A thread does it, whatever the main one is in: a compilation is not to be interrupted, an exception in one of JAX's
    callbacks is lost, and the interpreter's end crashes while compilations go on.
    """
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    _handle(lambda *_: None)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)

    def wait():
        while (number := os.read(reading, 1)[0]) not in ENDING:
            pass
        try:
            clean_up()
            if os.isatty(2):
                os.write(2, SHOW_CURSOR)
        finally:
            os._exit(128 + number)

    threading.Thread(target=wait, daemon=True).start()


def _handle(handler):
    """Signals that are ignored stay so, as in the background of a shell."""
    for number in ENDING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)


class Stream:
    """A text stream that raises nothing where it is full or closed: the first error is kept, and the rest is lost."""

    def __init__(self, stream: Any) -> None:
        closed = OSError(errno.EBADF, "it is closed")
        self.error: OSError | None = closed if stream is None else None
        self.stream: Any = io.StringIO() if stream is None else stream
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # names may have what the terminal's encoding has not

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        """Writes the text at once."""
        if self.error is None:
            try:
                self.stream.write(text)
                self.stream.flush()
            except OSError as error:
                self.error = error
                self._forget()
        return len(text)

    def flush(self) -> None:
        """Nothing, since all is written at once."""

    def _forget(self):
        """Lets what is in the buffer go nowhere, since it is flushed again at the interpreter's end."""
        with contextlib.suppress(OSError, ValueError):
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self.stream.fileno())
            os.close(null)


@contextlib.contextmanager
def lenient_streams() -> Iterator[Stream]:
    """stdout and stderr raise nothing meanwhile; stdout, which tells what it could not write."""
    out, err = Stream(sys.stdout), Stream(sys.stderr)
    with contextlib.redirect_stdout(cast(Any, out)), contextlib.redirect_stderr(cast(Any, err)):
        yield out


def _is_the_program():
    name = (sys.argv or [""])[0]
    return Path(name).stem == "jaxplain" or (name == "-m" and "jaxplain" in sys.orig_argv)


def _fill_descriptors():
    """Gives the null device the numbers of closed streams, or files that are opened later would get their output."""
    if None in (sys.stdin, sys.stdout, sys.stderr):
        while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
            pass
        os.close(number)


if _is_the_program():
    _handle(lambda number, _: os._exit(128 + number))  # there is nothing to clean up while modules are imported
    _fill_descriptors()
