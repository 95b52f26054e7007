"""workflows.explain in Python: the same maps as the command's, values that show and save themselves."""

import json
import os
import struct

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compare import assert_close
from PIL import Image

import jaxplain as jp
from jaxplain.methods import method
from jaxplain.models import Model, load, sample
from jaxplain.workflows import explain, recorded
from jaxplain.workflows._result import wrapped

METHODS = ["grad_cam", "saliency", "integrated_gradients", "secam", "rise"]
FEW = {"rise": {"samples": 40}, "integrated_gradients": {"steps": 3}}


@pytest.fixture
def model(tiny) -> Model:
    return load("tiny", tiny)


@pytest.mark.slow
def test_command_and_python_give_the_same_maps(run, model, tiny, tmp_path):
    arguments = [f"--method={name}" for name in METHODS]
    arguments += ["--set", "rise.samples=40", "--set", "integrated_gradients.steps=3", "--target", "3"]
    result = run("explain", "sample:chelsea", "--model=tiny", "--weights", tiny, *arguments, "--out", tmp_path)
    assert (result.status, result.err) == (0, "")
    answer = explain(model, "sample:chelsea", methods=METHODS, targets=[3], options=FEW)
    with np.load(tmp_path / "chelsea.npz") as maps:
        for name in METHODS:
            np.testing.assert_array_equal(maps[f"{name}_3"], answer.maps[name][0])
        np.testing.assert_array_equal(maps["segments"], answer.segments)


def test_maps_are_the_librarys(model):
    answer = explain(
        model, "sample:coffee", methods=["grad_cam", "rise"], targets=[1, 4], options={"rise": FEW["rise"]}
    )
    x = model.prepare("sample:coffee")
    for i, k in enumerate((1, 4)):
        assert_close(answer.maps["grad_cam"][i], jp.grad_cam(model.net, x, model.target(k), layer="relu"), 1e-4)
        direct = jp.rise(model.net, x, model.target(k), key=jax.random.key(0), samples=40)
        assert_close(answer.maps["rise"][i], direct, 1e-4)
    assert answer.classes == (1, 4)
    assert answer.top()[0].index == int(np.argmax(answer.outputs))


def test_figures_have_maps_of_no_class_once_and_four_panels_a_row(model):
    names = ["grad_cam", "eigen_cam", "rise", "saliency", "random"]
    answer = explain(model, "sample:coffee", methods=names, targets=[1, 4], options={"rise": FEW["rise"]})
    titles = [[panel and panel.title.split("\n") for panel in row] for row in wrapped(answer._panels())]
    named = [[title and title[0] for title in row] for row in titles]
    assert named == [
        ["photograph, and the part", "grad_cam at relu", "eigen_cam at relu"],
        ["probabilities", "grad_cam at relu", None],
        ["rise", "saliency", "random"],
        ["rise", "saliency", None],
    ]
    assert titles[0][2][1] == "whatever the class"
    scales = {panel.title.split(" ")[0].split("\n")[0]: panel.scale for panel in answer._panels()[0][1:]}
    for name in ("grad_cam", "eigen_cam"):
        assert scales[name][0] == -scales[name][1]
    assert scales["saliency"][0] == 0
    assert scales["rise"][0] == answer.maps["rise"][0].min()


def test_a_seed_decides(model):
    def maps(seed):
        return explain(model, "sample:coffee", methods=["rise"], options={"rise": {"samples": 8, "seed": seed}}).maps

    np.testing.assert_array_equal(maps(1)["rise"], maps(1)["rise"])
    assert np.abs(maps(1)["rise"] - maps(2)["rise"]).max() > 0


