"""What the documents say is run: all blocks of Python, and all commands but installation and the checks themselves."""

import re
import shlex
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
NOT_RUN = ("pip install", "pytest", "ruff check")


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


@pytest.mark.parametrize(
    "command", [c for document in DOCUMENTS for c in commands(document.read_text())], ids=lambda command: command
)
def test_command_runs(command, tmp_path, monkeypatch):
    program, *arguments = shlex.split(command)
    assert program == "jaxplain"
    from jaxplain.cli import main

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [program, *arguments])
    with pytest.raises(SystemExit) as end:
        main()
    assert not end.value.code
    if arguments[0] == "explain":
        assert {path.suffix for path in (tmp_path / "out").iterdir()} == {".png", ".npz", ".json"}


def test_links_lead_somewhere():
    for document in DOCUMENTS:
        for link in re.findall(r"\]\(([^)#:]+)\)", document.read_text()):
            assert (document.parent / link).exists(), f"{document.name} links to {link}"
