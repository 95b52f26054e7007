"""Style rules that a program can hold: signatures, docstrings, sizes."""

import ast
import inspect
import re
import statistics
from pathlib import Path

import pytest
from table import TABLE

import jaxplain as jp

PACKAGE = Path(__file__).parents[1] / "jaxplain"
CORE = ("net", "target", "quadrature", "rivals", "transform", "postprocess", "segment", "metrics", "explain/*")
FUNCTIONS = {name: getattr(jp, name) for name in jp.__all__ if inspect.isfunction(getattr(jp, name))}
EXPLAINERS = {row.explain.__name__: row.explain for row in TABLE if row.explain in FUNCTIONS.values()}
UNPUBLISHED = {"gradient", "channel_map"}  # explainers that are a definition and no paper's
SHAPE = re.compile(r"\((\w+, )*[hHnkKBdC]\w*(, (\d|\w+))*,?\)|\bh w\b|\bH W\b|[Ss]ame shape|scalar")
SOURCE = re.compile(r'([A-Z]\w+, )+[A-Z]?\w*[^"]*"[^"]+", (19|20)\d\d')


def signature_faults(explain):
    """How an explainer's signature differs from (net, x, target, *, options)."""
    parameters = list(inspect.signature(explain).parameters.values())
    faults = [] if [p.name for p in parameters[:3]] == ["net", "x", "target"] else ["net, x, target come first"]
    faults += [f"{p.name} is positional" for p in parameters[3:] if p.kind is not p.KEYWORD_ONLY]
    return faults + [f"{p.name} has a default" for p in parameters[:3] if p.default is not p.empty]


def docstring_faults(function, published):
    """What a docstring does not tell of the result's shape, and of the method's source."""
    doc = inspect.getdoc(function)
    if not doc:
        return ["no docstring"]
    told = f"{doc} {inspect.signature(function).return_annotation}"
    faults = [] if SHAPE.search(told) else ["names no shape"]
    sourced = SOURCE.search(" ".join(doc.split())) or not published
    return faults if sourced else [*faults, "names no authors, title and year"]


def test_every_name_is_there():
    assert list(jp.__all__) == sorted(set(jp.__all__))
    assert all(hasattr(jp, name) for name in jp.__all__)
    assert set(FUNCTIONS) == set(jp.__all__) - {"Bars", "Panel"}
    assert {"gradient", "saliency", "integrated_gradients", "grad_cam", "eigen_cam"} <= set(EXPLAINERS)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_public_function_has_a_docstring(name):
    doc = inspect.getdoc(FUNCTIONS[name])
    assert doc
    assert doc.split("\n\n")[0].rstrip().endswith((".", ":"))


@pytest.mark.parametrize("name", EXPLAINERS)
def test_every_explainer_is_called_and_described_alike(name):
    assert signature_faults(EXPLAINERS[name]) == []
    assert docstring_faults(EXPLAINERS[name], name not in UNPUBLISHED) == []


@pytest.mark.parametrize("name", FUNCTIONS)
def test_keys_are_always_called_key(name):
    assert not {"rng", "rngs", "seed", "prng"} & set(inspect.signature(FUNCTIONS[name]).parameters)


def functions(source):
    """(name, lines of code in its body without the docstring) of every function of a file."""
    lines = source.splitlines()
    code = [bool(line.strip()) and not line.strip().startswith("#") for line in lines]
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef):
            body = node.body[1:] if ast.get_docstring(node) is not None else node.body
            found.append((node.name, sum(code[body[0].lineno - 1 : node.end_lineno]) if body else 0))
    return found


def code_lines(source):
    """The lines of a file that are neither empty, nor comments, nor docstrings."""
    lines = source.splitlines()
    docs = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            docs |= set(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    return sum(
        bool(line.strip()) and not line.strip().startswith("#") and number not in docs
        for number, line in enumerate(lines, 1)
    )


def size_faults(sources):
    """What is too large in the files of the core."""
    sizes = [size for source in sources for size in functions(source)]
    faults = [f"{name} has {lines} lines" for name, lines in sizes if lines > 60]
    median, total = statistics.median(lines for _, lines in sizes), sum(map(code_lines, sources))
    faults += [f"the median function has {median} lines"] if median > 10 else []
    return faults + ([f"the core has {total} lines"] if total > 1500 else [])


def core():
    return [path.read_text() for pattern in CORE for path in sorted(PACKAGE.glob(f"{pattern}.py"))]


def test_the_core_is_small():
    assert len(core()) >= 8
    assert size_faults(core()) == []


def wrong_order(x, net, target, layer="conv", *, rng=None):
    """A map."""


def no_docstring(net, x, target):
    return x


def test_wrong_explainers_are_found():
    assert signature_faults(wrong_order) == ["net, x, target come first", "layer is positional"]
    assert signature_faults(lambda net, x, target=None: x) == ["target has a default"]
    assert docstring_faults(no_docstring, published=False) == ["no docstring"]
    assert docstring_faults(wrong_order, published=False) == ["names no shape"]
    assert docstring_faults(wrong_order, published=True) == ["names no shape", "names no authors, title and year"]
    assert docstring_faults(jp.gradient, published=True) == ["names no authors, title and year"]


def test_sizes_are_counted():
    doc = '    """Doc.\n\n    More.\n    """\n'
    source = f'"""Module."""\n\n# comment\ndef f(x):\n{doc}    # comment\n    y = x\n\n    return y\n'
    assert functions(source) == [("f", 2)]
    assert code_lines(source) == 3


def test_what_is_too_large_is_found():
    def source(lines):
        return "def f(x):\n" + "    x = x + 1\n" * lines

    assert size_faults([source(10)]) == []
    assert size_faults([source(11)]) == ["the median function has 11 lines"]
    assert size_faults([source(61), source(1), source(1)]) == ["f has 61 lines"]
    assert size_faults([source(9)] * 151) == ["the core has 1510 lines"]