def test_a_record_is_repeated(run, model, tiny, tmp_path):
    settings = ["--method", "rise", "--set", "rise.samples=20", "--set", "rise.seed=3", "--smooth", "2"]
    run("explain", "sample:coffee", "--model=tiny", "--weights", tiny, *settings, "--out", tmp_path / "a")
    record = tmp_path / "a" / "coffee.json"
    result = run("explain", "--again", record, "--weights", tiny, "--out", tmp_path / "b")
    assert (result.status, result.err) == (0, "")
    with np.load(tmp_path / "a" / "coffee.npz") as one, np.load(tmp_path / "b" / "coffee.npz") as two:
        assert one.files == two.files
        for name in one.files:
            np.testing.assert_array_equal(one[name], two[name])
    asked = json.loads(record.read_text())["asked"]
    assert asked["options"] == {"rise": {"samples": 20, "seed": 3}}
    for wrong in (["sample:coffee"], ["--method", "saliency"], ["--target", "3"]):
        refused = run("explain", *wrong, "--again", record, "--out", tmp_path / "c")
        assert (refused.status, "--again repeats a run" in refused.err) == (2, True)
    record.write_text("{}")
    assert "is no record of" in run("explain", "--again", record).err


def test_several_layers_smoothing_and_functions_of_ones_own(model):
    def ours(net, x, target):
        return jnp.full(x.shape[:2], jnp.sum(target))

    answer = explain(model, "sample:coffee", methods=["grad_cam"], layer=["relu", "conv"])
    assert list(answer.maps) == ["grad_cam@relu", "grad_cam@conv"]
    assert [m["layer"] for m in answer.record["methods"].values()] == ["relu", "conv"]
    answer = explain(model, "sample:coffee", methods={"ours": ours, "cam": jp.hires_cam}, smooth=2)
    assert list(answer.maps) == ["smooth_ours", "smooth_cam"]
    np.testing.assert_array_equal(answer.maps["smooth_ours"], np.ones((1, 16, 16)))


def test_a_value_shows_and_saves_itself(model, tmp_path):
    answer = explain(model, "sample:chelsea", methods=["grad_cam"], targets=["tabby"])
    assert repr(answer) == "Explanation('sample:chelsea': tabby, by grad_cam)"
    assert len(repr(model)) < 100
    figure = answer.figure()
    assert isinstance(figure, Image.Image)
    assert (answer._repr_png_() or b"").startswith(b"\x89PNG")
    files = answer.save(tmp_path / "x" / "cat")
    assert [path.name for path in files] == ["cat.png", "cat.npz", "cat.json"]
    assert [path.name for path in answer.save(tmp_path / "x" / "cat.svg")] == ["cat.svg", "cat.npz", "cat.json"]
    assert "<svg" in (tmp_path / "x" / "cat.svg").read_text()
    record = json.loads((tmp_path / "x" / "cat.json").read_text())
    assert record["targets"][0]["class"] == "tabby"


def test_several_images_and_failures(model, tmp_path):
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"nothing")
    failures = []
    found = explain(model, ["sample:coffee", str(bad), "sample:chelsea"], failed=lambda *f: failures.append(f))
    assert [answer.image for answer in found] == ["sample:coffee", "sample:chelsea"]
    assert [image for image, _ in failures] == [str(bad)]
    with pytest.raises(ValueError, match=r"bad\.png"):
        explain(model, [str(bad)])


def test_one_bad_image_never_stops_the_others(model):
    """Whatever it raises: as it is read, and as it is explained."""

    class Broken(os.PathLike):
        def __fspath__(self):
            raise AttributeError("what no one thought of")

    def told(image, _):
        if image == "sample:coins":
            raise KeyError("coins")

    failures = []
    found = explain(
        model,
        ["sample:coffee", Broken(), "sample:coins", "sample:chelsea"],
        failed=lambda *f: failures.append(f),
        predicted=told,
    )
    assert [answer.image for answer in found] == ["sample:coffee", "sample:chelsea"]
    assert [type(error) for _, error in failures] == [AttributeError, KeyError]


