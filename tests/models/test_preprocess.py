"""Preprocessing: bitwise torchvision's, upright, at the stated place, and readable about every bad input."""

import io
import struct
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image, ImageFile, PngImagePlugin
from torchvision import transforms

from jaxplain.models import Note, _metadata
from jaxplain.models._preprocess import normalise, open_image, pixels, placement, sample, samples
from jaxplain.models._spec import Spec

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CROPS = ((224, 256), (224, 232), (299, 342))
UPRIGHT = {
    1: lambda stored: stored,
    2: np.fliplr,
    3: lambda stored: np.rot90(stored, 2),
    4: np.flipud,
    5: lambda stored: np.swapaxes(stored, 0, 1),
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: np.rot90(np.swapaxes(stored, 0, 1), 2),
    8: np.rot90,
}


def spec(input_size=224, resize=256, interpolation="bilinear"):
    return Spec("test", input_size, resize, MEAN, STD, interpolation)


def noise(height, width, channels=3, seed=0):
    levels = np.random.default_rng(seed).integers(0, 256, (height, width, channels), np.uint8)
    return levels[:, :, 0] if channels == 1 else levels


def by_torchvision(image, spec):
    resize = transforms.Resize(spec.resize, transforms.InterpolationMode(spec.interpolation))
    steps = transforms.Compose([resize, transforms.CenterCrop(spec.input_size), transforms.ToTensor()])
    return np.moveaxis(steps(image).numpy(), 0, -1)


def assert_same(actual, expected):
    """Bitwise equal, with the same dtype and shape."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert (actual.dtype, actual.shape) == (expected.dtype, expected.shape)
    np.testing.assert_array_equal(actual, expected)


def assert_one_sentence(message, *words):
    """One sentence, with its only full stop at the end and no line break, that has all these words in it."""
    assert "\n" not in message
    assert ". " not in message
    assert message.endswith(".")
    for word in words:
        assert word in message


def refusal(call, error: type[Exception] = ValueError):
    with pytest.raises(error) as caught:
        call()
    return str(caught.value)


def png_header(width, height):
    """A PNG file that claims a size and has no pixels."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def saved(path, image, **options):
    image.save(path, **options)
    return path


@pytest.mark.parametrize(
    ("actual", "expected"),
    [
        (np.array([1.0], np.float32), np.array([np.nextafter(np.float32(1), np.float32(2))], np.float32)),
        (np.array([1.0], np.float32), np.array([1.0], np.float64)),
        (np.zeros((2, 1)), np.zeros((1, 2))),
    ],
)
def test_assert_same_fails(actual, expected):
    with pytest.raises(AssertionError):
        assert_same(actual, expected)


@pytest.mark.parametrize("message", ["It is one. Two.", "It is one\ntwo.", "It is one", "It is not."])
def test_assert_one_sentence_fails(message):
    with pytest.raises(AssertionError):
        assert_one_sentence(message, "one")


@settings(max_examples=60, deadline=None)
@given(st.integers(8, 600), st.integers(8, 600), st.sampled_from(CROPS), st.sampled_from(["bilinear", "bicubic"]))
def test_pixels_are_torchvisions(width, height, crop, interpolation):
    assume(max(width, height) <= 50 * min(width, height))
    image, wanted = Image.fromarray(noise(height, width)), spec(*crop, interpolation)  # pyright: ignore[reportCallIssue] crop is a pair of the table
    assert_same(pixels(image, wanted), by_torchvision(image, wanted))


@pytest.mark.parametrize("size", [(256, 256), (256, 300), (257, 256), (232, 233), (342, 500), (8, 400), (400, 8)])
@pytest.mark.parametrize("crop", CROPS)
def test_pixels_are_torchvisions_at_the_edges(size, crop):
    image = Image.fromarray(noise(*size))
    assert_same(pixels(image, spec(*crop)), by_torchvision(image, spec(*crop)))


@pytest.mark.parametrize("interpolation", ["nearest", "box", "hamming", "lanczos"])
def test_other_filters_are_torchvisions(interpolation):
    image, wanted = Image.fromarray(noise(300, 410)), spec(interpolation=interpolation)
    assert_same(pixels(image, wanted), by_torchvision(image, wanted))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "HSV"])
