"""Fine-tuning: the classifier equals a numpy oracle, the rest stays or moves as asked, bad input is told."""

import importlib
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compare import assert_close
from flax import linen as nn

from jaxplain.adapt import from_linen
from jaxplain.models import Examples, Model, Recipe, Spec, Weights, available, finetune, load, outline, read_folder
from jaxplain.models._finetune import features, split, trunk
from jaxplain.models._layers import Conv, Dense, GlobalMean, Relu
from jaxplain.models._preprocess import sample
from jaxplain.models._registry import Architecture, architecture
from jaxplain.weights_convert import Published

module = importlib.import_module("jaxplain.models._finetune")

LITE, TEXTURES, KEY = "efficientnet_lite0", ("brick", "grass", "gravel"), jax.random.key(3)


@pytest.fixture(scope="module")
def model():
    """EfficientNet-Lite0's weights for images of 64 pixels, which are quick."""
    published = load(LITE)
    return published._replace(spec=published.spec._replace(input_size=64, resize=64))


def crops(name, left, right, count):
    """Crops of 96 pixels from between two shares of a picture's width."""
    draw, picture = np.random.default_rng(0), sample(name)
    for _ in range(count):
        x = int(draw.integers(int(left * picture.width), int(right * picture.width) - 96))
        y = int(draw.integers(0, picture.height - 96))
        yield picture.crop((x, y, x + 96, y + 96))


def written(folder, left, right, count):
    for name in TEXTURES:
        (folder / name).mkdir(parents=True)
        for number, crop in enumerate(crops(name, left, right, count)):
            crop.save(folder / name / f"{number:02}.png")
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The left parts of three textures."""
    return written(tmp_path_factory.mktemp("textures") / "left", 0, 0.6, 12)


@pytest.fixture(scope="module")
def examples(folder, model):
    return read_folder(folder, model.spec)


@pytest.fixture(scope="module")
def tuned(model, examples):
    return finetune(model, examples, Recipe(epochs=20), key=KEY)


def parameters(model):
    variables, _ = model.net.args
    return variables["params"]


run = jax.jit(lambda net, x: net(x))


def outputs(model, images):
    """The network's outputs (N, n), one image after another."""
    return np.stack([run(model.net, model.normalise(image / np.float32(255))) for image in images])


def refusal(function, *args, **options):
    with pytest.raises(ValueError, match=r".") as caught:
        function(*args, **options)
    return str(caught.value)


class Net(nn.Module):
    """Logits (B, classes) of a network that is quickly compiled, and sees left from right."""

    classes: int

    @nn.compact
    def __call__(self, x):
        x = Relu(name="relu")(Conv(6, 3, 1, 1, name="conv")(x))
        return Dense(self.classes, name="fc")(GlobalMean(name="mean")(x)[:, 0, 0])


SPEC = Spec("small", input_size=12, resize=12, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))


@pytest.fixture(scope="module")
def small_model():
    variables = jax.jit(Net(5).init)(jax.random.key(0), jnp.zeros((1, 12, 12, 3)))
    return Model(from_linen(Net(5), {"params": variables["params"]}), SPEC, Weights("small", None))


@pytest.fixture
def small(small_model, monkeypatch):
    """The model while its network is known by name."""
    known = Architecture(SPEC, Net, "fc", (Published("NONE", "small-0.pth", {}),))
    monkeypatch.setattr(module, "architecture", lambda name: known)
    return small_model


@pytest.fixture(scope="module")
def shades():
    """Three classes that overlap in their colours; of equally many each, the bias would have gradients of 0."""
    draw, labels = np.random.default_rng(0), np.repeat([0, 1, 2], [16, 12, 8])
    colours = np.eye(3)[labels][:, None, None] * 60 + draw.integers(0, 190, (36, 12, 12, 3))
    return Examples(colours.astype(np.uint8), labels, TEXTURES)


# reading


def test_a_folder_is_read_as_the_model_sees_it(folder, examples, model):
    assert examples.categories == TEXTURES
    assert examples.labels.tolist() == [0] * 12 + [1] * 12 + [2] * 12
    assert [str(file.relative_to(folder)) for file in examples.files[11:13]] == ["brick/11.png", "grass/00.png"]
    for row in (0, 20, 35):
        np.testing.assert_array_equal(examples.images[row] / np.float32(255), model.pixels(examples.files[row]))


