"""Options that several commands have."""

from pathlib import Path
from typing import Annotated, get_args

from typer import Argument, Option

from jaxplain import _types
from jaxplain.methods import METHODS

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
_COMPARING = " and ".join(row.name for row in METHODS.values() if row.target == "reference")
Reference = Annotated[str | None, Option(metavar="IMAGE", help=f"The image that {_COMPARING} compares with.")]
_OF_SEGMENTS = " and ".join(row.name for row in METHODS.values() if "segments" in row.needs)
_SEGMENTERS = f"Segments of {_OF_SEGMENTS}: {', '.join(get_args(_types.Segmenter))}; default: slic."
Segmenter = Annotated[str | None, Option(metavar="NAME", help=_SEGMENTERS)]
_COUNT = "About how many segments slic makes; default: 50."
NumSegments = Annotated[int | None, Option("--num-segments", "--segments", help=_COUNT, min=1)]
_BEHIND = "Colour behind transparent parts, or opaque, which ignores transparency; default: white."
Background = Annotated[str | None, Option(metavar="COLOUR", help=_BEHIND)]
_ENDS = "Black and white of grey images of more than 8 bits, such as 0,4095."
Levels = Annotated[str | None, Option(metavar="LOW,HIGH", help=_ENDS)]
