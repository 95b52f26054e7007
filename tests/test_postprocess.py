"""Maps become what their pictures need: values by hand, and what torch, captum and pytorch-grad-cam make of them."""

import captum.attr
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from compare import assert_close
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pytorch_grad_cam.utils.image import scale_cam_image

import jaxplain as jp

HEAT = np.array([[1.0, -2.0, 0.0], [4.0, -0.5, 3.0]], np.float32)
MAPS = arrays(np.float32, (3, 4), elements=st.integers(-800, 800).map(lambda k: k / 8))
SIZES = [((4, 4), (8, 12)), ((7, 7), (224, 224)), ((7, 5), (30, 31)), ((8, 8), (299, 299)), ((6, 9), (3, 4))]
few = settings(deadline=None, max_examples=25)


def random_map(shape):
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def test_signs():
    assert_close(jp.positive(HEAT), np.array([[1, 0, 0], [4, 0, 3]]), 0)
    assert_close(jp.negative(HEAT), np.array([[0, 2, 0], [0, 0.5, 0]]), 0)


def test_over_channels():
    heat = np.array([[[1.0, -2, 3], [0, -1, -5]]], np.float32)
    assert_close(jp.over_channels(heat), np.array([[2.0, -6]]), 0)
    assert_close(jp.over_channels(heat, jnp.max), np.array([[3.0, 0]]), 0)
    assert_close(jp.over_channels(np.abs(heat), jnp.mean), np.array([[2.0, 2]]), 1e-7)


@pytest.mark.parametrize("shape", [(4, 5), (5,), (2, 4, 5, 3)])
def test_what_has_no_channels_is_not_summed_over_its_width(shape):
    with pytest.raises(ValueError, match=r"map has shape .*, but \(H, W, C\) is expected"):
        jp.over_channels(np.ones(shape))


def test_unit_range_keeps_nan():
    assert np.isnan(jp.unit_range(HEAT + np.array([0, np.nan, 0], np.float32))).all()


def test_unit_range():
    assert_close(jp.unit_range(HEAT), (HEAT + 2) / 6)
    assert_close(jp.unit_range(np.array([[2.0, 4], [3, 2.5]])), np.array([[0, 1], [0.5, 0.25]]))


@pytest.mark.parametrize("value", [0.0, 3.5, -1e-30])
def test_unit_range_of_a_constant_map_is_zero_and_so_is_its_gradient(value):
    heat = jnp.full((2, 3), value)
    assert_close(jp.unit_range(heat), np.zeros((2, 3)), 0)
    assert_close(jax.jit(jp.unit_range)(heat), np.zeros((2, 3)), 0)
    assert jnp.isfinite(jax.grad(lambda h: jnp.sum(jp.unit_range(h) ** 2))(heat)).all()


@given(MAPS)
@few
def test_ranges(heat):
    scaled = np.asarray(jp.unit_range(heat))
    assert scaled.min() == 0
    assert scaled.max() == pytest.approx(1 if heat.max() > heat.min() else 0)
    assert_close(jp.positive(heat) - jp.negative(heat), heat, 0)
    assert (np.asarray(jp.positive(heat)) >= 0).all()
    assert (np.asarray(jp.positive(heat) * jp.negative(heat)) == 0).all()


@given(MAPS, st.sampled_from(["bilinear", "nearest"]))
@few
def test_upsampling_stays_within_the_maps_range(heat, method):
    large = np.asarray(jp.upsample(heat, (6, 12), method))
    slack = 1e-5 * np.abs(heat).max()
    assert large.min() >= heat.min() - slack
    assert large.max() <= heat.max() + slack


@given(MAPS)
@few
def test_presets_stay_in_their_ranges(heat):
    scaled = np.asarray(jp.preset(heat, "pytorch_grad_cam", (6, 12)))
    assert scaled.min() >= 0
    assert scaled.max() <= 1
    assert set(np.ravel(jp.preset(heat, "captum", (6, 12)))) == set(heat.ravel())


def test_upsampling_by_hand():
    row = np.array([[0.0, 4.0]], np.float32)
    assert_close(jp.upsample(row, (1, 4)), np.array([[0.0, 1, 3, 4]]), 1e-7)
    assert_close(jp.upsample(row, (2, 4), "nearest"), np.array([[0.0, 0, 4, 4]] * 2), 0)
    assert_close(jp.upsample(np.ones((2, 3)), (5, 7)), np.ones((5, 7)), 1e-6)


@pytest.mark.parametrize(("shape", "size"), SIZES)
def test_bilinear_is_torchs(shape, size):
    heat = random_map((*shape, 2))
    ours = torch.from_numpy(heat.transpose(2, 0, 1)[None])
    theirs = torch.nn.functional.interpolate(ours, size, mode="bilinear", align_corners=False)[0]
    assert_close(jp.upsample(heat, size), theirs.numpy().transpose(1, 2, 0))
    assert_close(jp.upsample(heat[..., 0], size), theirs[0].numpy())


@pytest.mark.parametrize(("shape", "size"), [*SIZES[:2], ((1, 1), (3, 2)), ((3, 4), (3, 4))])
def test_nearest_is_torchs_for_integer_factors(shape, size):
    heat = random_map(shape)
    theirs = torch.nn.functional.interpolate(torch.from_numpy(heat)[None, None], size, mode="nearest")[0, 0]
    assert_close(jp.upsample(heat, size, "nearest"), theirs.numpy(), 0)


@pytest.mark.parametrize(("shape", "size"), SIZES)
def test_captums_preset_is_captums(shape, size):
    heat = random_map(shape)
    theirs = captum.attr.LayerAttribution.interpolate(torch.from_numpy(heat)[None, None], size)[0, 0]
    assert_close(jp.preset(heat, "captum", size), theirs.numpy(), 0)


@pytest.mark.parametrize(("shape", "size"), SIZES[:-1])
@pytest.mark.parametrize("sign", [1, -1])
def test_pytorch_grad_cams_preset_is_its(shape, size, sign):
    heat = sign * random_map(shape)
    large = scale_cam_image(np.maximum(heat, 0)[None], size[::-1])  # of one layer
    theirs = scale_cam_image(np.mean(np.maximum(large[:, None], 0), axis=1))[0]  # pyright: ignore[reportIndexIssue] an array: (N, H, W)
    assert_close(jp.preset(heat, "pytorch_grad_cam", size), theirs, 1e-4)


def test_presets_of_a_map_without_positive_values():
    assert_close(jp.preset(-np.ones((2, 2)), "pytorch_grad_cam", (4, 4)), np.zeros((4, 4)), 0)
    assert_close(jp.preset(-np.ones((2, 2)), "captum", (4, 4)), -np.ones((4, 4)), 0)


def test_an_unknown_convention_raises():
    with pytest.raises(ValueError, match="convention is 'keras', but captum or pytorch_grad_cam"):
        jp.preset(HEAT, "keras", (4, 4))  # pyright: ignore[reportArgumentType] to be refused


def test_all_of_it_maps_over_a_batch():
    batch = random_map((3, 4, 5))
    for f in (jp.positive, jp.unit_range, lambda h: jp.upsample(h, (8, 8)), lambda h: jp.preset(h, "captum", (8, 10))):
        assert_close(jax.vmap(f)(batch), jnp.stack([f(heat) for heat in batch]))
