"""jaxplain models, and the command line as a whole."""

import subprocess
import sys
from importlib.metadata import version

import jax
import pytest

from jaxplain.cli import _cache_folder
from jaxplain.models import architecture, available, load


def test_lists_every_network_with_its_size_and_weights(run):
    status, out, err = run("models")
    assert (status, err) == (0, "")
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in out.splitlines() if line.startswith("│")]
    assert [row[0] for row in rows] == [name for name in available() for _ in architecture(name).published]
    assert [row[3] for row in rows] == [
        published.name for name in available() for published in architecture(name).published
    ]
    assert [row[4] for row in rows] == ["yes" if row[0] == "efficientnet_lite0" else "no" for row in rows]
    # torchvision's 25,557,032 less BatchNorm's 53,120, plus the 26,560 biases that it folds to
    assert ["resnet50", "224 x 224", "25.5 M", "IMAGENET1K_V2", "no"] in rows
    assert "`jaxplain fetch MODEL`" in out


def test_narrow_terminals_fold_what_they_cannot_hold(run, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    _, out, _ = run("models")
    table = [line for line in out.splitlines() if line[0] in "┏┃┡│└"]
    assert {len(line) for line in table} == {40}
    assert "…" not in out


@pytest.mark.parametrize("arguments", [(), ("--help",), ("-h",)])
def test_help_names_the_commands_and_a_first_step(run, arguments):
    status, out, err = run(*arguments)
    assert (status, err) == (0, "")
    for word in ("explain", "layers", "models", "fetch", "convert", "jaxplain explain sample:chelsea"):
        assert word in out


def test_help_of_explain_names_every_option_and_method(run):
    from jaxplain.methods import METHODS

    status, out, err = run("explain", "--help")
    assert (status, err) == (0, "")
    options = "--model", "--weights", "--method", "--layer", "--target", "--against", "--out"
    for word in (*options, "IMAGE", "IMAGENET1K_V2", *METHODS):
        assert word in out


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("fetch", ["MODEL", "--weights", "--from-url", "--file", "XDG_CACHE_HOME"]),
        ("convert", ["FILE", "--model", "--out", "--categories", "--preprocessing", ".safetensors"]),
    ],
)
def test_help_names_every_option(run, command, words):
    status, out, err = run(command, "--help")
    assert (status, err) == (0, "")
    for word in words:
        assert word in out


def test_version(run):
    assert run("--version") == (0, f"jaxplain {version('jaxplain')}\n", "")


def test_compiled_functions_go_to_the_users_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert _cache_folder() == str(tmp_path / "cache" / "jaxplain" / "compiled")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert _cache_folder() == str(tmp_path / ".cache" / "jaxplain" / "compiled")


def test_no_cache_where_there_is_no_place_for_it(monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/nowhere")
    assert _cache_folder() is None


def test_the_library_sets_no_cache(monkeypatch):
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR")
    code = "import jax, jaxplain, jaxplain.models; print(jax.config.jax_compilation_cache_dir)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "None\n"


def test_parameters_are_those_of_the_network(run):
    lines = run("models").out.splitlines()
    assert lines[1].replace("┃", "").split() == ["model", "input", "parameters", "weights", "here"]
    (row,) = (line for line in lines if "efficientnet_lite0" in line)
    count = sum(leaf.size for leaf in jax.tree.leaves(load("efficientnet_lite0").parameters))
    assert f" {count / 1e6:.1f} M " in row


def test_the_package_is_the_command_line():
    done = subprocess.run([sys.executable, "-m", "jaxplain", "--version"], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == (f"jaxplain {version('jaxplain')}\n", "")


@pytest.mark.parametrize(
    ("line", "found"), [("jaxplain ex", ["explain"]), ("jaxplain explain --ag", ["--against", "--again"])]
)
def test_shells_complete_commands_and_options(program, line, found):
    words = {"COMP_WORDS": line, "COMP_CWORD": str(line.count(" "))}
    status, out, err = program(_JAXPLAIN_COMPLETE="complete_bash", **words)
    assert (status, out.split(), err) == (0, found, "")
