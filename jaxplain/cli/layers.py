"""jaxplain layers: where a network can be looked at."""

from typing import Annotated

import typer

from jaxplain.cli.errors import in_one_sentence
from jaxplain.cli.tables import show


def layers(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A network, as `jaxplain models` lists them.")],
) -> None:
    """List a network's layers in forward order, with the shapes of their activations."""
    import jaxplain as jp
    from jaxplain.models import architecture, outline

    with in_one_sentence():
        spec = architecture(model).spec
    sites = jp.layers(outline(model), spec.image)
    rows = ((name, _shape(site) + "  (default)" * (name == spec.cam_layer)) for name, site in sites.items())
    show(("layer", "shape"), rows, title=f"{model}, image {spec.input_size} x {spec.input_size}")


def _shape(site):
    return " x ".join(map(str, site.shape))