def test_modes_are_converted_as_by_pil(mode):
    channels = {"1": 1, "P": 1, "PA": 2}.get(mode, len(Image.new(mode, (1, 1)).getbands()))
    image = Image.frombytes(mode, (320, 280), noise(280, 320, channels).tobytes()[: 320 * 280 * channels])
    if mode in ("P", "PA"):
        image.putpalette(noise(16, 16).tobytes())
    assert_same(open_image(image, background="opaque"), image.convert("RGB"))
    wanted = spec()._replace(background="opaque")
    assert_same(pixels(image, wanted), by_torchvision(image.convert("RGB"), wanted))


@pytest.mark.parametrize("transparency", [7, bytes(range(256))])
def test_palette_with_transparency_on_a_background_or_opaque(tmp_path, transparency):
    image = Image.fromarray(noise(40, 50)).quantize(256)
    expected = np.asarray(image.convert("RGB"))
    path = saved(tmp_path / "palette.png", image, transparency=transparency)
    alpha = (
        np.asarray(image) if isinstance(transparency, bytes) else np.where(np.asarray(image) == transparency, 0, 255)
    )
    seen = on(expected, alpha, (0, 0, 255))
    assert_same(open_image(path, background="opaque"), expected)
    assert np.abs(np.asarray(open_image(path, background="blue"), int) - seen).max() <= 1
    with Image.open(path) as image:
        assert_same(open_image(image, background="opaque"), expected)
        assert np.abs(np.asarray(open_image(image, background="blue"), int) - seen).max() <= 1


def on(colours, alpha, background):
    """Colours (H, W, 3) with alpha (H, W) from 0 to 255 before a background."""
    share = np.asarray(alpha)[:, :, None] / 255
    return np.rint(share * np.asarray(colours, float) + (1 - share) * np.array(background)).astype(int)


LOGO = np.zeros((24, 40, 4), np.uint8)
LOGO[6:18, 10:30, 3] = 255  # black, on transparency


@pytest.mark.parametrize("kind", ["array", "RGBA", "LA", "PA", "RGB", "L", "I;16"])
def test_a_logo_on_transparency_is_seen_on_white_and_that_is_said(tmp_path, kind):
    seen = on(LOGO[:, :, :3], LOGO[:, :, 3], (255, 255, 255))
    key = np.where(LOGO[:, :, 3] > 0, 0, 7).astype(np.uint8)  # the level, or colour, that is transparent
    image = {
        "array": lambda: LOGO,
        "RGB": lambda: saved(tmp_path / "a.png", Image.fromarray(grey(key)), transparency=(7, 7, 7)),
        "L": lambda: saved(tmp_path / "a.png", Image.fromarray(key), transparency=7),
        "I;16": lambda: saved(tmp_path / "a.png", Image.fromarray(key * np.uint16(8000)), transparency=56_000),
    }.get(kind, lambda: Image.fromarray(LOGO).convert(kind))()
    with pytest.warns(Note, match="transparent parts are seen on white; --background COLOUR") as said:
        opened = open_image(image)
    assert len(said) == 1
    assert_same(opened, seen.astype(np.uint8))
    assert [note.split(";")[0] for note in opened.info["notes"]] == ["transparent parts are seen on white"]
    assert open_image(image, background="white").info["notes"] == ()
    assert (np.asarray(open_image(image, background="#102030"))[0, 0] == (16, 32, 48)).all()
    assert_same(open_image(opened), opened)


def test_alpha_that_hides_nothing_is_not_said():
    assert open_image(np.full((9, 9, 4), 255, np.uint8)).info["notes"] == ()


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 15])
def test_sixteen_bits_of_which_few_are_used(bits):
    top = 2**bits - 1
    deep = np.linspace(0, top, 16 * 16).reshape(16, 16).astype(np.uint16)
    with pytest.warns(Note, match=rf"{bits} of 16 bits are used, so it is dark; --levels 0,{top} "):
        assert np.asarray(open_image(Image.fromarray(deep))).max() == round(top / 257)
    for levels in (f"0,{top}", (0, top), [0, top]):
        assert_same(open_image(Image.fromarray(deep), levels=levels), grey(np.rint(deep * 255.0 / top)))


