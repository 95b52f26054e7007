"""evaluate from Python: any method of the table, functions of one's own, and what is measured of them."""

import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compare import assert_close
from tiny import tiny_model

import jaxplain as jp
from jaxplain import metrics
from jaxplain.methods import METHODS, with_options
from jaxplain.workflows import evaluate
from jaxplain.workflows._measures import Case, blurred, mapped
from jaxplain.workflows._methods import Bound
from jaxplain.workflows._segments import SEGMENTERS, segmented, static_count


@pytest.fixture(scope="module")
def model():
    return tiny_model()


@pytest.fixture(scope="module")
def images():
    """Two images of 16 x 16 pixels in quarters of different colours."""
    colours = np.random.default_rng(0).integers(20, 230, (2, 2, 2, 3)).astype(np.uint8)
    return list(colours.repeat(8, axis=1).repeat(8, axis=2))


def test_maps_of_a_layer_are_rectified_before_they_are_upsampled():
    case = Case(*[None] * 13)._replace(pixels=np.zeros((4, 4, 3), np.float32), number=0)  # pyright: ignore[reportArgumentType] none of them is read
    raw = np.array([[-8.0, 0.0], [0.0, 4.0]], np.float32)
    heat = mapped(case, Bound(lambda *_: jnp.asarray(raw), output="layer")).heat
    assert_close(heat[:, 3], np.array([0, 1, 3, 4], np.float32))
    assert_close(heat[0], np.zeros(4, np.float32))


def test_blur():
    pixels = np.random.default_rng(0).random((224, 224, 3), np.float32)
    result = np.asarray(blurred(pixels))
    for row, column in ((100, 50), (0, 223)):
        total = weight = 0
        for i in range(max(0, row - 5), min(224, row + 6)):
            for j in range(max(0, column - 5), min(224, column + 6)):
                w = np.exp(-((i - row) ** 2 + (j - column) ** 2) / 50)
                total, weight = total + w * pixels[i, j], weight + w
        assert_close(result[row, column], (total / weight).astype(np.float32), 1e-5)  # pyright: ignore[reportAttributeAccessIssue] arrays from the first turn on
    assert_close(blurred(np.ones((30, 30, 3), np.float32)), np.ones((30, 30, 3), np.float32))


@pytest.mark.parametrize("name", SEGMENTERS)
def test_segments_are_numbered_from_0(model, images, name):
    labels = segmented(model.pixels(images[0]), name, 4)
    assert labels.shape == (16, 16)
    assert set(np.unique(labels)) == set(range(labels.max() + 1))
    assert labels.max() < static_count(labels) <= 2 * (labels.max() + 1)


def test_methods_of_segments(model, images):
    lime = with_options(METHODS["lime"], {"samples": 40, "seed": 3})
    found = evaluate(model, images, methods=["secam", lime], metrics="deletion", num_segments=4)
    assert found.failed == ()
    pixels, k = model.pixels(images[1]), found.images[1].target
    net, x, target = model.net, model.prepare(images[1]), jp.one_hot(k, 5)
    labels = segmented(pixels, "slic", 4)
    assert found.images[1].segments == labels.max() + 1
    cut = {"segments": labels, "num_segments": static_count(labels)}
    key = jax.random.fold_in(jax.random.key(3), 1)
    maps = {
        "secam": jp.secam(net, x, target, layer="relu", **cut),
        "lime": jp.lime(net, x, target, key=key, samples=40, **cut),
    }
    seen = jp.then(jp.before(net, model.normalise), jax.nn.softmax)
    for name, heat in maps.items():
        theirs = jax.jit(functools.partial(metrics.deletion, seen))(pixels, target, heat)
        assert found.values(name, "deletion")[1] == pytest.approx(float(theirs.area), rel=1e-4)
    record = json.loads(_written(found, ".json"))
    assert record["methods"]["secam"] == {"layer": "relu", "segmenter": "slic", "segments": 4}
    assert record["methods"]["lime"]["options"] == {"samples": 40, "seed": 3}