def test_hidden_files_and_files_beside_the_classes_are_left_out(tmp_path, model):
    folder = written(tmp_path / "mine", 0, 1, 2)
    (folder / ".hidden").mkdir()
    (folder / "brick" / ".DS_Store").write_text("no image")
    (folder / "README.txt").write_text("mine")
    found = read_folder(folder, model.spec)
    assert found.categories == TEXTURES
    assert len(found.images) == 6


def unreadable(folder):
    written(folder, 0, 1, 3)
    for name in TEXTURES:
        (folder / name / "01.png").write_text("no image")


def one_image_of_grass(folder):
    written(folder, 0, 1, 2)
    (folder / "grass" / "01.png").unlink()


def nothing_of_grass(folder):
    one_image_of_grass(folder)
    (folder / "grass" / "00.png").unlink()


def one_class(folder):
    (folder / "brick").mkdir(parents=True)


def a_name_with_a_no_break_space(folder):
    one_class(folder)
    (folder / "caf\u00e9\u00a0noir").mkdir()


def no_folders(folder):
    folder.mkdir()
    (folder / "00.png").write_text("no image")


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (lambda folder: None, ["mine is not there", "a folder of images for each class"]),
        (lambda folder: folder.write_text("a"), ["mine is a file", "check the path"]),
        (lambda folder: folder.mkdir(), ["has 0 folders in it", "at least two classes"]),
        (no_folders, ["has 0 folders in it", "sort the images into folders"]),
        (one_class, ["has 1 folders in it"]),
        (a_name_with_a_no_break_space, [r"the class 'caf\xe9\xa0noir', which cannot be shown", "rename the folder"]),
        (one_image_of_grass, ["fewer than two images of 'grass'", "one to hold out"]),
        (nothing_of_grass, ["fewer than two images of 'grass'"]),
        (unreadable, ["3 of 9 files", "brick/01.png, ", "gravel/01.png: replace or remove", "is not an image that"]),
    ],
)
def test_folders_that_cannot_be_trained_with(made, words, tmp_path, model):
    made(tmp_path / "mine")
    message = refusal(read_folder, tmp_path / "mine", model.spec)
    assert str(tmp_path / "mine") in message
    for word in words:
        assert word in message


# held-out rows


def test_each_class_is_split_by_the_same_share():
    labels = np.repeat([0, 1, 2], [20, 10, 2])
    training, held_out = split(labels, 0.3, key=KEY)
    assert np.bincount(labels[held_out]).tolist() == [6, 3, 1]
    assert sorted([*training, *held_out]) == list(range(32))
    again, other = split(labels, 0.3, key=KEY), split(labels, 0.3, key=jax.random.key(4))
    assert again[1].tolist() == held_out.tolist()
    assert other[1].tolist() != held_out.tolist()
    old = split(labels, 0.3, key=jax.random.PRNGKey(3))
    assert old[1].tolist() == held_out.tolist()


@pytest.mark.parametrize(("share", "count"), [(0.001, 1), (0.999, 4)])
def test_either_side_gets_an_image(share, count):
    training, held_out = split(np.repeat([0, 1], 5), share, key=KEY)
    assert (len(training), len(held_out)) == (10 - 2 * count, 2 * count)


# the trunk


@pytest.mark.parametrize("name", list(available()))
def test_the_trunk_ends_where_the_classifier_begins(name):
    known = architecture(name)
    net = outline(name)
    found = jax.eval_shape(lambda net, x: net(x), trunk(net, known.spec), known.spec.image)
    kernel = net.args[0]["params"]
    for part in known.classifier.split("."):
        kernel = kernel[part]
    assert found.shape == kernel["kernel"].shape[:1]


def test_features_are_what_the_classifier_gets(small, shades):
    """Also where the last batch is not full."""
    images = shades.images[10:30]
    found = features(small, images)
    classifier = parameters(small)["fc"]
    assert found.shape == (20, 6)
    assert_close(found @ np.asarray(classifier["kernel"]) + np.asarray(classifier["bias"]), outputs(small, images))


