"""Masks against the published steps, literally in scipy, and by hand."""

from itertools import pairwise

import jax
import numpy as np
import pytest
from compare import assert_close
from scipy.ndimage import gaussian_filter

from jaxplain.study import LEVELS, blur_sigma, reveal_mask, reveal_masks, revealed


@pytest.fixture(scope="module")
def rng():
    return np.random.default_rng(5)


def literally(heat, percent, side, sigma):
    """Nearest tiles, percentile, Gaussian blur, as they are published for sizes that divide the side."""
    tiled = np.kron(heat, np.ones((side // heat.shape[0], side // heat.shape[1])))
    mask = (tiled >= np.percentile(tiled, 100 - percent)).astype(float)
    return mask, gaussian_filter(mask, sigma, truncate=1.5)


@pytest.mark.parametrize(("cells", "sigma"), [(64, 12), (32, 16), (16, 24)])
@pytest.mark.parametrize("percent", LEVELS)
def test_masks_are_the_published_steps(rng, cells, sigma, percent):
    heat = rng.random((cells, cells))
    assert blur_sigma(cells) == sigma
    shown, blurred = literally(heat, percent, 512, sigma)
    np.testing.assert_allclose(reveal_mask(heat, percent), blurred, atol=1e-6)
    assert not np.allclose(reveal_mask(heat, percent, sigma=sigma + 2), blurred, atol=1e-2)
    np.testing.assert_array_equal(reveal_mask(heat, percent, sigma=0), shown)


@pytest.mark.parametrize(("tile", "sigma"), [(2, 3), (4, 6), (8, 12), (16, 16), (32, 24)])
def test_published_blurs(tile, sigma):
    assert blur_sigma(512 / tile) == sigma
    assert blur_sigma(7, 7 * tile) == sigma


def test_blurs_grow_with_tiles_between_and_beyond_published_ones():
    found = [blur_sigma(512 / tile) for tile in np.linspace(0.5, 200, 400)]
    assert all(low < high for low, high in pairwise(found))


@pytest.mark.parametrize("shape", [(64, 64), (14, 14), (7, 7), (9, 16), (1, 5)])
@pytest.mark.parametrize("percent", LEVELS)
def test_at_least_the_percentage_is_shown_and_less_than_a_cell_more(rng, shape, percent):
    heat = rng.permutation(shape[0] * shape[1]).reshape(shape).astype(np.float32)  # no ties
    share = 100 * reveal_mask(heat, percent, 224, sigma=0).mean()
    one_pixel, one_cell = 100 / 224**2, 100 * np.prod([-(-224 // n) for n in shape]) / 224**2
    assert percent - one_pixel <= share <= percent + one_cell + one_pixel


def test_ties_show_more():
    heat = np.array([[3, 1], [3, 0]])
    np.testing.assert_array_equal(reveal_mask(heat, 2, 4, sigma=0), np.kron([[1, 0], [1, 0]], np.ones((2, 2))))
    assert reveal_mask(np.zeros((4, 4)), 2, 64).min() == 1  # of a constant map all is shown
    np.testing.assert_array_equal(reveal_mask(heat, 100, 4, sigma=0), np.ones((4, 4)))


def test_sizes_that_are_no_multiples_by_hand():
    """Of 5 pixels the centres are at 0.6, 1.8, 3, 4.2, 5.4 sixths of two cells, and 0.3, 0.9, 1.5, ... of three."""
    mask = reveal_mask(np.array([[0.0, 0, 0], [0, 1, 0]]), 4, 5, sigma=0)
    assert mask.sum(axis=1).tolist() == [0, 0, 1, 1, 1]
    assert mask.sum(axis=0).tolist() == [0, 0, 3, 0, 0]
    assert reveal_mask(np.array([[0.0, 1, 0]]), 4, 7, sigma=0)[0].tolist() == [0, 0, 1, 1, 1, 0, 0]


def test_masks_are_within_zero_and_one_and_are_brightest_where_the_map_is(rng):
    heat = np.zeros((16, 16))
    heat[3, 12] = 1
    mask = reveal_mask(heat, 0.2)
    assert mask.dtype == np.float32
    assert 0 <= mask.min() < mask.max() <= 1
    row, column = np.unravel_index(np.argmax(mask), mask.shape)
    assert (row // 32, column // 32) == (3, 12)
    for percent in LEVELS:
        assert 0 <= reveal_mask(rng.random((7, 7)), percent).min() <= reveal_mask(heat, percent).max() <= 1


@pytest.mark.parametrize(("shape", "side"), [((14, 14), 224), ((7, 7), 224), ((9, 16), 100), ((56, 56), 224)])
def test_masks_on_the_device_are_those_of_numpy(rng, shape, side):
    maps = rng.random((3, *shape)).astype(np.float32)
    maps[2].flat[:7] = maps[2].max()  # ties
    maps[1].flat[::3] = 0
    for sigma in (None, 5.5, 0):
        masks = jax.jit(jax.vmap(lambda heat: reveal_masks(heat, side=side, sigma=sigma)))(maps)  # noqa: B023
        assert masks.shape == (3, 6, side, side)
        expected = [[reveal_mask(heat, percent, side, sigma=sigma) for percent in LEVELS] for heat in maps]
        np.testing.assert_allclose(masks, expected, atol=2e-6)
    assert not np.allclose(masks[0], expected[2], atol=1e-2)


def test_pictures_are_revealed_by_hand():
    picture = np.array([[[200, 100, 51]] * 2] * 2, np.uint8)
    shown = revealed(picture, np.array([[0, 1], [0.5, 0.1]], np.float32))
    assert shown.dtype == np.uint8
    assert shown[:, :, 0].tolist() == [[0, 200], [100, 20]]
    assert shown[:, :, 2].tolist() == [[0, 51], [26, 5]]  # rounded, halves to even


@pytest.mark.parametrize(
    ("heat", "percent", "side", "says"),
    [
        (np.zeros((2, 2, 1)), 2, 8, r"\(2, 2, 1\), but \(h, w\)"),
        (np.zeros((0, 2)), 2, 8, r"\(0, 2\), but \(h, w\)"),
        (np.full((2, 2), np.nan), 2, 8, "not finite"),
        (np.zeros((2, 2)), 0, 8, "percent is 0"),
        (np.zeros((2, 2)), 101, 8, "percent is 101"),
        (np.zeros((9, 2)), 2, 8, "side is 8, less than the map's 9"),
    ],
)
def test_what_is_no_map(heat, percent, side, says):
    with pytest.raises(ValueError, match=says):
        reveal_mask(heat, percent, side)


@pytest.mark.parametrize(("shape", "dtype"), [((4, 4, 3), np.uint8), ((8, 8, 3), np.float32), ((8, 8), np.uint8)])
def test_pictures_of_other_sizes_are_refused(shape, dtype):
    with pytest.raises(ValueError, match="make the mask with the picture's side"):
        revealed(np.zeros(shape, dtype), np.ones((8, 8), np.float32))


def test_whole_numbers_are_a_map_too():
    heat = np.arange(256).reshape(16, 16)
    assert_close(reveal_mask(heat, 30), reveal_mask(heat.astype(np.float32), 30))
    assert_close(reveal_masks(heat, side=64), reveal_masks(heat.astype(np.float32), side=64))