def test_photographs_with_damaged_exif_are_explained_in_their_turn(run, tiny, tmp_path):
    """A Make that is a float, beside an orientation, once ended the batch with a traceback."""
    make = struct.pack("<HHLf", 0x010F, 11, 1, 1.5) + struct.pack("<HHLHH", 0x0112, 3, 1, 6, 0)
    exif = b"Exif\0\0II*\0" + struct.pack("<LH", 8, 2) + make + bytes(4)
    sample("coffee").save(tmp_path / "phone.jpg", exif=exif)
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "phone.jpg").read_bytes()[:4000])
    photos = [tmp_path / "cut.jpg", tmp_path / "phone.jpg", "sample:chelsea"]
    result = run("explain", *photos, "--model=tiny", "--weights", tiny, "--out", tmp_path / "out")
    assert result.status == 1
    assert "1 of 3 images could not be explained" in result.err
    assert "cut.jpg cannot be decoded" in result.err
    assert sorted(path.name for path in (tmp_path / "out").glob("*.npz")) == ["chelsea.npz", "phone.npz"]
    assert json.loads((tmp_path / "out" / "phone.json").read_text())["size"] == [400, 600]


def test_an_iterator_gives_each_explanation_as_it_is_ready(model):
    given, failures = iter(["sample:coffee", "nix.jpg", "sample:chelsea"]), []
    found = explain(model, given, failed=lambda *failure: failures.append(failure))
    assert next(found).image == "sample:coffee"
    assert failures == []
    assert [answer.image for answer in found] == ["sample:chelsea"]
    assert [image for image, _ in failures] == ["nix.jpg"]
    with pytest.raises(ValueError, match="no method 'gradcam'"):
        explain(model, iter(["sample:coffee"]), methods=["gradcam"])  # before any image is asked for


def test_the_table_has_the_top_five_and_the_explained(model):
    answer = explain(model, "sample:coffee", targets=[int(np.argmin(explain(model, "sample:coffee").outputs))])
    table = answer.table()
    assert table.title == "sample:coffee"
    assert [row[1] for row in table.rows] == [str(p.index) for p in answer.top()] + [str(answer.classes[0])]
    assert [row[4] for row in table.rows] == [""] * 5 + ["yes"]
    title, header, *lines = str(table).splitlines()
    assert (title, header.split()) == ("sample:coffee", [*table.columns])
    start = header.index("index")
    assert [line[start:].split()[0] for line in lines] == [row[1] for row in table.rows]


def test_what_a_record_says_repeats_the_run(model, tiny, tmp_path):
    first = explain(model, "sample:coffee", methods=["rise"], options={"rise": {"samples": 8, "seed": 3}}, against=4)
    first.save(tmp_path / "coffee")
    run = recorded(tmp_path / "coffee.json")
    assert (run.image, run.model, run.weights["source"]) == ("sample:coffee", "tiny", model.weights.source)
    assert run.is_of(model)
    again = explain(load(run.model, tiny), run.image, **run.asked)
    np.testing.assert_array_equal(again.maps["rise"], first.maps["rise"])
    assert again.record["asked"] == first.record["asked"]
    for text, says in (("{}", "is no record of"), ("[" * 100_000, "is no record of"), ("no JSON", "is no record of")):
        (tmp_path / "other.json").write_text(text)
        with pytest.raises(ValueError, match=says):
            recorded(tmp_path / "other.json")
    with pytest.raises(ValueError, match="no file"):
        recorded(tmp_path / "nowhere.json")


def test_classes_come_first_and_long_methods_tell_of_themselves(model):
    seen = []
    explain(
        model,
        "sample:coffee",
        methods=["rise"],
        options={"rise": {"samples": 320}},
        predicted=lambda image, answer: seen.append(answer.classes),
        watch=lambda method, done, of: seen.append((method, done, of)),
    )
    assert isinstance(seen[0][0], int)
    assert sorted(seen[1:]) == [("rise", done, 20) for done in range(1, 21)]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"methods": []}, "There are no methods"),
        ({"methods": ["saliency"], "layer": "relu"}, "--layer is for methods that look at a layer, and there is none"),
        ({"num_segments": 3}, "for methods of segments, and there is none: add --method secam"),
        ({"methods": ["fam"]}, "fam compares an image with a reference, which is not given"),
        ({"reference": "sample:coffee"}, "add --method fam, or leave --reference out"),
        ({"options": {"rise": {"samples": 3}}}, "options for rise, which is not among the methods"),
        ({"methods": ["active_saliency"], "against": 3}, "active_saliency holds its target against all"),
        ({"targets": [3], "against": 3}, "both the target and what it is held against"),
    ],
)
def test_what_is_refused(model, options, says):
    with pytest.raises(ValueError, match=says):
        explain(model, "sample:coffee", **options)


