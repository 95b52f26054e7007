"""The rooms of the package: who imports whom is read from the import statements, and `import jaxplain` stays light."""

import ast
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
HEAVY = {"flax", "matplotlib", "skimage", "sklearn", "PIL", "orbax", "torch", "scipy", "equinox", "keras"}

# The rooms from the ground up, as CONTRIBUTING.md draws them: a room imports what stands before it.
ROOMS = dict(re.findall(r"^(\S+) +(.+)$", (ROOT / "CONTRIBUTING.md").read_text().split("```")[1].strip(), re.MULTILINE))
PURE = ROOMS and list(ROOMS)[: list(ROOMS).index("metrics") + 1]  # these import jax and numpy, and nothing else
PURE_MAY = {"jax", "jaxtyping", "numpy"}
ALSO = {"adapt": {"flax", "keras"}, "segment": {"skimage"}}
# What may not be imported in spite of standing before.
MUST_NOT = {
    "metrics": {"jaxplain.explain", "jaxplain.transform"},
    "weights_convert": {"jaxplain"},
    "models": {"jaxplain.explain", "jaxplain.transform", "jaxplain.render", "jaxplain.workflows"},
}
# Libraries that one room meets for all, inside its functions.
ONLY = {"flax": {"adapt", "models"}, "keras": {"adapt"}, "matplotlib": {"render"}, "typer": {"cli"}, "rich": {"cli"}}


class Import(NamedTuple):
    """An imported name with its dots, and whether the statement is inside a function."""

    name: str
    inside: bool