# training the classifier


def test_textures_are_told_apart_on_another_part_of_the_pictures(tuned, tmp_path, model):
    test = read_folder(written(tmp_path / "right", 0.6, 1, 8), model.spec)
    assert np.mean(np.argmax(outputs(tuned.model, test.images), axis=1) == test.labels) >= 0.9


def test_the_history(tuned, examples):
    losses = [epoch.validation.loss for epoch in tuned.history]
    assert tuned.best == np.argmin(losses)
    assert {epoch.phase for epoch in tuned.history} == {"classifier"}
    assert tuned.history[-1].training.loss < 0.2 < tuned.history[0].training.loss < math.log(3)
    assert np.bincount(examples.labels[tuned.held_out]).tolist() == [2, 2, 2]
    scores = outputs(tuned.model, examples.images[tuned.held_out])
    odds = jax.nn.log_softmax(scores)[np.arange(6), examples.labels[tuned.held_out]]
    assert -np.mean(odds) == pytest.approx(losses[tuned.best], rel=1e-3)


def test_the_rest_is_bitwise_what_it_was(tuned, model):
    before, after = (
        {name: leaf for name, leaf in parameters(each).items() if name != "_fc"} for each in (model, tuned.model)
    )
    assert_close(after, before, 0)
    assert parameters(tuned.model)["_fc"]["kernel"].shape == (1280, 3)


def test_the_result_is_a_model_that_is_saved_and_loaded(tuned, examples, tmp_path):
    tuned.model.save(tmp_path / "model")
    again = load(LITE, tmp_path / "model")
    assert again.spec == tuned.model.spec
    assert again.spec.categories == TEXTURES
    assert again.weights == ("fine-tuned from efficientnet-lite0-57934424.pth", None, ())
    assert_close(outputs(again, examples.images[:2]), outputs(tuned.model, examples.images[:2]), 0)


def numpy_adam(X, labels, epochs, rate):
    """The classifier after that many steps of Adam on all of X, float64, and the losses before each."""
    p = {"kernel": np.zeros((X.shape[1], 3)), "bias": np.zeros(3)}
    m, v, losses = ({name: np.zeros_like(a) for name, a in p.items()} for _ in range(2)), None, []
    m, v = m
    for t in range(1, epochs + 1):
        logits = X @ p["kernel"] + p["bias"]
        odds = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        losses.append(-np.log(odds[np.arange(len(X)), labels]).mean())
        error = (odds - np.eye(3)[labels]) / len(X)
        for name, g in {"kernel": X.T @ error, "bias": error.sum(0)}.items():
            m[name] = 0.9 * m[name] + 0.1 * g
            v[name] = 0.999 * v[name] + 0.001 * g**2
            p[name] = p[name] - rate * (m[name] / (1 - 0.9**t)) / (np.sqrt(v[name] / (1 - 0.999**t)) + 1e-8)
    return p, losses


def test_the_classifier_is_adams(small, shades):
    recipe = Recipe(epochs=6, batch=1000, rate=0.03)
    tuned = finetune(small, shades, recipe, key=KEY)
    training = np.setdiff1d(np.arange(36), tuned.held_out)
    X = features(small, shades.images[training]).astype(np.float64)
    expected, losses = numpy_adam(X, shades.labels[training], 6, 0.03)
    assert tuned.best == 5
    # Where a gradient is almost 0, Adam's step has the sign of its rounding, so outputs are compared and not kernels.
    held_out = features(small, shades.images[tuned.held_out]).astype(np.float64)
    scores = held_out @ expected["kernel"] + expected["bias"]
    assert_close(outputs(tuned.model, shades.images[tuned.held_out]), scores, 1e-3)
    assert [epoch.training.loss for epoch in tuned.history] == pytest.approx(losses, rel=1e-4, abs=1e-6)


