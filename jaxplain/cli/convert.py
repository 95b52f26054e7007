"""jaxplain convert: weights of one's own, converted once, with their class names and preprocessing."""

import shlex
from pathlib import Path
from typing import Annotated, Any

from typer import Argument, Option

from jaxplain.cli.options import Outputs

_KINDS = "A .pth or .pt, a .safetensors, a folder by this command or by Orbax."
File = Annotated[Path, Argument(metavar="FILE", help=_KINDS)]
Network = Annotated[str, Option(metavar="NAME", help="Its network, as `jaxplain models` lists them.")]
Out = Annotated[Path, Option(metavar="DIR", help="Folder for the converted weights, new or empty.")]
_NAMES = "Text file of the class names, one a line, in UTF-8."
Categories = Annotated[Path | None, Option(metavar="FILE", help=_NAMES)]
_SET = "The published weights whose preprocessing these were trained with."
Preprocessing = Annotated[str | None, Option(metavar="SET", help=_SET)]


def convert(
    file: File,
    model: Network,
    out: Out,
    categories: Categories = None,
    preprocessing: Preprocessing = None,
    outputs: Outputs = None,
) -> None:
    """Convert weights and keep them with their class names and preprocessing.

    The other commands take the folder as their --weights.
    """
    import jax

    from jaxplain import workflows

    options: dict[str, Any] = {"categories": categories, "preprocessing": preprocessing, "outputs": outputs}
    converted = workflows.convert(model, file, **options)
    with workflows.writing(out):
        converted.save(out)
    leaves, names = jax.tree.leaves(converted.net), converted.spec.categories
    shown = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
    print(f"{file} is converted for {model} and written to {out}")
    print(f"{len(leaves)} arrays, {sum(leaf.size for leaf in leaves):,} parameters, {len(names):,} classes: {shown}")
    print(f"outputs: {converted.outputs}")
    print(f"sha256 {converted.weights.sha256 or 'unknown'}")
    print(f"Go on with: jaxplain explain sample:chelsea --model {model} --weights {shlex.quote(str(out))}", flush=True)
