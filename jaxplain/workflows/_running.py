"""Long computations that tell how far they are, and that Ctrl-C ends."""

import contextvars
import threading
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")

_THREAD = "computing"


def interruptible(f: Callable[..., T], *args: Any) -> T:
    """f(*args), computed in a thread: the main thread waits in Python, where KeyboardInterrupt is raised at once."""
    if threading.current_thread() is not threading.main_thread():
        return f(*args)
    found: list[Any] = []
    context = contextvars.copy_context()

    def work():
        try:
            found.append((context.run(f, *args), None))
        except BaseException as error:
            found.append((None, error))

    thread = threading.Thread(target=work, name=_THREAD, daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(0.1)
    result, error = found[0]
    if error is not None:
        raise error
    return result


def computing() -> bool:
    """Whether a computation goes on that was interrupted: a program that ends must not wait for it."""
    return any(thread.name == _THREAD for thread in threading.enumerate())
