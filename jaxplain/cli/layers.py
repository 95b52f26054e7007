"""jaxplain layers: where a network can be looked at."""

from jaxplain.cli.options import Model
from jaxplain.cli.tables import show


def layers(model: Model) -> None:
    """List a network's layers in forward order, with the shapes of their activations."""
    import jaxplain as jp
    from jaxplain.models import architecture, outline

    spec = architecture(model).spec
    sites = jp.layers(outline(model), spec.image)
    rows = ((name, _shape(site) + "  (default)" * (name == spec.cam_layer)) for name, site in sites.items())
    show(f"{model}, image {spec.input_size} x {spec.input_size}", ("layer", "shape"), rows)


def _shape(site):
    return " x ".join(map(str, site.shape))