@pytest.mark.parametrize("passes", ["1", "1000"], ids=["short", "watched"])
def test_jaxs_settings_hold_in_long_computations_too(passes, model):
    """They are the calling thread's alone: a long computation in another one would lose a precision without a word."""
    seen = []

    def probe(net, x, target):
        seen.append((jax.config.jax_default_matmul_precision, jax.config.jax_default_device))  # pyright: ignore[reportAttributeAccessIssue] JAX has it
        return jnp.sum(x, -1)

    device = jax.devices("cpu")[3]
    with jax.default_matmul_precision("bfloat16"), jax.default_device(device):
        row = method(probe)._replace(forward=passes)
        explain(model, "sample:coffee", methods=[row], watch=lambda *_: None)
    assert set(seen) == {("bfloat16", device)}


def test_one_target_is_a_name_or_an_index(model):
    name = model.spec.categories[281]
    own = {"light": lambda net, x, target: x.sum(-1)}
    for one in (name, 281, "281", [281], (name,), np.array(281), model.target(281), model.targets(281)):
        assert explain(model, "sample:coffee", methods=own, targets=one).classes == (281,)
    assert explain(model, "sample:coffee", methods=own, targets=np.array([3, 1])).classes == (3, 1)
    assert explain(model, "sample:coffee", methods=own, targets=model.targets(3, "not espresso")).classes == (3, 967)
    assert explain(model, "sample:coffee", methods=own, targets=(281, 1)).classes == (281, 1)
    with pytest.raises(ValueError, match="no targets"):
        explain(model, "sample:coffee", targets=[])
    with pytest.raises(ValueError, match="number of segments is 0"):
        explain(model, "sample:coffee", methods=["secam"], num_segments=0)


def test_an_array_and_a_function_of_ones_own_are_saved(model, tmp_path):
    def light(net, x, target):
        return jnp.sum(x, -1)

    image = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    answer = explain(model, image, methods={"light": light}, smooth=2, watch=lambda *_: None)
    answer.save(tmp_path / "mine")
    record = json.loads((tmp_path / "mine.json").read_text())
    assert (record["image"], record["asked"]["methods"]) == ("image", ["light"])
    assert repr(answer).startswith("Explanation('image': ")


def test_batches_have_the_outputs_of_each_image_and_the_order_that_was_given(model, tmp_path):
    draw = np.random.default_rng(1)
    images = [draw.integers(0, 256, (40, 50, 3), np.uint8) for _ in range(7)]
    (tmp_path / "broken").write_text("no image")
    given, failures = [*images[:1], tmp_path / "broken", *images[1:5], tmp_path / "none", *images[5:]], []
    found = explain(model, given, methods=["random"], failed=lambda image, error: failures.append(image))
    assert [answer.image is image for answer, image in zip(found, images, strict=True)] == [True] * 7
    assert failures == [tmp_path / "broken", tmp_path / "none"]
    for answer, image in zip(found, images, strict=True):
        assert_close(answer.outputs, np.asarray(model.net(model.prepare(image))), 1e-5)


def test_a_record_of_other_weights_without_a_file_is_told_apart(model, tmp_path):
    first = explain(model, "sample:coffee", methods=["random"])
    first.save(tmp_path / "coffee")
    run = recorded(tmp_path / "coffee.json")
    assert model.weights.sha256 is None
    assert run.is_of(model)
    assert not run.is_of(model._replace(net=jax.tree.map(lambda a: a + 1, model.net)))