def test_levels_beyond_black_and_white_are_clipped():
    hounsfield = np.tile(np.array([-1000.0, -160, 40, 240, 3000, 0, 0, 0], np.float32), (8, 1))
    opened = open_image(Image.fromarray(hounsfield), levels=(-160, 240))
    assert np.asarray(opened)[0, :5, 0].tolist() == [0, 0, 128, 255, 255]


def test_colours_of_sixteen_bits_that_use_few(tmp_path):
    rows = np.full((9, 9, 3), 4095, ">u2")
    lines = b"".join(b"\0" + row.tobytes() for row in rows)
    head = struct.pack(">IIBBBBB", 9, 9, 16, 2, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(lines)), (b"IEND", b"")]
    parts = [struct.pack(">I", len(data)) + k + data + struct.pack(">I", zlib.crc32(k + data)) for k, data in chunks]
    (tmp_path / "deep.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    with pytest.warns(Note, match="upper 8 of 16 bits"):
        assert np.asarray(open_image(tmp_path / "deep.png")).max() == 15
    message = refusal(lambda: open_image(tmp_path / "deep.png", levels=(0, 4095)))
    assert_one_sentence(message, "colours, of which Pillow reads 8 bits", "leave them out")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"background": "whit"}, ["'whit'", "a colour such as white", "opaque"]),
        ({"levels": "0-4095"}, ["'0-4095'", "LOW,HIGH", "0,4095"]),
        ({"levels": (9, 3)}, ["(9, 3)", "the lower one first"]),
        ({"levels": (0, np.nan)}, ["nan", "two numbers"]),
        ({"levels": (0, 4095)}, ["the array has 8 bits", "leave them out"]),
    ],
)
def test_backgrounds_and_levels_that_cannot_be(options, words):
    assert_one_sentence(refusal(lambda: open_image(noise(9, 9), **options)), *words)


@pytest.mark.parametrize("shape", [(30, 20), (30, 20, 1), (30, 20, 3), (30, 20, 4)])
def test_arrays(shape):
    levels = noise(*shape[:2], channels=(*shape, 1)[2]).reshape(shape)
    colours = np.broadcast_to(levels.reshape(30, 20, -1)[:, :, :3], (30, 20, 3))
    assert_same(open_image(levels, background="opaque"), colours)
    assert_same(open_image(levels[::-1, ::-1], background="opaque"), colours[::-1, ::-1])
    assert_same(open_image(jnp.asarray(levels), background="opaque"), colours)


def test_paths_are_str_or_path(tmp_path):
    path = saved(tmp_path / "a.png", Image.fromarray(noise(20, 30)))
    assert_same(open_image(path), noise(20, 30))
    assert_same(open_image(str(path)), noise(20, 30))


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("extension", ["jpg", "png"])
def test_exif_orientation_is_applied(tmp_path, orientation, extension):
    stored, exif = Image.fromarray(noise(24, 40)), Image.Exif()
    exif[0x0112] = orientation
    plain = saved(tmp_path / f"plain.{extension}", stored)
    turned = saved(tmp_path / f"turned.{extension}", stored, exif=exif)
    upright = Image.fromarray(np.ascontiguousarray(UPRIGHT[orientation](np.asarray(open_image(plain)))))
    assert_same(open_image(turned), upright)
    with Image.open(turned) as image:
        assert_same(open_image(image), upright)
    assert_same(pixels(turned, spec()), pixels(upright, spec()))
    assert placement(turned, spec()) == placement(upright, spec())


SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}  # bytes of TIFF's types
TURNED = (0x0112, 3, 1, struct.pack("<H", 6))
TAGS = (0x0100, 0x0103, 0x010F, 0x0110, 0x011A, 0x011B, 0x0128, 0x0131, 0x0132, 0x014A, 0x0213, 0x02BC)
LATER = (0x8769, 0x8825, 0x9286, 0x927C, 0xA005)  # that point to more, or hold anything
DAMAGED = {
    "Make is a float": (0x010F, 11, 1, struct.pack("<f", 1.5)),
    "XResolution is a text": (0x011A, 2, 6, b"hello\0"),
    "XResolution is divided by zero": (0x011A, 5, 1, struct.pack("<LL", 72, 0)),
    "XResolution is one byte": (0x011A, 7, 1, b"\xcc"),
    "the pointer to more is a float": (0x8769, 11, 1, struct.pack("<f", np.nan)),
}


def ifd(entries):
    """EXIF of entries (tag, type, count, bytes), whether they fit each other or not."""
    head, data = struct.pack("<H", len(entries)), b""
    start = 8 + len(head) + 12 * len(entries) + 4
    for tag, kind, count, value in sorted(entries):
        place = value.ljust(4, b"\0") if len(value) <= 4 else struct.pack("<L", start + len(data))
        data += value if len(value) > 4 else b""
        head += struct.pack("<HHL", tag, kind, count) + place
    return b"Exif\0\0II*\0" + struct.pack("<L", 8) + head + bytes(4) + data


def random_entries(draw):
    """Up to eight entries of random tags, types, counts and bytes; of too many bytes only after the orientation."""
    entries = []
    for tag in draw.choice([*TAGS, *LATER], draw.integers(1, 9), replace=False).tolist():
        kind, count = int(draw.choice([*SIZES])), int(draw.choice([0, 1, 1, 1, 2, 5]))
        value = draw.bytes(SIZES[kind] * count) if draw.random() < 0.7 else bytes(SIZES[kind] * count)
        claimed = int(draw.choice([count, 70_000, 2**31])) if tag in LATER else count
        entries.append((tag, kind if draw.random() < 0.9 else int(draw.integers(0, 20)), claimed, value))
    return entries


def as_jpeg(**options):
    file = io.BytesIO()
    Image.fromarray(noise(24, 40)).save(file, "JPEG", **options)
    return file.getvalue()


def opened(folder, content):
    path = folder / "photo"
    path.write_bytes(content)
    return open_image(path)


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_exif_costs_neither_pixels_nor_orientation(tmp_path, name):
    stored = np.asarray(opened(tmp_path, as_jpeg()))
    assert_same(opened(tmp_path, as_jpeg(exif=ifd([DAMAGED[name]]))), stored)
    assert_same(opened(tmp_path, as_jpeg(exif=ifd([DAMAGED[name], TURNED]))), np.rot90(stored, -1))


def test_random_exif_costs_neither_pixels_nor_orientation(tmp_path):
    """A third of them has an orientation from 1 to 8, a third one that there is not, and a third none."""
    draw, stored = np.random.default_rng(0), np.asarray(opened(tmp_path, as_jpeg()))
    wrong = [(3, 1, bytes(2)), (3, 1, b"\x09\0"), (2, 2, b"6\0"), (11, 1, b"\0\0\xc0\x7f")]
    for number in range(300):
        value = int(draw.integers(1, 9))
        own = [(3, 1, struct.pack("<H", value)), wrong[number % 4], None][number % 3]
        entries = random_entries(draw) + ([(0x0112, *own)] if own else [])
        expected = stored if number % 3 else UPRIGHT[value](stored)
        assert_same(opened(tmp_path, as_jpeg(exif=ifd(entries))), expected)


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_damaged_exif_of_a_tiff_costs_neither(tmp_path, orientation):
    stored = noise(24, 40)
    shape = {0x0100: 40, 0x0101: 24, 0x0103: 1, 0x0106: 2, 0x0115: 3, 0x0116: 24, 0x0112: orientation}
    entries = [(tag, 3, 1, struct.pack("<H", value)) for tag, value in shape.items()]
    entries += [(0x0102, 3, 3, struct.pack("<HHH", 8, 8, 8)), (0x0117, 4, 1, struct.pack("<L", stored.nbytes))]
    entries += [DAMAGED["Make is a float"], DAMAGED["the pointer to more is a float"], (0x011A, 2, 6, b"hello\0")]
    start = len(ifd([*entries, (0x0111, 4, 1, bytes(4))])[6:])
    content = ifd([*entries, (0x0111, 4, 1, struct.pack("<L", start))])[6:] + stored.tobytes()
    assert_same(opened(tmp_path, content), np.ascontiguousarray(UPRIGHT[orientation](stored)))


