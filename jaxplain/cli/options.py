"""Options that several commands have."""

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

NAMES = "Files, or sample:chelsea, sample:coffee..."

Images = Annotated[list[str], Argument(metavar="IMAGE", help=NAMES)]
Model = Annotated[str, Argument(metavar="MODEL", help="A network, as `jaxplain models` lists them.")]
ModelName = Annotated[str, Option(metavar="NAME", help="Network, as `jaxplain models` lists them.")]
_KINDS = "A .pth, a .safetensors, a converted folder, or a published set's name, such as IMAGENET1K_V2."
WeightsPath = Annotated[Path | None, Option(metavar="PATH", help=_KINDS)]
_AT = "Layer of class activation maps; see `jaxplain layers MODEL`."
_MEAN = "softmax (of classes), sigmoid (of labels) or scores (no probabilities). Default: as kept with the weights."
Outputs = Annotated[str | None, Option(metavar="KIND", help=_MEAN)]
Layer = Annotated[str | None, Option(metavar="NAME", help=_AT)]
Skip = Annotated[bool, Option("--skip-unreadable", help="Leave out files that are no images, and say which.")]
Out = Annotated[Path, Option(metavar="DIR", help="Folder for the results.")]
