"""Pictures have the colours that their numbers ask for, and figures leave nothing behind but their file."""

import subprocess
import sys

import numpy as np
import pytest
from compare import assert_close
from PIL import Image

import jaxplain as jp
from jaxplain.render import Bars, Curves, Groups, Panel, outlined

GREY = np.full((4, 4, 3), 0.4)
COLOURED = np.array([[[1.0, 0, 0], [0, 1, 0]], [[0, 0, 1], [0.2, 0.4, 0.6]]])
LUMINANCE = np.repeat(np.round(255 * (COLOURED @ np.array([0.299, 0.587, 0.114])))[..., None], 3, -1)
FOR, AGAINST, MOST = (np.array(c) for c in ((0.86, 0.08, 0.08), (0.05, 0.25, 0.95), (0.940015, 0.975158, 0.131326)))
RAMP = np.arange(16.0).reshape(4, 4)


def near(actual, expected):
    """Whether colours differ by at most one step of 255."""
    return np.abs(np.asarray(actual, int) - np.asarray(expected)).max() <= 1


def mixed(opacity, colour, grey=0.4):
    return 255 * ((1 - opacity) * grey + opacity * colour)


@pytest.mark.parametrize("scale", [(-5.0, 5.0), (0.0, 5.0), (5.0, 9.0)], ids=str)
def test_at_the_zero_of_a_scale_there_is_the_photograph_in_grey(scale):
    zero = 5.0 if scale[0] == 5 else 0.0
    heat = np.array([[zero, zero], [zero, scale[1]]])
    picture = jp.overlay(COLOURED, heat, scale=scale)
    assert near(picture[0], LUMINANCE[0])
    assert near(picture[1, 0], LUMINANCE[1, 0])
    assert not near(picture[1, 1], LUMINANCE[1, 1])


def test_a_sequential_scale_ends_in_yellow_and_grows_brighter():
    picture = jp.overlay(GREY, RAMP, scale=(0.0, 15.0))
    assert picture.shape == (4, 4, 3)
    assert picture.dtype == np.uint8
    assert near(picture[3, 3], mixed(0.85, MOST))
    brightness = (picture @ np.array([0.299, 0.587, 0.114])).ravel()
    assert (np.diff(brightness[:2]) > -3).all()
    assert (np.diff(brightness[4:]) > 0).all()


def test_a_signed_map_is_red_for_and_blue_against():
    heat = np.zeros((4, 4))
    heat[0, 0], heat[3, 3], heat[0, 3] = 2, -2, 1
    picture = jp.overlay(GREY, heat)
    assert near(picture[0, 0], mixed(0.85, FOR))
    assert near(picture[3, 3], mixed(0.85, AGAINST))
    assert near(picture[0, 3], mixed(0.425, FOR))
    assert near(picture[1, 1], [102, 102, 102])


def test_colours_of_a_map_do_not_depend_on_its_smallest_value():
    """A map that is wholly positive but for a trace, and one without the trace."""
    heat = RAMP.copy()
    heat[0, 0] = -0.004 * 15
    assert near(jp.overlay(GREY, heat), jp.overlay(GREY, np.maximum(heat, 0)))


def test_strength_is_the_opacity_at_the_end_of_the_scale():
    assert near(jp.overlay(GREY, -RAMP, strength=1.0)[3, 3], 255 * AGAINST)
    assert near(jp.overlay(COLOURED, np.ones((2, 2)), strength=0.0), LUMINANCE)


def test_the_colour_bar_has_the_colours_of_the_map():
    """All of them, over a grey photograph: those of the picture's first column are in the bar, right of it."""
    photo = np.full((64, 64, 3), 0.5)
    heat = np.linspace(-1, 1, 64)[:, None] * np.ones(64)
    picture = jp.figure([[Panel("", photo, heat)]])
    start, end = (int(part * picture.shape[1]) for part in (0.82, 0.84))
    bar = picture[:, start:end].reshape(-1, 3).astype(int)
    colours = np.unique(jp.overlay(photo, heat)[:, 0], axis=0).astype(int)
    assert len(colours) == 64
    assert max(np.abs(bar - colour).max(-1).min() for colour in colours) <= 3


