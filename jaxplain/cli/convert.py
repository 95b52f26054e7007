"""jaxplain convert: weights of one's own, converted once, with their class names and preprocessing."""

import shlex
from pathlib import Path
from typing import Annotated, Any

from typer import Argument, Option

from jaxplain.cli.errors import say_notes, tell
from jaxplain.cli.options import Outputs
from jaxplain.cli.parsing import numbers

_KINDS = "A .pth or .pt, a .safetensors, a folder by this command or by Orbax."
File = Annotated[Path, Argument(metavar="FILE", help=_KINDS)]
Network = Annotated[str, Option(metavar="NAME", help="Its network, as `jaxplain models` lists them.")]
Out = Annotated[Path, Option(metavar="DIR", help="Folder for the converted weights, new or empty.")]
_NAMES = "Text file of the class names, one a line, in UTF-8."
Categories = Annotated[Path | None, Option(metavar="FILE", help=_NAMES)]
_SET = "Published weights whose preprocessing these were trained with, or a .json of it (also timm's config.json)."
Preprocessing = Annotated[str | None, Option(metavar="SET", help=_SET)]
InputSize = Annotated[int | None, Option(help="Side of the central crop, in pixels.")]
Resize = Annotated[int | None, Option(help="Shorter side before the crop, in pixels.")]
Interpolation = Annotated[str | None, Option(metavar="NAME", help="bilinear, bicubic, or another of Pillow's.")]
Mean = Annotated[Any, Option(metavar="R,G,B", parser=numbers, help="Mean of pixels in [0, 1]; one for grey.")]
Std = Annotated[Any, Option(metavar="R,G,B", parser=numbers, help="Their deviation.")]
Entry = Annotated[str | None, Option(metavar="NAME", help="Which of a checkpoint's, such as state_dict_ema.")]


def convert(
    file: File,
    model: Network,
    out: Out,
    categories: Categories = None,
    preprocessing: Preprocessing = None,
    outputs: Outputs = None,
    input_size: InputSize = None,
    resize: Resize = None,
    interpolation: Interpolation = None,
    mean: Mean = None,
    std: Std = None,
    entry: Entry = None,
) -> None:
    """Convert weights and keep them with their class names and preprocessing.

    The other commands take the folder as their --weights.
    """
    import jax

    from jaxplain import workflows

    values = {"input_size": input_size, "resize": resize, "interpolation": interpolation, "mean": mean, "std": std}
    given = {name: value for name, value in values.items() if value is not None}
    if given and preprocessing:
        raise ValueError("--preprocessing says all of it; leave it out, or --" + ", --".join(given).replace("_", "-"))
    options: dict[str, Any] = {"categories": categories, "outputs": outputs, "entry": entry}
    converted = workflows.convert(model, file, preprocessing=given or preprocessing, **options)
    with workflows.writing(out):
        converted.save(out)
    leaves, spec, names = jax.tree.leaves(converted.net), converted.spec, converted.spec.categories
    shown = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
    tell(
        f"{file} is converted for {model} and written to {out}",
        f"{len(leaves)} arrays, {sum(a.size for a in leaves):,} parameters, {len(names):,} classes: {shown}",
        "preprocessing: " + ", ".join(f"{name} {spec._asdict()[name]}" for name in values),
        f"outputs: {converted.outputs}",
        f"sha256 {converted.weights.sha256 or 'unknown'}",
        f"Go on with: jaxplain explain sample:chelsea --model {model} --weights {shlex.quote(str(out))}",
    )
    say_notes(converted)
