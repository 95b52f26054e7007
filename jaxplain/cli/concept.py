"""jaxplain concept: concepts fitted, seen in photographs, and what they count for in a class."""

import functools
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import jax
import numpy as np
import typer

import jaxplain as jp
from jaxplain.cli.attributions import Global, Local, print_global, print_local, write_global, write_local
from jaxplain.cli.common import (
    Out,
    Skip,
    WeightsPath,
    bars,
    check_layer,
    check_out,
    in_turn,
    picture_of,
    readable,
    report,
    spare,
    stems,
)
from jaxplain.cli.errors import told, writing
from jaxplain.cli.methods import named, outputs
from jaxplain.cli.tables import show
from jaxplain.concepts import Fitted, check_model, fingerprint, fit_images, read, save

RULES, TESTS = ("trapezoid", "gauss_legendre"), ("welch", "permutation")
CLASSES = 3  # that are explained where none is named
BATCH = 4  # images at a time of a global explanation
POINTS = 17  # of a path at a time
SUFFIX = ".concept"

Concepts = Annotated[
    list[Path], typer.Option("--concepts", metavar="FILE", help="Fitted concepts; more files may follow the first.")
]
Steps = Annotated[int, typer.Option(help="Steps of the integral over the path from zero activations.", min=1)]
Rule = Annotated[str, typer.Option(metavar="RULE", help=f"Of the integral: {', '.join(RULES)}.")]
Test = Annotated[str, typer.Option(metavar="TEST", help=f"Against the random concepts: {', '.join(TESTS)}.")]
OtherModel = Annotated[str | None, typer.Option(metavar="NAME", help="Network; default: the one of the concepts.")]

concept = typer.Typer(
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Fit concepts, show where they are seen, and what they count for.",
    rich_markup_mode=None,
)


class Home(NamedTuple):
    """A model with the concepts that are at home in it, and {layer: the names of those fitted there}."""

    model: Any
    concepts: dict[str, Fitted]
    layers: dict[str, list[str]]


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
    from jaxplain.models import load

    path = Path(f"{name}{SUFFIX}") if out is None else out
    with told():
        if path.is_dir():
            raise ValueError(f"{path} is a folder, but a file is expected: --out {path / name}{SUFFIX}.")
        check_out(path.parent)
        loaded = load(model, weights)
        layers = [_with_positions(loaded, one) for one in dict.fromkeys(layer or [loaded.spec.cam_layer])]
        with bars() as track:
            ours, theirs = (readable(folder, picture_of(loaded.spec), skip, track) for folder in (images, random))
        fitted = fit_images(name, loaded, np.stack(ours), np.stack(theirs), layers, nulls=nulls, seed=seed)
        with writing(path):
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
    from jaxplain.models import open_image

    images, files = _apart(images, concepts)
    images = list(dict.fromkeys(images))
    with told():
        _check_names(rule, test)
        home = _home(files, model, weights)
        targets = _targets(target, home.model.spec.categories)
        paths = [out / f"{stem}_concepts" for stem in stems(images)]
        check_out(out)
        spare(images, paths)
        explainer = _explainer(home, steps, rule)
    failures = []
    for image, path in in_turn(list(zip(images, paths, strict=True)), "Explaining"):
        try:
            photo = open_image(image)
            answer = _local(home, explainer, photo, targets)
            write_local(answer, home, photo, image, path, {"steps": steps, "rule": rule, "test": test})
        except (ValueError, OSError) as error:
            failures.append((image, error))
            continue
        print_local(answer, home, image, test)
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
    from jaxplain.models import find_class

    folders, files = _apart(map(str, folder), concepts)
    with told():
        if len(folders) != 1:
            raise ValueError(f"There are {len(folders)} folders, {', '.join(folders) or 'none'}, but one is expected.")
        _check_names(rule, test)
        home = _home(files, model, weights)
        k = find_class(target, home.model.spec.categories)
        check_out(out)
        picture = picture_of(home.model.spec)
        with bars() as track:
            paths = readable(Path(folders[0]), lambda path: (picture(path), path)[1], skip, track)
            answer = _global(home, paths, k, steps, rule, track)
        path = out / f"concepts_{k}"
        write_global(answer, home, folders[0], path, {"steps": steps, "rule": rule, "test": test})
    print_global(answer, home, test)
    print(f"{path}.png, .csv and .json written", flush=True)


def _with_positions(model, layer):
    return check_layer(model, layer, ["grad_cam"])


def _check_names(rule, test):
    named("rule", rule, RULES)
    named("test", test, TESTS)


def _apart(given, concepts):
    """Images, and concept files: a shell's *.concept after --concepts ends up among the images, for the most part."""
    given = list(given)
    files = [Path(one) for one in given if one.endswith(SUFFIX)]
    return [one for one in given if not one.endswith(SUFFIX)], [*concepts, *files]


