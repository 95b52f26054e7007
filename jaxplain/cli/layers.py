"""jaxplain layers: where a network can be looked at."""

from typing import Annotated

import typer

from jaxplain.cli.errors import told


def layers(model: Annotated[str, typer.Argument(help="A network, as `jaxplain models` lists them.")]) -> None:
    """List a network's layers in forward order, with the shapes of their activations."""
    from rich.console import Console
    from rich.table import Table

    import jaxplain as jp
    from jaxplain.models import outline
    from jaxplain.models.registry import architecture

    with told():
        spec = architecture(model).spec
    table = Table("layer", "shape", title=f"{model}, image {spec.input_size} x {spec.input_size}")
    for name, activation in jp.layers(outline(model), spec.image).items():
        note = "  (class activation maps, unless another is named)" if name == spec.cam_layer else ""
        table.add_row(name, " x ".join(map(str, activation.shape)) + note)
    Console().print(table)
