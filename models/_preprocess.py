"""From an image to what a network takes: read, resized, cropped, scaled and normalised.

An image is a path, "sample:<name>", a PIL image or a uint8 array of shape (H, W), (H, W, 1), (H, W, 3) or (H, W, 4),
channels in the order RGB. It is read upright (EXIF orientation applied) and as RGB, by PIL's own `convert("RGB")`, so
that results equal torchvision's usual transforms. Of files with several frames the first one counts.

What an image leaves open is chosen, and the choice is a note: a warning (`Note`), and an entry of the record.
- Transparent parts are seen on white, or on another `background`; "opaque" ignores the transparency, as `convert` does.
- Levels deeper than 8 bits are scaled, where PIL would clip them to white: 16-bit grey is divided by 257, and 32-bit
  integers and floats by the smallest of the ranges 0 to 1 (floats only), 0 to 255 and 0 to 65,535 that holds them all.
  `levels` are those of black and white instead, and what is beyond them is clipped.

Pixels are (H, W, C) in [0, 1], where C is 3 for RGB, or 1 for a network of one channel: grey as PIL's `convert("L")`
makes it of RGB. Sizes and boxes are in the order width, height, as in PIL.
"""

import difflib
import io
import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.typing import ArrayLike
from jaxtyping import Array, Float, UInt8
from PIL import Image, ImageColor, UnidentifiedImageError

from jaxplain.models._metadata import bare, forget, quiet, upright
from jaxplain.models._notes import Notes, announce, notes_of
from jaxplain.models._spec import Spec

Levels = str | Sequence[float | int]
Channels = ArrayLike | tuple[ArrayLike, ...]

SHORTEST_SIDE = 8
LONGEST_SIDE = 16_384
MOST_PIXELS = 100_000_000
MOST_ELONGATED = 50

_BRIGHTEST = 10.0  # pixels with noise are beyond [0, 1], and levels to 255 beyond this

MODES = {1: "L", 3: "RGB"}  # PIL's, by the number of a network's channels
OPAQUE = "opaque"  # as a background: transparency is ignored
_TRANSPARENT = "transparent parts are seen on white; --background COLOUR (in Python background=) names another colour"
_DARK = "Pillow reads the upper 8 of 16 bits of colours, and there is little in them, so it is dark: scale it to 8 bits"

_SAMPLES = {
    "astronaut": "astronaut.png",
    "brick": "brick.png",
    "camera": "camera.png",
    "chelsea": "chelsea.png",
    "clock": "clock_motion.png",
    "coffee": "coffee.png",
    "coins": "coins.png",
    "grass": "grass.png",
    "gravel": "gravel.png",
    "hubble_deep_field": "hubble_deep_field.jpg",
    "moon": "moon.png",
    "motorcycle": "motorcycle_left.png",
    "rocket": "rocket.jpg",
}


def open_image(image: Any, *, background: str | None = None, levels: Levels | None = None) -> Image.Image:
    """The image upright, as a PIL image in mode RGB. Its info["notes"] is a tuple of what was chosen for it.

    What is transparent is seen on `background`, a colour's name or "opaque", and `levels` of a deep image are black and
    white. Raises FileNotFoundError for a missing file, and ValueError for anything that is no image, is damaged, or has
    a size that cannot be explained: a side under 8 or over 16,384 pixels, over 100 megapixels, or longer than 50:1.
    """
    opened = _opened(image, checked_background(background), checked_levels(levels))
    if opened is not image:
        announce([(name_of(image), notes_of(opened))])
    return opened


def read_image(image: Any, spec: Spec) -> Image.Image:
    """As `open_image`, with the spec's background and levels, and without warnings of what was chosen."""
    return _opened(image, spec.background, spec.levels)


def checked_background(background: str | None) -> str | None:
    """The name of a colour, or "opaque"; ValueError for any other."""
    if background not in (None, OPAQUE):
        try:
            ImageColor.getrgb(background)
        except (ValueError, AttributeError, TypeError) as error:
            raise ValueError(
                f"The background is {background!r}, expected a colour such as white, black or #808080, or {OPAQUE}, "
                "which ignores transparency; name one of these."
            ) from error
    return background


def checked_levels(levels: Levels | None) -> tuple[float, float] | None:
    """The pair of levels, which may be a text; ValueError for any other."""
    if levels is None:
        return None
    try:
        low, high = map(float, levels.split(",") if isinstance(levels, str) else levels)
    except (ValueError, TypeError):
        low = high = math.nan
    if not (-math.inf < low < high < math.inf):
        raise ValueError(
            f"The levels are {levels!r}, expected LOW,HIGH, those of black and of white in a deep image, such as "
            "0,4095 for 12 bits; give two numbers, the lower one first."
        )
    return low, high