def test_values_beyond_the_scale_have_its_last_colour():
    picture = jp.overlay(GREY, RAMP, scale=(0.0, 5.0))
    assert near(picture[1, 2:], np.broadcast_to(picture[1, 1], (2, 3)))
    assert near(picture[2:], np.broadcast_to(picture[1, 1], (2, 4, 3)))
    assert not near(picture[1, 1], picture[1, 0])
    assert near(jp.overlay(GREY, -RAMP, scale=(0.0, 5.0))[0, 0], [102, 102, 102])


def test_photos_of_bytes_and_of_floats_give_one_picture():
    photo = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    heat = np.random.default_rng(1).normal(size=(3, 4))
    assert near(jp.overlay(photo, heat), jp.overlay(photo / 255, heat))
    assert near(jp.overlay(photo / 255 * 1.0005, heat), jp.overlay(photo, heat))  # as resizing rounds


def test_small_maps_are_enlarged_before_they_are_coloured():
    """Cubic: at quarters between 0 and 4, of values that go on as they end, Keys' kernel gives 0.8125 and 3.1875."""
    photo = np.full((2, 4, 3), 0.4)
    cubic = np.array([[0.0, 0.8125, 3.1875, 4]] * 2)
    assert near(jp.overlay(photo, np.array([[0.0, 4.0]])), jp.overlay(photo, cubic, scale=(-4.0, 4.0)))


def test_enlarging_adds_no_sign_and_no_value_beyond_those_around():
    heat = np.zeros((7, 7))
    heat[3, 3], heat[6, 6] = 1, -0.1
    photo = np.full((112, 112, 3), 0.4)
    picture = jp.overlay(photo, heat).astype(int)
    red = picture[..., 0] > picture[..., 2]
    assert red[40:72, 40:72].any()
    assert not (picture[:80, :80, 2] > picture[:80, :80, 0]).any()
    assert near(picture[:32, :32], 102)


@pytest.mark.parametrize(
    ("heat", "options", "scale"),
    [
        ([[0.0, 1], [2, 4]], {}, (-4, 4)),
        ([[0.0, 1], [-5, 4]], {}, (-5, 5)),
        ([[-1.0, -2], [-3, -4]], {}, (-4, 4)),
        ([[0.0, 1], [2, 4]], {"signed": False}, (0, 4)),
        ([[0.0, -5], [2, 4]], {"signed": False}, (0, 5)),
        ([[0.0, 1], [2, 4]], {"signed": False, "percentile": 50.0}, (0, 1.5)),
        ([[0.0, -1], [-2, -4]], {"percentile": 50.0}, (-1.5, 1.5)),
        ([[0.0, 0], [0, 0]], {}, (-1, 1)),
        ([[4.38, 4.5], [4.7, 4.98]], {"relative": True}, (4.38, 4.98)),
        ([[-2.0, 1], [2, 3]], {"relative": True, "percentile": 50.0}, (-2, 1.5)),
        ([[3.0, 3], [3, 3]], {"relative": True}, (3, 4)),
    ],
)
def test_scales(heat, options, scale):
    assert_close(np.array(jp.scale_of(np.array(heat), **options)), np.array(scale, float), 1e-12)


@pytest.mark.parametrize("shape", [(4,), (4, 4, 4), (1, 4, 4, 3)], ids=str)
def test_what_is_no_photo_raises(shape):
    with pytest.raises(ValueError, match=r"photograph has shape .* but \(H, W, 3\) is expected"):
        jp.overlay(np.zeros(shape), RAMP)


ROWS = [
    [Panel("photo", GREY), Panel("map", GREY, RAMP), Panel("box", GREY, -RAMP, box=(0, 0, 2, 2), scale=(-9.0, 9.0))],
    [Bars("outputs", ["cat", "dog"], [0.9, 0.05]), None],
]


@pytest.mark.parametrize("kind", [str, lambda path: path], ids=["str", "Path"])
def test_a_figure_is_the_file_that_it_writes(tmp_path, kind):
    path = tmp_path / "figure.png"
    picture = jp.figure(ROWS, title="a title", path=kind(path))
    assert picture.dtype == np.uint8
    assert_close(picture, np.asarray(Image.open(path).convert("RGB")), 0)
    assert picture.shape == (928, 1248, 3)
    assert [p.name for p in tmp_path.iterdir()] == ["figure.png"]
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 50


