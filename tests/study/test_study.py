"""Studies on disk: what is made, and what is refused of those that others made."""

import io
import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny import tiny_model

from jaxplain.models import Asked, seen
from jaxplain.study import Round, load_study, new_study, picture, rounds
from jaxplain.study._study import _LARGEST_FEATURES

SETTINGS = {"layers": ["relu"], "clustering": "kmeans"}


@pytest.fixture(scope="module")
def model():
    return tiny_model()


@pytest.fixture(scope="module")
def photos():
    images = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3), np.uint8)
    return [Image.fromarray(image) for image in images]


@pytest.fixture(scope="module")
def made(model, photos, tmp_path_factory):
    """A study of three images, whose files tests copy."""
    return new_study(tmp_path_factory.mktemp("made") / "study", model, photos, targets=[0, "class 3", None], **SETTINGS)


@pytest.fixture
def copied(made, tmp_path):
    return Path(shutil.copytree(made.folder, tmp_path / "study"))


def same(one, other):
    """Whether two studies are equal but for their folders."""
    plain, arrays = [], []
    for study in (one, other):
        plain.append((study[1:7], study.made, [(image[:4], image.features.keys()) for image in study.images]))
        parts = [part for image in study.images for features in image.features.values() for part in features]
        arrays.append([*parts, *(image.levels for image in study.images)])
    return plain[0] == plain[1] and all(np.array_equal(a, b) for a, b in zip(*arrays, strict=True))


def test_a_study_has_what_was_asked_for(made, model, photos):
    assert sorted(path.relative_to(made.folder).parts[0] for path in made.folder.rglob("*.*")) == sorted(
        ["study.json"] + ["images"] * 3 + ["features"] * 3
    )
    assert (made.model, made.outputs, made.layers, made.seed) == ("tiny", "softmax", ("relu",), 0)
    assert made.classes == model.spec.categories  # fewer than ten
    assert {0, 3} <= {image.target for image in made.images}
    assert all(image.truth == f"class {image.target}" for image in made.images)
    by_levels = {image.levels.tobytes(): image for image in made.images}
    for photo in photos:
        image = by_levels[np.asarray(photo).tobytes()]
        near = picture(made, image.id).astype(int) - seen(photo, model.spec, 512)
        assert np.abs(near).mean() < 8
    first = by_levels[np.asarray(photos[0]).tobytes()]
    assert first.target == 0
    assert first.features["relu"].maps.shape == (8, 16, 16)
    assert repr(made) == f"Study(study: 3 images, {len(rounds(made))} rounds of tiny)"


def test_features_are_those_of_the_target(made, model, photos):
    """Of the class that was asked for, not the network's own: another class has other weights."""
    import jax

    from jaxplain import layer_features

    image = next(image for image in made.images if image.levels.tobytes() == np.asarray(photos[1]).tobytes())
    key = jax.random.fold_in(jax.random.key(0), 1)
    found = [
        layer_features(
            model.net, model.prepare(photos[1]), model.target(k), layers="relu", key=key, clustering="kmeans"
        )
        for k in (3, 0)
    ]
    np.testing.assert_allclose(image.features["relu"].weights, found[0]["relu"].weights, rtol=1e-4)
    np.testing.assert_allclose(image.features["relu"].maps, found[0]["relu"].maps, atol=1e-4)
    assert np.array_equal(image.features["relu"].cluster, found[0]["relu"].cluster)
    assert not np.array_equal(image.features["relu"].cluster, found[1]["relu"].cluster)


def test_rounds_are_all_clusters_with_a_weight(made):
    found = rounds(made)
    image = made.images[0]
    weights = np.asarray(image.features["relu"].weights)
    assert 0 < len(weights[weights > 0]) < 8
    first = [one for one in found if one.image == image.id]
    assert first == [Round(image.id, "relu", k, float(weight)) for k, weight in enumerate(weights) if weight > 0]
    assert list(dict.fromkeys(one.image for one in found)) == [image.id for image in made.images]


