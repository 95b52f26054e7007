"""retrieve from Python: any images in, a frozen value out."""

import jax
import numpy as np
import pytest
from PIL import Image
from tiny import tiny_model

import jaxplain as jp
from jaxplain.workflows import retrieve


@pytest.fixture(scope="module")
def model():
    return tiny_model()


@pytest.fixture(scope="module")
def photos():
    """Five images in memory; the fourth is a brighter copy of the first."""
    colours = np.array([[180, 20, 20], [20, 180, 20], [20, 20, 180], [90, 90, 90]], np.uint8)
    images = np.random.default_rng(0).integers(0, 60, (4, 16, 16, 3), np.uint8) + colours[:, None, None]
    return [Image.fromarray(image) for image in (*images[:3], images[0] + np.uint8(4), images[3])]


def test_any_images_are_ranked(model, photos):
    found = retrieve(model, photos[0], photos, top=2, explain=True)
    assert found.images[0] is photos[3]
    assert len(found.images) == 4  # the query is not among them
    embed = jax.jit(jp.embedding(model.net, "relu"))
    q, r = (np.asarray(embed(model.prepare(photo))) for photo in (photos[0], photos[3]))
    assert found.matches[0].similarity == pytest.approx(q @ r / np.linalg.norm(q) / np.linalg.norm(r), rel=1e-5)
    assert (np.diff(found.similarities) <= 0).all()
    assert found.matches[1].on_query.shape == found.matches[1].on_match.shape == (16, 16)  # pyright: ignore[reportOptionalMemberAccess] explained on request
    assert [len(row) for row in found._panels()] == [3, 3]
    scales = [panel.scale for row in found._panels() for panel in row[1:]]
    assert all(low == 0 < high for low, high in scales)  # unsigned, as fam's maps are in `explain`
    assert found.table().columns == ("rank", "image", "cosine")
    assert found.table().rows[1] == ("2", "image", f"{found.similarities[1]:.4g}")
    assert repr(found).startswith("Retrieval(image among 4 images: image ")
    assert (found._repr_png_() or b"").startswith(b"\x89PNG")


def test_unreadable_images_are_refused_or_kept_apart(model, photos, tmp_path):
    broken = tmp_path / "notes.txt"
    broken.write_text("no image")
    with pytest.raises(ValueError, match="1 of 5 files cannot be used as images"):
        retrieve(model, photos[0], [*photos[1:], broken])
    found = retrieve(model, photos[0], [*photos[1:], broken], failed=lambda *_: None)
    assert [image for image, _ in found.failed] == [broken]
    assert len(found.images) == 4


@pytest.mark.parametrize(
    ("options", "says"),
    [({"top": 0}, "top is 0"), ({"similarity": "angle"}, "no similarity 'angle'"), ({"layer": "fc"}, "no height")],
)
def test_what_cannot_be_searched(model, photos, options, says):
    with pytest.raises(ValueError, match=says):
        retrieve(model, photos[0], photos, **options)


def test_a_gallery_of_the_query_alone(model, photos):
    with pytest.raises(ValueError, match="The gallery has no image but the query"):
        retrieve(model, photos[0], photos[:1])
