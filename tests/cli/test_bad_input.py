"""Bad input: one sentence on stderr that says what is wrong and what to do, exit status 2, and nothing written."""

import os
import resource

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.data import coffee

from jaxplain.models import available

PHOTO = "sample:coffee"


class RunsCode:
    """A pickle that asks for a shell command when it is read."""

    def __reduce__(self):
        return os.system, ("touch executed",)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A working folder with everything that can be wrong in it."""
    folder = tmp_path_factory.mktemp("bad")
    photo = Image.fromarray(coffee())
    photo.save(folder / "whole.jpg")
    (folder / "cut.jpg").write_bytes((folder / "whole.jpg").read_bytes()[:9000])
    (folder / "empty.png").touch()
    (folder / "text.jpg").write_text("no image")
    (folder / "folder").mkdir()
    Image.new("RGB", (1, 1)).save(folder / "dot.png")
    Image.new("RGB", (20_000, 600)).save(folder / "wide.png")
    torch.save({"weight": RunsCode()}, folder / "code.pth")
    (folder / "cut.pth").write_bytes(available()["efficientnet_lite0"].read_bytes()[:100_000])  # pyright: ignore[reportOptionalMemberAccess] it is installed
    (folder / "text.pth").write_text("no weights")
    return folder


CASES = {
    # images
    "no image": ("explain", "IMAGE", "jaxplain explain --help"),
    "missing": ("explain nix.jpg", "no file nix.jpg", "check the path"),
    "nameless": ("explain ''", "no file", "check the path"),
    "web address": ("explain https://example.org/x.jpg", "no file https://example.org/x.jpg"),
    "directory": ("explain folder", "folder is a directory", "name the files in it"),
    "empty": ("explain empty.png", "empty.png is empty", "whole copy"),
    "cut short": ("explain cut.jpg", "cut.jpg cannot be decoded", "save it again"),
    "no image at all": ("explain text.jpg", "text.jpg is not an image", "PNG or JPEG"),
    "1 x 1": ("explain dot.png", "dot.png is 1 x 1 pixels", "at least 8"),
    "20,000 wide": ("explain wide.png", "wide.png is 20000 x 600 pixels", "shrink it"),
    "unknown sample": ("explain sample:chelsey", "no sample 'chelsey'", "chelsea"),
    "looks like an option": ("explain -x.jpg", "No such option: -x", "jaxplain explain --help"),
    # names
    "model": (f"explain {PHOTO} --model resnet51", "no model 'resnet51'", "resnet50"),
    "model of layers": ("layers efficientnet", "no model 'efficientnet'", "efficientnet_lite0"),
    "no model": ("layers", "MODEL", "jaxplain layers --help"),
    "layer": (f"explain {PHOTO} --layer _block.10", "no layer '_block.10'", "_blocks.10", "jaxplain layers"),
    "layer, unused": (f"explain {PHOTO} --method saliency --layer x", "no layer 'x'", "jaxplain layers efficient"),
    "flat layer": (f"explain {PHOTO} --layer _fc", "'_fc' has no height and width", "jaxplain layers"),
    "method": (f"explain {PHOTO} --method gradcam", "no method 'gradcam'", "grad_cam"),
    "class": (f"explain {PHOTO} --target espreso", "no class 'espreso'", "espresso (967)"),
    "ambiguous class": (f"explain {PHOTO} --target cat", "'cat' is ambiguous", "Egyptian cat (285)", "give the index"),
    "class too high": (f"explain {PHOTO} --target 1000", "no class 1000", "0 to 999"),
    "class below 0": (f"explain {PHOTO} --target -1", "no class -1", "0 to 999"),
    "rival": (f"explain {PHOTO} --target 281 --against dgo", "no class 'dgo'", "give one of"),
    "rival is target": (f"explain {PHOTO} --target 281 --against tabby", "'tabby' is both", "name two classes"),
    "rival is top": (f"explain {PHOTO} --against espresso", "top prediction is 'espresso'", "name a --target"),
    # what some methods need
    "fam alone": (f"explain {PHOTO} --method fam", "fam compares an image with a reference", "add --reference IMAGE"),
    "reference alone": (f"explain {PHOTO} --reference {PHOTO}", "add --method fam, or leave --reference out"),
    "reference missing": (f"explain {PHOTO} --method fam --reference nix.jpg", "no file nix.jpg"),
    "fam against": (f"explain {PHOTO} --method fam --reference {PHOTO} --against 3", "leave --against out"),
    "segments alone": (f"explain {PHOTO} --segments 9", "add --method secam"),
    "segmenter": (f"explain {PHOTO} --method secam --segmenter slick", "no segmenter 'slick'; there is slic"),
    "segments of another": (f"explain {PHOTO} --method secam --segments 9 --segmenter quickshift", "leave it out"),
    "no segments": (f"explain {PHOTO} --method secam --segments 0", "--segments", "greater than or equal to 1"),
    "segments": (f"explain {PHOTO} --method secam --segments 50177", "but 1 to 50176, the number of pixels"),
    # weights
    "no weights": (
        f"explain {PHOTO} --model resnet50",
        "The IMAGENET1K_V1 weights of resnet50 are not on this machine", "`jaxplain fetch resnet50`",
    ),
    "no other weights": (
        f"explain {PHOTO} --model resnet50 --weights IMAGENET1K_V2",
        "The IMAGENET1K_V2 weights", "`jaxplain fetch resnet50 --weights IMAGENET1K_V2`",
    ),
    "weights missing": (f"explain {PHOTO} --weights nix.pth", "no file nix.pth", ".pth", "IMAGENET1K"),
    "weights of no network": ("fetch resnet", "no model 'resnet'", "resnet50"),
    "nothing to convert": ("convert --model resnet50 --out new", "FILE", "jaxplain convert --help"),
    "converted to nowhere": ("convert text.pth --model resnet50", "--out", "jaxplain convert --help"),
    "converted for no network": ("convert text.pth --model resnet --out new", "no model 'resnet'", "resnet50"),
    "weights folder": (f"explain {PHOTO} --weights folder", "folder has no model.json"),
    "weights with code": (f"explain {PHOTO} --weights code.pth", "asks to run", "refusing", "save the module's"),
    "weights cut short": (f"explain {PHOTO} --weights cut.pth", "cut.pth is damaged or cut short"),
    "weights of text": (f"explain {PHOTO} --weights text.pth", "text.pth is not a checkpoint"),
    "weights of another": (
        f"explain {PHOTO} --model resnet50 --weights {available()['efficientnet_lite0']}",
        "does not fit resnet50", "missing", "unexpected",
    ),
    # places
    "out is a file": (f"explain {PHOTO} --out text.jpg", "text.jpg cannot be written to", "--out"),
    "out below a file": (f"explain {PHOTO} --out text.jpg/a/b", "text.jpg/a/b cannot be written to", "--out"),
    "out refused": (f"explain {PHOTO} --out /proc/out", "/proc/out cannot be written to", "--out"),
    "out over the photograph": ("explain dot.png whole.jpg --out .", "dot.png is one of the images", "--out"),
    # the command itself
    "option": (f"explain {PHOTO} --taget 281", "No such option: --taget", "--target", "jaxplain explain --help"),
    "option without value": (f"explain {PHOTO} --target", "'--target' requires an argument", "--help"),
    "option twice": (f"evaluate {PHOTO} --target 3 --target 4", "'--target': it is given 2 times", "evaluate --help"),
    "again of another model": ("explain --again x.json --model resnet50", "leave all images and options"),
    "command": ("explian", "No such command 'explian'", "jaxplain --help"),
    "too much": ("models resnet50", "unexpected extra argument", "jaxplain models --help"),
}  # fmt: skip


def assert_refused(result, *words):
    assert result.status == 2
    assert result.out == ""
    assert result.err.startswith("jaxplain: ")
    assert result.err.count("\n") == 1
    assert result.err.endswith("\n")
    assert "Traceback" not in result.err
    for word in words:
        assert word in result.err


@pytest.mark.parametrize(("arguments", "words"), [(a, words) for a, *words in CASES.values()], ids=CASES)
def test_is_told_in_one_sentence(run, folder, monkeypatch, arguments, words):
    monkeypatch.chdir(folder)
    before = sorted(folder.rglob("*"))
    assert_refused(run(*("" if word == "''" else word for word in arguments.split())), *words)
    assert sorted(folder.rglob("*")) == before


def test_a_full_place_gets_no_part_of_the_results(run, tmp_path):
    """Files end at 1,000 bytes here, so the figure does not fit and the record might."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    (tmp_path / "coffee.npz").write_text("an earlier result")
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        result = run("explain", PHOTO, "--out", tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "espresso" in result.out  # the classes come at once, before any map and any file
    assert "written" not in result.out
    assert_refused(result._replace(out=""), f"{tmp_path} cannot be written to", "--out")
    assert [path.name for path in tmp_path.iterdir()] == ["coffee.npz"]
    assert (tmp_path / "coffee.npz").read_text() == "an earlier result"


def test_the_other_images_are_still_explained(run, folder, tmp_path):
    images = [folder / "cut.jpg", folder / "whole.jpg", folder / "nix.jpg"]
    status, out, err = run("explain", *images, "--out", tmp_path)
    assert status == 1
    assert "whole.png, .npz and .json written" in out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["whole.json", "whole.npz", "whole.png"]
    summary, *failures = [line for line in err.splitlines() if line.startswith("jaxplain: ")]
    assert summary == "jaxplain: 2 of 3 images could not be explained:"
    assert len(failures) == 2
    assert "cut.jpg cannot be decoded" in failures[0]
    assert "no file" in failures[1]
    assert "Traceback" not in err


def test_an_image_whose_failure_does_not_name_it_is_named(run, tmp_path):
    status, _, err = run("explain", PHOTO, "sample:chelsea", "--against", "espresso", "--out", tmp_path)
    assert status == 1
    assert "sample:coffee: The top prediction is 'espresso' itself" in err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["chelsea.json", "chelsea.npz", "chelsea.png"]


def test_all_images_fail(run, folder, tmp_path):
    status, out, err = run("explain", folder / "nix.jpg", folder / "empty.png", "--out", tmp_path / "new")
    assert status == 1
    assert out == ""
    assert "2 of 2 images could not be explained" in err
    assert not (tmp_path / "new").exists()


def test_as_a_program(program, folder):
    before = sorted(folder.rglob("*"))
    assert_refused(program("explain", "dot.png", cwd=folder), "dot.png is 1 x 1 pixels")
    assert_refused(program("explain", "whole.jpg", "--weights", "code.pth", cwd=folder), "asks to run")
    assert sorted(folder.rglob("*")) == before


def test_a_black_image_is_no_failure(run, tmp_path):
    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(tmp_path / "black.png")
    status, _, err = run("explain", tmp_path / "black.png", "--out", tmp_path / "out")
    assert (status, err) == (0, "")
