"""Long computations that Ctrl-C ends at once, and that tell how far they are.

Functions are traced in the caller's thread, where JAX's settings are: default_matmul_precision, default_device and the
others hold in the thread that they were made in, and nowhere else.
"""

import threading
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from jaxplain._loops import watched

Watch = Callable[[str, int, int], None]  # of a title, and how many parts are done of how many


def computed(f: Callable[..., Any], *args: Any) -> Any:
    """f(*args) of a jitted function, as numpy arrays.

    It is waited for in Python, where KeyboardInterrupt is raised at once.
    """
    result = f(*args)
    pause = 1e-4
    while not all(leaf.is_ready() for leaf in jax.tree.leaves(result)):
        time.sleep(pause)
        pause = min(1.2 * pause, 0.05)
    return jax.tree.map(np.asarray, result)


def reporting(f: Any, report: Callable[[int, int], None]) -> Callable[..., Any]:
    """As `computed`, of a jitted function that was not traced before; its loops call report(done, of) meanwhile.

    It is compiled in the first call, and gets arguments of the same shapes after it. Calls out of a computation make a
    CPU run it where it is started, so that is a thread.
    """
    compiled: list[Any] = []

    def run(*args):
        if compiled:
            return _in_thread(lambda: compiled[0](*args))
        with watched(report):
            lowered = f.lower(*args)

        def first():
            compiled.append(lowered.compile())
            return compiled[0](*args)

        return _in_thread(first)

    return run


def _in_thread(work):
    """The result of work(), as numpy arrays; KeyboardInterrupt is raised meanwhile."""
    found: list[Any] = []

    def kept():
        try:
            found.append((jax.tree.map(np.asarray, work()), None))
        except BaseException as error:
            found.append((None, error))

    thread = threading.Thread(target=kept, daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(0.05)
    result, error = found[0]
    if error is not None:
        raise error
    return result
