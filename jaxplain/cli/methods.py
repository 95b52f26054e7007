"""jaxplain methods: what each method needs, costs and answers."""

from jaxplain.cli.errors import tell
from jaxplain.cli.tables import show
from jaxplain.methods import METHODS


def methods() -> None:
    """List the methods: what comes out, their options, their passes through the network, what they answer."""
    columns = "method", "map of", "needs", "options", "forward", "backward", "question"
    show(None, columns, [_cells(row) for row in METHODS.values()])
    tell("Options are set by --set METHOD.OPTION=VALUE, such as --set rise.samples=1000.")


def _cells(row):
    needs = [need for need in row.needs if need != "key"] + (["reference"] if row.target == "reference" else [])
    options = ", ".join(f"{name}={value}" for name, value in row.options.items())
    sign = "signed" if row.signed else "not signed"
    return row.name, f"{row.output}, {sign}", ", ".join(needs), options, row.forward, row.backward, row.question