def test_the_seed_decides(made, model, photos, tmp_path):
    again = new_study(tmp_path / "again", model, photos, targets=[0, "class 3", None], **SETTINGS)
    assert same(made, again)
    assert same(again, load_study(tmp_path / "again"))
    other = new_study(tmp_path / "other", model, photos, targets=[0, "class 3", None], seed=1, **SETTINGS)
    assert not same(made, other)
    assert not {image.id for image in made.images} & {image.id for image in other.images}


def test_another_study_has_other_ids(made, model, photos, tmp_path):
    found = new_study(tmp_path / "study", model, photos[1:], targets=0, **SETTINGS)
    assert not {image.id for image in found.images} & {image.id for image in made.images}


def test_one_target_is_for_all_images(model, photos, tmp_path):
    found = new_study(tmp_path / "study", model, photos[:2], targets=Asked(3, 1), **SETTINGS)
    assert [image.target for image in found.images] == [3, 3]


def test_files_beside_class_folders_are_refused(model, photos, tmp_path):
    (tmp_path / "given" / "class 0").mkdir(parents=True)
    photos[0].save(tmp_path / "given" / "class 0" / "a.png")
    photos[1].save(tmp_path / "given" / "stray.png")
    with pytest.raises(ValueError, match=r"has the file stray\.png beside folders, expected one or the other"):
        new_study(tmp_path / "study", model, tmp_path / "given", **SETTINGS)


def test_what_could_not_be_read_again_is_not_written(model, photos, tmp_path):
    names = ("clas\xa0s 0", *model.spec.categories[1:])
    strange = model._replace(spec=model.spec._replace(categories=names))
    with pytest.raises(ValueError, match="characters that cannot be shown"):
        new_study(tmp_path / "study", strange, photos, targets=0, **SETTINGS)
    assert not (tmp_path / "study").exists()


def test_a_constant_map_is_no_round(made):
    first, *rest = made.images
    features = first.features["relu"]
    flat = features._replace(maps=np.zeros_like(np.asarray(features.maps)))
    without = made._replace(images=(first._replace(features={"relu": flat}), *rest))
    assert rounds(without) == tuple(one for one in rounds(made) if one.image != first.id)


def test_layers_and_clusters_have_defaults(model, photos, tmp_path):
    study = new_study(tmp_path / "study", model, photos[:2], targets=np.array([4, 2]))
    assert study.layers == ("relu",)  # that of class activation maps, where there are no others
    assert (study.made["clustering"], study.made["max_clusters"]) == ("tsne", 8)
    assert sorted(image.target for image in study.images) == [2, 4]
    assert rounds(study)


def test_the_order_and_the_ids_tell_nothing_of_the_files(made):
    assert [image.id for image in made.images] == sorted(image.id for image in made.images)
    names = " ".join(path.name for path in made.folder.rglob("*"))
    assert "class" not in names
    for path in made.folder.glob("images/*"):
        with Image.open(path) as shown:
            assert not shown.getexif()
            assert shown.info.keys() <= {"loop", "background", "timestamp", "duration"}


def folders(root, photos, *names):
    for name in names:
        (root / name).mkdir(parents=True)
        for number, photo in enumerate(photos):
            photo.save(root / name / f"{number}.png")
    return root


def test_folders_called_as_classes_are_the_targets(model, photos, tmp_path):
    source = folders(tmp_path / "photos", photos[:1], "class_4", "class 1")
    (source / ".hidden").mkdir()
    study = new_study(tmp_path / "study", model, source, **SETTINGS)
    assert sorted((image.truth, image.name) for image in study.images) == [("class 1", "0.png"), ("class 4", "0.png")]
    assert "photos" not in (study.folder / "study.json").read_text()
    given = new_study(tmp_path / "given", model, source, targets="class 2", classes=["class 2", 0], **SETTINGS)
    assert [image.target for image in given.images] == [2, 2]
    assert given.classes == ("class 0", "class 2")