def imports(source):
    """Every import of a file. `from a import b` is of a.b, which may be a module."""
    tree = ast.parse(source)
    inner = {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for node in ast.walk(function)
    }
    for node in ast.walk(tree):  # what only type checkers read is never imported
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            inner |= {id(inside) for inside in ast.walk(node)}
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [Import(alias.name, id(node) in inner) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            found += [Import(f"{base}.{alias.name}", id(node) in inner) for alias in node.names]
    return found


def within(name, modules):
    return any(name == module or name.startswith(module + ".") for module in modules)


def room_of(file):
    """The room of a file, which is named from jaxplain/, or as models/... or weights_convert/..."""
    first = file.split("/")[0].removesuffix(".py")
    return next((room for room in ROOMS if first in room.split(",")), first)


def room_of_module(name):
    parts = name.split(".")
    return room_of(parts[1]) if len(parts) > 1 else "__init__"


def violations(file, source):
    """What a file imports against the rules."""
    wrong, room, order = [], room_of(file), list(ROOMS)
    for name, inside in imports(source):
        top = name.split(".")[0]
        ours = top == "jaxplain"
        if name.startswith("."):
            wrong.append(f"{file} imports {name} by a relative name")
        if ours and room_of_module(name) in order and order.index(room_of_module(name)) > order.index(room):
            wrong.append(f"{file} imports {name}, which stands above it")
        private = [part for part in name.split(".")[1:3] if part.startswith("_") and not part.startswith("__")]
        if ours and private and room_of_module(name) not in (room, order[0]):
            wrong.append(f"{file} imports {name}, which is private to another room")
        if room in PURE and not ours and top not in sys.stdlib_module_names | PURE_MAY | ALSO.get(room, set()):
            wrong.append(f"{file} imports {name}, which is not for its room")
        if (
            within(name, {m for m in MUST_NOT.get(room, ()) if m != f"jaxplain.{room}"})
            and room_of_module(name) != room
        ):
            wrong.append(f"{file} must not import {name}")
        if top in ONLY and room not in ONLY[top] and not (room == "weights_convert" and top == "flax"):
            wrong.append(f"{file} imports {name}, but only {ONLY[top]} meets {top}")
        if top in HEAVY and room not in ("cli", "models", "weights_convert") and not inside:
            wrong.append(f"{file} imports {name} outside of a function")
    return wrong


def files():
    found = {str(path.relative_to(ROOT / "jaxplain")): path for path in (ROOT / "jaxplain").rglob("*.py")}
    for folder in ("models", "weights_convert"):
        found |= {str(path.relative_to(ROOT)): path for path in (ROOT / folder).rglob("*.py")}
    return found


def test_the_map_of_rooms_is_whole():
    """CONTRIBUTING.md names every room, in an order that the imports keep, and no room that is not there."""
    there = {room_of(file) for file in files()}
    assert there == {*ROOMS}
    assert {"__init__.py", "render.py", "explain/_cam.py", "models/__init__.py"} <= {*files()}


@pytest.mark.parametrize("file", sorted(files()))
def test_imports_follow_the_rooms(file):
    assert violations(file, files()[file].read_text()) == []


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("net.py", "import scipy"),
        ("net.py", "import flax.linen as nn"),
        ("target.py", "from jaxplain.net import Net"),
        ("target.py", "from jaxplain import net"),
        ("explain/_new.py", "def f():\n    from sklearn.manifold import TSNE"),
        ("explain/_new.py", "from jaxplain.concepts import pooled"),
        ("explain/_new.py", "from jaxplain.transform._smooth import smooth"),
        ("explain/_new.py", "import jaxplain.models"),
        ("explain/_new.py", "from ..net import view"),
        ("transform/_new.py", "from jaxplain.explain import grad_cam"),
        ("postprocess.py", "from jaxplain.explain import grad_cam"),
        ("metrics/_new.py", "from jaxplain.explain import cam"),
        ("concepts/_new.py", "def f():\n    from flax import nnx"),
        ("stats.py", "def f():\n    import matplotlib.pyplot as plt"),
        ("adapt.py", "from flax import nnx"),
        ("render.py", "import matplotlib"),
        ("segment.py", "from skimage.segmentation import slic"),
        ("concepts/_new.py", "def f():\n    from jaxplain.models import load"),
        ("concepts/_new.py", "from jaxplain.cli import main"),
        ("models/_load.py", "from jaxplain.cli.errors import fail"),
        ("models/_load.py", "from jaxplain import grad_cam, explain"),
        ("weights_convert/_fetch.py", "from jaxplain.models import load"),
        ("cli/explain.py", "from jaxplain.models._preprocess import open_image"),
        ("__init__.py", "from jaxplain import models"),
    ],
)
def test_the_rules_find_what_breaks_them(file, source):
    assert len(violations(file, source)) >= 1


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("net.py", "import functools\nimport jax.numpy as jnp\nfrom jaxplain.target import score"),
        ("explain/_new.py", "from jaxplain.net import view\nfrom jaxplain._loops import nodes"),
        ("explain/_new.py", "from jaxplain.explain._cam import check_map"),
        ("adapt.py", "def f():\n    from flax import nnx"),
        ("render.py", "class A:\n    def f(self):\n        if self:\n            import matplotlib.figure"),
        ("models/_load.py", "import flax.linen\nfrom jaxplain.adapt import from_linen"),
        ("cli/explain.py", "from jaxplain.models import load\nfrom jaxplain.cli.errors import fail"),
    ],
)
def test_the_rules_let_pass_what_keeps_them(file, source):
    assert violations(file, source) == []


def loaded_by(statement):
    """The top-level modules that a fresh interpreter has after a statement."""
    script = f"import sys; {statement}; print(*{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


def test_importing_jaxplain_loads_nothing_heavy():
    loaded = loaded_by("import jaxplain")
    assert {"jaxplain", "jax", "jaxtyping"} <= loaded
    assert not loaded & (HEAVY | {"optax", "rich", "typer"})


@pytest.mark.parametrize("command", [["models"], ["layers", "resnet50"]])
def test_listing_networks_and_layers_loads_what_shapes_need(command):
    loaded = loaded_by(f"from jaxplain.cli import app; app({command}, standalone_mode=False)")
    assert {"flax", "rich"} <= loaded
    assert not loaded & ((HEAVY - {"flax", "PIL"}) | {"optax"})


def test_models_are_loaded_when_they_are_asked_for():
    assert "flax" in loaded_by("import jaxplain; jaxplain.models.Model")
