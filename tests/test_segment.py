"""Superpixels beside a literal k-means and scikit-image's, and what they say to wrong arguments."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compare import assert_close
from scipy import ndimage
from skimage import data, segmentation
from skimage.color import rgb2lab
from skimage.morphology import dilation, footprint_rectangle
from skimage.transform import resize

import jaxplain as jp
from jaxplain.segment import grid

slic = jax.jit(jp.slic, static_argnames=("num_segments", "iterations"))


@functools.cache
def photo(name, *size):
    return np.asarray(resize(getattr(data, name)(), size), np.float32)


def cells(size, segments):
    """The cell of each pixel."""
    rows, columns = grid(size, segments)
    edges = [np.arange(n + 1) * length // n for length, n in zip(size, (rows, columns), strict=True)]
    y, x = (np.searchsorted(e, np.arange(n), "right") - 1 for e, n in zip(edges, size, strict=True))
    return y[:, None] * columns + x


def k_means(pixels, segments, compactness, iterations):
    """SLIC pixel by pixel, and the largest part of each label."""
    h, w = pixels.shape[:2]
    columns = grid((h, w), segments)[1]
    own = labels = cells((h, w), segments)
    count = own.max() + 1
    scaled = np.float64(pixels - pixels.min()) / (pixels.max() - pixels.min())
    step = np.sqrt(h * w / segments)
    features = np.dstack([rgb2lab(scaled), compactness / step * np.moveaxis(np.indices((h, w)), 0, -1)])
    for _ in range(iterations - 1):
        centres = np.stack([features[labels == k].mean(0) for k in range(count)])
        labels = labels.copy()
        for place in np.ndindex(h, w):
            row, column = divmod(own[place], columns)
            around = [k for k in range(count) if abs(k // columns - row) <= 1 and abs(k % columns - column) <= 1]
            labels[place] = min(around, key=lambda k: ((features[place] - centres[k]) ** 2).sum())
    return largest_parts(labels)


def largest_parts(labels):
    kept = np.full(labels.shape, -1)
    for k in range(labels.max() + 1):
        parts, count = ndimage.label(labels == k)  # pyright: ignore[reportGeneralTypeIssues] scipy has no types
        if count:
            kept[parts == 1 + np.argmax(np.bincount(parts.ravel())[1:])] = k
    while (kept < 0).any():
        p = np.pad(kept, 1, constant_values=-1)
        near = np.max([p[:-2, 1:-1], p[2:, 1:-1], p[1:-1, :-2], p[1:-1, 2:]], axis=0)
        kept = np.where(kept < 0, near, kept)
    return kept


def parts(labels):
    return sum(ndimage.label(labels == k)[1] for k in np.unique(labels))  # pyright: ignore[reportIndexIssue] scipy has no types


@pytest.mark.parametrize(
    ("name", "size", "segments", "compactness"),
    [("chelsea", (20, 26), 12, 10.0), ("coffee", (23, 17), 6, 5.0), ("astronaut", (16, 16), 16, 30.0)],
)
def test_slic_is_k_means_of_colours_and_places(name, size, segments, compactness):
    pixels = photo(name, *size)
    found = np.asarray(slic(pixels, num_segments=segments, compactness=compactness, iterations=5))
    expected = k_means(pixels, segments, compactness, 5)
    assert (expected != cells(size, segments)).mean() > 0.1
    np.testing.assert_array_equal(found, expected)


def test_slic_is_the_same_under_jit_and_vmap():
    X = np.stack([photo(name, 96, 128) for name in ("chelsea", "coffee", "astronaut", "rocket")])
    each = np.stack([slic(x, num_segments=30) for x in X])
    assert len(np.unique(each[0] - each[1])) > 5
    batch = jax.jit(jax.vmap(functools.partial(jp.slic, num_segments=30)))
    # A GPU adds in any order, so that a pixel between two segments may go to either.
    assert (np.asarray(batch(X)) != each).mean() <= (0 if jax.default_backend() == "cpu" else 1e-3)
    np.testing.assert_array_equal(jp.slic(X[0], num_segments=30), each[0])
    tight = jax.vmap(lambda x, m: jp.slic(x, num_segments=30, compactness=m), (None, 0))(X[0], jnp.array([10.0, 80.0]))
    np.testing.assert_array_equal(tight[0], each[0])
    np.testing.assert_array_equal(tight[1], slic(X[0], num_segments=30, compactness=80.0))


@pytest.mark.parametrize(("name", "segments"), [("chelsea", 50), ("coffee", 20), ("immunohistochemistry", 100)])
def test_segments_are_in_one_piece(name, segments):
    labels = np.asarray(slic(photo(name, 120, 160), num_segments=segments))
    assert labels.dtype == np.int32
    assert labels.min() >= 0
    assert labels.max() < segments
    assert parts(labels) == len(np.unique(labels)) > 0.9 * np.prod(grid((120, 160), segments))


def boundary_recall(labels, truth):
    edges, found = (segmentation.find_boundaries(a, mode="thick") for a in (truth, labels))
    return (edges & dilation(found, footprint_rectangle((5, 5)))).sum() / edges.sum()


def shared(labels, truth):
    """The number of pixels that each segment has of each region."""
    table = np.zeros((labels.max() + 1, truth.max() + 1))
    np.add.at(table, (labels.ravel(), truth.ravel()), 1)
    return table


def undersegmentation(labels, truth):
    table = shared(labels, truth)
    rest = table.sum(1, keepdims=True) - table
    return np.minimum(table, rest).sum() / labels.size


def achievable_accuracy(labels, truth):
    return shared(labels, truth).max(1).sum() / labels.size


def test_segments_are_as_good_as_scikit_images():
    """By the regions that Felzenszwalb's method, which is neither's, finds in photographs; mean over photographs."""
    found = []
    for name in ("chelsea", "coffee", "astronaut", "rocket", "retina", "hubble_deep_field"):
        pixels = photo(name, 160, 160)
        truth = segmentation.felzenszwalb(pixels, scale=200, sigma=0.8, min_size=60)
        both = slic(pixels), segmentation.slic(pixels, n_segments=50, compactness=10, start_label=0)
        measures = (boundary_recall, undersegmentation, achievable_accuracy)
        found.append([[measure(np.asarray(labels), truth) for measure in measures] for labels in both])
    (recall, error, accuracy), (their_recall, their_error, their_accuracy) = np.mean(found, axis=0)
    assert recall > their_recall - 0.02
    assert error < their_error + 0.02
    assert accuracy > their_accuracy - 0.02


def test_before_parts_are_joined_segments_are_scikit_images():
    """Most pixels are near the edges of neither, where grids of centres that differ by pixels make a difference."""
    pixels = photo("coffee", 160, 160)
    theirs = segmentation.slic(pixels, n_segments=50, compactness=40, start_label=0, enforce_connectivity=False)
    ours = np.asarray(slic(pixels, compactness=40.0))
    assert achievable_accuracy(ours, theirs) > 0.9


@pytest.mark.parametrize(("name", "segments"), [("chelsea", 20), ("coffee", 50), ("astronaut", 150)])
def test_connected_is_scikit_images_rule(name, segments):
    cut = functools.partial(segmentation.slic, photo(name, 90, 110), n_segments=segments, start_label=0)
    expected = cut(enforce_connectivity=True)
    loose = cut(enforce_connectivity=False)
    assert parts(loose) > parts(expected)
    np.testing.assert_array_equal(jp.connected(loose), expected)


def test_connected_by_hand():
    labels = np.array([[5, 5, 5, 9], [5, 9, 5, 9], [7, 7, 9, 9], [7, 7, 7, 9]])
    expected = [[0, 0, 0, 1], [0, 0, 0, 1], [2, 2, 1, 1], [2, 2, 2, 1]]  # the lone 9 joins what is around it
    np.testing.assert_array_equal(jp.connected(labels), expected)
    np.testing.assert_array_equal(jp.connected(np.full((3, 4), 8)), np.zeros((3, 4)))
    divided = jp.connected(np.concatenate([np.zeros(20, int), np.arange(1, 5)])[None])
    np.testing.assert_array_equal(divided, [[0] * 14 + [1] * 10])  # 20 are too many, and single ones too few
    for wrong in (np.ones(3, int), np.ones((2, 2))):
        with pytest.raises(ValueError, match="but integers"):
            jp.connected(wrong)


@pytest.mark.parametrize(
    ("size", "segments", "expected"),
    [
        ((224, 224), 50, (7, 7)),
        ((224, 224), 49, (7, 7)),
        ((100, 200), 50, (5, 10)),
        ((5, 7), 35, (5, 7)),
        ((224, 224), 1, (1, 1)),
        ((3, 100), 10, (1, 10)),
        ((100, 3), 10, (10, 1)),
    ],
)
def test_cells_are_square_and_no_more_than_the_segments(size, segments, expected):
    assert grid(size, segments) == expected


def test_images_without_edges_are_a_grid():
    for pixels in (np.zeros((30, 41, 3)), np.full((30, 41, 3), 0.7), np.full((30, 41, 3), np.nan)):
        np.testing.assert_array_equal(slic(pixels.astype(np.float32), num_segments=12), cells((30, 41), 12))


def test_one_segment_and_as_many_as_pixels():
    pixels = photo("chelsea", 9, 7)
    np.testing.assert_array_equal(slic(pixels, num_segments=1), np.zeros((9, 7)))
    np.testing.assert_array_equal(slic(pixels, num_segments=63, compactness=1e4), np.arange(63).reshape(9, 7))
    assert len(np.unique(slic(pixels, num_segments=63))) <= 63
    np.testing.assert_array_equal(slic(pixels, num_segments=6, iterations=1), cells((9, 7), 6))


def test_grey_images_are_cut_at_their_edges():
    grey = np.where(np.arange(24) < 10, 0.2, 0.8)[None, :, None] * np.ones((24, 24, 3), np.float32)
    labels = np.asarray(slic(grey.astype(np.float32), num_segments=4, compactness=5.0))
    assert not set(np.unique(labels[:, :10])) & set(np.unique(labels[:, 10:]))


def test_slic_has_no_derivative_and_lets_others_be():
    def mean_of_first(pixels):
        return jp.segment_means(jnp.sum(pixels, -1), jp.slic(pixels, num_segments=4), 4)[0]

    pixels = jnp.asarray(photo("chelsea", 10, 10))
    labels = slic(pixels, num_segments=4)
    expected = np.repeat((labels == 0)[..., None] / np.sum(labels == 0), 3, axis=2)
    assert_close(jax.jit(jax.grad(mean_of_first))(pixels), expected)


@pytest.mark.parametrize(
    ("pixels", "options", "says"),
    [
        (np.ones(5, np.float32), {}, r"shape \(5,\), but one image"),
        (np.ones((3, 4, 5), np.float32), {}, r"shape \(3, 4, 5\), but one image .* channels last"),
        (np.ones((2, 4, 5, 3), np.float32), {}, "one image"),
        (np.full((4, 5, 3), 255.0, np.float32), {}, "from 255 to 255, but ones in .* divide levels by 255"),
        (np.full((4, 5, 3), -2.1, np.float32), {}, "from -2.1 .* not model.prepare"),
        (np.full((4, 5, 3), np.nan, np.float32), {}, r"nan, but ones in \[0, 1\]"),
        (np.ones((4, 5, 3), np.uint8), {}, r"pixels is uint8, but floats in \[0, 1\]"),
        (np.ones((4, 5, 3), np.float32), {}, "num_segments is 50, but 1 to 20"),
        (np.ones((4, 5, 3), np.float32), {"num_segments": 0}, "num_segments is 0, but 1 to 20"),
        (np.ones((4, 5, 3), np.float32), {"num_segments": 2, "iterations": 0}, "iterations is 0, but at least 1"),
    ],
)
def test_what_slic_refuses(pixels, options, says):
    with pytest.raises(ValueError, match=says):
        jp.slic(pixels, **options)


def test_other_segmenters_are_scikit_images():
    pixels = photo("chelsea", 40, 50)
    expected = segmentation.felzenszwalb(pixels.astype(np.float64), scale=50, min_size=20)
    np.testing.assert_array_equal(jp.felzenszwalb(pixels, scale=50, min_size=20), expected)
    expected = segmentation.quickshift(pixels.astype(np.float64), kernel_size=3, max_dist=20)
    np.testing.assert_array_equal(jp.quickshift(pixels, kernel_size=3, max_dist=20), expected)
    for cut in (jp.felzenszwalb, jp.quickshift):
        assert cut(pixels).dtype == np.int32
        with pytest.raises(ValueError, match="one image"):
            cut(pixels[None])


def test_segment_means_by_hand():
    heat = np.arange(8.0).reshape(2, 4)
    segments = np.array([[0, 0, 3, 3], [0, 2, 2, 2]])
    assert_close(jp.segment_means(heat, segments, 5), np.array([5 / 3, 0, 6, 2.5, 0]))
    assert_close(jax.jit(lambda s: jp.segment_means(heat, s, 5))(segments), np.array([5 / 3, 0, 6, 2.5, 0]))


@pytest.mark.parametrize(
    ("segments", "count", "says"),
    [
        (np.zeros((3, 2), int), 1, r"\(3, 2\), but integers \(2, 3\)"),
        (np.zeros((2, 3)), 1, "segments is float"),
        (np.full((2, 3), 4), 4, "labels from 4 to 4, but 0 to 3"),
        (np.full((2, 3), -1), 4, "labels from -1 to -1, but 0 to 3"),
        (np.zeros((2, 3), int), 0, "num_segments is 0, but at least 1"),
    ],
)
def test_what_segment_means_refuses(segments, count, says):
    with pytest.raises(ValueError, match=says):
        jp.segment_means(np.ones((2, 3)), segments, count)


@pytest.mark.parametrize("shape", [(9, 12), (9, 12, 1)])
def test_grey_images_are_cut(shape):
    grey = np.random.default_rng(0).random((9, 12), np.float32)
    expected = slic(np.repeat(grey[:, :, None], 3, axis=2), num_segments=6)
    np.testing.assert_array_equal(slic(grey.reshape(shape), num_segments=6), expected)
