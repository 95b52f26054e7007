"""jaxplain models: which networks there are."""

from jaxplain.cli.errors import tell
from jaxplain.cli.tables import show


def models() -> None:
    """List the networks, with input size, parameters, and whether their published weights are on this machine."""
    import jax

    from jaxplain.models import architecture, available, sound
    from jaxplain.weights_convert import parameter_shapes

    def rows(name):
        side = architecture(name).spec.input_size
        count = sum(leaf.size for leaf in jax.tree.leaves(parameter_shapes(name)))
        for published in architecture(name).published:
            here = {None: "no", True: "yes", False: "damaged"}[sound(name, published)]
            yield name, f"{side} x {side}", f"{count / 1e6:.1f} M", published.name, here

    listed = [row for name in available() for row in rows(name)]
    show(None, ("model", "input", "parameters", "weights", "here"), listed)
    tell("`jaxplain fetch MODEL` gets what is not here, and `--weights NAME` one set among several.")
