"""jaxplain convert: weights of one's own, converted once, with their class names and preprocessing."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from jaxplain.cli.errors import in_one_sentence

LONGEST = 1024**2  # bytes of a file of class names


def convert(
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="A .pth or .pt, a .safetensors, a folder by this command or by Orbax."),
    ],
    model: Annotated[str, typer.Option(metavar="NAME", help="Its network, as `jaxplain models` lists them.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the converted weights, new or empty.")],
    categories: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Text file of the class names, one a line, in UTF-8.")
    ] = None,
    preprocessing: Annotated[
        str | None,
        typer.Option(metavar="SET", help="The published weights whose preprocessing these were trained with."),
    ] = None,
) -> None:
    """Convert weights and keep them with their class names and preprocessing.

    The other commands take the folder as their --weights.
    """
    from jaxplain.models import load
    from jaxplain.workflows import writing

    with in_one_sentence():
        names = None if categories is None else _names(categories)
        converted = load(model, file, names)
        if preprocessing is not None:
            converted = _prepared(converted, preprocessing)
        with writing(out):
            converted.save(out)
    _report(converted, file, out)


def _prepared(model, name):
    """The model with the preprocessing of a published set."""
    from jaxplain.models import PREPROCESSING_FIELDS, published_set

    spec = published_set(model.spec.name, name).spec
    return model._replace(spec=model.spec._replace(**{field: getattr(spec, field) for field in PREPROCESSING_FIELDS}))


def _names(path):
    """The class names in a text file; ValueError where it holds anything else."""
    if not path.is_file():
        raise ValueError(f"There is no file {path}, expected a text file of class names; check the path.")
    if path.stat().st_size > LONGEST:
        raise ValueError(f"{path} has more than {LONGEST:,} bytes, expected a class name a line; name another file.")
    try:
        lines = path.read_text(encoding="utf-8-sig").rstrip().split("\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no text in UTF-8, expected a class name a line; save it as UTF-8.") from error
    names = [line.strip() for line in lines]
    for number, name in enumerate(names, 1):
        if not name or not name.isprintable():
            raise ValueError(f"{path} has no class name in line {number}, but {name[:40]!r}; give one on each line.")
    return names


def _report(model, file, out):
    import jax

    leaves, names = jax.tree.leaves(model.net), model.spec.categories
    shown = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
    print(f"{file} is converted for {model.spec.name} and written to {out}")
    print(f"{len(leaves)} arrays, {sum(leaf.size for leaf in leaves):,} parameters, {len(names):,} classes: {shown}")
    print(f"sha256 {model.weights.sha256 or 'unknown'}")
    choice = f"--model {model.spec.name} --weights {shlex.quote(str(out))}"
    print(f"Go on with: jaxplain explain sample:chelsea {choice}", flush=True)
