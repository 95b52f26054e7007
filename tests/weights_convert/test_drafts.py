"""Drafts go at the end, and those of killed processes at the next start; those of processes that live stay."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from jaxplain.weights_convert import _drafts, draft, remove_drafts, sweep

SOURCE = """
import importlib.util, sys, time
spec = importlib.util.spec_from_file_location("drafts", sys.argv[1])
drafts = importlib.util.module_from_spec(spec)
spec.loader.exec_module(drafts)
with drafts.draft(sys.argv[2]) as path:
    (path / "part").write_text("half")
    print("ready", flush=True)
    time.sleep(60)
"""


def aged(folder):
    """The drafts in a folder, after two hours."""
    found, then = list(folder.iterdir()), time.time() - 7200
    for path in found:
        os.utime(path, (then, then))
    return found


def test_a_draft_goes_with_what_is_in_it(tmp_path):
    with draft(tmp_path) as path:
        (path / "part").write_text("half")
        assert list(tmp_path.iterdir()) == [path]
    assert list(tmp_path.iterdir()) == []


def test_drafts_of_killed_processes_are_swept(tmp_path):
    command = [sys.executable, "-c", SOURCE, Path(_drafts.__file__), tmp_path]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "ready\n"  # pyright: ignore[reportOptionalMemberAccess] a pipe
        (left,) = aged(tmp_path)
        sweep(tmp_path)
        assert (left / "part").exists()  # its process lives
        process.send_signal(signal.SIGKILL)
    os.utime(left)
    sweep(tmp_path)
    assert left.exists()  # too young to say
    aged(tmp_path)
    (tmp_path / ".other").mkdir()
    with draft(tmp_path) as path:
        assert {one.name for one in tmp_path.iterdir()} == {path.name, ".other"}


def test_drafts_are_removed_before_the_end_of_the_process(tmp_path):
    with draft(tmp_path) as path:
        (path / "part").mkdir()
        remove_drafts()
        assert list(tmp_path.iterdir()) == []
    _drafts.undivided.release()
