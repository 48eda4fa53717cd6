"""What does the code of a node contradict in a summary that a model wrote of it?

Only what can be looked up is held against the code: a name that looks like code, a parameter, a
returned type, an exception, a dependency, a function; of a task its status, modules and counts.
What cannot be looked up stands.
"""

import builtins
import keyword
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from backcast.domain.levels import split_list
from backcast.domain.node import kind_of, name_of
from backcast.domain.summary import NodeSummary
from backcast.domain.summary_fields import parameter_names
from backcast.domain.written_fields import NOTHING

_WORD = re.compile(r"[A-Za-z_]\w*")
_QUOTED = re.compile(r"`([^`\n]+)`")
_CODE = re.compile(
    r"(?<![\w./-])(?:[A-Za-z_]\w*\.)*(?:_*[A-Za-z0-9]+_\w+|[A-Z][a-z0-9]+(?:[A-Z][a-z0-9]*)+"
    r"|[A-Za-z_]\w*(?=\(\)))(?!\w)"
)
"Words that only code has: with underscores, with humps, or called."
_HEAD = re.compile(r"[`'\"]?(\*{0,2}[A-Za-z_]\w*)[`'\"]?\s*(?=[:=(])")
_EXCEPTION = re.compile(r"\b(?:[a-z_]+\.)*[A-Z]\w*(?:Error|Exception|Warning|Interrupt)\b")
_RETURNS = re.compile(r"^\s*(?:return\s+(?!None\b)[^\s#]|.*\byield\b)", re.MULTILINE)
_COUNTS = re.compile(r"\d+/\d+ tests? passed|^iteration \d+")
_DEFINED = re.compile(r"^\s*(?:async\s+)?(?:def|class)\s+(\w+)", re.MULTILINE)
_IMPORTED = re.compile(r"^\s*(?:import|from)\s+[^#\n]+", re.MULTILINE)
PROSE = ("purpose", "workflow", "key_decisions", "side_effects", "summary")
"Fields that are sentences."
REPEATED = 3
"Words from which on a text that stands in two fields says nothing in the second."
_NUMBERS = re.compile(r"\d+(?:/\d+|\s*%)")
_TYPES: Mapping[str, str] = {
    "bool": "bool", "boolean": "bool", "true": "bool", "false": "bool", "str": "str",
    "string": "str", "int": "int", "integer": "int", "float": "float", "list": "list",
    "dict": "dict", "dictionary": "dict", "tuple": "tuple", "bytes": "bytes", "none": "None",
    "nothing": "None",
}  # fmt: skip
"Types by the words that mean them; all other words mean no type."
_ENDS = {"complete": "complete", "completed": "complete", "done": "complete", "failed": "failed"}
_LANGUAGE = frozenset((*dir(builtins), *keyword.kwlist, "self", "cls"))


class Contradiction(NamedTuple):
    """Something written that the code contradicts."""

    field: str
    reason: str


class CodeFacts(NamedTuple):
    """What a written summary is held against."""

    summary: NodeSummary
    "The derived one."
    source: str
    "The text of the node; empty where it is not known."
    raised: frozenset[str] = frozenset()
    "Exceptions that any function of the task raises: they may come from what is called."

    def part(self, label: str) -> str:
        """Return a part of the derived summary; empty for none."""
        return next((part.text for part in self.summary.entries if part.label == label), "")

    @property
    def words(self) -> frozenset[str]:
        """Every name of the code."""
        own = frozenset(_WORD.findall(f"{self.source}\n{self.summary.text}"))
        return own | _LANGUAGE | self.raised


def contradictions(
    summary: NodeSummary,
    source: str,
    fields: Mapping[str, str | Sequence[str]],
    raised: frozenset[str] = frozenset(),
) -> list[Contradiction]:
    """Return what the code of a node contradicts in the fields of a form, field by field.

    `raised` are the exceptions that any function of its task raises.
    """
    evidence = CodeFacts(summary, source, raised)
    found, texts = list[Contradiction](), dict[str, str]()
    for name, value in fields.items():
        reasons = _of_task if kind_of(summary.node) == "task" else _of_code
        reason = next(reasons(evidence, name, value), "") or _said(texts, name, value)
        if reason:
            found.append(Contradiction(name, reason))
    return found


def _said(texts: dict[str, str], name: str, value: str | Sequence[str]) -> str:
    """Return which earlier field a text repeats; empty for none, and where it is short."""
    if not isinstance(value, str) or len(value.split()) < REPEATED:
        return ""
    before = texts.setdefault(value.strip(" ."), name)
    return "" if before == name else f"only repeats the field {before}"


