"""Concepts from Python: what is taken, what is refused, what the values say. Their numbers are tested in tests/cli."""

import json
import pickle

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compare import assert_close
from PIL import Image

import jaxplain as jp
from jaxplain import workflows
from jaxplain.concepts import save
from jaxplain.models import Conv, Dense, GlobalMean, Model, Note, Relu, Spec, Weights

SPEC = Spec("tiny", input_size=16, resize=16, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25), cam_layer="relu")
NAMED = SPEC._replace(categories=tuple(f"class {k}" for k in range(1000)))


class Net(nn.Module):
    """Logits (B, 1000) of a network that is quickly compiled."""

    @nn.compact
    def __call__(self, x):
        x = Relu(name="relu")(Conv(6, 3, 1, 1, name="conv")(x))
        return Dense(1000, name="fc")(GlobalMean(name="mean")(x)[:, 0, 0])


@pytest.fixture(scope="module")
def model():
    variables = Net().init(jax.random.key(0), jnp.zeros((1, 16, 16, 3)))
    return Model(jp.from_linen(Net(), variables), NAMED, Weights("drawn", None))


def images(count, channel, seed):
    """Noise in one colour, (count, 20, 18, 3) uint8."""
    levels = np.random.default_rng(seed).integers(0, 256, (count, 20, 18, 3)).astype(np.uint8)
    levels[..., [c for c in range(3) if c != channel]] //= 4
    return list(levels)


@pytest.fixture(scope="module")
def random():
    return images(4, 1, 1) + images(4, 2, 2)


@pytest.fixture(scope="module")
def red(model, random):
    return workflows.fit_concept(model, "red", images(4, 0, 0), random, layers=["conv", "relu"], nulls=3)


@pytest.fixture(scope="module")
def blue(model, random):
    return workflows.fit_concept(model, "blue", images(3, 2, 3), random, nulls=2, seed=1)


@pytest.fixture(scope="module")
def best(model):
    """The two classes with the largest outputs for red noise, which have a share of the evidence."""
    return np.argsort(-model.net(model.prepare(images(1, 0, 5)[0])))[:2].tolist()


@pytest.fixture(scope="module")
def found(model, red, blue, best):
    return workflows.explain_concepts(model, images(1, 0, 5)[0], [red, blue], targets=best, steps=2)


def test_what_was_chosen_for_an_image_is_kept(model, red, blue, best, random, tmp_path):
    clear = np.zeros((16, 16, 4), np.uint8)
    with pytest.warns(Note, match="transparent parts are seen on white"):
        found = workflows.explain_concepts(model, clear, [red, blue], targets=best, steps=2)
    found.save(tmp_path / "found")
    assert "on white" in json.loads((tmp_path / "found.json").read_text())["notes"][0]
    assert found.provenance.options["background"] is None
    with pytest.warns(Note, match="the array: transparent"):
        fitted = workflows.fit_concept(model, "red", [*images(3, 0, 0), clear], random, nulls=2)
    assert ["on white" in notes[0] for notes in fitted.preprocessing["notes"].values()] == [True]
    fitted = workflows.fit_concept(model, "red", [*images(3, 0, 0), clear], random, nulls=2, background="black")
    assert fitted.preprocessing["background"] == "black"


def test_a_fitted_concept_in_one_line(red):
    assert repr(red) == "<concept 'red' of tiny at conv, relu, fitted to 4 images and 8 random ones>"


def test_the_layer_of_class_activation_maps_is_the_default(blue):
    assert list(blue.concepts) == ["relu"]
    assert blue.nulls["relu"].direction.shape == (2, 6)


def test_folders_and_sequences_are_the_same(model, random, red, tmp_path):
    for name, some in (("red", images(4, 0, 0)), ("random", random)):
        (tmp_path / name).mkdir()
        for number, levels in enumerate(some):
            Image.fromarray(levels).save(tmp_path / name / f"{number}.png")
    (tmp_path / "red" / ".hidden").write_text("no image")
    again = workflows.fit_concept(model, "red", tmp_path / "red", tmp_path / "random", layers=["conv"], nulls=3)
    assert_close(again.concepts["conv"], red.concepts["conv"], 0)
    assert_close(again.nulls["conv"], red.nulls["conv"], 0)