def test_what_is_about_a_reference_is_measured_by_the_similarity(model, images):
    both = ["grad_cam", "fam"]
    found = evaluate(model, images[:1], methods=both, metrics=("insertion", "allegiance", "infidelity"),
                     reference=images[1], layer="conv")  # fmt: skip
    assert found.failed == ()
    embed = jax.jit(jp.embedding(model.net, "conv"))
    pixels, x, reference = model.pixels(images[0]), model.prepare(images[0]), embed(model.prepare(images[1]))

    def cosine(pixels):
        q = np.asarray(embed(model.normalise(pixels)))
        return float(q @ reference / np.linalg.norm(q) / np.linalg.norm(reference))

    curve = found.images[0].scores["fam"]["insertion"].curve
    assert curve[0] == pytest.approx(cosine(blurred(pixels)), rel=1e-4)
    assert curve[-1] == pytest.approx(cosine(pixels), rel=1e-4)
    assert found.images[0].similarity == pytest.approx(cosine(pixels), rel=1e-4)
    heat = np.maximum(jp.fam(model.net, x, reference, layer="conv"), 0)
    middle = np.argsort(-heat.ravel(), kind="stable")[:128]
    shown = np.asarray(blurred(pixels)).reshape(-1, 3).copy()
    shown[middle] = np.asarray(pixels).reshape(-1, 3)[middle]
    assert curve[10] == pytest.approx(cosine(jnp.asarray(shown.reshape(16, 16, 3))), rel=1e-4)
    assert set(found.images[0].scores["fam"]["allegiance"].curve) <= {0.0, 1.0}
    probability = found.images[0].scores["grad_cam"]["insertion"].curve[-1]
    assert probability == pytest.approx(found.images[0].probability, rel=1e-4)
    record = json.loads(_written(found, ".json"))
    assert record["methods"]["fam"] == {"layer": "conv", "reference": "image"}
    assert "cosine similarity of the embedding at conv" in record["conventions"]["outputs about the reference"]


def test_a_method_about_a_reference_explains_again(model, images):
    found = evaluate(model, images[0], methods="fam", metrics=("max_sensitivity", "randomisation"), reference=images[1])
    assert found.failed == ()
    assert found.values("fam", "max_sensitivity")[0] > 0


def left_half(net, x, target):
    """A map that knows nothing of the net."""
    del net, target
    return jnp.zeros(x.shape[:2]).at[:, :8].set(1.0)


def test_functions_of_ones_own(model, images):
    found = evaluate(model, images[0], methods={"left": left_half}, metrics="energy_in_box", box=(0, 0, 4, 16))
    assert found.values("left", "energy_in_box").tolist() == [0.5]
    assert repr(found) == "Evaluation(left by energy_in_box: 1 images)"


def test_a_box_has_four_corners(model, images):
    with pytest.raises(ValueError, match="four numbers"):
        evaluate(model, images[0], metrics="energy_in_box", box=(1, 2, 3))


def test_a_folder_and_what_cannot_be_read(model, images, tmp_path):
    from PIL import Image

    for number, image in enumerate(images):
        Image.fromarray(image).save(tmp_path / f"{number}.png")
    (tmp_path / "notes.txt").write_text("no image")
    found = evaluate(model, tmp_path, methods=["random"], metrics=["average_drop"])
    assert [outcome.image.name for outcome in found.images] == ["0.png", "1.png"]
    assert [image.name for image, _ in found.failed] == ["notes.txt"]
    summary = found.summaries["random"]["average_drop"]
    assert summary.mean.tolist() == [found.values("random", "average_drop").mean()]
    assert summary.interval is None
    assert "mean of 2 images, too few of 10 for an interval" in found.title
    with pytest.raises(ValueError, match=r"None of 2 images can be evaluated: .*notes\.txt.*notes\.txt"):
        evaluate(model, [tmp_path / "notes.txt", str(tmp_path / "notes.txt")], methods=["random"])


def without_an_order(what):
    """A map that is noise, and without an order in images with a dark corner: what comes out of `what` there."""

    def own(net, x, target):
        return jnp.where(x[0, 0, 0] < -1.9, what, x[..., 0])

    return own


