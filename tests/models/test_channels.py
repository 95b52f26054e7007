"""Networks whose images have one channel, or another number than three: convolutions that people put in front."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import timm
import torch
from compare import assert_close
from PIL import Image
from torchvision import transforms

import jaxplain as jp
from jaxplain import workflows
from jaxplain.concepts._images import _small
from jaxplain.models import available, batches, load, read_folder, sample, seen
from jaxplain.models._live import preprocessing_of
from jaxplain.models._load import of_channels
from jaxplain.weights_convert import convert

LITE = "efficientnet_lite0"
STEM = "_conv_stem.weight"
GREY = "sample:camera"  # a photograph whose channels are equal


def entries(change):
    """The published state dict of EfficientNet-Lite0 with its first kernel changed."""
    found = torch.load(available()[LITE], weights_only=True)  # pyright: ignore[reportArgumentType] it is installed
    return {**found, STEM: change(found[STEM])}


@pytest.fixture(scope="module")
def colour():
    return load(LITE)


@pytest.fixture(scope="module")
def grey(tmp_path_factory):
    """The network that adds its kernels of red, green and blue: of grey images, what the published one computes."""
    found = load(LITE, entries(lambda kernel: kernel.sum(1, keepdim=True)), categories=load(LITE).spec.categories)
    found.save(folder := tmp_path_factory.mktemp("weights") / "grey")
    return load(LITE, folder)


@pytest.mark.slow
def test_a_grey_photograph_gives_what_it_gives_in_colour(colour, grey):
    x, X = grey.prepare(GREY), colour.prepare(GREY)
    assert x.shape == grey.spec.image.shape == (224, 224, 1)
    assert_close(jnp.broadcast_to(x, X.shape), X)
    both = jax.jit(lambda net, x: (net(x), jp.gradient(net, x, jp.one_hot(5, 1000))))
    (outputs, gradient), (expected, gradients) = both(grey.net, x), both(colour.net, X)
    assert_close(outputs, expected)
    assert_close(gradient, gradients.sum(-1, keepdims=True), 0.02)  # rounded otherwise, and units are near their kinks


def test_the_average_of_the_published_preprocessing_is_noted_as_a_guess(colour, grey):
    assert grey.spec.mean == pytest.approx([np.mean(colour.spec.mean)])
    assert grey.spec.std == pytest.approx([np.mean(colour.spec.std)])
    assert "weights with the average of their channels: " in grey.weights.notes[-1]


def test_colour_is_seen_as_torchvision_makes_it_grey(grey, tmp_path):
    levels = np.random.default_rng(0).integers(0, 256, (300, 260, 3), np.uint8)
    Image.fromarray(levels).save(tmp_path / "colour.png")
    steps = transforms.Grayscale(), transforms.Resize(256), transforms.CenterCrop(224)
    expected = transforms.Compose(steps)(Image.open(tmp_path / "colour.png"))
    assert (grey.spec.resize, grey.spec.input_size) == (256, 224)
    np.testing.assert_array_equal(grey.levels(tmp_path / "colour.png")[:, :, 0], np.asarray(expected))
    (row,) = grey.prepare_all([tmp_path / "colour.png"])
    np.testing.assert_array_equal(row, grey.prepare(levels))


def test_pictures_show_what_the_network_sees(colour, grey):
    photo = sample("coffee")
    shown = seen(photo, grey.spec)
    assert shown.shape == (448, 448, 3)
    assert (shown == shown[:, :, :1]).all()
    assert not (seen(photo, colour.spec) == shown).all()


def test_a_live_module_of_one_channel_is_compared_and_its_grey_preprocessing_is_a_guess():
    torch.manual_seed(0)
    module = timm.create_model("resnet50", num_classes=3, in_chans=1)
    model = load("resnet50", module)  # which raises where the two do not compute the same
    assert (model.prepare(GREY).shape, len(model.spec.categories)) == ((224, 224, 1), 3)
    assert model.spec.resize == 235  # timm's
    (note,) = model.weights.notes
    assert "the average of what the module tells of its channels: mean 0.449, std 0.226;" in note
    own = {"mean": (0.13,), "std": (0.31,)}
    module = timm.create_model("resnet50", num_classes=3, in_chans=1, pretrained_cfg_overlay=own)
    assert preprocessing_of(module).items() >= own.items()
    assert of_channels(preprocessing_of(module), 1).items() >= own.items()


def test_images_are_refused_where_no_image_has_so_many_channels(colour):
    model = load(LITE, entries(lambda kernel: torch.cat([kernel, 0 * kernel[:, :1]], 1)))
    x = colour.prepare(GREY)
    assert_close(model.net(jnp.concatenate([x, x[:, :, :1]], -1)), colour.net(x))
    assert model.weights.notes[-1] == "there are no image files of 4 channels: give arrays"
    refused = r"takes 4 channels, and images have 1 or 3: give it prepared arrays \(224, "
    for read in (model.prepare, lambda x: batches([x], model.spec, 1), lambda x: workflows.explain(model, x)):
        with pytest.raises(ValueError, match=refused):
            read(GREY)


def test_pixels_of_colour_are_refused(grey):
    with pytest.raises(ValueError, match=r"shape \(224, 224, 3\).*expected one image of shape \(H, W, 1\)"):
        grey.normalise(jnp.zeros((224, 224, 3)))
    with pytest.raises(ValueError, match="The number of channels is 3, but the layer _bn0 takes 1: "):
        grey.net(jnp.zeros((224, 224, 3)))


def test_a_named_preprocessing_leaves_the_channels_a_guess_and_ones_own_has_to_fit(tmp_path):
    torch.save(entries(lambda kernel: kernel[:, :1]), tmp_path / "grey.pth")
    (note,) = workflows.convert(LITE, tmp_path / "grey.pth", preprocessing="IMAGENET1K").weights.notes
    assert "with the average of their channels: mean 0.498, std 0.502;" in note
    with pytest.raises(
        ValueError, match=r"mean = \(0.5, 0.5\), which cannot be, expected one number for each channel, 1 in all;"
    ):
        workflows.convert(LITE, tmp_path / "grey.pth", preprocessing={"mean": (0.5, 0.5)})


def test_shapes_are_told_as_torch_has_them():
    with pytest.raises(ValueError, match=r"_conv_stem.weight for _bn0/kernel: given \(32, 2, 3, 5\), expected \(32, "):
        convert(entries(lambda kernel: torch.ones(32, 2, 3, 5)), LITE)


def test_what_is_shown_of_a_concept_is_in_three_channels():
    images = np.random.default_rng(0).integers(0, 256, (2, 96, 96, 1), np.uint8)
    np.testing.assert_array_equal(_small(images), np.repeat(images, 3, -1))


def test_examples_are_grey(grey, tmp_path):
    for name in ("dark", "bright"):
        (tmp_path / name).mkdir()
        for number in range(2):
            levels = np.full((60, 60, 3), 40 * number + 150 * (name == "bright"), np.uint8)
            Image.fromarray(levels).save(tmp_path / name / f"{number}.png")
    examples = read_folder(tmp_path, grey.spec)
    assert examples.images.shape == (4, 224, 224, 1)
    assert examples.images[:, 0, 0, 0].tolist() == [150, 190, 0, 40]