def test_images_that_cannot_be_read(model, random, tmp_path):
    given = [*images(3, 0, 0), tmp_path / "a.png", tmp_path / "b.png"]
    with pytest.raises(ValueError, match=r"2 of 5 files cannot be used as images, \S+a.png, \S+b.png: .*There is no"):
        workflows.fit_concept(model, "red", given, random)
    left_out = []
    fitted = workflows.fit_concept(model, "red", given, random, failed=lambda image, error: left_out.append(image))
    assert left_out == given[3:]
    assert fitted.images == 3
    with pytest.raises(ValueError, match="1 of 1 files cannot be used"):
        workflows.fit_concept(model, "red", given[4:], random, failed=lambda *_: None)
    with pytest.raises(ValueError, match="There are no images"):
        workflows.fit_concept(model, "red", [], random)


def test_the_explanation_says_what_it_is_of(found, best):
    assert repr(found) == f"ConceptExplanation(image: red, blue at conv, relu for {', '.join(found.classes.values())})"
    assert list(found.classes) == best
    assert [(row.layer, row.concept) for row in found.rows[::2]] == [("conv", "red"), ("relu", "red"), ("relu", "blue")]
    assert {layer: [*maps] for layer, maps in found.maps.items()} == {"conv": ["red"], "relu": ["red", "blue"]}
    assert found.nulls["relu"]["red"].shape == (3, 2)
    assert found.nulls["relu"]["blue"].shape == (2, 2)


def test_maps_and_attributions_are_the_explainers(model, found, red, blue, best):
    x = model.prepare(images(1, 0, 5)[0])
    targets = jp.one_hot(np.array(best), 1000)
    for name, fitted in (("red", red), ("blue", blue)):
        concept = fitted.concepts["relu"]
        assert_close(found.maps["relu"][name], jp.concept_map(model.net, x, layer="relu", concept=concept), 1e-5)
        explain = jp.over_classes(jp.concept_attribution)
        stacked = jp.stack_concepts([concept])
        expected = explain(model.net, x, targets, layer="relu", concepts=stacked, steps=2)
        assert_close(found.values["relu"][name], expected.values[:, 0], 1e-4)
        assert name == "blue" or expected.values.min() > 0
        nulls = explain(model.net, x, targets, layer="relu", concepts=fitted.nulls["relu"], steps=2)
        assert_close(found.nulls["relu"][name], nulls.values.T, 1e-4)
    assert_close(found.probabilities, jax.nn.softmax(model.net(x))[np.array(best)], 1e-5)


def test_the_figure_has_a_place_for_each_concept_and_layer(found):
    rows = found._panels()
    assert [len(row) for row in rows] == [3, 3, 3]
    assert rows[1][2] is None  # blue was not fitted at conv
    assert (found._repr_png_() or b"").startswith(b"\x89PNG")


def test_values_can_be_pickled(found):
    again = pickle.loads(pickle.dumps(found))
    assert again.rows == found.rows
    assert_close(again.maps, found.maps, 0)


def test_other_kinds_of_figures_are_written(found, tmp_path):
    assert [path.name for path in found.save(tmp_path / "red.svg")] == ["red.svg", "red.csv", "red.json"]
    assert "<svg" in (tmp_path / "red.svg").read_text()


def test_several_images_are_compiled_once(model, red, best):
    from jaxplain.workflows._explain_concepts import _compiled

    before = _compiled._cache_size()  # pyright: ignore[reportAttributeAccessIssue] JAX has it
    several = workflows.explain_concepts(model, images(3, 0, 6), red, targets=f"class {best[0]}", steps=3)
    assert _compiled._cache_size() == before + 1  # pyright: ignore[reportAttributeAccessIssue] JAX has it
    assert [one.image for one in several] == ["image"] * 3
    assert len({one.values["conv"]["red"].tobytes() for one in several}) == 3


def test_a_long_integral_tells_how_far_it_is(model, red, best):
    image, seen, options = images(1, 0, 6)[0], [], {"targets": best, "steps": 40}
    told = workflows.explain_concepts(model, image, red, **options, watch=lambda *part: seen.append(part))
    assert sorted(seen) == [("concepts", done, 3) for done in range(1, 4) for _ in red.concepts]
    assert_close(told.values, workflows.explain_concepts(model, image, red, **options).values, 0)


def test_an_iterator_of_images_and_those_that_fail(model, red, best, tmp_path):
    given, failures = [images(1, 0, 5)[0], tmp_path / "nix.png", images(1, 0, 6)[0]], []
    options = {"targets": best, "steps": 2}
    found = workflows.explain_concepts(model, iter(given), red, **options, failed=lambda *f: failures.append(f))
    assert next(found).image == "image"
    assert failures == []
    assert len(list(found)) == 1
    assert [image for image, _ in failures] == [given[1]]
    with pytest.raises(OSError, match="no file"):
        workflows.explain_concepts(model, given, red, **options)


