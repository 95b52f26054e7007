"""Small folders of photographs' crops and drawn textures, for first steps without data of one's own."""

import os
import shutil
from pathlib import Path
from typing import NamedTuple

from jaxplain.concepts import NAMES, write
from jaxplain.models import Track, available, sample
from jaxplain.weights_convert import draft, undivided

TEXTURES = ("brick", "grass", "gravel")
CROPS, SIDE, STEP = 6, 100, 80  # crops of each photograph along its diagonal, in pixels


class Samples(NamedTuple):
    """What was written: folders of labelled textures and of concepts, and PyTorch weights where they are installed."""

    textures: Path
    concepts: Path
    weights: Path | None


def samples(folder: str | os.PathLike[str], *, count: int = 20, track: Track = lambda work, _: work) -> Samples:
    """Writes images to try things with to a folder: all of them, or none.

    `textures` has a folder of crops (100 x 100) for each of three photographs, as classes to tell apart. `concepts` has
    a folder of `count` pictures for each texture that `jaxplain.concepts` draws, and one of `random` crops of other
    photographs. `efficientnet-lite0.pth` is a copy of the weights that the demo extra installs, left out without it.
    ValueError where one of them is there already, or the folder cannot be written to.

        samples("samples").textures  # Path("samples/textures")
    """
    folder, weights = Path(folder), available()["efficientnet_lite0"]
    textures, concepts, copied = (folder / name for name in ("textures", "concepts", "efficientnet-lite0.pth"))
    for path in (textures, concepts, copied):
        if path.exists():
            raise ValueError(f"{path} is there already, expected a place for new samples; name another folder.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with draft(folder) as place:
            _write_textures(place / "textures")
            for concept in track((*NAMES, "random"), "drawing concepts"):
                write(place / "concepts", concept, count)
            if weights is not None and weights.is_file():
                shutil.copyfile(weights, place / "efficientnet-lite0.pth")
            _move(place, folder)
    except OSError as error:
        raise ValueError(f"{folder} cannot be written to ({error.strerror or error}); name another folder.") from error
    return Samples(textures, concepts, copied if copied.exists() else None)


def _write_textures(folder):
    for name in TEXTURES:
        (folder / name).mkdir(parents=True)
        photo = sample(name)
        for number in range(CROPS):
            corner = STEP * number
            photo.crop((corner, corner, corner + SIDE, corner + SIDE)).save(folder / name / f"{number}.png")


def _move(place, folder):
    """Moves everything in one folder to another one."""
    with undivided:
        for path in sorted(place.iterdir()):
            path.rename(folder / path.name)
