"""What the documents say is run: all blocks of Python, and all commands but installation, downloads and the checks."""

import contextlib
import re
import shlex
import subprocess
import sys
import time
import urllib.error
import urllib.request
import warnings
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
WRITTEN = {
    "explain": {".png", ".npz", ".json"},
    "evaluate": {".csv", ".json", ".png"},
    "retrieve": {".png", ".csv", ".json"},
    "samples": {".png", ".pth"},
    "study new": {".json", ".webp", ".npz"},
    "study report": {".html"},
    "concept fit": {".concept"},
    "concept explain": {".png", ".csv", ".json"},
    "concept global": {".png", ".csv", ".json"},
}  # the kinds of files that a command writes
NOT_RUN = ("pip install", "pytest", "ruff", "jaxplain fetch")  # installation and downloads


def python_blocks(text):
    return re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def commands(text):
    """The commands in indented blocks, with what follows an installation as a command of its own."""
    outside = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    lines = re.findall(r"^    (\S.*)$", outside, re.MULTILINE)
    return [part.strip() for line in lines for part in line.split("&&") if not part.strip().startswith(NOT_RUN)]


def test_what_is_found_in_a_document():
    text = "words\n\n    pip install -e . && jaxplain models\n\n```python\nif x:\n    x = 1\n```\n"
    assert commands(text) == ["jaxplain models"]
    assert python_blocks(text) == ["if x:\n    x = 1\n"]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_python_blocks_run(document, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {}
    for block in python_blocks(document.read_text()):
        exec(compile(block, str(document), "exec"), names)
    if document.name == "README.md":
        assert names["maps"].shape == (2, 3, 7, 7)
        assert names["picture"].shape == (224, 224, 3)
        assert names["heat"].shape == (224, 224)


WITH_COMMANDS = [document for document in DOCUMENTS if commands(document.read_text())]


@pytest.mark.parametrize("document", WITH_COMMANDS, ids=lambda path: path.name)
def test_commands_run(document, tmp_path, monkeypatch):
    """One after another in one folder, in which nothing is at first."""
    for command in commands(document.read_text()):
        with monkeypatch.context() as patch:
            run_command(command, tmp_path, patch)


def test_the_readme_has_commands():
    assert ROOT / "README.md" in WITH_COMMANDS
    assert len(commands((ROOT / "README.md").read_text())) > 15


def run_command(command, folder, monkeypatch):
    from jaxplain.cli import run  # not main, which has signals end the process, and while it has another name

    program, *arguments = shlex.split(command)
    if arguments[:2] == ["study", "serve"]:
        serve_for_a_moment(arguments, folder)
        return
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", [program, *arguments])
    began = time.time_ns()
    if program == "python":
        subprocess.run([sys.executable, *arguments], check=True)
        return
    assert program == "jaxplain"
    with warnings.catch_warnings(), pytest.raises(SystemExit) as end:
        run()
    assert not end.value.code
    written = [path for path in folder.rglob("*") if path.is_file() and path.stat().st_mtime_ns >= began]
    if kinds := WRITTEN.get(" ".join(arguments[:2]), WRITTEN.get(arguments[0])):
        assert {path.suffix for path in written} == kinds, command
    if arguments[0] in ("convert", "finetune"):
        assert folder / arguments[arguments.index("--out") + 1] / "model.json" in written


def serve_for_a_moment(arguments, folder):
    """The command as a program of its own, until its first page is there."""
    program = Path(sys.executable).with_name("jaxplain")
    serving = subprocess.Popen([program, *arguments], cwd=folder)
    try:
        for _ in range(600):
            with contextlib.suppress(urllib.error.URLError), urllib.request.urlopen("http://127.0.0.1:8000") as page:
                assert page.status == 200
                return
            assert serving.poll() is None
            time.sleep(0.1)
        pytest.fail("no page within a minute")
    finally:
        serving.terminate()
        serving.wait()


def test_links_lead_somewhere():
    for document in DOCUMENTS:
        for link in re.findall(r"\]\(([^)#:]+)\)", document.read_text()):
            assert (document.parent / link).exists(), f"{document.name} links to {link}"
