"""The package is built with all that the source has, from the versions that it declares."""

import fnmatch
import re
import tomllib
from importlib.metadata import distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
SETUPTOOLS = PROJECT["tool"]["setuptools"]
FOLDERS = {"jaxplain": "jaxplain", "jaxplain.models": "models", "jaxplain.weights_convert": "weights_convert"}


def packages(root):
    """{package: folder} of the folders of the source that hold Python files."""
    found = {}
    for package, top in FOLDERS.items():
        for folder in sorted({path.parent for path in (root / top).rglob("*.py")}):
            found[".".join([package, *folder.relative_to(root / top).parts])] = folder
    return found


def unpacked(root, setuptools):
    """Files of the source, neither Python's nor named by package-data, which a wheel would lack."""
    return [
        str(path.relative_to(root))
        for package, folder in packages(root).items()
        for path in sorted(folder.iterdir())
        if path.is_file() and path.suffix not in (".py", ".pyc")
        if not any(fnmatch.fnmatch(path.name, pattern) for pattern in setuptools["package-data"].get(package, ()))
    ]


def minima(requirements):
    """{name: the oldest version} of requirements of the form name>=version."""
    return dict(re.fullmatch(r"([\w.-]+)>=([\d.]+)", requirement).groups() for requirement in requirements)  # pyright: ignore[reportArgumentType, reportCallIssue, reportOptionalMemberAccess] all match


def same_version(a, b):
    """Whether versions are equal but for zeros at their ends."""
    return re.sub(r"(\.0)+$", "", a) == re.sub(r"(\.0)+$", "", b)


def test_a_wheel_has_every_package():
    assert SETUPTOOLS["package-dir"] == FOLDERS
    assert sorted(SETUPTOOLS["packages"]) == sorted(packages(ROOT))


def test_a_wheel_has_every_data_file():
    assert unpacked(ROOT, SETUPTOOLS) == []


def test_what_a_wheel_lacks_is_found(tmp_path):
    for path in ("jaxplain/__init__.py", "jaxplain/new/deep/a.py", "models/__init__.py", "models/table.json"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    assert [*packages(tmp_path)] == ["jaxplain", "jaxplain.new.deep", "jaxplain.models"]
    assert unpacked(tmp_path, {"package-data": {"jaxplain.models": ["*.txt"]}}) == ["models/table.json"]


def test_the_oldest_versions_are_the_declared_ones():
    lines = (ROOT / "constraints" / "oldest.txt").read_text().splitlines()
    pinned = dict(line.split("==") for line in lines if not line.startswith("#"))
    declared = minima(PROJECT["project"]["dependencies"])
    assert {*pinned} == {*declared}
    assert [name for name in declared if not same_version(pinned[name], declared[name])] == []  # pyright: ignore[reportArgumentType] names are strings


def test_where_the_dev_extra_is_installed_nothing_is_missing_from_it():
    """Tests of an extra are left out where that is not installed, which torch tells: only dev has it."""
    extras = PROJECT["project"]["optional-dependencies"]
    needed = [re.split(r"[=>]", one)[0] for name in ("equinox", "keras", "labels") for one in extras[name]]
    here = {(one.metadata["Name"] or "").lower().replace("_", "-") for one in distributions()}
    assert "torch" not in here or [name for name in needed if name not in here] == []


@pytest.mark.parametrize(("a", "b", "same"), [("0.10", "0.10.0", True), ("2", "2.0.0", True), ("1.1", "1.10", False)])
def test_versions_are_compared_by_their_numbers(a, b, same):
    assert same_version(a, b) is same
