"""jaxplain models: which networks there are."""


def models() -> None:
    """List the networks, with input size, parameters, and whether their published weights are on this machine."""
    import jax
    from rich.console import Console
    from rich.table import Table

    from jaxplain.models import available, outline
    from jaxplain.models.registry import architecture

    table = Table("model", "input", "parameters", "weights")
    for name, path in available().items():
        side = architecture(name).spec.input_size
        count = sum(leaf.size for leaf in jax.tree.leaves(outline(name)))
        table.add_row(name, f"{side} x {side}", f"{count / 1e6:.1f} M", "here" if path else "give --weights FILE")
    Console().print(table)
