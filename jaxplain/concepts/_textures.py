"""Images of concepts that need no download: drawn textures, and crops of photographs as the random images.

Pictures are (size, size, 3) uint8. A texture is a function of places (u, v), in units of its period, to how much of one
colour is there, in [0, 1]; the other colour is the rest. Everything is decided by the seed.
"""

import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from importlib.resources import files
from pathlib import Path

import numpy as np

PHOTOGRAPHS = (
    "astronaut.png", "brick.png", "camera.png", "chelsea.png", "china.jpg", "clock_motion.png", "coffee.png",
    "coins.png", "flower.jpg", "grass.png", "gravel.png", "hubble_deep_field.jpg", "ihc.png", "moon.png",
    "motorcycle_left.png", "retina.jpg", "rocket.jpg",
)  # fmt: skip

_SMALLEST = 16  # with fewer pixels nobody recognises a texture
_FINE = 4  # each pixel is the mean of so many places along each axis
_BRIGHTNESS = np.array([0.299, 0.587, 0.114])

Places = np.ndarray
Draw = np.random.Generator


def _stripes(u: Places, v: Places, random: Draw) -> np.ndarray:
    del v
    return u % 1 < random.uniform(0.35, 0.65)


def _dots(u: Places, v: Places, random: Draw) -> np.ndarray:
    u = u + 0.5 * (np.floor(v) % 2)  # every second row is shifted
    return np.hypot(u % 1 - 0.5, v % 1 - 0.5) < random.uniform(0.25, 0.38)


def _checks(u: Places, v: Places, random: Draw) -> np.ndarray:
    del random
    return (np.floor(2 * u) + np.floor(2 * v)) % 2 == 0


def _zigzags(u: Places, v: Places, random: Draw) -> np.ndarray:
    turns = abs(2 * (u / random.uniform(1.4, 1.8) % 1) - 1)
    return (v + random.uniform(0.8, 1.1) * turns) % 1 < random.uniform(0.4, 0.6)


def _honeycombs(u: Places, v: Places, random: Draw) -> np.ndarray:
    """The walls between hexagonal cells."""
    to_walls = [_to_hexagon(u - a, v - b) for a, b in ((0, 0), (0.5, np.sqrt(3) / 2))]
    return np.minimum(*to_walls) > 0.5 - random.uniform(0.06, 0.12)


def _to_hexagon(u: Places, v: Places) -> np.ndarray:
    """How far places are from the nearest centre (i, j sqrt 3) of a cell, whose sides are at 0.5."""
    u, v = u - np.round(u), v - np.sqrt(3) * np.round(v / np.sqrt(3))
    return np.maximum(abs(u), abs(u) / 2 + abs(v) * np.sqrt(3) / 2)


def _waffles(u: Places, v: Places, random: Draw) -> np.ndarray:
    """Ridges with square pits between them, which have a shaded side."""
    width, shade, (u, v) = random.uniform(0.2, 0.3), random.uniform(0.1, 0.2), (u % 1, v % 1)
    ridge = np.minimum(u, v) < width
    shaded = np.minimum(u, v) < width + shade
    return np.where(ridge, 1, np.where(shaded, 0, 0.4))


_TEXTURES: dict[str, Callable[[Places, Places, Draw], np.ndarray]] = {
    "stripes": _stripes,
    "dots": _dots,
    "checks": _checks,
    "zigzags": _zigzags,
    "honeycombs": _honeycombs,
    "waffles": _waffles,
}
NAMES = tuple(_TEXTURES)
RANDOM = "random"


def draw(name: str, size: int, *, seed: int) -> np.ndarray:
    """A picture (size, size, 3) uint8 of the texture of a name, in colours, scale, rotation and blur of its own.

    Raises ValueError for a name that is not in NAMES, a size under 16, and a seed under 0.
    """
    from PIL import Image, ImageFilter

    if name not in NAMES:
        raise ValueError(f"There is no texture {name!r}, but {', '.join(NAMES)} are there.")
    random = _generator(seed, NAMES.index(name), size)
    grain = _texture(_TEXTURES[name], size, random)
    here, there = _colours(random)
    picture = grain[..., None] * here + (1 - grain[..., None]) * there
    blur = ImageFilter.GaussianBlur(random.uniform(0, 0.008) * size)
    return np.asarray(Image.fromarray(_levels(picture)).filter(blur))