def test_rows_that_fill_a_batch_count_for_nothing(model, examples):
    """Where nothing moves, the classifier is 0, and takes everything for the first class."""
    few = Examples(examples.images[5:], examples.labels[5:], TEXTURES)
    tuned = finetune(model, few, Recipe(epochs=1, rate=1e-300), key=KEY)
    (epoch,) = tuned.history
    training = np.delete(few.labels, tuned.held_out)
    assert len(training) % Recipe().batch == 10
    assert epoch.training == pytest.approx((math.log(3), np.mean(training == 0)), rel=1e-6)
    assert epoch.validation.accuracy == pytest.approx(np.mean(few.labels[tuned.held_out] == 0))


def test_the_key_decides(model, examples, tuned):
    again = finetune(model, examples, Recipe(epochs=20), key=KEY)
    assert_close(parameters(again.model), parameters(tuned.model), 0)
    assert again.history == tuned.history
    other = finetune(model, examples, Recipe(epochs=20), key=jax.random.key(4))
    assert other.history != tuned.history


def test_images_may_be_in_a_file(model, examples, tuned, tmp_path):
    np.save(tmp_path / "images.npy", examples.images)
    mapped = examples._replace(images=np.load(tmp_path / "images.npy", mmap_mode="r"))
    assert finetune(model, mapped, Recipe(epochs=20), key=KEY).history == tuned.history


# when it ends


def test_what_does_not_get_better_ends_early_and_the_best_is_kept(model, examples):
    """Labels at random: what is learnt of them says nothing of others."""
    labels = np.random.default_rng(1).permutation(examples.labels)
    nonsense, recipe = examples._replace(labels=labels), Recipe(epochs=60, rate=0.003, patience=4)
    tuned = finetune(model, nonsense, recipe, key=KEY)
    losses = [epoch.validation.loss for epoch in tuned.history]
    assert len(losses) == tuned.best + 1 + 4 < 60
    assert min(losses[tuned.best + 1 :]) >= losses[tuned.best]
    shorter = finetune(model, nonsense, recipe._replace(epochs=tuned.best + 1), key=KEY)
    assert_close(parameters(shorter.model), parameters(tuned.model), 0)


def test_a_loss_that_is_not_finite_is_told(model, examples):
    message = refusal(finetune, model, examples, Recipe(rate=1e38), key=KEY)
    assert "not finite in epoch 1 (classifier); use a smaller learning rate" in message


# all layers


@pytest.fixture(scope="module")
def stripes():
    """Two classes that a mirror would exchange: brighter to the right in steps, and brighter to the left."""
    draw = np.random.default_rng(0)
    ramps = np.tile(np.arange(4) * 60, (40, 12, 3))[..., None] + draw.integers(0, 40, (40, 12, 12, 3))
    ramps[20:] = ramps[20:, :, ::-1]
    return Examples(ramps.astype(np.uint8), np.repeat([0, 1], 20), ("right", "left"))


def test_all_layers_move_and_the_loss_falls(small, stripes):
    symmetric = np.concatenate([stripes.images, stripes.images[:, :, ::-1]], axis=2)[:, :, 6:18]
    labels = np.arange(40) % 2
    symmetric[labels == 1] //= 2
    examples = Examples(symmetric, labels, ("bright", "dark"))
    recipe = Recipe(epochs=10, rate=0.05, all_layers=True)
    first = finetune(small, examples, recipe._replace(all_layers=False), key=KEY)
    tuned = finetune(small, examples, recipe, key=KEY)
    assert tuned.history[:10] == first.history
    assert [epoch.phase for epoch in tuned.history] == ["classifier"] * 10 + ["all layers"] * 10
    assert tuned.best >= 10
    assert tuned.history[-1].training.loss < tuned.history[9].training.loss
    moved = jax.tree.map(lambda a, b: float(abs(a - b).max()), parameters(tuned.model), parameters(first.model))
    assert min(jax.tree.leaves(moved)) > 1e-4
    assert max(jax.tree.leaves(moved)) < 0.05
    assert parameters(first.model)["conv"]["kernel"] is parameters(small)["conv"]["kernel"]
    held_out = examples.images[tuned.held_out]
    odds = jax.nn.log_softmax(outputs(tuned.model, held_out))[np.arange(8), examples.labels[tuned.held_out]]
    assert -np.mean(odds) == pytest.approx(tuned.history[tuned.best].validation.loss, rel=1e-4)


