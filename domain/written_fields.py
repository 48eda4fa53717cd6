"""Which fields of a written summary still hold, and how do they fill a derived one?

What the code states itself is derived: a docstring, a signature. A written field stands where the
code says nothing, or behind what it says.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence

from backcast.domain.levels import Field, distinct, sentence_forms, worded
from backcast.domain.node import kind_of, name_of, path_of
from backcast.domain.summary import BuiltFrom
from backcast.domain.summary_fields import HEADINGS

TEXT = "text"
"The name under which the summary itself is among its fields."
OF_SIGNATURE = ("inputs", "outputs")
"Fields that hold as long as the signature does, whatever becomes of the body."
BEHIND = {"inputs": "Inputs", "outputs": "Outputs", "side_effects": "Side effects"}
"Fields that stand behind what the code says of the same thing."
ALONE = {"workflow": ("Workflow", 60), "key_decisions": ("Decisions", 61)}
"Fields of which the code says nothing, with their ranks."
NOTHING = ("", "none", "n/a", "nothing", "no", "null", "-")

_NAMES = re.compile(r"\w+")
WrittenFields = Mapping[str, str | tuple[str, ...]]


def holding(
    node: str, fields: WrittenFields, made_of: BuiltFrom, holds: Callable[[BuiltFrom], bool]
) -> dict[str, str]:
    """Return the fields that hold, in words: each by the sources that it depends on."""
    whole, signature = holds(made_of), False
    key = f"sig:{name_of(node)}"
    if digest := made_of.get(path_of(node), {}).get(key):
        signature = holds({path_of(node): {key: digest}})
    return {
        name: text
        for name in fields
        if (whole or (signature and name in OF_SIGNATURE)) and (text := _words(fields[name]))
    }


def filled(node: str, fields: Sequence[Field], written: Mapping[str, str]) -> list[Field]:
    """Return the fields of a derived summary with what was written of the same node."""
    found = {field.label: field for field in fields}
    order = [field.label for field in fields]
    for label, field in _more(node, found, written):
        if label not in found:
            order.insert(_place(order, field.rank, found), label)
        found[label] = field
    return [found[label] for label in order]


def _more(
    node: str, found: Mapping[str, Field], written: Mapping[str, str]
) -> Iterator[tuple[str, Field]]:
    purpose = written.get("purpose") or written.get(TEXT, "")
    if kind_of(node) == "task":
        if text := written.get(TEXT):
            yield "Summary", worded("Summary", text, 55)
        return
    if purpose and "Purpose" not in found:
        yield "Purpose", worded("Purpose", purpose, 10)
    for name, label in BEHIND.items():
        if text := written.get(name):
            ranks = {"Inputs": 11, "Outputs": 12}
            field = found.get(label)
            yield label, behind(field, text) if field else worded(label, text, ranks.get(label, 50))
    for name, (label, rank) in ALONE.items():
        if text := written.get(name):
            yield label, worded(label, text, rank)


def behind(field: Field, text: str) -> Field:
    """Return a field with a written text behind the whole of it, which goes first again.

    >>> behind(Field("Outputs", ("int",)), "The cents.").forms
    ('int: The cents.', 'int')
    """
    if set(_NAMES.findall(text.lower())) <= set(_NAMES.findall(field.forms[0].lower())):
        return field  # it says no more
    forms = distinct(
        [*(f"{field.forms[0]}: {form}" for form in sentence_forms(text)), *field.forms]
    )
    return field._replace(forms=forms, good=field.good + len(forms) - len(field.forms))


def _place(order: Sequence[str], rank: int, found: Mapping[str, Field]) -> int:
    """Return where a field stands: behind the last one of a lower rank, and behind the heading."""
    heading = bool(order) and order[0] in HEADINGS
    places = [place + 1 for place, label in enumerate(order) if found[label].rank <= rank]
    return max(places, default=int(heading))


def _words(value: str | tuple[str, ...]) -> str:
    text = value if isinstance(value, str) else ", ".join(value)
    text = " ".join(text.split())
    return "" if text.strip(" .").lower() in NOTHING else text