def test_folders_called_otherwise_are_refused_or_get_targets(model, photos, tmp_path):
    source = folders(tmp_path / "photos", photos[:1], "class 1", "dogs")
    with pytest.raises(ValueError, match="dogs is called by no class of the network: rename it, or give targets"):
        new_study(tmp_path / "study", model, source, **SETTINGS)
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]
    assert len(new_study(tmp_path / "study", model, source, targets=1, **SETTINGS).images) == 2


def test_a_folder_of_images_has_the_networks_top_classes(model, photos, tmp_path):
    source = folders(tmp_path, photos, "photos") / "photos"
    study = new_study(tmp_path / "study", model, source, **SETTINGS)
    by_name = {image.name: image.truth for image in study.images}
    assert by_name == {f"{n}.png": model.predict(photo)[0].category for n, photo in enumerate(photos)}


def test_classes_are_filled_up_with_the_likeliest(photos, tmp_path):
    model = tiny_model(30)
    study = new_study(tmp_path / "study", model, photos[:1], targets=29, **SETTINGS)
    best = [one.index for one in model.predict(photos[0], 30) if one.index != 29][:9]
    assert study.classes == tuple(f"class {index}" for index in sorted([*best, 29]))


def test_bad_images_are_an_error_or_left_out(model, photos, tmp_path):
    broken = tmp_path / "notes\n.txt"
    broken.write_text("no image")
    with pytest.raises(ValueError, match="not an image"):
        new_study(tmp_path / "study", model, [photos[0], broken], **SETTINGS)
    assert not (tmp_path / "study").exists()
    told = []
    study = new_study(
        tmp_path / "study", model, [broken, *photos], targets=0, failed=lambda *one: told.append(one), **SETTINGS
    )
    assert len(study.images) == 3
    assert [image for image, _ in told] == [broken]
    assert study.failed[0][0] == "notes\\n.txt"
    with pytest.raises(ValueError, match="None of the images can be explained"):
        new_study(tmp_path / "none", model, [broken], failed=lambda *_: None, **SETTINGS)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["notes\n.txt", "study"]


def test_missing_files_are_told_from_folders_that_cannot_be_written_to(model, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"There is no file .*gone\.png"):
        new_study(tmp_path / "study", model, [tmp_path / "gone.png"], **SETTINGS)


def test_an_interruption_leaves_nothing(model, photos, tmp_path):
    def track(work, title):
        yield work[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        new_study(tmp_path / "study", model, photos, track=track, **SETTINGS)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"layers": ["fc"]}, "Layer 'fc' has no height and width"),
        ({"layers": ["gone"]}, "no layer 'gone'"),
        ({"layers": []}, "There are no layers"),
        ({"targets": [1, 2]}, "There are 2 targets for 3 images"),
        ({"targets": "not class 1"}, "'not class 1', but players look for a class"),
        ({"targets": 9}, "There is no class 9"),
        ({"classes": ["class 9"]}, "There is no class 'class 9'"),
        ({"targets": 1, "classes": [0]}, "'class 1', which is not among the classes"),
        ({"clustering": "magic"}, "'tsne' or 'kmeans'"),
    ],
)
def test_what_cannot_be_studied(model, photos, tmp_path, options, says):
    with pytest.raises(ValueError, match=says):
        new_study(tmp_path / "study", model, photos, **SETTINGS | options)
    assert not list(tmp_path.iterdir())


def test_no_folder_is_written_over(made, model, photos):
    with pytest.raises(ValueError, match="exists already"):
        new_study(made.folder, model, photos, **SETTINGS)


def damaged(folder, says):
    with pytest.raises(ValueError, match=says) as found:
        load_study(folder)
    assert "\n" not in str(found.value)