def test_tables_have_every_number_and_a_star_beyond_chance(model, found, red, best):
    table = found.table()
    labels = [("conv", "red"), ("relu", "red"), ("relu", "blue (not recognised)")]
    assert [row[:2] for row in table.rows] == labels
    cells = [cell for row in table.rows for cell in row[2:]]
    assert cells == [f"{row.value:.3f}" + " *" * (row.p_holm < 0.05) for row in found.rows]
    assert "0.05 after Holm's correction" in table.title
    assert f"at most {max(found.errors.values()):.1%}" in str(table)
    over_all = workflows.global_concepts(model, images(3, 0, 9), red, best[0], steps=2)
    for cells, row in zip(over_all.table().rows, over_all.rows, strict=True):
        assert cells[:2] == (row.layer, "red")
        assert cells[2].removesuffix(" *") == f"{row.value:.3f}"
        assert cells[4] == f"{row.low:.3f} to {row.high:.3f}"


def test_a_class_over_images_is_the_mean_of_its_explanations(model, red, best, tmp_path):
    given = images(6, 0, 7)
    save(tmp_path / "red.concept", red)
    found = workflows.global_concepts(model, given, tmp_path / "red.concept", best[0], steps=2)
    each = [workflows.explain_concepts(model, image, red, targets=best[0], steps=2) for image in given]
    for layer in ("conv", "relu"):
        expected = np.array([one.values[layer]["red"][0] for one in each])
        assert_close(found.values[layer]["red"], expected, 1e-4)
        assert expected.min() > 0
        (row,) = [row for row in found.rows if row.layer == layer]
        assert row.value == pytest.approx(expected.mean(), rel=1e-4)
    assert found.images == ("image",) * 6
    assert found.folder is None
    assert repr(found) == f"GlobalConcepts({found.category}: mean of 6 images: red at conv, relu)"
    assert found.predicted.tolist() == [int(np.argmax(model.net(model.prepare(image)))) for image in given]


def test_classes_without_names_are_numbered(model, red):
    nameless, given = model._replace(spec=SPEC), images(2, 0, 8)
    assert workflows.explain_concepts(nameless, given[0], red, targets=[3], steps=2).classes == {3: "3"}
    assert len(workflows.explain_concepts(nameless, given[0], red, steps=2).classes) == 3
    with pytest.warns(Note, match="evidence for '3'"):
        assert workflows.global_concepts(nameless, given, red, 3, steps=2).category == "3"
    with pytest.raises(ValueError, match="1000 outputs are numbered 0 to 999"):
        workflows.global_concepts(nameless, given, red, 1000, steps=2)


def test_what_cannot_be_explained(model, red):
    image = images(1, 0, 5)[0]
    other = model._replace(net=jax.tree.map(lambda leaf: leaf + 1, model.net))
    for wrong, says in (
        (lambda: workflows.explain_concepts(model, image, []), "There are no concepts"),
        (lambda: workflows.explain_concepts(model, image, [red, red._replace(seed=3)]), "hold a concept 'red'"),
        (lambda: workflows.explain_concepts(other, image, red), "with other weights than"),
        (lambda: workflows.explain_concepts(model, image, red, targets=[]), "There are no targets"),
        (lambda: workflows.explain_concepts(model, image, red, steps=0), "steps is 0"),
        (lambda: workflows.explain_concepts(model, image, red, rule="simpson"), "no rule 'simpson'"),  # pyright: ignore[reportArgumentType] to be refused
        (lambda: workflows.global_concepts(model, [image], red, 3, test="t"), "no test 't'"),  # pyright: ignore[reportArgumentType] to be refused
        (lambda: workflows.fit_concept(model, "red", [image], [image], nulls=1), "nulls is 1"),
        (lambda: workflows.fit_concept(model, "red", [image], [image], layers=["fc"]), "'fc' has no height and width"),
    ):
        with pytest.raises(ValueError, match=says):
            wrong()


def test_a_class_without_evidence_is_said_to_have_none(model, red):
    """The class with the smallest output gains nothing over zero activations."""
    worst = int(np.argmin(jax.vmap(model.net)(np.stack([model.prepare(image) for image in images(2, 0, 6)])).mean(0)))
    with pytest.warns(Note, match=r"No image has any evidence for .*, so that all attributions are 0: give images of"):
        found = workflows.global_concepts(model, images(2, 0, 6), [red], worst, steps=2)
    assert {float(row.value) for row in found.rows} == {0.0}
    assert all("no evidence for it: all bars are 0" in panel.title for panel in found._panels()[0])
    one = workflows.explain_concepts(model, images(1, 0, 6)[0], [red], targets=worst, steps=2)
    assert "no evidence for it" in one._panels()[1][0].title
