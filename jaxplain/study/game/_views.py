"""What players see: pictures through masks, which are cut here, so that nothing hidden leaves the server."""

import functools
import io

import numpy as np
from jaxtyping import Float, UInt8

from jaxplain.study._masks import LEVELS, SIDE, reveal_mask, revealed

PRACTICE_CLASSES = ("sailing_boat", "lighthouse", "windmill", "kite")
PRACTICE_TRUTH = "sailing_boat"

_QUALITY = 85


def view(picture: UInt8[np.ndarray, "512 512 3"], heat: Float[np.ndarray, "h w"], level: int) -> bytes:
    """The picture at a reveal level, as WebP."""
    return webp(revealed(picture, reveal_mask(heat, LEVELS[level])))


def webp(picture: UInt8[np.ndarray, "h w 3"]) -> bytes:
    """A picture as WebP, with nothing else in the file."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(picture).save(file, "webp", quality=_QUALITY, method=2)
    return file.getvalue()


@functools.cache
def practice_webp(level: int | None) -> bytes:
    """The practice round at a reveal level, or its whole picture. Seven pictures, which anyone may ask for."""
    return webp(practice_picture()) if level is None else view(practice_picture(), practice_map(), level)


def practice_picture() -> UInt8[np.ndarray, "512 512 3"]:
    """A drawn boat with two sails, which is in no study."""
    from PIL import Image, ImageDraw

    drawn = Image.new("RGB", (SIDE, SIDE), (157, 205, 236))
    pen = ImageDraw.Draw(drawn)
    pen.ellipse((390, 40, 460, 110), fill=(250, 214, 92))
    pen.rectangle((0, 370, SIDE, SIDE), fill=(36, 98, 148))
    for row in range(385, SIDE, 26):
        pen.line([(x, row + 4 * ((x // 24) % 2)) for x in range(0, SIDE + 24, 24)], fill=(92, 150, 192), width=3)
    pen.line((248, 70, 248, 350), fill=(92, 62, 40), width=8)
    pen.polygon([(256, 80), (256, 330), (400, 330)], fill=(247, 244, 236))
    pen.polygon([(240, 110), (240, 330), (130, 330)], fill=(208, 62, 52))
    pen.polygon([(110, 345), (410, 345), (360, 410), (165, 410)], fill=(122, 74, 44))
    return np.asarray(drawn)


def practice_map() -> Float[np.ndarray, "16 16"]:
    """A map (16, 16) that is highest on the sails."""
    y, x = (np.mgrid[:16, :16] + 0.5) * SIDE / 16
    sails = (((x - 205) / 60) ** 2 + ((y - 260) / 90) ** 2, ((x - 305) / 70) ** 2 + ((y - 270) / 80) ** 2)
    return np.exp(-np.minimum(*sails))
