"""jaxplain layers."""

import pytest

import jaxplain as jp
from jaxplain.models import architecture, available, outline


@pytest.mark.parametrize("model", available())
def test_lists_every_site_in_forward_order_with_its_shape(run, model):
    status, out, err = run("layers", model)
    assert (status, err) == (0, "")
    rows = [[cell.strip() for cell in line.split("│")[1:3]] for line in out.splitlines() if line.startswith("│")]
    spec = architecture(model).spec
    sites = jp.layers(outline(model), spec.image)
    assert [name for name, _ in rows] == list(sites)
    shapes = {name: tuple(map(int, shape.removesuffix("(default)").split(" x "))) for name, shape in rows}
    assert shapes == {name: site.shape for name, site in sites.items()}
    assert [name for name, shape in rows if "(default)" in shape] == [spec.cam_layer]


def test_known_shapes(run):
    out = run("layers", "resnet50").out.split("\n")
    for layer, shape in (("layer1", "56 x 56 x 256"), ("layer4", "7 x 7 x 2048  (default)"), ("fc", "1000")):
        assert any(line.split() == ["│", layer, "│", *shape.split(), "│"] for line in out)
