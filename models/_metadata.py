"""What image files say beside their pixels: the orientation, read so that damage in it costs no image its pixels.

Nothing is ever written: EXIF that phones write cannot always be written again.
"""

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from PIL import ExifTags, Image

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_PNG, _JPEG, _EXIF = b"\x89PNG\r\n\x1a\n", b"\xff\xd8", b"Exif\0\0"
_TEXTS = (b"tEXt", b"zTXt", b"iTXt", b"iCCP", b"eXIf")  # chunks of a PNG file
_SEGMENTS = (0xE1, 0xE2)  # of a JPEG file: EXIF and XMP, colour profiles and further pictures
_SCAN = 0xDA  # the segment after which pixels begin

_filters = threading.Lock()


@contextmanager
def quiet() -> Iterator[None]:
    """Without warnings, of which PIL has one for every oddity; the filters of warnings are shared by threads."""
    with _filters, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def heard() -> Iterator[None]:
    """While no other thread is `quiet`, so that a warning is not lost."""
    with _filters:
        yield


def upright(image: Image.Image, exif: bytes = b"") -> Image.Image:
    """The image, loaded, as its EXIF orientation says it is seen, or that of `exif`, which was taken from its file."""
    image.load()  # which turns a TIFF, and takes its orientation away
    method = _UPRIGHT.get(_orientation(image, exif))
    return image if method is None else image.transpose(method)


def forget(image: Image.Image) -> None:
    """Takes away what a TIFF says beside its orientation, which PIL would read while it loads the pixels."""
    with quiet(), suppress(Exception):  # damaged metadata raises whatever its values lead to
        exif = image.getexif()
        for tag in set(exif) - {ExifTags.Base.Orientation}:
            del exif[tag]
        image.info.pop("xmp", None)


def bare(content: bytes) -> tuple[bytes, bytes]:
    """A JPEG or PNG file without texts, profiles and EXIF, any other as it is; and the EXIF."""
    if content.startswith(_PNG):
        start, parts, left = len(_PNG), list(_chunks(content)), _TEXTS
        exif = next((_EXIF + part[8:-4] for kind, part in parts if kind == b"eXIf"), b"")
    elif content.startswith(_JPEG):
        start, parts, left = len(_JPEG), list(_segments(content)), _SEGMENTS
        exif = next((part[4:] for _, part in parts if part[4:10] == _EXIF), b"")
    else:
        return content, b""
    return content[:start] + b"".join(part for kind, part in parts if kind not in left), exif


def _orientation(image, exif):
    """The EXIF orientation from 1 to 8; 0 where there is none, or none that can be read."""
    with quiet(), suppress(Exception):  # damaged metadata raises whatever its values lead to
        found = Image.Exif() if exif else image.getexif()
        if exif:
            found.load(exif)
        value = found.get(ExifTags.Base.Orientation)
        return value if type(value) is int and value in range(1, 9) else 0
    return 0


def _chunks(content):
    """The chunks of a PNG file as (kind, bytes), as far as their lengths say where they end."""
    start = len(_PNG)
    while start < len(content):
        end = start + 12 + int.from_bytes(content[start : start + 4], "big")
        yield content[start + 4 : start + 8], content[start:end]
        start = end


def _segments(content):
    """The segments of a JPEG file as (marker, bytes); all from the first scan on is one."""
    start = len(_JPEG)
    while content[start : start + 1] == b"\xff" and content[start + 1 : start + 2] != bytes([_SCAN]):
        end = start + 2 + int.from_bytes(content[start + 2 : start + 4], "big")
        yield content[start + 1], content[start:end]
        start = end
    yield _SCAN, content[start:]