def sample(name: str) -> Image.Image:
    """One of scikit-image's bundled photographs, in mode RGB; `samples` lists their names."""
    if name not in _SAMPLES:
        near = difflib.get_close_matches(name, _SAMPLES, n=3, cutoff=0.0)
        raise ValueError(
            f"There is no sample {name!r}; the nearest are {', '.join(near)}, and all are {', '.join(_SAMPLES)}."
        )
    return _open_file(str(files("skimage") / "data" / _SAMPLES[name]), None, None)


def samples() -> tuple[str, ...]:
    """The names that `sample` knows, in alphabetical order."""
    return tuple(_SAMPLES)


def levels(image: Any, spec: Spec) -> UInt8[np.ndarray, "S S C"]:
    """The image resized and centrally cropped, uint8 of shape (input_size, input_size, C).

    Equal to torchvision's Resize and CenterCrop on the upright image in RGB or grey, channels last.
    """
    return fitted(open_image(image, background=spec.background, levels=spec.levels), spec)


def fitted(opened: Image.Image, spec: Spec) -> UInt8[np.ndarray, "S S C"]:
    """The levels of an image that `open_image` or `read_image` gave."""
    seen, size = opened.convert(mode_of(spec)), _resized(opened.size, spec.resize)
    resized = seen if size == seen.size else seen.resize(size, _filter(spec.interpolation))
    return np.array(resized.crop(_crop(size, spec.input_size))).reshape(spec.image.shape)


def seen(photo: Image.Image, spec: Spec, side: int = 448) -> UInt8[np.ndarray, "side side 3"]:
    """What the network sees of an image that `open_image` or `read_image` gave, in its own detail: for pictures.

    Grey for a network of grey images.
    """
    shown = photo.convert(mode_of(spec)).convert("RGB")
    return np.asarray(shown.resize((side, side), box=placement(photo, spec)))


def mode_of(spec: Spec) -> str:
    """The mode in which PIL has the network's images; ValueError where no image has its number of channels."""
    if spec.channels not in MODES:
        raise ValueError(
            f"The network takes {spec.channels} channels, and images have 1 or 3: give it prepared arrays "
            f"{spec.image.shape}, as model.net(x) and every explainer take them."
        )
    return MODES[spec.channels]


def pixels(image: Any, spec: Spec) -> Float[np.ndarray, "S S C"]:
    """The image resized and centrally cropped, float32 of shape (input_size, input_size, C) in [0, 1].

    Bitwise equal to torchvision's Resize, CenterCrop and ToTensor on the upright image in RGB or grey, channels last.
    """
    return levels(image, spec).astype(np.float32) / np.float32(255)


def placement(image: Any, spec: Spec) -> tuple[float, float, float, float]:
    """The box (left, top, right, bottom) of the upright original image that `pixels` shows."""
    width, height = read_image(image, spec).size
    resized = _resized((width, height), spec.resize)
    left, top, right, bottom = _crop(resized, spec.input_size)
    across, down = width / resized[0], height / resized[1]
    return left * across, top * down, right * across, bottom * down


def normalise(mean: Channels, std: Channels, pixels: Any) -> Float[Array, "H W C"]:
    """(pixels - mean) / std per channel, of the shape (H, W, C) and the floating dtype of `pixels`."""
    channels = jnp.size(jnp.asarray(mean))
    if isinstance(pixels, str | os.PathLike | Image.Image):
        raise ValueError(
            f"Got a {type(pixels).__name__}, expected pixels of shape (H, W, {channels}) with floats in [0, 1]; "
            "model.prepare takes paths and images."
        )
    given, pixels = pixels, jnp.asarray(pixels)
    if pixels.ndim != 3 or pixels.shape[-1] != channels or not jnp.issubdtype(pixels.dtype, jnp.floating):
        raise ValueError(
            f"Got pixels of shape {pixels.shape} and dtype {pixels.dtype}, expected one image of shape "
            f"(H, W, {channels}) with floats in [0, 1]; prepare images with model.pixels, and batches with jax.vmap."
        )
    if not isinstance(given, Tracer) and (high := float(np.max(np.asarray(given)))) > _BRIGHTEST:
        raise ValueError(
            f"Got pixels up to {high:g}, expected floats in [0, 1]; divide levels by 255, or give the image to "
            "model.prepare."
        )
    mean, std = (jnp.asarray(values, pixels.dtype).reshape(1, 1, channels) for values in (mean, std))
    return (pixels - mean) / std