def test_maps_without_an_order_are_counted_and_left_out(model):
    """Of 12 images 2 are dark; the other 10 have the means and intervals that they have alone."""
    draw = np.random.default_rng(1)
    bright = list(draw.integers(60, 256, (10, 16, 16, 3)).astype(np.uint8))
    dark = [image.copy() for image in bright[:2]]
    for image in dark:
        image[0, 0] = 0
    methods = {"constant": 3.0, "empty": 0.0, "nan": np.nan}
    methods = {name: without_an_order(value) for name, value in methods.items()} | {"random": METHODS["random"]}
    options = {"methods": methods, "metrics": ("deletion", "average_drop")}
    alone, found = evaluate(model, bright, **options), evaluate(model, bright + dark, **options)
    assert found.failed == ()
    for name, what in (("constant", "constant"), ("empty", "empty"), ("nan", "not finite")):
        assert found.images[-1].scores[name]["deletion"].left_out == what
        for metric in ("deletion", "average_drop"):
            ours, theirs = found.summaries[name][metric], alone.summaries[name][metric]
            assert (ours.count, ours.left_out) == (10, {what: 2})
            assert_close((ours.mean, ours.interval), (theirs.mean, theirs.interval), 1e-6)
    assert found.summaries["random"]["deletion"].count == 12
    words = "constant 2 of 12 maps (2 constant), empty 2 of 12 maps (2 empty), nan 2 of 12 maps (2 not finite)"
    assert f"left out: {words}" in str(found.table())
    record = json.loads(_written(found, ".json"))
    assert record["summary"]["nan"]["deletion"]["left_out"] == {"not finite": 2}
    assert record["images"][-1]["scores"]["nan"]["deletion"] == {"value": None, "left_out": "not finite"}
    rows = [row.split(",") for row in _written(found, ".csv").splitlines()]
    assert sum(row[-1] == "constant" and row[-2] == "" for row in rows) == 4


def test_nothing_but_maps_without_an_order(model, images):
    methods = {"flat": lambda net, x, target: jnp.ones(x.shape[:2])}
    with pytest.raises(ValueError, match=r"none has an order: flat 2 of 2 maps \(2 constant\)"):
        evaluate(model, images, methods=methods, metrics="deletion")
    assert evaluate(model, images, methods=methods | {"random": METHODS["random"]}, metrics="deletion").images


def test_a_layer_of_one_position_is_refused(model, images):
    with pytest.raises(ValueError, match="Layer 'mean' has no height and width"):
        evaluate(model, images, layer="mean")


def test_every_image_has_noise_of_its_own(model, images):
    found = evaluate(model, [images[0], images[0].copy()], methods=["random"], metrics=["deletion"])
    first, second = (outcome.scores["random"]["deletion"].curve for outcome in found.images)
    assert first != second
    assert (first[0], first[-1]) == (second[0], second[-1])


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"methods": []}, "no methods"),
        ({"metrics": []}, "no metrics"),
        ({"methods": ["grad_came"]}, "no method 'grad_came'"),
        ({"methods": ["fam"]}, "a reference, which is not given"),
        ({"segmenter": "slick"}, "no segmenter 'slick'"),
        ({"layer": "fc"}, "no height and width"),
        ({"metrics": ["energy_in_box"]}, "compares a map with the object's box"),
        ({"metrics": ["energy_in_box"], "box": (1, 2, 3, 4)}, "one image, but there are 2"),
    ],
)
def test_what_does_not_go_together(model, images, options, says):
    with pytest.raises(ValueError, match=says):
        evaluate(model, images, **options)


def test_no_images(model):
    with pytest.raises(ValueError, match="no images"):
        evaluate(model, [])


def _written(found, suffix):
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        written = {path.suffix: path for path in found.save(Path(folder) / "evaluation")}
        return written[suffix].read_text()


def test_a_single_image_that_cannot_be_read_is_an_error(model, tmp_path):
    with pytest.raises((ValueError, OSError), match="nowhere"):
        evaluate(model, tmp_path / "nowhere.png")
