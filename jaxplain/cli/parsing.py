"""How arguments are read: what is given is used, so an option of one value is given once."""

from collections import Counter
from typing import Any

from typer import BadParameter
from typer.core import TyperCommand, TyperOption


def numbers(text: str) -> tuple[float, ...]:
    """Numbers with commas between them."""
    return tuple(map(float, text.split(",")))


class Command(TyperCommand):
    """A command that refuses an option of one value that is given twice, of which the parser would keep the last."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        *_, order = self.make_parser(ctx).parse_args(args=[*args])
        for option, count in Counter(order).items():
            if isinstance(option, TyperOption) and count > 1 and not option.multiple:
                raise BadParameter(f"it is given {count} times, but expected once; leave the others out", ctx, option)
        return super().parse_args(ctx, args)
