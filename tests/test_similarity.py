"""The experiment on similarity: its losses, its splits and its boxes are what they are called."""

import jax.numpy as jnp
import numpy as np
import pytest
import similarity
from compare import assert_close

DRAW = np.random.default_rng(0)


def cosine(q, r):
    return q @ r / np.linalg.norm(q) / np.linalg.norm(r)


def test_the_split_over_places_is_exact():
    """The map's mean is the similarity, for distances with the length of the reference left out."""
    a, r = DRAW.normal(size=(4, 5, 7)).astype(np.float32), DRAW.normal(size=7).astype(np.float32)
    q = a.mean((0, 1))
    assert np.mean(a @ similarity.split_weights("cosine", q, r)) == pytest.approx(cosine(q, r), abs=1e-5)
    ours = np.mean(a @ similarity.split_weights("squared_euclidean", q, r))
    assert ours == pytest.approx(-np.sum((q - r) ** 2) + r @ r, rel=1e-4)


def test_digits_are_where_their_boxes_are():
    pictures = similarity.Pictures(3)
    rows = pictures.episode([4, 17], 3)
    assert (pictures.labels[rows] == [[4], [17]]).all()
    assert len(np.unique(rows)) == 6
    images, places = pictures.of(rows.ravel())
    for image, (y, x), row in zip(images, places, rows.ravel(), strict=True):
        digit = pictures.digits[row]
        part = image[y : y + similarity.DIGIT, x : x + similarity.DIGIT]
        assert_close(part[digit == 1], np.ones_like(part[digit == 1]))
        outside = image.copy()
        outside[y : y + similarity.DIGIT, x : x + similarity.DIGIT] = 0
        assert outside.max() <= similarity.DIM
    turned = np.flatnonzero(pictures.labels == 17)[0]
    assert_close(np.rot90(pictures.digits[turned], -1), pictures.digits[turned - len(pictures.digits) // 4])


def embed(X):
    """The mean of each channel."""
    return X.mean(axis=(1, 2))


def test_the_prototypical_loss_by_hand():
    X = DRAW.normal(size=(3, 2 * similarity.SHOTS, 2, 2, 4))
    q = X.mean(axis=(2, 3))
    prototypes, terms = q[:, : similarity.SHOTS].mean(1), []
    for k in range(3):
        for query in q[k, similarity.SHOTS :]:
            logits = -((query - prototypes) ** 2).sum(1)
            terms.append(np.log(np.exp(logits).sum()) - logits[k])
    assert float(similarity.prototypical(embed, jnp.asarray(X))) == pytest.approx(np.mean(terms), rel=1e-4)


def test_the_contrastive_loss_by_hand():
    X = DRAW.normal(size=(2, 3, 2, 2, 4))
    q = X.mean(axis=(2, 3)).reshape(6, 4)
    terms = []
    for i in range(6):
        similar = np.array([np.exp(cosine(q[i], q[j]) / similarity.TEMPERATURE) for j in range(6) if j != i])
        partner = np.exp(cosine(q[i], q[(i + 3) % 6]) / similarity.TEMPERATURE)
        terms.append(-np.log(partner / similar.sum()))
    assert float(similarity.contrastive(embed, jnp.asarray(X))) == pytest.approx(np.mean(terms), rel=1e-4)
