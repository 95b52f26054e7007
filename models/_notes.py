"""What is chosen for an image because the image leaves it open: said as a warning, and kept with the image."""

import warnings
from collections.abc import Iterable

from PIL import Image

from jaxplain._types import Note
from jaxplain.models._metadata import heard
from jaxplain.weights_convert import few

_NAMED = 3  # images of a note

Notes = tuple[str, ...]


def notes_of(image: Image.Image) -> Notes:
    """What was chosen for an image that `open_image` gave."""
    return tuple(image.info.get("notes", ()))


def announce(found: Iterable[tuple[str, Notes]]) -> None:
    """Warns once of each note, with the names of its images."""
    named: dict[str, list[str]] = {}
    for name, notes in found:
        for note in notes:
            named.setdefault(note, []).append(name)
    for note, names in named.items():
        with heard():
            warnings.warn(f"{few(names, _NAMED)}: {note}.", Note, stacklevel=3)
