"""The controlled experiment measures what it says, on images and networks whose answers are known."""

import controlled_concepts as cc
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

import jaxplain as jp


def test_tags_are_where_their_boxes_are():
    plain = np.full((3, cc.CROP, cc.CROP, 3), 0.5, np.float32)
    whole, boxes = cc.stick(plain, [2, 0, 1], np.random.default_rng(0))
    assert (plain == 0.5).all()
    for image, box, tag in zip(whole, boxes, (2, 0, 1), strict=True):
        assert box.sum() == cc.SIDE**2
        np.testing.assert_array_equal(image[box].reshape(cc.SIDE, cc.SIDE, 3), cc.tag_pictures()[tag])
        assert (image[~box] == 0.5).all()
    assert len({tuple(np.argwhere(box)[0]) for box in boxes}) == 3


@pytest.mark.parametrize(("probability", "share"), [(0.0, 0.25), (0.5, 0.625), (1.0, 1.0)])
def test_tags_are_the_classes_own_as_often_as_asked(probability, share):
    """With p, and by chance in a quarter of the others."""
    parts = [([np.full((96, 96, 3), 0.1 * k, np.float32)], []) for k in range(4)]
    data = cc.data(parts, probability, 200, seed=1)
    pictures = cc.tag_pictures()

    def has(image, tag):
        y, x = np.argwhere(image[..., 0] == 1).min(0) - np.argwhere(pictures[tag][..., 0] == 1).min(0)
        inside = image[max(y, 0) :, max(x, 0) :][: cc.SIDE, : cc.SIDE]
        return inside.shape == pictures[tag].shape and (inside == pictures[tag]).all()

    own = np.mean([has(image, label) for image, label in zip(data.X, data.labels, strict=True)])
    assert own == pytest.approx(share, abs=0.06)


def bright(weights, x, site=jp.untouched):
    """Logits: weights times the mean brightness inside and outside of the upper half."""
    del site
    half = x.shape[0] // 2
    return weights @ jnp.stack([jnp.mean(x[:half]), jnp.mean(x[half:])])


@pytest.mark.parametrize(("weights", "share"), [([1.0, 0], 1), ([0, 1.0], 0), ([1.0, 3], 0.25), ([-1.0, 2], 0)])
def test_the_truth_is_the_tags_share_of_what_covering_costs(weights, share):
    """The tag is a white upper half, the texture a white lower one, and covering turns either black."""
    white, black = np.ones((4, 8, 8, 3), np.float32), np.zeros((4, 8, 8, 3), np.float32)
    upper = np.arange(8)[None, :, None, None] < 4
    boxes = np.broadcast_to(upper[..., 0], (4, 8, 8))
    images = cc.Tagged(
        np.zeros(4, int), white, np.where(upper, black, white), np.where(upper, white, black), boxes
    )  # fmt: skip
    net = Partial(bright, jnp.array([weights, [0.0, 0.5]]))
    found, matters, accuracy = cc.truth(net, images, 1)
    assert found == pytest.approx([share])
    assert accuracy == float(sum(weights) > 0.5)
    assert matters == [(sum(weights) > 0.5) != (weights[1] > 0.5)]


def test_energy_and_overlap_by_hand():
    heats = np.array([[[1.0, 3], [0, 0]], [[0, 0], [0, 0]], [[2, 1], [1, 0.9]]])
    boxes = np.array([[[False, True], [False, True]]] * 3)
    np.testing.assert_allclose(cc.energy(heats, boxes), [0.75, 0, 1.9 / 4.9])
    np.testing.assert_allclose(cc.overlap(heats, boxes), [1 / 2, 0, 1 / 4])


def test_correlation_and_area_by_hand():
    """The second method's scores are the truth's in order, the first one's against it."""

    def found(truth, matters):
        shares = np.array(truth)
        scores = {"against": np.stack([1 - shares, shares]), "along": np.stack([shares**2, 1 - shares**2])}
        return cc.Found(shares, np.array(matters), scores, {}, 1.0)

    run = [found([0.1, 0.4], [False, True]), found([0.2, 0.9], [False, True])]
    for concept in (0, 1):
        assert cc.correlation(run, "along", concept) == pytest.approx(1)
        assert cc.correlation(run, "against", concept) == pytest.approx(-1)
    assert (cc.area(run, "along"), cc.area(run, "against")) == (1, 0)
    flat = [one._replace(scores={"flat": np.ones((2, 2))}) for one in run]
    assert cc.correlation(flat, "flat", 0) == 0
