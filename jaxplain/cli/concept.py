"""jaxplain concept: concepts fitted, seen in photographs, and what they count for in a class."""

from pathlib import Path
from typing import Annotated, Any, get_args

from typer import Argument, Option, Typer

from jaxplain import _types
from jaxplain.cli.common import load, save, save_each
from jaxplain.cli.errors import say_left_out, tell
from jaxplain.cli.options import Background, Images, Levels, ModelName, Out, Outputs, Skip, WeightsPath
from jaxplain.cli.parsing import Command
from jaxplain.cli.progress import bars
from jaxplain.cli.tables import show
from jaxplain.concepts import read
from jaxplain.concepts import save as save_concept

SUFFIX = ".concept"

Name = Annotated[str, Argument(metavar="NAME", help="What the concept is called.")]
Shown = Annotated[Path, Option(metavar="DIR", help="Images that show the concept; 30 or more are good.")]
Random = Annotated[Path, Option(metavar="DIR", help="Images of anything else; the more, the better.")]
File = Annotated[Path | None, Option(metavar="FILE", help="Default: NAME.concept.")]
_AT = "Repeatable; default: that of class activation maps. See `jaxplain layers`."
Layers = Annotated[list[str] | None, Option(metavar="NAME", help=_AT)]
Nulls = Annotated[int, Option(help="Concepts of random images that it is compared with.", min=2)]
Seed = Annotated[int, Option(help="Of their choice.", min=0, max=2**31 - 1)]

_FILES = "Fitted concepts; more files may follow the first."
Concepts = Annotated[list[Path], Option("--concepts", metavar="FILE", help=_FILES)]
OtherModel = Annotated[str | None, Option(metavar="NAME", help="Network; default: the one of the concepts.")]
_CLASSES = "Name or index, repeatable; default: the top three."
Targets = Annotated[list[str] | None, Option(metavar="CLASS", help=_CLASSES)]
Folder = Annotated[list[Path], Argument(metavar="DIR", help="A folder of images of the class.")]
Target = Annotated[str, Option(metavar="CLASS", help="Name or index of the class.")]
Steps = Annotated[int, Option(help="Steps of the integral over the path from zero activations.", min=1)]
Rule = Annotated[str, Option(metavar="RULE", help=f"Of the integral: {', '.join(get_args(_types.Rule))}.")]
_TESTS = f"Against the random concepts: {', '.join(get_args(_types.Test))}."
Test = Annotated[str, Option(metavar="TEST", help=_TESTS)]

concept = Typer(help="Fit concepts, show where they are seen, and what they count for.", rich_markup_mode=None)


@concept.command("fit", cls=Command)
def fit_command(
    name: Name,
    images: Shown,
    random: Random,
    out: File = None,
    model: ModelName = "efficientnet_lite0",
    weights: WeightsPath = None,
    layer: Layers = None,
    nulls: Nulls = 20,
    seed: Seed = 0,
    background: Background = None,
    levels: Levels = None,
    skip: Skip = False,
) -> None:
    """Fit a concept to a folder of images that show it.

    The concept is the direction from the mean activation of random images to that of the concept's. Beside it the file
    has concepts of random images, which later tell what is more than chance.
    """
    from jaxplain import workflows

    path = Path(f"{name}{SUFFIX}") if out is None else out
    if path.is_dir():
        raise ValueError(f"{path} is a folder, but a file is expected: --out {path / name}{SUFFIX}.")
    workflows.check_out(path.parent)
    loaded = load(model, weights).reading(background, levels)
    options: dict[str, Any] = {"layers": layer, "nulls": nulls, "seed": seed, "failed": say_left_out if skip else None}
    with bars() as track:
        fitted = workflows.fit_concept(loaded, name, images, random, **options, track=track)
    with workflows.writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        save_concept(path, fitted)
    show(*workflows.fitted_table(fitted))
    tell(f"{path} written")


@concept.command(cls=Command)
def explain(
    images: Images,
    concepts: Concepts,
    model: OtherModel = None,
    weights: WeightsPath = None,
    outputs: Outputs = None,
    target: Targets = None,
    steps: Steps = 50,
    rule: Rule = "trapezoid",
    test: Test = "welch",
    background: Background = None,
    levels: Levels = None,
    out: Out = Path("out"),
) -> None:
    """Show where concepts are seen in photographs, and what they count for in each class.

    Writes for each image a figure (.png), all numbers (.csv) and a record (.json). An attribution is a share of the
    class's evidence, between 0 and 1; * marks what is more than that of random concepts (p < 0.05 after Holm's
    correction for all numbers of the image).
    """
    from jaxplain import workflows

    images, files = _apart(images, concepts)
    loaded, fitted = _read(files, model, weights, background, levels, outputs)
    options: dict[str, Any] = {"concepts": fitted, "targets": target, "steps": steps, "rule": rule, "test": test}
    save_each(
        workflows.result_paths(images, out, "_concepts"),
        lambda few, failed, watch: workflows.explain_concepts(loaded, few, **options, failed=failed, watch=watch),
    )


@concept.command("global", cls=Command)
def global_command(
    folder: Folder,
    concepts: Concepts,
    target: Target,
    model: OtherModel = None,
    weights: WeightsPath = None,
    steps: Steps = 50,
    rule: Rule = "trapezoid",
    test: Test = "welch",
    background: Background = None,
    levels: Levels = None,
    skip: Skip = False,
    out: Out = Path("out"),
) -> None:
    """Tell what concepts count for in a class, over a folder of its images.

    Prints and writes the mean attribution, its deviation and an interval of two standard errors for each layer and
    concept (concepts_CLASS.png, .csv and .json).
    """
    from jaxplain import workflows

    folders, files = _apart(map(str, folder), concepts)
    if len(folders) != 1:
        raise ValueError(f"There are {len(folders)} folders, {', '.join(folders) or 'none'}, but one is expected.")
    loaded, fitted = _read(files, model, weights, background, levels)
    workflows.check_out(out)
    options: dict[str, Any] = {"steps": steps, "rule": rule, "test": test, "failed": say_left_out if skip else None}
    with bars() as track:
        found = workflows.global_concepts(loaded, folders[0], fitted, target, **options, track=track)
    save(found, out / f"concepts_{found.target}")


def _apart(given, concepts):
    """Images, and concept files: a shell's *.concept after --concepts ends up among the images, for the most part."""
    given = list(given)
    files = [Path(one) for one in given if one.endswith(SUFFIX)]
    return [one for one in given if not one.endswith(SUFFIX)], [*concepts, *files]


def _read(files, name, weights, background, levels, outputs=None):
    """The model, by default that of the first concept, and the concepts."""
    fitted = [read(path) for path in dict.fromkeys(files)]
    return load(name or fitted[0].model, weights, outputs=outputs).reading(background, levels), fitted
