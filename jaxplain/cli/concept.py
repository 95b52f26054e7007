"""jaxplain concept: concepts fitted, seen in photographs, and what they count for in a class."""

from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from jaxplain._types import Rule as Rules
from jaxplain._types import Test as Tests
from jaxplain.cli.common import Out, Skip, WeightsPath, bars, check_out, in_turn, keep_photographs, report, stems
from jaxplain.cli.errors import in_one_sentence, say
from jaxplain.cli.tables import show
from jaxplain.concepts import read, save

SUFFIX = ".concept"

Concepts = Annotated[
    list[Path], typer.Option("--concepts", metavar="FILE", help="Fitted concepts; more files may follow the first.")
]
Steps = Annotated[int, typer.Option(help="Steps of the integral over the path from zero activations.", min=1)]
Rule = Annotated[str, typer.Option(metavar="RULE", help=f"Of the integral: {', '.join(get_args(Rules))}.")]
Test = Annotated[str, typer.Option(metavar="TEST", help=f"Against the random concepts: {', '.join(get_args(Tests))}.")]
OtherModel = Annotated[str | None, typer.Option(metavar="NAME", help="Network; default: the one of the concepts.")]

concept: typer.Typer = typer.Typer(
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Fit concepts, show where they are seen, and what they count for.",
    rich_markup_mode=None,
)


@concept.command("fit")
def fit_command(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What the concept is called.")],
    images: Annotated[Path, typer.Option(metavar="DIR", help="Images that show the concept; 30 or more are good.")],
    random: Annotated[Path, typer.Option(metavar="DIR", help="Images of anything else; the more, the better.")],
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Default: NAME.concept.")] = None,
    model: Annotated[
        str, typer.Option(metavar="NAME", help="Network, as `jaxplain models` lists them.")
    ] = "efficientnet_lite0",
    weights: WeightsPath = None,
    layer: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Repeatable; default: that of class activation maps. See `jaxplain layers`."),
    ] = None,
    nulls: Annotated[int, typer.Option(help="Concepts of random images that it is compared with.", min=2)] = 20,
    seed: Annotated[int, typer.Option(help="Of their choice.", min=0, max=2**31 - 1)] = 0,
    skip: Skip = False,
) -> None:
    """Fit a concept to a folder of images that show it.

    The concept is the direction from the mean activation of random images to that of the concept's. Beside it the file
    has concepts of random images, which later tell what is more than chance.
    """
    from jaxplain import workflows
    from jaxplain.models import load

    path = Path(f"{name}{SUFFIX}") if out is None else out
    with in_one_sentence():
        if path.is_dir():
            raise ValueError(f"{path} is a folder, but a file is expected: --out {path / name}{SUFFIX}.")
        check_out(path.parent)
        loaded = load(model, weights)
        options: dict[str, Any] = {"layers": layer, "nulls": nulls, "seed": seed}
        reading: dict[str, Any] = {"skip_unreadable": skip, "left_out": _say_left_out}
        with bars() as track:
            fitted = workflows.fit_concept(loaded, name, images, random, **options, **reading, track=track)
        with workflows.writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            save(path, fitted)
    _print_fitted(fitted)
    print(f"{path} written", flush=True)


@concept.command()
def explain(
    images: Annotated[list[str], typer.Argument(metavar="IMAGE", help="Files, or sample:chelsea, sample:coffee...")],
    concepts: Concepts,
    model: OtherModel = None,
    weights: WeightsPath = None,
    target: Annotated[
        list[str] | None, typer.Option(metavar="CLASS", help="Name or index, repeatable; default: the top three.")
    ] = None,
    steps: Steps = 50,
    rule: Rule = "trapezoid",
    test: Test = "welch",
    out: Out = Path("out"),
) -> None:
    """Show where concepts are seen in photographs, and what they count for in each class.

    Writes for each image a figure (.png), all numbers (.csv) and a record (.json). An attribution is a share of the
    class's evidence, between 0 and 1; * marks what is more than that of random concepts (p < 0.05 after Holm's
    correction for all numbers of the image).
    """
    from jaxplain import workflows

    images, files = _apart(images, concepts)
    images = list(dict.fromkeys(images))
    with in_one_sentence():
        loaded, fitted = _read(files, model, weights)
        options: dict[str, Any] = {"steps": steps, "rule": rule, "test": test}
        explain = workflows.concept_explainer(loaded, fitted, targets=target, **options)
        paths = [out / f"{stem}_concepts" for stem in stems(images)]
        check_out(out)
        keep_photographs(images, paths)
    failures = []
    for image, path in in_turn(list(zip(images, paths, strict=True)), "Explaining"):
        try:
            found = explain(image)
            found.save(path)
        except (ValueError, OSError) as error:
            failures.append((image, error))
            continue
        _print_explanation(found)
        print(f"{path}.png, .csv and .json written", flush=True)
    report(failures, len(images), "explained")


