"""How is a long list of names said? By the first of them, and how many more there are."""

from collections.abc import Iterable


def first_names(names: Iterable[str], most: int) -> str:
    """Return the first `most` names, and how many more there are.

    >>> first_names(["a", "b", "c"], 3), first_names(["a", "b", "c"], 2)
    ('a, b, c', 'a, b and 1 more')
    """
    known = list(names)
    more = f" and {len(known) - most} more" if len(known) > most else ""
    return f"{', '.join(known[:most])}{more}"