def test_xmp_that_is_no_utf8(tmp_path):
    stored = opened(tmp_path, as_jpeg())
    xmp = b'\xff\xe9 <rdf:Description tiff:Orientation="6" />'
    assert_same(opened(tmp_path, as_jpeg(xmp=xmp)), np.rot90(np.asarray(stored), -1))


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("after", [False, True])
def test_a_png_with_too_much_text_is_read(tmp_path, after, turned):
    texts, file = PngImagePlugin.PngInfo(), io.BytesIO()
    texts.add_text("Comment", "x" * 2_000_000, zip=True)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6 if turned else 1
    Image.fromarray(noise(24, 40)).save(file, "PNG", pnginfo=texts, exif=exif)
    content = file.getvalue()
    if after:
        text = next(part for kind, part in _metadata._chunks(content) if kind == b"zTXt")
        content = content.replace(text, b"")
        content = content[:-12] + text + content[-12:]
    assert_same(opened(tmp_path, content), np.rot90(noise(24, 40), -1) if turned else noise(24, 40))


def test_a_text_called_notes_is_no_note(tmp_path):
    texts, exif = PngImagePlugin.PngInfo(), Image.Exif()
    texts.add_text("notes", "mine")
    exif[ExifTags.Base.Orientation] = 6
    Image.fromarray(noise(24, 40)).save(tmp_path / "a.png", pnginfo=texts, exif=exif)
    with Image.open(tmp_path / "a.png") as image:
        assert_same(open_image(image), np.rot90(noise(24, 40), -1))


def test_what_is_opened_is_upright_once(tmp_path):
    path = tmp_path / "turned.jpg"
    path.write_bytes(as_jpeg(exif=ifd([TURNED])))
    once = open_image(path)
    assert_same(open_image(once), once)


def test_the_eight_orientations_differ():
    assert len({UPRIGHT[k](noise(24, 24)).tobytes() for k in UPRIGHT}) == 8


def grey(levels):
    return np.repeat(np.asarray(levels, np.uint8)[:, :, None], 3, axis=2)


@pytest.mark.parametrize(("extension", "mode"), [("png", "I;16"), ("tif", "I;16"), ("tif", "I;16B"), ("tif", "I")])
def test_sixteen_bits_are_scaled(tmp_path, extension, mode):
    levels = np.arange(256).reshape(16, 16)
    deep = (levels * 257).astype({"I;16": "<u2", "I;16B": ">u2", "I": "<i4"}[mode])
    path = saved(tmp_path / f"deep.{extension}", Image.frombytes(mode, (16, 16), deep.tobytes()))
    with Image.open(path) as image:
        assert image.mode.startswith("I")
    with pytest.warns(Note, match="from 0 to 65,535") if mode == "I" else nullcontext():
        assert_same(open_image(path), grey(levels))


def test_sixteen_bits_are_rounded():
    deep = np.tile(np.array([0, 128, 129, 255, 65_534, 65_406, 65_407, 300], np.uint16), (8, 1))
    assert_same(open_image(Image.fromarray(deep)), grey(np.tile([0, 0, 1, 1, 255, 254, 255, 1], (8, 1))))


def test_dark_sixteen_bit_images_stay_dark():
    with pytest.warns(Note, match="8 of 16 bits"):
        assert_same(open_image(Image.fromarray(np.full((8, 8), 255, np.uint16))), grey(np.ones((8, 8))))


@pytest.mark.parametrize(
    ("white", "dtype"), [(255, np.int32), (65_535, np.int32), (1, np.float32), (255, np.float32), (65_535, np.float32)]
)
def test_deep_images_take_the_smallest_range_that_holds_them(white, dtype):
    levels = np.arange(256).reshape(16, 16)
    with pytest.warns(Note, match=f"taken for ones from 0 to {white:,}; --levels LOW,HIGH"):
        assert_same(open_image(Image.fromarray((levels * (white / 255)).astype(dtype))), grey(levels))