@concept.command("global")
def global_command(
    folder: Annotated[list[Path], typer.Argument(metavar="DIR", help="A folder of images of the class.")],
    concepts: Concepts,
    target: Annotated[str, typer.Option(metavar="CLASS", help="Name or index of the class.")],
    model: OtherModel = None,
    weights: WeightsPath = None,
    steps: Steps = 50,
    rule: Rule = "trapezoid",
    test: Test = "welch",
    skip: Skip = False,
    out: Out = Path("out"),
) -> None:
    """Tell what concepts count for in a class, over a folder of its images.

    Prints and writes the mean attribution, its deviation and an interval of two standard errors for each layer and
    concept (concepts_CLASS.png, .csv and .json).
    """
    from jaxplain import workflows

    folders, files = _apart(map(str, folder), concepts)
    with in_one_sentence():
        if len(folders) != 1:
            raise ValueError(f"There are {len(folders)} folders, {', '.join(folders) or 'none'}, but one is expected.")
        loaded, fitted = _read(files, model, weights)
        check_out(out)
        options: dict[str, Any] = {"steps": steps, "rule": rule, "test": test}
        reading: dict[str, Any] = {"skip_unreadable": skip, "left_out": _say_left_out}
        with bars() as track:
            found = workflows.global_concepts(loaded, folders[0], fitted, target, **options, **reading, track=track)
        path = out / f"concepts_{found.target}"
        found.save(path)
    _print_global(found)
    print(f"{path}.png, .csv and .json written", flush=True)


def _apart(given, concepts):
    """Images, and concept files: a shell's *.concept after --concepts ends up among the images, for the most part."""
    given = list(given)
    files = [Path(one) for one in given if one.endswith(SUFFIX)]
    return [one for one in given if not one.endswith(SUFFIX)], [*concepts, *files]


def _read(files, name, weights):
    """The model, by default that of the first concept, and the concepts."""
    from jaxplain.models import load

    fitted = [read(path) for path in dict.fromkeys(files)]
    return load(name or fitted[0].model, weights), fitted


def _say_left_out(image, error):
    say(f"left out: {error if str(image) in str(error) else f'{image}: {error}'}")


def _print_fitted(fitted):
    def row(layer, concept):
        low, high = float(concept.low), float(concept.high)
        return layer, f"{low:.3g}", f"{high:.3g}", "yes" if high > low else "no: its maps are 0"

    title = f"{fitted.name}: {fitted.images} images, {fitted.random} random ones  ·  {fitted.model}"
    columns = ("layer", "random images reach", "its images reach", "recognised")
    show(columns, [row(*both) for both in fitted.concepts.items()], title=title)


def _print_explanation(found):
    """A row for each layer and concept, a column for each class."""
    classes = zip(found.classes.values(), found.probabilities, strict=True)
    columns = ["layer", "concept", *(f"{name}\np = {probability:.2g}" for name, probability in classes)]
    table: dict[tuple[str, str], list[str]] = {}
    for row in found.rows:
        table.setdefault((row.layer, row.label), []).append(_value(row))
    show(columns, [(*key, *cells) for key, cells in table.items()], title=f"{found.image}\n{_note(found)}")


def _print_global(found):
    """A row for each layer and concept."""

    def cells(row):
        band = f"{row.null_low:.3f} to {row.null_high:.3f}"
        return row.layer, row.label, _value(row), f"{row.deviation:.3f}", f"{row.low:.3f} to {row.high:.3f}", band

    columns = "layer", "concept", "mean", "deviation", "interval", "random concepts"
    show(columns, map(cells, found.rows), title=f"{found.subject}\n{_note(found)}")


def _value(row):
    return f"{row.value:.3f}{' *' if row.significant else ''}"


def _note(found):
    return (
        "* more than random concepts have, p < 0.05 after Holm's correction; "
        f"completeness error at most {max(found.errors.values()):.1%}"
    )