def _resized(size: tuple[int, int], shorter: int) -> tuple[int, int]:
    """The size at which the shorter side is `shorter`, rounded as torchvision rounds."""
    width, height = size
    longer = int(shorter * max(size) / min(size))
    return (shorter, longer) if width <= height else (longer, shorter)


def _crop(size: tuple[int, int], side: int) -> tuple[int, int, int, int]:
    left, top = (round((length - side) / 2) for length in size)
    return left, top, left + side, top + side


def _filter(interpolation: str) -> Image.Resampling:
    names = [resampling.name.lower() for resampling in Image.Resampling]
    if interpolation not in names:
        raise ValueError(f"There is no interpolation {interpolation!r}; use one of {', '.join(names)}.")
    return Image.Resampling[interpolation.upper()]


def name_of(image: Any) -> str:
    """What messages call an image: its path, or what it is."""
    path = image if isinstance(image, str | os.PathLike) else getattr(image, "filename", "")
    return os.fspath(path) or ("the image" if isinstance(image, Image.Image) else "the array")


def _opened(image: Any, background: str | None, window: tuple[float, float] | None) -> Image.Image:
    if isinstance(image, str) and image.startswith("sample:"):
        return sample(image.removeprefix("sample:"))
    if isinstance(image, str | os.PathLike):
        return _open_file(os.fspath(image), background, window)
    if isinstance(image, Image.Image):
        as_given_here = image.mode == "RGB" and isinstance(image.info.get("notes"), tuple)  # a file has text there
        return image if as_given_here else _rgb(image, name_of(image), background, window)
    return _rgb(_from_array(image), name_of(image), background, window)


def _open_file(path: str, background: str | None, window: tuple[float, float] | None) -> Image.Image:
    if not os.path.exists(path):
        raise FileNotFoundError(f"There is no file {path}; check the path, relative ones start at {Path.cwd()}.")
    if not os.path.isfile(path):
        raise ValueError(f"{path} is a directory or a device, expected one image file; name the files in it.")
    if os.path.getsize(path) == 0:
        raise ValueError(f"{path} is empty, expected an image file; get a whole copy of it.")
    try:
        return _decoded(path, path, b"", background, window)
    except ValueError as error:
        with open(path, "rb") as file:
            content = file.read()
        pixels, exif = bare(content)
        if pixels == content:
            raise
        try:  # what is wrong may be the metadata alone
            return _decoded(io.BytesIO(pixels), path, exif, background, window)
        except ValueError:
            raise error from None


def _decoded(file, name, exif, background, window):
    with _decoding(name), quiet():  # PIL warns of a large image before anyone can ask for its size
        opened = Image.open(file)
    with opened:
        if opened.format == "TIFF":
            forget(opened)
        return _rgb(opened, name, background, window, exif)


@contextmanager
def _decoding(name: str) -> Iterator[None]:
    """Turns what PIL raises into one sentence about `name`."""
    try:
        yield
    except UnidentifiedImageError as error:
        raise ValueError(f"{name} is not an image that Pillow can read; convert it to PNG or JPEG.") from error
    except PermissionError as error:
        raise ValueError(f"{name} may not be read by this user; change its permissions.") from error
    except Image.DecompressionBombError as error:
        raise ValueError(
            f"{name} is too large, expected at most 100 megapixels and Pillow's own limit; shrink it first."
        ) from error
    except Exception as error:  # decoders raise whatever a damaged file leads them to
        raise ValueError(
            f"{name} cannot be decoded ({type(error).__name__}: {error}), it may be damaged or cut short; "
            "get a whole copy or save it again as PNG or JPEG."
        ) from error


def _rgb(image, name, background, window, exif=b""):
    """The image in mode RGB, upright, with what was chosen for it as its info and nothing else.

    Of an image that is upright, an orientation must not be left.
    """
    _check_size(image.size, name)
    deep = any(";16" in str(tile[3]) for tile in getattr(image, "tile", ()))
    with _decoding(name):
        turned = upright(image, exif)
    if turned.mode.startswith(("I", "F")):
        shallow, notes = _eight_bits(turned, name, window)
    elif window is None:
        shallow, notes = turned, ()
    else:
        raise ValueError(
            f"{name} has {'colours, of which Pillow reads 8 bits' if deep else '8 bits'}, and --levels are for grey "
            "images of more; leave them out for this one."
        )
    with _decoding(name):
        rgb, seen = _composed(shallow, background)
    dark = deep and shallow is turned and bool(np.max(rgb.getextrema()) < 128)
    rgb.info = {"notes": (*notes, *[_DARK] * dark, *seen)}
    return rgb


