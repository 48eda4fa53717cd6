"""How short can each part of a summary be told, and which of them get room first?

>>> inputs = SummaryPart("Inputs", ("(text: str, *, keep_case: bool = False)",))
>>> field_of(inputs).forms
('(text: str, *, keep_case: bool = False)', '(text: str, *, keep_case=False)', '(text, keep_case)')
"""

import re
from collections.abc import Iterator, Mapping

from backcast.domain.levels import (
    OTHERS,
    Field,
    distinct,
    list_forms,
    listed,
    plain,
    split_list,
    worded,
)
from backcast.domain.node import kind_of
from backcast.domain.summary import NodeSummary, SummaryPart

HEADINGS = ("Function", "Method", "Class", "Test", "Attribute", "Module")
"Labels of the line that names the node, which stands above the summary wherever one is shown."
RANKS: Mapping[str, int] = {
    "Task": 0, "Status": 1, "Success rate": 2, "Cannot be parsed": 0, "As of": 0,
    "Purpose": 10, "Inputs": 11, "Outputs": 12, "Tests": 13, "Refined": 14,
} | dict.fromkeys(HEADINGS, 90)  # fmt: skip
"Parts of a lower rank get room first; all others are between the outputs and the heading."
WORDED = ("Purpose", "Goal", "Workflow", "Decisions", "Side effects told")
"Parts of sentences."
_ROLE = re.compile(r":[\w:]+:`~?([^`<]+)`")
"Roles of reStructuredText, as in :class:`~enum.IntEnum`."
_MARKS = re.compile(r"[=()\[\]{}]")
_SHORTEST = 24
"Characters of a type behind which its parameters are left out."


def fields_of(summary: NodeSummary) -> list[Field]:
    """Return the parts of a summary as fields that can be shortened; what a method is called on is
    no input of it."""
    method = kind_of(summary.node) == "method"
    entries = [_called(part) if method else part for part in summary.entries]
    return [field_of(part) for part in entries if part.text]


def _called(part: SummaryPart) -> SummaryPart:
    """Return the inputs of a method without the object or class that it is called on.

    >>> _called(SummaryPart("Inputs", ("(self, x: int)",))).text, _called(
    ...     SummaryPart("Inputs", ("(self)",))
    ... ).text
    ('(x: int)', '')
    """
    if part.label != "Inputs":
        return part
    kind, inside = apart_from_kind(part.text)
    first, *others = [*split_list(inside), ""]
    if first not in ("self", "cls"):
        return part
    others = [one for one in others if one]
    others = others[1:] if others[:1] == ["/"] else others
    return SummaryPart(part.label, (f"{kind}({', '.join(others)})" if others else "",))


def apart_from_kind(text: str) -> tuple[str, str]:
    """Return what a signature begins with, and what is in its brackets.

    >>> apart_from_kind("async (self, x)"), apart_from_kind("(x)")
    (('async ', 'self, x'), ('', 'x'))
    """
    kind, _, rest = text.partition("(")
    return kind, rest.removesuffix(")")


def field_of(part: SummaryPart) -> Field:
    """Return a part of a summary as a field that can be shortened."""
    rank = RANKS.get(part.label, OTHERS)
    if part.label in WORDED:
        plainer = worded(part.label, _ROLE.sub(r"`\1`", part.text).replace("``", "`"), rank)
        forms = distinct([part.text, *plainer.forms])
        return plainer._replace(forms=forms, good=plainer.good + len(forms) - len(plainer.forms))
    if part.label == "Inputs":
        forms = distinct(signature_forms(part.text))
        return Field(part.label, forms, rank, min(2, len(forms) - 1))
    if part.label == "Outputs":
        return Field(part.label, distinct(type_forms(part.text)), rank)
    if part.label in RANKS:
        return plain(part.label, part.text, rank)
    return listed(part.label, part.entries, rank, joint=part.joint)


def signature_forms(text: str) -> Iterator[str]:
    """Yield parameters with their types, without them, as names alone, and the first names."""
    yield text
    kind, inside = apart_from_kind(text)
    parameters = split_list(inside)
    yield f"{kind}({', '.join(_short_default(one) for one in parameters)})"
    names = [name for one in parameters if (name := _name(one)).strip("*/")]
    yield from (f"{kind}({form})" for form in list_forms(names))


def parameter_names(text: str) -> list[str]:
    """Return the names of the parameters of a signature.

    >>> parameter_names("(text: str, *rest, keep: bool = False)")
    ['text', 'rest', 'keep']
    """
    parameters = split_list(apart_from_kind(text)[1])
    return [name for one in parameters if (name := _name(one).strip("*/"))]


def type_forms(text: str) -> Iterator[str]:
    """Yield a type, and what it is a type of things of: `dict[...]`.

    >>> list(type_forms("collections.abc.Iterator[tuple[str, int]]"))[1:]
    ['Iterator[tuple[str, int]]', 'Iterator[...]']
    """
    yield text
    head, bracket, rest = text.partition("[")
    plain_head = head.rpartition(".")[2]
    if "|" not in head and " " not in head:
        yield f"{plain_head}{bracket}{rest}"
        if bracket and len(rest) > len("...]"):
            yield f"{plain_head}[...]"
    elif len(text) > _SHORTEST:
        words = text.split(" ")
        for count in range(len(words) - 1, 0, -2):
            yield f"{' '.join(words[:count])} ..."


def _short_default(parameter: str) -> str:
    """Return a parameter without the type that its default value tells about as well.

    >>> _short_default("a: int = 3"), _short_default("b: str"), _short_default("**kw: Any")
    ('a=3', 'b: str', '**kw')
    """
    head, equals, default = _apart(parameter)
    name, colon, kind = head.partition(":")
    if equals:
        return f"{name.strip()}={default.strip()}"
    if name.startswith("*") or kind.strip() == "Any":
        return name.strip()
    return f"{name.strip()}{': ' if colon else ''}{kind.strip()}"


def _name(parameter: str) -> str:
    return _apart(parameter)[0].partition(":")[0].strip()


def _apart(parameter: str) -> tuple[str, str, str]:
    """Return what stands before an equals sign outside of brackets, the sign, and the rest."""
    depth = 0
    for found in _MARKS.finditer(parameter):
        place, letter = found.start(), found[0]
        if letter != "=":
            depth += 1 if letter in "[({" else -1
        elif not depth and parameter[place - 1 : place] not in ("=", "!", "<", ">"):
            return parameter[:place], "=", parameter[place + 1 :]
    return parameter, "", ""
