"""The network as a player: nets whose answer at each level is known by hand, and a loop in numpy."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial
from tiny import tiny_model

from jaxplain.features import Features
from jaxplain.models import Model, Spec, Weights
from jaxplain.study import (
    LEVELS,
    Play,
    Study,
    StudyImage,
    blur_sigma,
    play,
    played,
    read_plays,
    recognised,
    reveal_mask,
    reveal_probabilities,
    rounds,
    write_plays,
)

WHITE = np.full((16, 16, 3), 255, np.uint8)


def bright(gain, x, site=None):
    """Logits of "much" from 15 % of the picture on, "little" below it, and "never"."""
    return jnp.stack([gain * (jnp.mean(x) - 0.15), jnp.float32(0), jnp.float32(-2)])


def model_of(f, names=("much", "little", "never"), outputs=None):
    spec = Spec("bright", 16, 16, (0.0,) * 3, (1.0,) * 3, categories=names, outputs=outputs)
    return Model(Partial(f, 100.0), spec, Weights("random", None))


def features(*maps):
    """One cluster a map, and a row that is not used."""
    shape = np.shape(maps[0])
    weights = np.array([*range(40, 40 - len(maps), -1), 0], np.float32)
    cluster: object = np.zeros(4, np.int32)
    return Features(cluster, weights, np.array([*maps, np.zeros(shape)], np.float32))  # pyright: ignore[reportArgumentType] numpy's arrays are arrays


def study_of(images, classes=("much", "little")):
    return Study(Path("study"), "bright", Weights("random", None), "softmax", classes, ("a", "b"), 0, tuple(images))


def image_of(number, truth, **found):
    return StudyImage(f"{number:016x}", "photo.png", truth, 0, found, WHITE)


RISING = np.arange(16).reshape(4, 4) / 15  # no ties: 1, 1, 2, 3, 4, 5 of 16 cells are shown
SHOWN = np.array([1, 1, 2, 3, 4, 5]) / 16


@pytest.fixture(scope="module")
def study():
    return study_of([image_of(1, "much", a=features(RISING)), image_of(2, "little", a=features(RISING))])


def test_probabilities_by_hand(study):
    """A blur that is mirrored at the edges keeps the sum, so 1 of 16 cells is a mean of 1 / 16."""
    found = reveal_probabilities(model_of(bright), study)
    logits = np.stack([100 * (SHOWN - 0.15), np.zeros(6), np.full(6, -2)], axis=-1)
    expected = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    assert found.values.shape == (2, 6, 3)
    np.testing.assert_allclose(found.values, [expected] * 2, rtol=1e-3, atol=1e-6)
    assert found.rounds == rounds(study)
    assert (found.truths, found.names) == (("much", "little"), ("much", "little", "never"))
    assert found.offered.tolist() == [0, 1]
    assert recognised(found) == {(f"{1:016x}", "a", 0): 3, (f"{2:016x}", "a", 0): 0}


@pytest.mark.parametrize(
    ("resign_below", "ends"),
    [
        (0.2, [("little", "lose", 0), ("little", "win", 0)]),
        (0.9, [("much", "win", 3), ("much", "lose", 3)]),
        (0.99, [("much", "win", 4), ("much", "lose", 4)]),
        (0.999999, [("much", "win", 5), ("much", "lose", 5)]),
        (1, [(None, "resign", 5), (None, "resign", 5)]),
    ],
)
def test_plays_by_hand(study, resign_below, ends):
    found = reveal_probabilities(model_of(bright), study)
    found = found._replace(values=np.minimum(found.values, 0.9999998))
    plays = played(found, "eve", resign_below=resign_below)
    assert [(one.guess, one.outcome, one.level) for one in plays] == ends
    order = {"little": ("little", "never", "much"), "much": ("much", "little", "never"), None: ()}
    assert [one.labels for one in plays] == [order[guess] for guess, *_ in ends]
    guess, outcome, level = ends[0]
    assert plays[0] == Play("eve", "network", f"{1:016x}", "a", 0, "much", guess, outcome, level, order[guess])


def test_labels_are_the_best_names(study):
    model = model_of(bright)
    assert [one.labels for one in play(model, study, labels=1)] == [("little",)] * 2
    assert [one.labels for one in play(model, study, labels=0)] == [()] * 2
    assert play(model, study)[0].player == "bright"
    twice = model_of(bright, names=("much", "little", "little"))  # as ImageNet has two cranes
    assert play(twice, study)[0].labels == ("little", "much")


def test_only_classes_of_the_study_are_guessed(study):
    """The best class, "little" at level 0, is not among them; with others than the network's, all are."""
    model = model_of(bright)
    few = play(model, study._replace(classes=("much", "never")))
    assert [(one.guess, one.level) for one in few] == [("much", 3)] * 2
    other = play(model, study._replace(classes=("much", "cat")))
    assert [(one.guess, one.level) for one in other] == [("little", 0)] * 2
    found = reveal_probabilities(model, study._replace(classes=("much", "never")))
    assert list(recognised(found).values()) == [3, None]  # "never" is likelier at 2 of 16 cells


