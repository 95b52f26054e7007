"""jaxplain samples: images to try the other commands with."""

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from jaxplain.cli.errors import tell
from jaxplain.cli.progress import bars

Folder = Annotated[Path, Argument(metavar="DIR", help="Folder for the samples, made if it is not there.")]
Count = Annotated[int, Option(metavar="N", help="Pictures of each concept.", min=1)]


def samples(folder: Folder, count: Count = 20) -> None:
    """Write images to try the other commands with.

    DIR/textures has labelled crops of three photographs, DIR/concepts pictures of six drawn textures and random crops,
    and DIR/efficientnet-lite0.pth is a copy of the weights that the demo extra installs.
    """
    from jaxplain.workflows import samples

    with bars() as track:
        written = samples(folder, count=count, track=track)
    tell(
        f"{written.textures}: photographs of textures, a folder a class",
        f"{written.concepts}: drawn textures, a folder a concept, and random crops",
        "No weights are among them, since the demo extra is not installed."
        if written.weights is None
        else f"{written.weights}: a copy of the installed weights of EfficientNet-Lite0",
    )