@pytest.mark.parametrize("low", [-1.0, np.nan, np.inf, 65_536.0])
def test_deep_images_out_of_range(low):
    levels = np.zeros((9, 9), np.float32)
    levels[0, 0] = low
    assert_one_sentence(refusal(lambda: open_image(Image.fromarray(levels))), "grey levels", "65,535", "8 bits")


@pytest.mark.parametrize("extension", ["gif", "tif"])
def test_first_frame(tmp_path, extension):
    frames = [Image.fromarray(np.full((10, 12), level, np.uint8)) for level in (20, 200)]
    path = saved(tmp_path / f"frames.{extension}", frames[0], save_all=True, append_images=frames[1:])
    with Image.open(path) as image:
        assert image.n_frames == 2  # pyright: ignore[reportAttributeAccessIssue] of an animation
    assert_same(open_image(path), grey(np.full((10, 12), 20)))


@pytest.mark.parametrize("size", [(900, 600), (600, 900), (300, 301), (256, 256), (224, 700), (3000, 400)])
@pytest.mark.parametrize("crop", CROPS)
def test_placement_maps_the_crop_back(size, crop):
    """In an image whose red is x and whose green is y, the crop's colours say where each of its pixels is from."""
    width, height = size
    x, y = (np.arange(length, dtype=np.float32) + 0.5 for length in size)
    ramp = np.stack([*np.meshgrid(255 * x / width, 255 * y / height), np.zeros((height, width))], -1)
    shown = pixels(np.rint(ramp).astype(np.uint8), spec(*crop))
    left, top, right, bottom = placement(np.rint(ramp).astype(np.uint8), spec(*crop))
    steps = (np.arange(crop[0]) + 0.5) / crop[0]
    inside = slice(2, -2)  # near the border the filter is one-sided
    np.testing.assert_allclose(
        shown[0, inside, 0], ((left + steps * (right - left)) / width)[inside], rtol=0, atol=1.01 / 255
    )
    np.testing.assert_allclose(
        shown[inside, 0, 1], ((top + steps * (bottom - top)) / height)[inside], rtol=0, atol=1.01 / 255
    )


def test_placement_by_hand():
    assert placement(noise(512, 1024), spec()) == (288.0, 32.0, 736.0, 480.0)
    assert placement(noise(1024, 512), spec()) == (32.0, 288.0, 480.0, 736.0)
    assert placement(noise(256, 256), spec()) == (16.0, 16.0, 240.0, 240.0)
    across, down = 3333 / int(256 * 3333 / 80), 80 / 256  # the long side is rounded, so the two scales differ
    left = round((int(256 * 3333 / 80) - 224) / 2)
    assert placement(noise(80, 3333), spec()) == (left * across, 16 * down, (left + 224) * across, 240 * down)


@pytest.mark.parametrize("row", [0, 1])
@pytest.mark.parametrize("column", [0, 1])
def test_a_marker_in_the_crops_corner_lands_in_the_corner(row, column):
    image = np.zeros((512, 1024, 3), np.uint8)
    left, top, right, bottom = (int(edge) for edge in placement(image, spec()))
    y, x = (top, bottom - 8)[row], (left, right - 8)[column]
    image[y : y + 8, x : x + 8] = 255
    shown = pixels(image, spec())
    turned = np.flip(shown, tuple(axis for axis, far in enumerate((row, column)) if far))
    assert (turned[1:3, 1:3] == 1).all()
    assert (turned[:4, :4] > 0.7).all()
    turned[:5, :5] = 0  # the filter reaches one pixel beyond
    assert not turned.any()


