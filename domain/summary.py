"""What is a function, a module or a task, in a few lines made of outlines alone?

A summary gives what a reader needs before the code: purpose, inputs, outputs, exceptions, side
effects, and the interfaces that it uses. It holds no count, time or line number, so that its bytes
stay the same until something that it describes has changed; facts that change with every iteration
(tests passed, refinements, places) are shown beside it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from backcast.domain.imports import module_path
from backcast.domain.names import resolve
from backcast.domain.node import kind_of, name_of, node_id, path_of, plain_name
from backcast.domain.outline import EXISTS, LINK, Facet, digest_of
from backcast.domain.reader import Reader
from backcast.domain.tree import Tree

EXTRACTIVE = "extractive 1"
"Name and version of the summariser of this module."
_FUNCTIONS = ("class", "function", "method", "test")
LIMITS = {"task": 100, "module": 300} | dict.fromkeys(_FUNCTIONS, 150)
"Tokens of a summary if no profile says otherwise."
LIMITS_BY_WINDOW = {
    "8k": {"task": 100, "module": 200} | dict.fromkeys(_FUNCTIONS, 50),
    "32k": {"task": 100, "module": 500} | dict.fromkeys(_FUNCTIONS, 150),
}
"The limits for the windows of Mistral 7B and of Qwen3 8B."
BuiltFrom = Mapping[str, Mapping[str, str]]
"Per path of a module, the digests of the facets that were read, by key."

Tokens = Callable[[str], int]
"A function that counts the tokens of a text, or an upper bound."


class SummaryPart(NamedTuple):
    """A labelled part of a summary, in the entries that it is joined of."""

    label: str
    entries: tuple[str, ...]
    joint: str = ", "

    @property
    def text(self) -> str:
        """The entries, joined."""
        return self.joint.join(self.entries)


class NodeSummary(NamedTuple):
    """A node's summary in parts of falling importance, and the digests that it was made of."""

    node: str
    entries: tuple[SummaryPart, ...]
    "The first is the heading."
    built_from: BuiltFrom

    @property
    def parts(self) -> tuple[tuple[str, str], ...]:
        """Label and text of each part."""
        return texts_of(self.entries)

    @property
    def text(self) -> str:
        """The whole summary, one line per part."""
        return text_of(self.parts)

    def fitted(self, limit: int, tokens: Tokens) -> tuple[str, tuple[str, ...]]:
        """Return the first whole lines that fit a number of tokens, and the other labels."""
        if tokens(self.text) <= limit:
            return self.text, ()
        lines: list[str] = []
        left_out: list[str] = []
        for label, text in self.parts:
            line = f"{label}: {text}"
            if tokens("\n".join([*lines, line])) <= limit:
                lines.append(line)
            else:
                left_out.append(label)
        return "\n".join(lines), tuple(left_out)


def summary_of(
    modules: Mapping[str, Mapping[str, Facet]], node: str, tree: Tree | None = None
) -> NodeSummary | None:
    """Return the summary of a function, method, class, test or module; None for other nodes.

    `tree` is that of the modules, where it is known.
    """
    reader = Reader(modules, tree)
    entries = entries_of(reader, node)
    return NodeSummary(node, entries, built_from(reader)) if entries else None


def texts_of(entries: Sequence[SummaryPart]) -> tuple[tuple[str, str], ...]:
    """Return label and text of each part."""
    return tuple((part.label, part.text) for part in entries)


def text_of(parts: Sequence[tuple[str, str]]) -> str:
    """Return a whole summary, one line per part."""
    return "\n".join(f"{label}: {text}" for label, text in parts)


def parts_of(reader: Reader, node: str) -> tuple[tuple[str, str], ...]:
    """Return the parts of a node's summary, as in `NodeSummary`; empty for none."""
    return texts_of(entries_of(reader, node))


def entries_of(reader: Reader, node: str) -> tuple[SummaryPart, ...]:
    """Return the parts of a node's summary in their entries; empty for none."""
    path, name, kind = path_of(node), name_of(node), kind_of(node)
    if kind == "module":
        return tuple(_module(reader, path))
    if reader.facet(path, f"kind:{name}") == (kind,):
        return tuple(_symbol(reader, path, name))
    return ()


def task_summary(
    task_id: str,
    goal: str | None,
    status: str,
    modules: Sequence[str],
    success_rate: str = "",
) -> NodeSummary:
    """Return the summary of a task: its status, last checks, goal and modules."""
    entries = [SummaryPart("Task", (task_id,)), SummaryPart("Status", (status,))]
    entries += _line("Success rate", (success_rate,) if success_rate else ())
    entries += _line("Goal", (goal,) if goal else ())
    entries += _line("Modules", tuple(f"[{path}]" for path in modules))
    return NodeSummary(node_id("task", task_id), tuple(entries), {})


def rate_of(passed: int, failed: int) -> str:
    """Return how many checks passed: `100% (12/12 tests passed)`."""
    whole = passed + failed
    percent = f"{100 * passed // whole}% " if whole > 0 else ""
    return f"{percent}({passed}/{whole} tests passed)"


