"""The first that the command imports, little that it is: signals end it while it imports the rest.

Importing this does nothing unless jaxplain itself is the program that runs.
"""

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

ENDING = (signal.SIGINT, signal.SIGTERM)


def handle(handler: Callable[..., Any]) -> None:
    """Has the signals handled that end the command; those that are ignored stay so, as in the background of a shell."""
    for number in ENDING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)


def _is_the_program():
    name = (sys.argv or [""])[0]
    return os.path.basename(name).partition(".")[0] == "jaxplain" or (name == "-m" and "jaxplain" in sys.orig_argv)


def _fill_descriptors():
    """Gives the null device the numbers of closed streams, or files that are opened later would get their output."""
    if None in (sys.stdin, sys.stdout, sys.stderr):
        while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
            pass
        os.close(number)


if _is_the_program():
    handle(lambda number, _: os._exit(128 + number))  # there is nothing to clean up yet
    _fill_descriptors()
