"""What is given on the command line is used: options of one value are given once, and each one is of a known kind."""

import pytest
from typer.main import get_command

from jaxplain.cli import app
from jaxplain.workflows._options import OPTIONS


def commands(command, name=""):
    """{name: command} of all commands."""
    within = getattr(command, "commands", None)
    if within is None:
        return {name: command}
    return {key: one for sub, inner in within.items() for key, one in commands(inner, f"{name} {sub}".strip()).items()}


COMMANDS = commands(get_command(app))
# Options that every call of their command uses: of all images, of the network, of the fit, of the place of the results.
ALWAYS = {
    "explain": "model weights method options smooth again out background levels outputs",
    "features": "model weights target layer clustering max_clusters seed out background levels outputs",
    "evaluate": "model weights method metric out background levels outputs",
    "retrieve": "gallery model weights layer similarity top explain skip out background levels outputs",
    "fetch": "weights from_url file",
    "convert": "model out categories preprocessing input_size resize interpolation mean std entry outputs",
    "finetune": "out model weights epochs all_layers batch rate validation patience seed background levels multi_label "
    "outputs entry",
    "samples": "count",
    "study new": "images model weights outputs target layer classes names clustering max_clusters seed skip background "
    "levels",
    "study play": "player weights resign_below labels",
    "study serve": "host port plays",
    "study invite": "count player url",
    "study status": "plays",
    "study report": "out encoder translations spelling",
    "concept fit": "images random out model weights layer nulls seed skip background levels outputs",
    "concept explain": "concepts model weights target steps rule test out background levels outputs",
    "concept global": "concepts model weights target steps rule test skip out background levels outputs",
}


def options(command):
    return [param for param in command.params if param.opts[0].startswith("--") and param.name != "help"]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_used_always_or_is_in_the_table(name):
    always = set(ALWAYS.get(name, "").split()) | (set(OPTIONS) if name in ("explain", "evaluate") else set())
    assert {option.name for option in options(COMMANDS[name])} <= always


def test_an_option_of_one_value_is_given_once(run):
    for name, command in COMMANDS.items():
        for option in options(command):
            values = [] if getattr(option, "is_flag", False) else ["1"] * option.nargs
            twice = [option.opts[0], *values] * 2
            status, out, err = run(*name.split(), *twice)
            assert (status, out) == (2, "")
            assert ("is given 2 times, but expected once" in err) != option.multiple, err