def _of_task(evidence: CodeFacts, name: str, value: str | Sequence[str]) -> Iterator[str]:
    text = value if isinstance(value, str) else ", ".join(value)
    whole = evidence.summary.text
    status = evidence.part("Status")
    if name == "status":
        means = _ENDS.get(text.strip(" .").lower(), text.strip(" .").lower())
        if means != status and (means in _ENDS.values() or status in _ENDS.values()):
            yield f"says {text!r}, the task is {status}"
    if name == "modules":
        known = evidence.part("Modules")
        yield from (f"names {one}, which is no module of it" for one in value if one not in known)
    for number in _NUMBERS.findall(text) if name in ("success_rate", "summary") else ():
        if "".join(number.split()) not in whole:
            yield f"says {number}, the checks say {evidence.part('Success rate') or 'nothing'}"


def _of_code(evidence: CodeFacts, name: str, value: str | Sequence[str]) -> Iterator[str]:
    if not isinstance(value, str):
        yield from _listed(evidence, name, value)
        return
    if name == "inputs" and kind_of(evidence.summary.node) in ("function", "method", "test"):
        yield from _inputs(evidence, value)
    if name == "outputs":
        yield from _outputs(evidence, value)
    if _COUNTS.search(value):
        yield "tells of tests or iterations, and nothing of the code"
    own = name_of(evidence.summary.node)
    if (
        own
        and value.strip()
        and set(_WORD.findall(value)) <= {*own.split("."), kind_of(evidence.summary.node)}
    ):
        yield "only names what it is about"
    if name in PROSE and (copied := _copied(evidence, value.strip())):
        yield f"only copies the line {copied}"
    words = evidence.words
    for found in _EXCEPTION.findall(value):
        head, _, last = found.rpartition(".")
        # What a library raises is not in our text.
        if not (head and head.partition(".")[0] in words) and last not in _own(evidence):
            yield f"names the exception {found}, which is not in the code"
    for found in [*_QUOTED.findall(value), *_CODE.findall(value)]:
        missing = [word for word in _WORD.findall(found) if word not in words]
        head = _WORD.findall(found)[:1]
        outside = "." in found and head and head[0] in words and head[0] not in _LANGUAGE
        if missing and not outside and " " not in found.strip():
            yield f"names {found}, which is not in the code"


def _copied(evidence: CodeFacts, text: str) -> str:
    """Return the line of the derived summary of which a text is a part; empty for none."""
    if text.strip(" .").lower() in NOTHING:
        return ""
    lines = [part for part in evidence.summary.entries if part.label != "Purpose"]
    return next((part.label for part in lines if text in part.text), "")


def _own(evidence: CodeFacts) -> frozenset[str]:
    own = frozenset(_WORD.findall(f"{evidence.source}\n{evidence.summary.text}"))
    return own | evidence.raised


def _listed(evidence: CodeFacts, name: str, entries: Sequence[str]) -> Iterator[str]:
    what = {"dependencies": "dependency", "functions": "function"}.get(name, "name")
    words = evidence.words
    if name == "dependencies" and evidence.source:
        lines = [evidence.part("Needs"), *_IMPORTED.findall(evidence.source)]
        words = frozenset(_WORD.findall("\n".join(lines)))
    elif name == "functions" and evidence.source:
        words = frozenset(_DEFINED.findall(evidence.source))
    for entry in entries:
        names = _WORD.findall(entry.partition("(")[0].partition(":")[0])
        names = [word for word in names if word not in ("py", "def", "class", "module", "library")]
        if names and not any(word in words for word in names):
            yield f"names the {what} {entry}, which is not in the code"


def _inputs(evidence: CodeFacts, text: str) -> Iterator[str]:
    known = set(parameter_names(evidence.part("Inputs")))
    parts = split_list(text)
    bare = all(_WORD.fullmatch(part) for part in parts)
    for part in parts:
        found = _HEAD.match(part)
        head = found[1].lstrip("*") if found else part if bare else ""
        if head and head not in known and head.lower() not in _TYPES and head != "self":
            shown = ", ".join(sorted(known)) or "none"
            yield f"names the parameter {head}, the code has {shown}"


def _outputs(evidence: CodeFacts, text: str) -> Iterator[str]:
    said = {_TYPES[word] for word in map(str.lower, _WORD.findall(text)) if word in _TYPES}
    if not said:
        return
    if declared := evidence.part("Outputs"):
        names = set(_WORD.findall(declared))
        if names <= set(_TYPES.values()) and not said & names:
            yield f"says it returns {', '.join(sorted(said))}, the code says {declared}"
    elif evidence.source and kind_of(evidence.summary.node) != "class":
        gives = bool(_RETURNS.search(evidence.source))
        if not gives and said != {"None"}:
            yield f"says it returns {', '.join(sorted(said))}, the code returns nothing"
        elif gives and said == {"None"}:
            yield "says it returns nothing, the code returns something"
