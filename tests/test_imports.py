"""The rooms of the package: who imports whom is read from the import statements, and `import jaxplain` stays light."""

import ast
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
HEAVY = {"flax", "matplotlib", "skimage", "sklearn", "PIL", "orbax", "torch"}

# The rooms of jaxplain/ that are as closed as this: besides the standard library they import these and nothing else.
CORE = {"jax", "jaxtyping"}
MAY = {
    "target.py": CORE,
    "net.py": CORE | {"jaxplain.target"},
    "quadrature.py": CORE | {"numpy"},
    "rivals.py": CORE | {"jaxplain.net", "jaxplain.quadrature"},
    "adapt.py": CORE | {"flax", "jaxplain.net"},
    "segment.py": CORE | {"numpy", "skimage"},
    "explain/": CORE
    | {"numpy", "jaxplain.net", "jaxplain.target", "jaxplain.quadrature", "jaxplain.rivals", "jaxplain.explain"}
    | {"jaxplain.postprocess", "jaxplain.segment"},
    "transform.py": CORE
    | {"numpy", "jaxplain.net", "jaxplain.target", "jaxplain.quadrature", "jaxplain.postprocess", "jaxplain.explain"},
    "postprocess.py": CORE | {"numpy", "jaxplain.segment"},
}
# What the other files must not import.
MUST_NOT = {
    "metrics.py": {"jaxplain.explain", "jaxplain.transform"},
    "models/": {"jaxplain.explain", "jaxplain.transform", "jaxplain.render"},
    "weights_convert/": {"jaxplain.explain", "jaxplain.transform", "jaxplain.render"},
}
# Libraries that one file of jaxplain/ meets for all, inside its functions.
ONLY = {"flax": {"adapt.py"}, "matplotlib": {"render.py"}}


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


def rule(rules, file):
    """The rule of a file: its own or its folder's."""
    mine = [value for key, value in rules.items() if file == key or (key.endswith("/") and file.startswith(key))]
    return mine[0] if mine else None


def violations(file, source):
    """What a file imports against the rules; it is named from jaxplain/, or as models/... or weights_convert/..."""
    wrong = []
    package = not file.startswith(("models/", "weights_convert/"))
    for name, inside in imports(source):
        top = name.split(".")[0]
        may, must_not = rule(MAY, file), rule(MUST_NOT, file)
        if name.startswith("."):
            wrong.append(f"{file} imports {name} by a relative name")
        elif may is not None and top not in sys.stdlib_module_names and not within(name, may):
            wrong.append(f"{file} imports {name}, which is not for its room")
        if must_not is not None and within(name, must_not):
            wrong.append(f"{file} must not import {name}")
        if package and top in ONLY and file not in ONLY[top]:
            wrong.append(f"{file} imports {name}, but only {ONLY[top]} meets {top}")
        if package and top in HEAVY and not file.startswith("cli/") and not inside:
            wrong.append(f"{file} imports {name} outside of a function")
        if within(name, {"jaxplain.cli"}) and not file.startswith("cli/"):
            wrong.append(f"{file} imports {name}, but nothing imports the commands")
        if package and not file.startswith("cli/") and within(name, {"jaxplain.models", "jaxplain.weights_convert"}):
            wrong.append(f"{file} imports {name}, but the explainers know no models")
    return wrong


def files():
    found = {str(path.relative_to(ROOT / "jaxplain")): path for path in (ROOT / "jaxplain").rglob("*.py")}
    for folder in ("models", "weights_convert"):
        found |= {str(path.relative_to(ROOT)): path for path in (ROOT / folder).rglob("*.py")}
    return found


def test_every_room_is_read():
    assert {*MAY} - {"explain/"} <= {*files()}
    assert {"__init__.py", "render.py", "explain/cam.py", "cli/explain.py", "models/_load.py"} <= {*files()}


@pytest.mark.parametrize("file", sorted(files()))
def test_imports_follow_the_rooms(file):
    assert violations(file, files()[file].read_text()) == []


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("net.py", "import numpy"),
        ("net.py", "import flax.linen as nn"),
        ("target.py", "from jaxplain.net import Net"),
        ("target.py", "from jaxplain import net"),
        ("explain/new.py", "def f():\n    from sklearn.manifold import TSNE"),
        ("explain/new.py", "from jaxplain.transform import smooth"),
        ("explain/new.py", "from jaxplain import transform"),
        ("explain/new.py", "import jaxplain.models._load"),
        ("explain/new.py", "from ..net import view"),
        ("postprocess.py", "from jaxplain.explain.cam import grad_cam"),
        ("metrics.py", "from jaxplain.explain import cam"),
        ("transform.py", "import jaxplain.models"),
        ("jobs.py", "def f():\n    from flax import nnx"),
        ("report.py", "def f():\n    import matplotlib.pyplot as plt"),
        ("adapt.py", "from flax import nnx"),
        ("render.py", "import matplotlib"),
        ("segment.py", "from skimage.segmentation import slic"),
        ("jobs.py", "def f():\n    from jaxplain.models import load"),
        ("jobs.py", "from jaxplain.cli import main"),
        ("models/_load.py", "from jaxplain.cli.errors import told"),
        ("models/_load.py", "from jaxplain import grad_cam, explain"),
        ("cli/explain.py", "import flax"),
        ("__init__.py", "from jaxplain import models"),
    ],
)
def test_the_rules_find_what_breaks_them(file, source):
    assert len(violations(file, source)) >= 1


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("net.py", "import functools\nimport jax.numpy as jnp\nfrom jaxplain.target import score"),
        ("explain/new.py", "from jaxplain.net import view\nfrom jaxplain.quadrature import nodes"),
        ("adapt.py", "def f():\n    from flax import nnx"),
        ("render.py", "class A:\n    def f(self):\n        if self:\n            import matplotlib.figure"),
        ("models/_load.py", "import flax.linen\nfrom jaxplain.adapt import from_linen"),
        ("cli/explain.py", "from jaxplain.models import load\nfrom jaxplain.cli.errors import told"),
    ],
)
def test_the_rules_let_pass_what_keeps_them(file, source):
    assert violations(file, source) == []


def loaded_by(statement):
    """The top-level modules that a fresh interpreter has after a statement."""
    script = f"import sys; {statement}; print(*{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_jaxplain_loads_nothing_heavy():
    loaded = loaded_by("import jaxplain")
    assert {"jaxplain", "jax", "jaxtyping"} <= loaded
    assert not loaded & (HEAVY | {"optax", "rich", "typer"})


def test_models_are_loaded_when_they_are_asked_for():
    assert "flax" in loaded_by("import jaxplain; jaxplain.models._load")
