"""Lists of names in messages."""

from collections.abc import Sequence

LONGEST = 200  # characters of a name; those of a file may be of any length


def few(names: Sequence[str], most: int = 5, joint: str = ", ") -> str:
    """The first names, and how many more there are."""
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return joint.join(name if len(name) <= LONGEST else name[:LONGEST] + "..." for name in names[:most]) + rest