def test_labels_of_sigmoids_have_their_own_probabilities(study):
    model = model_of(bright, outputs="sigmoid")
    found = reveal_probabilities(model, study)
    np.testing.assert_allclose(found.values[0, :, 0], 1 / (1 + np.exp(-100 * (SHOWN - 0.15))), rtol=1e-3)
    np.testing.assert_allclose(found.values[0, :, 1:], [[0.5, 1 / (1 + np.exp(2))]] * 6, rtol=1e-5)
    assert [(one.guess, one.level) for one in played(found, "net", resign_below=0.6)] == [("much", 3)] * 2


def test_one_sigmoid_resigns_where_it_is_not_there(study):
    model = model_of(lambda gain, x, site=None: jnp.reshape(-gain * jnp.mean(x), 1), names=("much",))
    plays = play(model, study._replace(classes=("much",)), labels=3)
    assert [(one.guess, one.outcome, one.level, one.labels) for one in plays] == [(None, "resign", 5, ())] * 2


@pytest.fixture(scope="module")
def tiny():
    """The tiny network, and a study of two images and layers whose maps have two shapes: 11 rounds."""
    rng = np.random.default_rng(3)
    images = [
        StudyImage(f"{n:016x}", "i", "class 1", 1, {"a": features(*rng.random((2 + n, 8, 8))),
                   "b": features(*rng.random((3, 5, 6)))}, rng.integers(0, 256, (16, 16, 3), np.uint8))
        for n in range(2)
    ]  # fmt: skip
    return tiny_model(), study_of(images, ("class 1", "class 2"))


def test_probabilities_are_those_of_a_loop(tiny):
    """Through the masks that people see at 512, at the network's own size of 16."""
    model, study = tiny
    found = reveal_probabilities(model, study)
    images = {image.id: image for image in study.images}
    assert len(found.rounds) == 11
    predict = jax.jit(model.probable)
    for one, values in zip(found.rounds, found.values, strict=True):
        image = images[one.image]
        heat = np.asarray(image.features[one.layer].maps[one.cluster])
        sigma = blur_sigma(heat.size**0.5) * 16 / 512
        for percent, p in zip(LEVELS, values, strict=True):
            shown = image.levels / np.float32(255) * reveal_mask(heat, percent, 16, sigma=sigma)[..., None]
            np.testing.assert_allclose(p, predict(model.normalise(shown.astype(np.float32))), atol=1e-5)
    assert np.ptp(found.values[:, :, 1]) > 1e-3  # and they differ


@pytest.mark.parametrize("batch", [1, 12, 13, 24, 1000])
def test_batches_do_not_change_the_answers(tiny, batch):
    model, study = tiny
    found, other = reveal_probabilities(model, study), reveal_probabilities(model, study, batch=batch)
    np.testing.assert_allclose(found.values, other.values, atol=1e-6)
    assert play(model, study, batch=batch) == played(found, "tiny")


def test_the_network_is_compiled_once(study):
    traces = []

    def net(gain, x, site=None):
        traces.append(x.shape)
        return bright(gain, x)

    maps = {"a": features(*np.random.default_rng(0).random((7, 4, 4))), "b": features(RISING[:2])}
    model, many = model_of(net), study_of([image_of(1, "much", **maps), image_of(2, "little", **maps)])
    play(model, many, batch=13)
    play(model, many, batch=13)
    assert traces.count((16, 16, 3)) == len(traces) == 1


def test_progress_is_told_and_levels_may_be_others(tiny):
    model, study = tiny
    told = []

    def track(work, title):
        told.append((title, len(work)))
        return work

    found = reveal_probabilities(model, study, levels=(5, 50.0), batch=4, track=track)
    assert found.values.shape == (11, 2, 5)
    assert told == [("playing", 6)]  # 5 rounds of one shape, 6 of another, by two


def test_plays_can_be_written(tiny, tmp_path):
    plays = play(*tiny)
    write_plays(tmp_path / "network.csv", plays)
    assert read_plays(tmp_path / "network.csv") == plays


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"levels": ()}, r"levels is \(\), expected 1 to 6"),
        ({"levels": (2, 2)}, "that rise"),
        ({"levels": (0, 2)}, "from above 0"),
        ({"levels": (50, 101)}, "at most 100"),
        ({"levels": range(1, 8)}, "1 to 6 percentages"),
        ({"batch": 0}, "batch is 0"),
        ({"resign_below": 1.5}, "resign_below is 1.5"),
        ({"labels": -1}, "labels is -1"),
    ],
)
def test_options_are_checked(study, options, says):
    with pytest.raises(ValueError, match=says):
        play(model_of(bright), study, **options)


def test_what_cannot_play(study):
    with pytest.raises(ValueError, match="outputs are scores"):
        play(model_of(bright, outputs="scores"), study)
    with pytest.raises(ValueError, match="no cluster to be recognised"):
        play(model_of(bright), study_of([image_of(1, "much", a=features(np.zeros((4, 4))))])._replace(images=()))
    with pytest.raises(ValueError, match="probabilities are not finite"):
        play(model_of(lambda gain, x, site=None: jnp.full(3, jnp.nan)), study)
    larger = study._replace(images=(study.images[0]._replace(levels=np.zeros((32, 32, 3), np.uint8)),))
    with pytest.raises(ValueError, match=r"images of \(32, 32, 3\) and bright takes \(16, 16, 3\)"):
        play(model_of(bright), larger)