def test_what_is_no_study_is_refused(copied):
    record = copied / "study.json"
    whole = record.read_text()
    damaged(copied / "images", "There is no study in")
    for text in ("", whole[:100], "[1]", "null", '{"format": "other"}', "[" * 100_000):
        record.write_text(text)
        damaged(copied, "is no study's record")
    record.write_text(json.dumps(json.loads(whole) | {"version": 2}))
    damaged(copied, "is of version 2, expected 1: update jaxplain")
    record.write_bytes(b"\xff")
    damaged(copied, "is no study's record")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"id": "../../../etc/passwd"}, "the id '../../../etc/passwd' is not of 16"),
        ({"id": "0123456789abcdef"}, "it has no file images/0123456789abcdef.webp"),
        ({"id": 3}, "id is 3, expected str"),
        ({"truth": "class 77"}, "truth is 'class 77', which is not among"),
        ({"truth": ["class 0"]}, "truth is"),
        ({"target": -1}, "target -1"),
        ({"target": True}, "target is True, expected int"),
        ({"name": "a\x1b[31mb"}, "cannot be shown"),
    ],
)
def test_entries_of_images_are_checked(copied, changes, says):
    path = copied / "study.json"
    record = json.loads(path.read_text())
    record["images"][1] |= changes
    path.write_text(json.dumps(record))
    damaged(copied, says)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"classes": "class 0"}, "classes is 'class 0', expected list"),
        ({"classes": ["class 0", "class 0"]}, "not different"),
        ({"layers": []}, "layers are too few"),
        ({"layers": ["relu", "other"]}, "it has not the arrays of each layer"),
        ({"images": []}, "it has 0 images"),
        ({"images": {"0": 1}}, "images is .* expected list"),
        ({"images": [3]}, "image is 3, expected dict"),
        ({"seed": "0"}, "seed is '0', expected int"),
        ({"model": None}, "model is None, expected str"),
        ({"outputs": "magic"}, "outputs is 'magic'"),
        ({"weights": {"source": "s"}}, "sha256"),
        ({"failed": [["a"]]}, "failed are too few"),
    ],
)
def test_records_are_checked(copied, changes, says):
    path = copied / "study.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    damaged(copied, says)


def test_an_image_is_there_once(copied):
    path = copied / "study.json"
    record = json.loads(path.read_text())
    record["images"].append(record["images"][0])
    path.write_text(json.dumps(record))
    damaged(copied, "it has 4 images, expected .* different ids")


def test_links_are_refused(copied, made):
    path = copied / "images" / f"{made.images[0].id}.webp"
    target = path.rename(copied / "elsewhere")
    path.symlink_to(target)
    damaged(copied, "or one that is a link")
    with pytest.raises(ValueError, match="or one that is a link"):
        picture(made._replace(folder=copied), made.images[0].id)
    path.unlink()
    path.symlink_to("/dev/zero")
    damaged(copied, "or one that is a link")


def test_pictures_are_checked(copied, made):
    study, id = made._replace(folder=copied), made.images[0].id
    with pytest.raises(ValueError, match=r"There is no image '\.\./study'"):
        picture(study, "../study")
    Image.new("RGB", (100, 512)).save(copied / "images" / f"{id}.webp")
    with pytest.raises(ValueError, match=r"is \(100, 512\), expected 512 x 512"):
        picture(study, id)
    (copied / "images" / f"{id}.webp").write_bytes(b"none")
    with pytest.raises(ValueError, match="not an image"):
        picture(study, id)


def arrays_of(path):
    with np.load(path, allow_pickle=False) as file:
        return dict(file)


def rewritten(path, **changes):
    arrays = arrays_of(path) | {name.replace("_", "."): value for name, value in changes.items()}
    np.savez(path, **{name: value for name, value in arrays.items() if value is not None})


