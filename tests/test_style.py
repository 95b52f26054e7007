"""Style rules that a program can hold: signatures, docstrings, sizes."""

import ast
import inspect
import re
import statistics
from pathlib import Path

import pytest
from table import TABLE

import jaxplain as jp
from jaxplain import concepts, methods, metrics, similarity, stats, transform, workflows
from jaxplain.cli import app

PACKAGE = Path(__file__).parents[1] / "jaxplain"
CORE = ("net", "target", "similarity", "transform/*", "methods", "postprocess", "segment", "metrics/*", "explain/*")
MODULES = (jp, concepts, methods, metrics, similarity, stats, transform, workflows)
HOST = ("jaxplain.concepts.", "jaxplain.stats.", "jaxplain.workflows.")
PUBLIC = {f"{m.__name__}.{name}": getattr(m, name) for m in MODULES for name in m.__all__}
FUNCTIONS = {name: value for name, value in PUBLIC.items() if inspect.isfunction(value)}
ON_DEVICE = [name for name in FUNCTIONS if not name.startswith(HOST)]  # others draw on the host
EXPLAINERS = {row.explain.__name__: row.explain for row in TABLE if row.explain in FUNCTIONS.values()}
MEASURES = {name: f for name, f in FUNCTIONS.items() if name.startswith("jaxplain.metrics.")}
TRANSFORMED = {
    "batched": jp.batched(jp.grad_cam),
    "over_classes": jp.over_classes(jp.rise),
    "smooth": jp.smooth(jp.saliency, samples=2, sigma=0.1),
    "chunked": jp.chunked(jp.grad_cam, 2),
    "active": jp.active(jp.gradient),
    "inactive": jp.inactive(jp.gradient),
    "active_and_inactive": jp.active_and_inactive(jp.gradient),
    "at_layers": jp.at_layers(jp.grad_cam, ("a", "b")),
    "per_segment": jp.per_segment(jp.grad_cam),
}
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
    described = f"{doc} {inspect.signature(function).return_annotation}"
    faults = [] if SHAPE.search(described) else ["names no shape"]
    sourced = SOURCE.search(" ".join(doc.split())) or not published
    return faults if sourced else [*faults, "names no authors, title and year"]


def test_every_name_is_there():
    assert list(jp.__all__) == sorted(set(jp.__all__))
    assert all(hasattr(jp, name) for name in dir(jp))
    assert {f"jaxplain.{name}" for name in jp.__all__} - set(FUNCTIONS) == {
        f"jaxplain.{name}" for name in ("Attribution", "Bars", "Concept", "Features", "Panel")
    }
    assert {*transform.__all__} == {*TRANSFORMED}
    assert {*jp.__all__} < {*dir(jp)}
    assert {"metrics", "models", "similarity"} < {*dir(jp)}
    assert not [name for name in dir(jp) if name.startswith("_") and name != "__version__"]


@pytest.mark.parametrize("name", PUBLIC)
def test_no_name_hides_the_module_it_lives_in(name):
    module = getattr(PUBLIC[name], "__module__", None)
    assert module is None or module.split(".")[-1] != name.split(".")[-1]


@pytest.mark.parametrize("name", TRANSFORMED)
def test_transforms_keep_name_docstring_and_signature(name):
    """They are called as explainers are: net, image and target first, everything else by keyword."""
    explain = TRANSFORMED[name]
    inner = explain.__wrapped__  # pyright: ignore[reportAttributeAccessIssue] JAX has it
    assert (explain.__name__, explain.__doc__) == (inner.__name__, inner.__doc__)  # pyright: ignore[reportAttributeAccessIssue] a function
    assert signature_faults(explain) == []
    added = {"smooth": {"key"}, "per_segment": {"segments", "num_segments", "rectify"}}.get(name, set())
    missing = {"layer"} if name == "at_layers" else set()
    assert {*inspect.signature(explain).parameters} == ({*inspect.signature(inner).parameters} | added) - missing


@pytest.mark.parametrize("name", MEASURES)
def test_measures_have_keyword_only_options_and_describe_their_results(name):
    parameters = inspect.signature(MEASURES[name]).parameters.values()
    with_default = [p for p in parameters if p.default is not p.empty]
    assert all(p.kind is p.KEYWORD_ONLY for p in with_default)
    assert docstring_faults(MEASURES[name], published=False) == []
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


@pytest.mark.parametrize("name", ON_DEVICE)
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
            docs |= set(range(node.body[0].lineno, node.body[0].end_lineno + 1))  # pyright: ignore[reportOptionalOperand] parsed nodes have it
    return sum(
        bool(line.strip()) and not line.strip().startswith("#") and number not in docs
        for number, line in enumerate(lines, 1)
    )


def size_faults(sources, what="the core", most=1750):
    """What is too large in files that may have so many lines in all."""
    sizes = [size for source in sources for size in functions(source)]
    faults = [f"{name} has {lines} lines" for name, lines in sizes if lines > 50]
    median, total = statistics.median(lines for _, lines in sizes), sum(map(code_lines, sources))
    faults += [f"the median function has {median} lines"] if median > 10 else []
    return faults + ([f"{what} has {total} lines"] if total > most else [])


def core():
    return [path.read_text() for pattern in CORE for path in sorted(PACKAGE.glob(f"{pattern}.py"))]


def test_the_core_is_small():
    assert len(core()) >= 8
    assert size_faults(core()) == []


def test_the_command_line_is_small():
    sources = [path.read_text() for path in sorted((PACKAGE / "cli").glob("*.py"))]
    assert len(sources) >= 15
    apps = [app, *(group.typer_instance for group in app.registered_groups)]
    commands = sum(len(one.registered_commands) for one in apps if one is not None)
    assert size_faults(sources, "the command line", 54 * commands) == []


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
    assert size_faults([source(51), source(1), source(1)]) == ["f has 51 lines"]
    assert size_faults([source(9)] * 176) == ["the core has 1760 lines"]
    assert size_faults([source(9)] * 71, "it", 700) == ["it has 710 lines"]