def test_normalise_is_torchvisions():
    x = noise(30, 20).astype(np.float32) / np.float32(255)
    expected = np.asarray(transforms.Normalize(MEAN, STD)(transforms.ToTensor()(noise(30, 20)))).transpose(1, 2, 0)
    prepare = jax.tree_util.Partial(normalise, MEAN, STD)
    with jax.numpy_rank_promotion("raise"), jax.numpy_dtype_promotion("strict"):
        for result in (prepare(x), prepare(jnp.asarray(x)), jax.jit(lambda f, x: f(x))(prepare, x)):
            assert (result.dtype, result.shape) == (jnp.float32, (30, 20, 3))
            np.testing.assert_allclose(result, expected, rtol=0, atol=1e-6)


def test_normalise_is_one_trace_and_differentiable():
    traces = []

    def total(f, x):
        traces.append(1)
        return f(x).sum()

    gradient = jax.jit(jax.grad(total, argnums=1))
    for mean in (MEAN, (0.5, 0.5, 0.5)):
        slope = gradient(jax.tree_util.Partial(normalise, mean, STD), np.ones((4, 4, 3), np.float32))
        np.testing.assert_allclose(slope, np.broadcast_to(1 / np.array(STD, np.float32), (4, 4, 3)), rtol=1e-6)
    assert len(traces) == 1


def test_normalise_under_vmap():
    batch = np.stack([noise(8, 9, seed=k) / np.float32(255) for k in range(3)])
    mapped = jax.vmap(partial(normalise, MEAN, STD))(batch)
    assert_same(mapped, np.stack([normalise(MEAN, STD, x) for x in batch]))


@pytest.mark.parametrize(
    "wrong", [np.zeros((3, 8, 9), np.float32), np.zeros((1, 8, 9, 3), np.float32), np.zeros((8, 9, 3), np.uint8)]
)
def test_normalise_refuses(wrong):
    assert_one_sentence(refusal(lambda: normalise(MEAN, STD, wrong)), str(wrong.shape), "(H, W, 3)", "vmap")


def test_normalise_refuses_images_and_levels():
    for wrong in ("cat.jpg", Image.new("RGB", (9, 8))):
        assert_one_sentence(refusal(lambda: normalise(MEAN, STD, wrong)), "(H, W, 3)", "model.prepare")  # noqa: B023
    levels = noise(8, 9).astype(np.float32)
    assert_one_sentence(refusal(lambda: normalise(MEAN, STD, levels)), f"{levels.max():g}", "divide levels by 255")


@pytest.mark.parametrize("name", samples())
def test_samples_are_bundled_and_upright(name):
    image = sample(name)
    assert image.mode == "RGB"
    assert_same(open_image(f"sample:{name}"), image)
    assert pixels(image, spec()).std() > 0.05


def test_samples_are_listed_in_order():
    assert list(samples()) == sorted(samples())
    assert {"astronaut", "chelsea", "coffee", "rocket"} <= set(samples())


def test_unknown_sample():
    assert_one_sentence(refusal(lambda: open_image("sample:chelsee")), "'chelsee'", "nearest are chelsea", "rocket")


def test_missing_file(tmp_path):
    message = refusal(lambda: open_image(tmp_path / "no.png"), FileNotFoundError)
    assert_one_sentence(message, "There is no file", str(tmp_path / "no.png"), "check the path")


def test_directory(tmp_path):
    assert_one_sentence(refusal(lambda: open_image(tmp_path)), str(tmp_path), "directory")


def encoded(form):
    file = io.BytesIO()
    Image.fromarray(noise(60, 70)).save(file, form)
    return file.getvalue()