K8, F4 = np.zeros(8, np.float32), np.float32


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"levels": np.zeros((16, 8, 3), np.uint8)}, r"the levels are uint8 of shape \(16, 8, 3\)"),
        ({"levels": np.zeros((16, 16, 3), np.float32)}, "the levels are float32"),
        ({"levels": None}, "levels"),
        ({"0_maps": None}, "has not the arrays of each layer"),
        ({"1_maps": np.zeros((8, 16, 16), F4)}, "has not the arrays of each layer"),
        ({"0_maps": np.zeros((7, 16, 16), F4)}, "layer 0 has arrays of other types or shapes"),
        ({"0_maps": np.zeros((8, 256), F4)}, "other types or shapes"),
        ({"0_maps": np.zeros((8, 16, 16), np.int32)}, "other types or shapes"),
        ({"0_maps": np.zeros((8, 16, 16))}, "an array of float64"),
        ({"0_maps": np.full((8, 16, 16), np.nan, F4)}, "out of their ranges"),
        ({"0_maps": np.full((8, 16, 16), 1.5, F4)}, "out of their ranges"),
        ({"0_weights": K8 - 1}, "out of their ranges"),
        ({"0_weights": K8 + F4(np.inf)}, "out of their ranges"),
        ({"0_weights": np.zeros((8, 1), F4)}, "other types or shapes"),
        ({"0_cluster": np.full(6, 8, np.int32)}, "out of their ranges"),
        ({"0_cluster": np.zeros(0, np.int32)}, "none of a study's"),
        ({"0_cluster": np.zeros(6)}, "an array of float64"),
        ({"0_maps": np.asfortranarray(np.zeros((8, 16, 16), F4))}, "none of a study's"),
        ({"0_weights": np.array([{"a": 1}], object)}, "an array of object"),
    ],
)
def test_features_are_checked(copied, made, changes, says):
    rewritten(copied / "features" / f"{made.images[1].id}.npz", **changes)
    damaged(copied, f"the features of {made.images[1].id} cannot be used: .*{says}")


def test_files_of_features_are_checked(copied, made):
    path = copied / "features" / f"{made.images[0].id}.npz"
    whole = path.read_bytes()
    for content in (
        b"",
        b"PK",
        whole[:-30],
        whole[: len(whole) // 2],
        b"\x80\x04K\x01.",
        whole[:200] + bytes(40) + whole[240:],
    ):
        path.write_bytes(content)
        damaged(copied, "is a damaged study .*cannot be used")
    path.unlink()
    damaged(copied, "it has no file features/")


class Bomb:
    """Unpickled, it would leave a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_no_pickle_is_read(copied, made, tmp_path):
    np.savez(copied / "features" / f"{made.images[0].id}.npz", levels=np.array([Bomb(tmp_path / "executed")], object))
    damaged(copied, "an array of object")
    assert not (tmp_path / "executed").exists()


def test_sizes_that_are_only_claimed_take_no_memory(copied, made):
    """A header of 4 TB before no numbers, and a gigabyte of zeros in a small file."""
    path, header = copied / "features" / f"{made.images[0].id}.npz", io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (10**6, 10**6)})
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("levels.npy", header.getvalue())
    damaged(copied, "an array is cut short")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file, file.open("levels.npy", "w") as part:
        for _ in range(_LARGEST_FEATURES // 10**7 + 1):
            part.write(bytes(10**7))
    assert path.stat().st_size < 10**6
    damaged(copied, "they are larger than 256,000,000 bytes")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as file:
        file.writestr("levels.npy", header.getvalue())
    damaged(copied, "compressed in another way")


def test_classes_have_names_for_players(model, photos, tmp_path):
    names = {"class 0": {"en": "Dog", "it": "cane"}, "class 3": {"en": "Fish"}}
    study = new_study(tmp_path / "named", model, photos[:2], targets=[0, 3], names=names, **SETTINGS)
    assert study.names == names == load_study(study.folder).names
    same_names = {"class 0": {"it": "pesce"}, "class 3": {"it": "pesce"}}
    with pytest.raises(ValueError, match="the same name in the language it"):
        new_study(tmp_path / "same", model, photos[:2], targets=[0, 3], names=same_names, **SETTINGS)
    with pytest.raises(ValueError, match="no class"):
        new_study(tmp_path / "none", model, photos[:2], names={"no such class": {"en": "x"}}, **SETTINGS)
    assert not (tmp_path / "same").exists()