def _home(files, model, weights):
    """The model of the concepts, and the concepts after checking that they are at home in it."""
    from jaxplain.models import load

    fitted = [read(path) for path in dict.fromkeys(files)]
    twice = [one.name for number, one in enumerate(fitted) if one.name in {other.name for other in fitted[:number]}]
    if twice:
        raise ValueError(f"Two of the files hold a concept {twice[0]!r}: name one of them, or fit it by another name.")
    loaded = load(model or fitted[0].model, weights)
    parameters = fingerprint(loaded.net)
    for one in fitted:
        check_model(one, loaded, parameters)
    layers: dict[str, list[str]] = {}
    for one in fitted:
        for layer, concept in one.concepts.items():
            _check_width(loaded, layer, one.name, len(concept.direction))
            layers.setdefault(layer, []).append(one.name)
    return Home(loaded, {one.name: one for one in fitted}, layers)


def _check_width(model, layer, name, width):
    channels = jp.layers(model.net, model.spec.image)[_with_positions(model, layer)].shape[-1]
    if channels != width:
        raise ValueError(f"The concept {name!r} has {width} channels, but {layer!r} has {channels}: fit it again.")


def _targets(names, categories):
    from jaxplain.models import find_class

    return tuple(dict.fromkeys(find_class(name, categories) for name in names)) if names else None


def _stacked(home):
    """{layer: the concepts fitted there and then all their null concepts, stacked}."""

    def at(layer, names):
        ours = jp.stack_concepts([home.concepts[name].concepts[layer] for name in names])
        nulls = [home.concepts[name].nulls[layer] for name in names]
        return jax.tree.map(lambda *arrays: np.concatenate(arrays), ours, *nulls)

    return {layer: at(layer, names) for layer, names in home.layers.items()}


def _explainer(home, steps, rule):
    """f(net, x, targets (K, n)) -> maps {layer: (k, h, w)} and Attributions {layer: (K, k + nulls)}."""
    everywhere = jp.over_classes(jp.at_layers(_attribute(steps, rule), tuple(home.layers)))

    def own(layer, concepts):
        return jax.tree.map(lambda a: a[: len(home.layers[layer])], concepts[layer])

    @jax.jit
    def explain(net, x, targets, concepts):
        maps = {layer: jp.concept_map(net, x, layer=layer, concept=own(layer, concepts)) for layer in concepts}
        return maps, everywhere(net, x, targets, concepts=concepts)

    return functools.partial(explain, concepts=_stacked(home))


def _attribute(steps, rule):
    return functools.partial(jp.concept_attribution, steps=steps, rule=rule, chunk=POINTS)


def _local(home, explain, photo, targets):
    x = home.model.prepare(photo)
    scores = np.asarray(outputs(home.model.net, x))
    classes = targets or tuple(int(k) for k in np.argsort(-scores, kind="stable")[:CLASSES])
    maps, found = jax.tree.map(
        np.asarray, explain(home.model.net, x, np.eye(len(scores), dtype=np.float32)[[*classes]])
    )
    odds = np.exp(scores - scores.max())
    return Local(
        classes, odds / odds.sum(), maps, *_parted(home, found), {k: a.share for k, a in found.items()}, _errors(found)
    )


def _global(home, paths, k, steps, rule, track):
    """Attributions of one class over images, BATCH of them at a time; a file is opened when its turn has come."""
    explain = jp.chunked(jax.jit(jp.batched(jp.at_layers(_attribute(steps, rule), tuple(home.layers)))), BATCH)
    model, concepts, picture = home.model, _stacked(home), picture_of(home.model.spec)
    target = np.eye(len(model.spec.categories), dtype=np.float32)[k]
    parts, predicted = [], []
    for start in track(range(0, len(paths), BATCH), "explaining"):
        images = np.stack([picture(path) for path in paths[start : start + BATCH]])
        X = np.asarray(jax.vmap(model.normalise)(images.astype(np.float32) / 255))
        parts.append(explain(model.net, X, np.tile(target, (len(X), 1)), concepts=concepts))
        predicted += [int(np.argmax(outputs(model.net, x))) for x in X]
    found = jax.tree.map(lambda *arrays: np.concatenate(arrays), *parts)
    return Global(k, [path.name for path in paths], predicted, *_parted(home, found), _errors(found))


def _errors(found):
    return {layer: float(one.error.max()) for layer, one in found.items()}


def _parted(home, found):
    """The values (..., k + nulls) as {layer: {name: (...)}} of concepts, and {layer: {name: (draws, ...)}} of nulls."""
    ours: dict[str, dict[str, np.ndarray]] = {}
    nulls: dict[str, dict[str, np.ndarray]] = {}
    for layer, names in home.layers.items():
        rows = np.moveaxis(found[layer].values, -1, 0)
        if not np.isfinite(rows).all():
            raise ValueError(f"The activations at {layer!r} are not finite: look at the image and the weights.")
        ends = np.cumsum([len(names), *(len(home.concepts[name].nulls[layer].direction) for name in names)])
        own, *random = np.split(rows, ends[:-1])
        ours[layer], nulls[layer] = (dict(zip(names, some, strict=True)) for some in (own, random))
    return ours, nulls


def _print_fitted(fitted):
    def row(layer, concept):
        low, high = float(concept.low), float(concept.high)
        return layer, f"{low:.3g}", f"{high:.3g}", "yes" if high > low else "no: its maps are 0"

    title = f"{fitted.name}: {fitted.images} images, {fitted.random} random ones  ·  {fitted.model}"
    columns = ("layer", "random images reach", "its images reach", "recognised")
    show(columns, [row(*both) for both in fitted.concepts.items()], title=title)