def built_from(reader: Reader) -> dict[str, dict[str, str]]:
    """Return the digests of all that a reader has read."""
    found: dict[str, dict[str, str]] = {}
    for path, key in sorted(reader.seen):
        found.setdefault(path, {})[key] = digest_of(reader.seen[path, key])
    return found


Digests = tuple[tuple[str, str, str], ...]
"Path, key and digest of each facet that was read, sorted: the form that a state keeps."


def flat(built_from: BuiltFrom) -> Digests:
    """Return digests in the form that a state keeps.

    >>> by_path(flat({"a.py": {"doc": "01", "sig:f": "02"}}))
    {'a.py': {'doc': '01', 'sig:f': '02'}}
    """
    return tuple(
        (path, key, digest)
        for path, keys in sorted(built_from.items())
        for key, digest in sorted(keys.items())
    )


def by_path(digests: Digests) -> BuiltFrom:
    """Return digests by path and key."""
    found: dict[str, dict[str, str]] = {}
    for path, key, digest in digests:
        found.setdefault(path, {})[key] = digest
    return found


def _symbol(reader: Reader, path: str, name: str) -> Iterator[SummaryPart]:
    kind, signature, *_ = (*(reader.facet(path, f"sig:{name}") or ()), "", "")
    yield SummaryPart(kind.capitalize() or "Function", (f"{name} [in {path}]",))
    if reader.facet(path, "error"):
        yield SummaryPart("As of", ("the last version of the module that could be parsed",))
    yield from _line("Purpose", reader.facet(path, f"doc:{name}"), " ")
    inputs, _, outputs = (
        signature.rpartition(" -> ") if " -> " in signature else (signature, "", "")
    )
    yield from _line("Inputs", (inputs,) if inputs not in ("", "()") else ())
    yield from _line("Outputs", (outputs,) if outputs else ())
    yield from _line("Inherits", tuple(_shown(reader, path, f"bases:{name}", name)))
    yield from _line("Raises", reader.facet(path, f"raises:{name}"))
    yield from _line("Side effects", reader.facet(path, f"effects:{name}"))
    yield from _line("Uses", tuple(_shown(reader, path, f"follows:{name}", name)), "; ")
    yield from _line("Settings", reader.facet(path, f"config:{name}"))
    yield from _line("Decorators", reader.facet(path, f"decorators:{name}"))


def _module(reader: Reader, path: str) -> Iterator[SummaryPart]:
    if not reader.exists(path):
        return
    yield SummaryPart("Module", (path,))
    existing = reader.facet(path, EXISTS) or ()
    if existing[:1] == (LINK,):
        target = f"[{existing[1]}]" if reader.exists(existing[1]) else existing[1]
        yield SummaryPart("Symbolic link to", (target,))
    yield from _line("Purpose", reader.facet(path, "doc"), " ")
    if error := reader.facet(path, "error"):
        line, message = (*error, "", "")[:2]
        yield SummaryPart("Cannot be parsed", (f"{message}, line {line}" if line else message,))
    names = reader.facet(path, "names") or ()
    held = tuple(_outlined(reader, path, name) for name in names if "." not in name)
    yield from _line("Holds", held, "; ")
    yield from _line("Headings", reader.facet(path, "heading"), "; ")
    needs = (_needed(reader, path, written) for written in reader.facet(path, "imports") or ())
    yield from _line("Needs", tuple(dict.fromkeys(needs)))
    shown = (one for name in names for one in _shown(reader, path, f"follows:{name}", name))
    # Names used from other modules of the task, as `[path::name(interface)]`.
    yield from _line("Uses", tuple(dict.fromkeys(one for one in shown if "::" in one)), "; ")


def _outlined(reader: Reader, path: str, name: str) -> str:
    """Return a function's or class's interface with the first sentence of its docstring."""
    kind, signature, *_ = (*(reader.facet(path, f"sig:{name}") or ()), "", "")
    doc = " ".join(reader.facet(path, f"doc:{name}") or ()).partition(". ")[0].rstrip(".")
    plain = plain_name(name)
    shown = f"class {plain}" if kind == "class" else f"{plain}{signature}"
    return f"{shown}: {doc}" if doc else shown


def _needed(reader: Reader, path: str, written: str) -> str:
    module = module_path(reader, path, written)
    return f"[{module}]" if module else written.partition(".")[0] or written


def _shown(reader: Reader, path: str, key: str, scope: str) -> Iterator[str]:
    """Yield the targets of a facet's names: own things with their interface, libraries by name."""
    for dotted in reader.facet(path, key) or ():
        target = resolve(reader, path, dotted.partition("[")[0], scope)
        if target is None:
            continue
        if target.kind == "symbol":
            sig = reader.facet(target.path, f"sig:{target.name}") or ("", "")
            place = "" if target.path == path else f"{target.path}::"
            yield f"[{place}{target.name}{sig[-1] if len(sig) > 1 else ''}]"
        elif target.kind == "library":
            yield target.path
        else:
            yield f"[{node_id(target.kind, target.path, target.name)}]"


def _line(label: str, texts: Facet | None, joint: str = ", ") -> Iterator[SummaryPart]:
    part = SummaryPart(label, tuple(" ".join(text.split()) for text in texts or ()), joint)
    if part.text:
        yield part
