"""The command as a process: how signals end it, what becomes of its standard streams, whether its platform is there."""

import contextlib
import errno
import io
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any, cast

from jaxplain._start import ENDING, handle

SHOW_CURSOR = b"\x1b[?25h\n"  # which a progress bar hides


def end_by_signals(clean_up: Callable[[], None]) -> None:
    """From now on SIGINT and SIGTERM end the process after clean_up(), with the statuses 130 and 143.

    A thread does it, whatever the main one is in: a compilation is not to be interrupted, an exception in one of JAX's
    callbacks is lost, and the interpreter's end crashes while compilations go on.
    """
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    handle(lambda *_: None)
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


class Stream:
    """A text stream that raises nothing where it is full or closed: the first error is kept, and the rest is lost."""

    def __init__(self, stream: Any) -> None:
        closed = OSError(errno.EBADF, "it is closed")
        self.error: OSError | None = closed if stream is None else None
        self.lost = False  # whether anything was written that is nowhere
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
        self.lost = self.lost or self.error is not None
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
def lenient_streams() -> Iterator[tuple[Stream, Stream]]:
    """stdout and stderr, which raise nothing meanwhile, and tell what error they had."""
    out, err = Stream(sys.stdout), Stream(sys.stderr)
    with contextlib.redirect_stdout(cast(Any, out)), contextlib.redirect_stderr(cast(Any, err)):
        yield out, err


def check_platform() -> None:
    """Raises ValueError where JAX is told to use a platform that is not there, before anything is computed."""
    import jax

    platforms = jax.config.jax_platforms  # pyright: ignore[reportAttributeAccessIssue] JAX has it
    try:
        if platforms:
            jax.devices()
    except (RuntimeError, AssertionError) as error:
        reason = str(error).partition("\n")[0].rstrip(".") or "it is not there"
        raise ValueError(f"JAX_PLATFORMS is {platforms!r} ({reason}): unset it, or set it to cpu.") from error