BAD_FILES = {
    "empty.png": (b"", ["is empty"]),
    "text.png": (b"these are words, not pixels", ["not an image", "PNG or JPEG"]),
    "cut.jpg": (encoded("JPEG")[:900], ["cannot be decoded", "cut short"]),
    "cut.png": (encoded("PNG")[:900], ["cannot be decoded", "cut short"]),
    "cut.gif": (encoded("GIF")[:900], ["cannot be decoded", "cut short"]),
    "cut.tif": (encoded("TIFF")[:-900], ["cannot be decoded", "cut short"]),
    "cut.webp": (encoded("WEBP")[:900], ["cannot be decoded", "cut short"]),
    "broken.png": (encoded("PNG")[:200] + b"?" * 400 + encoded("PNG")[600:], ["cannot be decoded", "damaged"]),
    "thin.png": (png_header(7, 300), ["7 x 300", "nothing to explain", "8 pixels"]),
    "none.png": (png_header(8, 7), ["8 x 7", "nothing to explain"]),
    "long.png": (png_header(16_385, 1000), ["16385 x 1000", "16,384", "shrink"]),
    "large.png": (png_header(11_000, 10_000), ["11000 x 10000", "100 megapixels", "shrink"]),
    "bomb.png": (png_header(16_000, 16_000), ["100 megapixels", "shrink"]),
    "strip.png": (png_header(10, 501), ["10 x 501", "50 times", "crop"]),
    "huge but allowed.png": (png_header(10_000, 9_999), ["cannot be decoded"]),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_files(tmp_path, name):
    content, words = BAD_FILES[name]
    path = tmp_path / name
    path.write_bytes(content)
    before = (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, list(warnings.filters))
    assert_one_sentence(refusal(lambda: open_image(path)), str(path), *words)
    assert_one_sentence(refusal(lambda: pixels(str(path), spec())), str(path), *words)
    assert before == (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, list(warnings.filters))


def test_a_truncated_pil_image_names_its_file(tmp_path):
    path = tmp_path / "cut.png"
    path.write_bytes(encoded("PNG")[:900])
    with Image.open(path) as image:
        assert_one_sentence(refusal(lambda: open_image(image)), str(path), "cannot be decoded")


def test_size_limits_hold_for_pil_images_and_arrays():
    assert_one_sentence(refusal(lambda: open_image(Image.new("L", (7, 9)))), "the image is 7 x 9", "nothing to explain")
    assert_one_sentence(refusal(lambda: open_image(np.zeros((9, 7), np.uint8))), "the array is 7 x 9", "nothing to")
    assert open_image(Image.new("L", (8, 400))).size == (8, 400)


BAD_ARRAYS = {
    "float": (np.zeros((9, 9, 3), np.float32), ["float32", "uint8", "the net itself"]),
    "int64": (np.zeros((9, 9, 3), np.int64), ["int64", "uint8"]),
    "batch": (np.zeros((1, 9, 9, 3), np.uint8), ["(1, 9, 9, 3)", "(H, W, 3)", "one image at a time"]),
    "channels first": (np.zeros((3, 9, 9), np.uint8), ["(3, 9, 9)", "channels last"]),
    "vector": (np.zeros(9, np.uint8), ["(9,)", "(H, W)"]),
    "two channels": (np.zeros((9, 9, 2), np.uint8), ["(9, 9, 2)", "(H, W, 4)"]),
    "list": ([[0]], ["list", "path"]),
    "nothing": (None, ["NoneType", "path"]),
}


@pytest.mark.parametrize("name", BAD_ARRAYS)
def test_bad_arrays(name):
    array, words = BAD_ARRAYS[name]
    assert_one_sentence(refusal(lambda: open_image(array)), *words)


def test_a_mode_without_colours():
    assert_one_sentence(refusal(lambda: open_image(Image.new("La", (9, 9)))), "the image", "La", "PNG or JPEG")


def test_unknown_interpolation():
    message = refusal(lambda: pixels(noise(20, 20), spec(interpolation="cubic")))
    assert_one_sentence(message, "'cubic'", "bicubic", "bilinear")


def test_the_users_image_is_untouched(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    path = saved(tmp_path / "a.png", Image.fromarray(noise(20, 30)).quantize(9), exif=exif, transparency=3)
    with Image.open(path) as image:
        open_image(image, background="red")
        open_image(image, background="opaque")
        assert (image.mode, image.size, image.info["transparency"]) == ("P", (30, 20), 3)
        assert image.getexif()[0x0112] == 6


def test_threads_leave_the_warning_filters_alone(tmp_path):
    path, before = saved(tmp_path / "a.png", Image.fromarray(noise(20, 30))), list(warnings.filters)
    with ThreadPoolExecutor(8) as pool:
        opened = list(pool.map(open_image, [path] * 64))
    assert all(np.array_equal(np.asarray(image), noise(20, 30)) for image in opened)
    assert list(warnings.filters) == before