def random_crops(count: int, size: int, *, seed: int) -> list[np.ndarray]:
    """So many square crops of the PHOTOGRAPHS, equally many of each, as pictures (size, size, 3) uint8.

    They are of random places and sizes, at least a third of the photograph's shorter side, and half of them are
    mirrored. The photographs install with scikit-image, and two of them with scikit-learn. Raises ValueError for a
    count under 1, a size under 16, and a seed under 0, and ImportError without the packages.
    """
    if count < 1:
        raise ValueError(f"count is {count}, but at least 1 is expected.")
    random = _generator(seed, len(NAMES), size)
    order = [PHOTOGRAPHS[i] for _ in range(0, count, len(PHOTOGRAPHS)) for i in random.permutation(len(PHOTOGRAPHS))]
    photos = {name: photograph(name) for name in set(order[:count])}
    return [_crop(photos[name], size, own) for name, own in zip(order, random.spawn(count), strict=False)]


def photograph(name: str) -> np.ndarray:
    """One of the PHOTOGRAPHS, (H, W, 3) uint8."""
    from PIL import Image

    try:
        places = files("skimage") / "data", files("sklearn") / "datasets" / "images"
    except ModuleNotFoundError as error:
        raise ImportError(f"The photographs come with scikit-image and scikit-learn: install {error.name}.") from error
    for place in places:
        if (place / name).is_file():
            with (place / name).open("rb") as file:
                return np.asarray(Image.open(file).convert("RGB"))
    raise ValueError(f"There is no photograph {name!r}, but {', '.join(PHOTOGRAPHS)} are expected to be installed.")


def write(folder: str | os.PathLike[str], name: str, count: int = 40, *, size: int = 224, seed: int = 0) -> Path:
    """Writes so many pictures of a texture, or `random` crops, as 000.png, ... to a new folder `name` in `folder`.

    The pictures are written beside it, and the folder appears when it is complete. Returns its path. Raises ValueError
    if it is there already.
    """
    folder, target = Path(folder), Path(folder) / name
    if target.exists():
        raise ValueError(f"{target} is there already: remove it, or write to another folder.")
    pictures = _pictures(name, count, size, seed)
    folder.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=f".{name}.", dir=folder))
    try:
        _save(pictures, beside)
        beside.chmod(0o755)
        os.rename(beside, target)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return target


def _pictures(name: str, count: int, size: int, seed: int) -> list[np.ndarray]:
    """The pictures of one folder; two seeds have none in common."""
    if count < 1:
        raise ValueError(f"count is {count}, but at least 1 is expected.")
    if name == RANDOM:
        return random_crops(count, size, seed=seed)
    return [draw(name, size, seed=seed * count + i) for i in range(count)]


def _save(pictures: Sequence[np.ndarray], folder: Path) -> None:
    from PIL import Image

    for number, picture in enumerate(pictures):
        Image.fromarray(picture).save(folder / f"{number:03}.png")


def _generator(seed: int, kind: int, size: int) -> Draw:
    if seed < 0:
        raise ValueError(f"seed is {seed}, but a number that is not negative is expected.")
    if size < _SMALLEST:
        raise ValueError(f"size is {size}, but at least {_SMALLEST} pixels are expected.")
    return np.random.default_rng([seed, kind])


def _texture(kind: Callable[..., np.ndarray], size: int, random: Draw) -> np.ndarray:
    """How much of the first colour each pixel has, (size, size), with 4 to 9 periods along a side."""
    places = (np.arange(_FINE * size) + 0.5) / (_FINE * size) - 0.5
    angle, periods = random.uniform(0, np.pi), random.uniform(4, 9)
    turn = periods * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    u, v = np.tensordot(turn, np.stack(np.meshgrid(places, places)), 1) + random.uniform(0, 1, (2, 1, 1))
    fine = np.asarray(kind(u, v, random), np.float32)
    return fine.reshape(size, _FINE, size, _FINE).mean(axis=(1, 3))


def _colours(random: Draw) -> np.ndarray:
    """Two colours (2, 3) in [0, 1] whose brightness differs."""
    while True:
        colours = random.uniform(0, 1, (2, 3))
        if abs(np.subtract(*colours @ _BRIGHTNESS)) > 0.3:
            return colours


def _levels(picture: np.ndarray) -> np.ndarray:
    return np.round(255 * picture).astype(np.uint8)


def _crop(photo: np.ndarray, size: int, random: Draw) -> np.ndarray:
    from PIL import Image

    shorter = min(photo.shape[:2])
    side = random.integers(shorter // 3, shorter + 1)
    top, left = (random.integers(0, length - side + 1) for length in photo.shape[:2])
    crop = photo[top : top + side, left : left + side][:, :: random.choice([-1, 1])]
    return np.asarray(Image.fromarray(np.ascontiguousarray(crop)).resize((size, size), Image.Resampling.BICUBIC))
