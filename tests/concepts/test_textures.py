"""Concept images are what they are called, are decided by their seed, and are written whole or not at all."""

import numpy as np
import pytest
from PIL import Image
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from jaxplain.concepts import NAMES, PHOTOGRAPHS, draw, photograph, random_crops, write
from jaxplain.concepts import _textures as textures


def features(picture):
    """What does not change with colours: how even edges are over the directions, and the texture's quantiles."""
    grey = picture @ np.array([0.299, 0.587, 0.114])
    grey = (grey - grey.mean()) / grey.std()
    dy, dx = np.gradient(grey)
    weight = dx**2 + dy**2
    angle = np.arctan2(dy, dx)
    moments = [abs((weight * np.exp(1j * k * angle)).sum() / weight.sum()) for k in (1, 2, 3, 4, 6)]
    return [*moments, *np.percentile(abs(grey), [10, 30, 50, 70, 90]), abs((grey**3).mean()), weight.mean()]


def test_kinds_are_told_apart():
    def sample(seeds):
        X = [features(draw(name, 48, seed=seed)) for name in NAMES for seed in seeds]
        return np.array(X), np.repeat(NAMES, len(seeds))

    classifier = LinearDiscriminantAnalysis().fit(*sample(range(25)))
    X, names = sample(range(25, 45))
    right = np.asarray(classifier.predict(X) == names)
    assert right.mean() > 0.8
    assert min(right[names == name].mean() for name in NAMES) > 0.5
    assert np.mean(classifier.predict(X) == np.roll(names, 20)) < 0.2


@pytest.mark.parametrize("name", NAMES)
def test_a_seed_decides_the_picture(name):
    picture = draw(name, 32, seed=7)
    assert picture.shape == (32, 32, 3)
    assert picture.dtype == np.uint8
    np.testing.assert_array_equal(picture, draw(name, 32, seed=7))
    assert abs(np.float32(picture) - draw(name, 32, seed=8)).mean() > 10
    assert np.std(picture @ np.array([0.299, 0.587, 0.114])) > 10


def test_a_check_is_where_its_formula_says():
    """Without rotation, with two periods along a side: four fields along each side, one period from its equals."""
    u, v = np.meshgrid(np.arange(0.05, 2, 0.1), np.arange(0.05, 2, 0.1))
    fields = textures._checks(u, v, np.random.default_rng(0))
    np.testing.assert_array_equal(fields, np.kron([[1, 0, 1, 0], [0, 1, 0, 1]] * 2, np.ones((5, 5))))


def test_a_hexagon_is_nearest_to_its_own_centre():
    """The distance across the sides of six is at most 0.5 around the nearest of all centres, and above it elsewhere."""
    u, v = np.random.default_rng(0).uniform(-3, 3, (2, 4000))
    distances = [textures._to_hexagon(u - a, v - b) for a, b in ((0, 0), (0.5, np.sqrt(3) / 2))]
    centres = [
        np.array([(i + a, np.sqrt(3) * j + b) for i in range(-5, 6) for j in range(-3, 4)])
        for a, b in ((0, 0), (0.5, np.sqrt(3) / 2))
    ]
    nearest = [np.min(np.hypot(u[:, None] - c[:, 0], v[:, None] - c[:, 1]), axis=1) for c in centres]
    clear = abs(nearest[0] - nearest[1]) > 1e-6
    np.testing.assert_array_equal((distances[0] < distances[1])[clear], (nearest[0] < nearest[1])[clear])
    assert np.minimum(*distances).max() <= 0.5 + 1e-9


def test_random_crops_are_of_all_photographs():
    crops = random_crops(len(PHOTOGRAPHS) + 3, 24, seed=1)
    assert {crop.shape for crop in crops} == {(24, 24, 3)}
    assert len({crop.tobytes() for crop in crops}) == len(crops)
    again, others = random_crops(3, 24, seed=1), random_crops(3, 24, seed=2)
    np.testing.assert_array_equal(crops[:3], again)
    assert {crop.tobytes() for crop in others}.isdisjoint(crop.tobytes() for crop in crops)
    assert photograph("coffee.png").shape == (400, 600, 3)
    assert photograph("camera.png").shape == (512, 512, 3)  # grey


def test_a_crop_is_a_part_of_its_photograph():
    photo = np.arange(60 * 90 * 3).reshape(60, 90, 3).astype(np.uint8)
    photo[..., 0], photo[..., 1] = np.arange(60)[:, None], np.arange(90)

    class Fixed(np.random.Generator):
        """A generator whose crop is 32 wide, at row 5 and column 20, mirrored."""

        values = iter((32, 5, 20))

        def integers(self, low, high):
            return next(self.values)

        def choice(self, ways):
            return -1

    crop = textures._crop(photo, 32, Fixed(np.random.PCG64(0)))
    np.testing.assert_array_equal(crop, photo[5:37, 20:52][:, ::-1])


def test_a_folder_is_written_whole(tmp_path, monkeypatch):
    folder = write(tmp_path / "concepts", "dots", 3, size=20, seed=2)
    assert [path.name for path in sorted(folder.iterdir())] == ["000.png", "001.png", "002.png"]
    np.testing.assert_array_equal(Image.open(folder / "002.png"), draw("dots", 20, seed=8))
    crops = write(tmp_path / "concepts", "random", 2, size=20, seed=2)
    np.testing.assert_array_equal(Image.open(crops / "001.png"), random_crops(2, 20, seed=2)[1])
    with pytest.raises(ValueError, match="is there already: remove it"):
        write(tmp_path / "concepts", "dots", 3, size=20)

    def fails(pictures, folder):
        raise OSError("disk full")

    monkeypatch.setattr(textures, "_save", fails)
    with pytest.raises(OSError, match="disk full"):
        write(tmp_path / "concepts", "checks", 3, size=20)
    assert sorted(path.name for path in (tmp_path / "concepts").iterdir()) == ["dots", "random"]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: draw("tartan", 32, seed=0), "no texture 'tartan', but stripes, dots"),
        (lambda: draw("dots", 8, seed=0), "size is 8, but at least 16"),
        (lambda: draw("dots", 32, seed=-1), "seed is -1"),
        (lambda: random_crops(0, 32, seed=0), "count is 0"),
        (lambda: random_crops(2, 2, seed=0), "size is 2"),
        (lambda: write("/nowhere", "dots", 0), "count is 0"),
        (lambda: photograph("sphinx.png"), "no photograph 'sphinx.png'"),
    ],
)
def test_what_cannot_be_drawn(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_missing_package_is_named(monkeypatch):
    def missing(package):
        raise ModuleNotFoundError(f"No module named {package!r}", name=package)

    monkeypatch.setattr(textures, "files", missing)
    with pytest.raises(ImportError, match="come with scikit-image and scikit-learn: install skimage"):
        photograph("coffee.png")
