"""What the documents say is run: all blocks of Python, and all commands but installation, downloads and the checks."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from jaxplain.models import available, sample

ROOT = Path(__file__).parent.parent
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
NOT_RUN = ("pip install", "pytest", "ruff check", "jaxplain fetch")  # installation and downloads


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


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A working folder with the weights and the images that the documents speak of; commands leave more in it."""
    folder = tmp_path_factory.mktemp("documents")
    shutil.copy(available()["efficientnet_lite0"], folder / "mine.pth")
    for texture in ("brick", "grass", "gravel"):
        (folder / "textures" / texture).mkdir(parents=True)
        for number in range(6):
            corner = 80 * number
            crop = sample(texture).crop((corner, corner, corner + 100, corner + 100))
            crop.save(folder / "textures" / texture / f"{number}.png")
    return folder


def sections(document):
    """{heading: commands} of a document, whose commands build on each other within a section."""
    heading, *rest = re.split(r"^## +", document.read_text(), flags=re.MULTILINE)
    named = {"": heading} | dict(part.split("\n", 1) for part in rest)
    return {name: commands(text) for name, text in named.items() if commands(text)}


SECTIONS = {f"{doc.name}: {name}": found for doc in DOCUMENTS for name, found in sections(doc).items()}


@pytest.mark.parametrize("section", SECTIONS)
def test_commands_run(section, folder, monkeypatch):
    for command in SECTIONS[section]:
        with monkeypatch.context() as patch:
            run_command(command, folder, patch)


def run_command(command, folder, monkeypatch):
    program, *arguments = shlex.split(command)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", [program, *arguments])
    shutil.rmtree(folder / "out", ignore_errors=True)
    if program == "python":
        subprocess.run([sys.executable, *arguments], check=True)
        return
    assert program == "jaxplain"
    from jaxplain.cli import main

    with pytest.raises(SystemExit) as end:
        main()
    assert not end.value.code
    if arguments[0] == "explain":
        assert {path.suffix for path in (folder / "out").iterdir()} == {".png", ".npz", ".json"}
    if arguments[0] == "concept":
        kinds = {"fit": {".concept"}, "explain": {".png", ".csv", ".json"}, "global": {".png", ".csv", ".json"}}
        written = folder.glob("*.concept") if arguments[1] == "fit" else (folder / "out").iterdir()
        assert {path.suffix for path in written} == kinds[arguments[1]]
    if arguments[0] == "retrieve":
        assert {path.suffix for path in (folder / "out").iterdir()} == {".png", ".csv", ".json"}
    if "--out" in arguments and arguments[0] in ("convert", "finetune"):
        assert (folder / arguments[arguments.index("--out") + 1] / "model.json").is_file()


def test_links_lead_somewhere():
    for document in DOCUMENTS:
        for link in re.findall(r"\]\(([^)#:]+)\)", document.read_text()):
            assert (document.parent / link).exists(), f"{document.name} links to {link}"