@pytest.mark.parametrize(("name", "starts"), [("f.jpg", b"\xff\xd8"), ("f.pdf", b"%PDF"), ("f.svg", b"<?xml")])
def test_other_formats(tmp_path, name, starts):
    jp.figure(ROWS[:1], path=tmp_path / name)
    assert (tmp_path / name).read_bytes().startswith(starts)
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_a_path_does_not_change_the_picture(tmp_path):
    assert_close(jp.figure(ROWS[:1], path=tmp_path / "f.png"), jp.figure(ROWS[:1]), 0)


def test_a_panel_shows_its_photo_and_an_empty_place_nothing():
    green = np.broadcast_to([0.0, 1.0, 0.0], (4, 4, 3))
    picture = jp.figure([[Panel("", green), None]])
    height, width = picture.shape[:2]
    assert near(picture[height // 2, width // 4], [0, 255, 0])
    assert near(picture[:, width // 2 + 10 :], 255)


def test_a_long_title_is_folded_and_not_cut_off():
    """Nothing but white along the edges of a figure, whose title alone would be wider than it."""
    picture = jp.figure([[Panel("a class with a long name: score 12.34 (probability 0.0012)", GREY)]])
    for edge in (picture[:, :3], picture[:, -3:], picture[:3], picture[-3:]):
        assert near(edge, 255)


def test_bars_are_as_long_as_their_values():
    blue = np.array([0x4C, 0x72, 0xB0])

    def pixels(value):
        picture = jp.figure([[Bars("", [""], [value])]])
        return np.sum(np.abs(picture.astype(int) - blue).max(-1) <= 1)

    assert pixels(0) == 0
    assert pixels(0.8) / pixels(0.4) == pytest.approx(2, rel=0.1)


BLUE, ORANGE = [0x4C, 0x72, 0xB0], [0xDD, 0x84, 0x52]


def where(picture, colour, within=1):
    """The rows and columns of the pixels of a colour."""
    return np.nonzero(np.abs(picture.astype(int) - colour).max(-1) <= within)


def test_curves_go_through_their_values():
    picture = jp.figure([[Curves("", {"a": [0.5] * 9}, top=1.0)]])
    rows, columns = where(picture[:-60], BLUE)  # above the legend, if it is below
    flat = jp.figure([[Curves("", {"a": [0.25] * 9}, top=1.0)]])
    lower, _ = where(flat[:-60], BLUE)
    assert np.ptp(columns) > 0.7 * picture.shape[1]
    assert np.median(lower) - np.median(rows) == pytest.approx(0.25 * 400, rel=0.2)
    rising, across = where(jp.figure([[Curves("", {"a": [0.1, 0.5, 0.9]}, top=1.0)]])[:-60], BLUE)
    left, right = rising[across < np.median(across) - 60], rising[across > np.median(across) + 60]
    assert left.mean() > right.mean() + 50


def test_equal_curves_are_both_seen():
    picture = jp.figure([[Curves("", {"a": [0.5, 0.5], "b": [0.5, 0.5]}, top=1.0)]])
    assert min(len(where(picture, colour, 40)[0]) for colour in (BLUE, ORANGE)) > 200


def test_one_step_is_a_dot():
    picture = jp.figure([[Curves("", {"a": [0.5]}, top=1.0)]])
    middle = [slice(length // 2 - 60, length // 2 + 60) for length in picture.shape[:2]]  # without the legend
    assert len(where(picture[*middle], BLUE)[0]) > 20


def test_parts_are_shaded_by_turns_and_a_step_is_marked():
    def panel(**options):
        return jp.figure([[Curves("", {"a": [0.1] * 10}, top=1.0, **options)]])

    shade = [round(255 * 0.93)] * 3
    assert len(where(panel(), shade)[0]) < 100
    columns = np.flatnonzero(np.bincount(where(panel(parts=[("first", 6), ("second", 4)]), shade)[1]) > 300)
    assert np.ptp(columns) / np.ptp(where(panel(), BLUE)[1]) == pytest.approx(4 / 9, rel=0.1)
    line = (panel() != panel(mark=("kept", 7))).any(-1).sum(axis=0).argmax()
    blue = where(panel(), BLUE)[1]
    assert (line - blue.min()) / np.ptp(blue) == pytest.approx(6 / 9, abs=0.02)


def test_curves_over_places_have_bands_between_their_values():
    """The band is 0.4 high of an axis of 1, on the right half; the curve bends at a tenth of the way."""
    bands = {"a": [[0.5, 0.5, 0.3], [0.5, 0.5, 0.7]]}
    options = {"places": [0.0, 0.1, 1.0], "top": 1.0}
    picture = jp.figure([[Curves("", {"a": [0.5, 0.5, 0.5]}, **options, bands=bands)]])[:-60]
    pale = [round(255 - 0.15 * (255 - value)) for value in BLUE]
    rows, columns = where(picture, pale, 2)
    across = where(jp.figure([[Curves("", {"a": [0.5, 0.5, 0.5]}, **options)]])[:-60], BLUE)[1]
    side = np.ptp(across) / 1.0
    assert (columns.min() - across.min()) / side == pytest.approx(0.1, abs=0.05)
    assert columns.max() == pytest.approx(across.max(), abs=6)
    last = columns > columns.max() - 20
    assert np.ptp(rows[last]) / side == pytest.approx(0.4 * 1.1, rel=0.1)  # margins beside the places, none above


def test_curves_below_zero_are_seen():
    above, below = (where(jp.figure([[Curves("", {"a": [v, 0.5]}, top=1.0)]]), BLUE)[1] for v in (0.0, -0.5))
    assert below.min() == pytest.approx(above.min(), abs=10)  # its first half would be cut off


def lengths(picture, colour):
    """The number of pixels of a colour in each row that has some, of the left part, where no legend is."""
    rows = np.bincount(where(picture[:-60], colour)[0])
    return rows[rows > 20]


def test_bars_in_groups_are_as_long_as_their_values():
    picture = jp.figure([[Groups("", ["one", "two"], {"a": [0.2, 0.8], "b": [0.4, 0.6]}, top=1.0)]])
    blue, orange = lengths(picture, BLUE), lengths(picture, ORANGE)
    assert blue.max() / blue.min() == pytest.approx(4, rel=0.05)
    assert orange.max() / orange.min() == pytest.approx(1.5, rel=0.05)
    assert blue.max() / orange.max() == pytest.approx(0.8 / 0.6, rel=0.05)
    order = [where(picture[:-60], colour)[0] for colour in (BLUE, ORANGE)]
    assert order[0].min() < order[1].min() < order[0].max() < order[1].max()


def test_bands_errors_and_stars_of_groups():
    """The band is 0.5 long, and is not hidden beside a bar of 0.2; a star and an error bar are added to one of two."""
    plain = Groups("", ["one", "two"], {"a": [0.2, 0.2]}, top=1.0)
    banded = plain._replace(bands={"a": [[0, 0.1], [0.5, 0.6]]}, band="chance")
    grey = [round(255 * 0.75)] * 3
    assert lengths(jp.figure([[plain]]), grey).size == 0
    bar = lengths(jp.figure([[plain]]), BLUE).max()
    assert lengths(jp.figure([[banded]]), grey).max() / bar == pytest.approx(2.5, rel=0.05)
    starred, wrong = (plain._replace(marks={"a": np.array(marks)}) for marks in ([False, True], [True, False]))
    error = plain._replace(errors={"a": [[0.1, 0.2], [0.4, 0.2]]})
    for other, half in ((starred, 1), (wrong, 0), (error, 0)):
        rows = np.flatnonzero((jp.figure([[other]]) != jp.figure([[plain]])).any(axis=(1, 2)))
        middle = np.median(where(jp.figure([[plain]])[:-60], BLUE)[0])
        assert (np.median(rows) > middle) == half


@pytest.mark.parametrize(("names", "below"), [("abc", False), ("abcd", True)])
def test_the_names_of_many_curves_are_below_the_axes(names, below):
    picture = jp.figure([[Curves("", {name: [1.0, 1.0] for name in names}, top=1.1)]])
    axis = np.bincount(where(picture, [0, 0, 0])[0]).argmax()
    assert (where(picture, BLUE)[0].max() > axis + 10) == below


def test_many_curves_differ():
    names = [f"curve {number}" for number in range(21)]
    pictures = [jp.figure([[Curves("", {name: [0.5, 0.5] for name in names[: n + 1]}, top=1.0)]]) for n in (0, 10, 20)]
    assert len({picture.tobytes() for picture in pictures}) == 3


def test_a_file_that_was_there_is_replaced(tmp_path):
    path = tmp_path / "f.png"
    path.write_bytes(b"old")
    picture = jp.figure(ROWS[:1], path=path)
    assert_close(picture, np.asarray(Image.open(path).convert("RGB")), 0)


@pytest.mark.parametrize(
    ("name", "error", "says"),
    [
        ("f.cat", ValueError, "cat"),
        ("missing/f.png", FileNotFoundError, "missing"),
        ("plain", ValueError, r"plain.*\.png"),  # by the name that was given, not by the one it is first written under
    ],
)
def test_what_cannot_be_saved_leaves_nothing_behind(tmp_path, name, error, says):
    with pytest.raises(error, match=says):
        jp.figure(ROWS[:1], path=tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_figure_leaves_the_old_file(tmp_path, monkeypatch):
    from matplotlib.figure import Figure

    path = tmp_path / "f.png"
    path.write_bytes(b"old")

    def breaks(self, target, **options):
        target.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(Figure, "savefig", breaks)
    with pytest.raises(OSError, match="disk full"):
        jp.figure(ROWS[:1], path=path)
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["f.png"]


def test_pyplot_and_the_global_settings_are_never_touched(tmp_path):
    script = f"""
import sys
import matplotlib
import numpy as np
import jaxplain as jp
from jaxplain.render import Bars, Curves, Groups, Panel, outlined

backend, settings = matplotlib.rcParams._get("backend"), dict(matplotlib.rcParams.copy())
photo = np.zeros((4, 4, 3))
rows = [[Panel("a", photo, np.eye(4)), Bars("b", ["c"], [1.0]), Curves("d", {{"e": [1.0]}})]]
jp.figure(rows, path={str(tmp_path / "f.png")!r})
assert "matplotlib.pyplot" not in sys.modules
assert matplotlib.rcParams._get("backend") == backend
assert dict(matplotlib.rcParams.copy()) == settings
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "f.png").exists()


@pytest.mark.parametrize("shape", [(6, 8), (6, 8, 1)])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_grey_photographs_are_drawn(shape, dtype):
    grey = np.random.default_rng(0).integers(0, 256, (6, 8), np.uint8)
    colours = np.repeat(grey[:, :, None], 3, axis=2)
    given = grey.reshape(shape) if dtype == np.uint8 else (grey / np.float32(255)).reshape(shape)
    heat, segments = np.arange(12.0).reshape(3, 4), np.arange(48).reshape(6, 8) // 20
    assert near(jp.overlay(given, heat), jp.overlay(colours, heat))
    assert near(outlined(given, segments), outlined(colours, segments))


def test_a_figure_of_a_grey_photograph():
    grey = np.linspace(0, 1, 48).reshape(6, 8, 1)
    rows = [[Panel("grey", photo), Panel("map", photo, RAMP)] for photo in (grey, grey.repeat(3, axis=2))]
    first, second = (jp.figure([row]) for row in rows)
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize(
    ("photo", "says"),
    [
        ("cat.jpg", r"is str, but an array \(H, W, 3\) is expected: model.pixels"),
        (np.zeros((3, 6, 8)), r"shape \(3, 6, 8\), but \(H, W, 3\) .* channels last"),
        (np.zeros((1, 6, 8, 3)), r"shape \(1, 6, 8, 3\).* one image"),
        (np.full((6, 8, 3), 200.0), "float64 values from 200 to 200, .* divide levels by 255"),
        (np.full((6, 8, 3), 200), "int64 values from 200"),
        (np.full((6, 8, 3), -1.5), "from -1.5 .* not model.prepare"),
        (np.full((6, 8, 3), np.nan), "from nan"),
    ],
)
def test_what_is_no_photograph_is_refused(photo, says):
    with pytest.raises(ValueError, match="is P, but an array"):
        jp.figure([[Panel("it", Image.new("P", (8, 6)))]])  # pyright: ignore[reportArgumentType] it is none
    for draw in (lambda: jp.overlay(photo, RAMP), lambda: jp.figure([[Panel("it", photo)]])):
        with pytest.raises(ValueError, match=says):
            draw()