def _composed(image: Image.Image, background: str | None) -> tuple[Image.Image, Notes]:
    """The image in mode RGB before the background, and what is to be said of that."""
    if background == OPAQUE or not image.has_transparency_data:
        image = image.copy()
        image.info.pop("transparency", None)  # PIL warns when it drops it itself
        return image.convert("RGB"), ()
    layers = image.convert("RGBA")
    alpha = layers.getchannel("A")
    if alpha.getextrema()[0] == 255:
        return layers.convert("RGB"), ()
    seen = Image.new("RGB", image.size, ImageColor.getrgb(background or "white")[:3])
    seen.paste(layers.convert("RGB"), mask=alpha)
    return seen, () if background else (_TRANSPARENT,)


def _check_size(size: tuple[int, int], name: str) -> None:
    """Refuses what has nothing to explain or would take too much memory; the header is enough to know."""
    given = f"{name} is {size[0]} x {size[1]} pixels"
    if min(size) < SHORTEST_SIDE:
        raise ValueError(f"{given}, which has nothing to explain; give an image with sides of at least 8 pixels.")
    if max(size) > LONGEST_SIDE or size[0] * size[1] > MOST_PIXELS:
        raise ValueError(f"{given}, expected sides up to 16,384 pixels and 100 megapixels in all; shrink it first.")
    if max(size) > MOST_ELONGATED * min(size):
        raise ValueError(f"{given}, expected a longer side of at most 50 times the shorter one; crop it first.")


def _eight_bits(image, name, window):
    """Deeper grey levels scaled to 8 bits, rounded, with their transparency; and what is to be said of that."""
    grey = np.asarray(image).astype(np.float64)
    low, high = grey.min(), grey.max()
    if not np.isfinite(high - low) or (window is None and not 0 <= low <= high <= 65_535):
        raise ValueError(
            f"{name} has grey levels from {low:g} to {high:g}, expected finite ones from 0 to 65,535; scale it to "
            "8 bits first, or name those of black and white by --levels LOW,HIGH (in Python levels=)."
        )
    ranges = {"I": (255, 65_535), "F": (1, 255, 65_535)}.get(image.mode, (65_535,))
    black, white = window or (0, next(top for top in ranges if high <= top))
    levels = np.clip((grey - black) * 255 / (white - black), 0, 255)
    scaled = Image.fromarray(np.rint(levels).astype(np.uint8))
    if isinstance(key := image.info.get("transparency"), int):
        scaled.putalpha(Image.fromarray(np.where(grey == key, 0, 255).astype(np.uint8)))
    return scaled, _range_notes(high, white, sure=window is not None, alone=len(ranges) == 1)


def _range_notes(high, white, *, sure, alone):
    """What is to be said of a range that ends at `white`, unless it is sure; `alone` where there is no other."""
    bits = int(high).bit_length()
    if sure or high == 0:
        return ()
    if white == 65_535 and bits < 16:
        top = 2**bits - 1
        return (f"{bits} of 16 bits are used, so it is dark; --levels 0,{top} (in Python levels=) makes {top} white",)
    if alone:
        return ()
    return (f"levels are taken for ones from 0 to {white:,}; --levels LOW,HIGH (in Python levels=) names others",)


def _from_array(array: Any) -> Image.Image:
    if not isinstance(array, np.ndarray | Array):
        raise ValueError(
            f"Got a {type(array).__name__}, expected a path, a PIL image or a uint8 array; convert it first."
        )
    if array.dtype != np.uint8:
        raise ValueError(
            f"Got an array of dtype {array.dtype}, expected uint8 levels from 0 to 255; convert it, or give prepared "
            "pixels to the net itself."
        )
    if array.ndim not in (2, 3) or array.shape[2:] not in ((), (1,), (3,), (4,)):
        raise ValueError(
            f"Got an array of shape {array.shape}, expected (H, W), (H, W, 1), (H, W, 3) or (H, W, 4); "
            "give one image at a time, channels last."
        )
    _check_size((array.shape[1], array.shape[0]), "the array")
    array = np.asarray(array)
    return Image.fromarray(array[:, :, 0] if array.shape[2:] == (1,) else array)