def losses_of(small, examples, monkeypatch):
    """The training loss of an epoch in which nothing moves, and each training image's own, as it is and mirrored."""
    monkeypatch.setattr(module, "_SLOWER", 1e12)
    tuned = finetune(small, examples, Recipe(epochs=1, rate=0.1, all_layers=True), key=KEY)
    training = np.setdiff1d(np.arange(len(examples.labels)), tuned.held_out)
    images, labels = examples.images[training], examples.labels[training]
    each = [
        -jax.nn.log_softmax(outputs(tuned.model, turned))[np.arange(len(labels)), labels]
        for turned in (images, images[:, :, ::-1])
    ]
    return tuned.history[1].training.loss, np.array(each)


def test_half_of_the_images_are_mirrored(small, stripes, monkeypatch):
    loss, each = losses_of(small, stripes, monkeypatch)
    as_it_is, mirrored = each.mean(axis=1)
    assert abs(as_it_is - mirrored) > 0.01
    share = (loss - as_it_is) / (mirrored - as_it_is)
    assert 0.25 < share < 0.75
    assert stripes.images[0, 0, 0, 0] < 40  # the images themselves are left as they are


def test_the_classifier_is_kept_if_all_layers_do_not_get_better(small, stripes, monkeypatch):
    monkeypatch.setattr(module, "_SLOWER", 0.01)  # steps that are far too large
    recipe = Recipe(epochs=4, rate=0.05, patience=2)
    first = finetune(small, stripes, recipe, key=KEY)
    tuned = finetune(small, stripes, recipe._replace(all_layers=True), key=KEY)
    assert [epoch.phase for epoch in tuned.history] == ["classifier"] * 4 + ["all layers"] * 2
    assert tuned.best == first.best == 3
    assert_close(parameters(tuned.model), parameters(first.model), 0)


# what cannot be followed


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"epochs": 0}, "epochs is 0, expected a whole number from 1"),
        ({"batch": -3}, "batch is -3"),
        ({"patience": 0}, "patience is 0"),
        ({"validation": 0.0}, "validation is 0.0, expected a share between 0 and 1"),
        ({"validation": 1.0}, "validation is 1.0"),
        ({"validation": math.nan}, "validation is nan"),
        ({"rate": 0.0}, "rate is 0.0, expected a positive learning rate"),
        ({"rate": math.inf}, "rate is inf"),
    ],
)
def test_recipes_that_cannot_be_followed(changes, words, model, examples):
    assert words in refusal(finetune, model, examples, Recipe(**changes), key=KEY)


@pytest.mark.parametrize(
    ("images", "labels", "categories", "words"),
    [
        (np.zeros((4, 64, 64, 3), np.float32), [0, 0, 1, 1], "ab", "images are float32"),
        (np.zeros((4, 32, 32, 3), np.uint8), [0, 0, 1, 1], "ab", "expected uint8 of shape (4, 64, 64, 3)"),
        (np.zeros((4, 64, 64, 3), np.uint8), [0, 1], "ab", "an image for each label"),
        (np.zeros((4, 64, 64, 3), np.uint8), [0, 0, 0, 1], "ab", "the rarest of 1 images"),
        (np.zeros((4, 64, 64, 3), np.uint8), [0, 0, 1, 1], "abc", "for 3 categories, the rarest of 0 images"),
        (np.zeros((4, 64, 64, 3), np.uint8), [0, 0, 2, 2], "ab", "labels from 0 to 2 for 2 categories"),
        (np.zeros((4, 64, 64, 3), np.uint8), [-1, 0, 0, 1], "ab", "labels from -1 to 1"),
        (np.zeros((4, 64, 64, 3), np.uint8), [0, 0, 0, 0], "a", "at least two categories"),
        (np.zeros((0, 64, 64, 3), np.uint8), [], "", "at least two categories"),
    ],
)
def test_examples_that_cannot_be_trained_with(images, labels, categories, words, model):
    examples = Examples(images, np.array(labels, int), tuple(categories))
    assert words in refusal(finetune, model, examples, key=KEY)


def test_parameters_of_another_dtype_are_refused(examples, model):
    half = load(LITE, dtype="bfloat16")._replace(spec=model.spec)
    assert "not float32" in refusal(finetune, half, examples, key=KEY)
