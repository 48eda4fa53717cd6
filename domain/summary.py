"""What a function, a module or a task is, in a few lines, made of outlines alone.

A summary says what a reader needs before the code: purpose, inputs, outputs, what is raised and
touched, and what it uses, with the interface of that. It holds no count, time or line number, so
that it stays the same, to the byte, until something that it tells of has changed; what does
change with every iteration (tests passed, refinements, where the code stands) is told beside it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from backcast.domain.names import Reader, module_path, resolve
from backcast.domain.node import kind_of, name_of, node_id, path_of
from backcast.domain.outline import Facet, digest_of

EXTRACTIVE = "extractive 1"
"The name and version of the summaries made here."
_FUNCTIONS = ("class", "function", "method", "test")
LIMITS = {"task": 100, "module": 300} | dict.fromkeys(_FUNCTIONS, 150)
"Tokens of a summary where no profile says otherwise."
LIMITS_BY_WINDOW = {
    "8k": {"task": 100, "module": 200} | dict.fromkeys(_FUNCTIONS, 50),
    "32k": {"task": 100, "module": 500} | dict.fromkeys(_FUNCTIONS, 150),
}
"The same for the windows of Mistral 7B and of Qwen3 8B."
BuiltFrom = Mapping[str, Mapping[str, str]]
"Per path of a module, the digests of the facets that were read, by key."

Tokens = Callable[[str], int]
"How many tokens a text is, or an upper bound of it."


class NodeSummary(NamedTuple):
    """What a node is, in parts of falling importance, and what that was made of."""

    node: str
    parts: tuple[tuple[str, str], ...]
    "Label and text; the first is the heading."
    built_from: BuiltFrom

    @property
    def text(self) -> str:
        """All of it, a line for each part."""
        return "\n".join(f"{label}: {text}" for label, text in self.parts)

    def fitted(self, limit: int, tokens: Tokens) -> tuple[str, tuple[str, ...]]:
        """As many whole lines as fit into a number of tokens, the most important first, and the
        labels of those that did not."""
        lines: list[str] = []
        left_out: list[str] = []
        for label, text in self.parts:
            line = f"{label}: {text}"
            if tokens("\n".join([*lines, line])) <= limit:
                lines.append(line)
            else:
                left_out.append(label)
        return "\n".join(lines), tuple(left_out)


def summary_of(modules: Mapping[str, Mapping[str, Facet]], node: str) -> NodeSummary | None:
    """The summary of a function, method, class, test or module; None where there is none."""
    reader = Reader(modules)
    parts = parts_of(reader, node)
    return NodeSummary(node, parts, built_from(reader)) if parts else None


def parts_of(reader: Reader, node: str) -> tuple[tuple[str, str], ...]:
    """The parts of the summary of a node, as in `Summary`; none where there is no summary."""
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
    checks: tuple[int, int] | None = None,
) -> NodeSummary:
    """The summary of a task: its goal, how it stands, its modules, and what passed at last."""
    parts = [("Task", task_id)]
    parts += _line("Goal", (goal,) if goal else ())
    parts.append(("Status", status))
    parts += _line("Success rate", (rate_of(*checks),) if checks else ())
    parts += _line("Modules", tuple(f"[{path}]" for path in modules))
    return NodeSummary(node_id("task", task_id), tuple(parts), {})


def rate_of(passed: int, failed: int) -> str:
    """How much of what was checked passed: `100% (12/12 tests passed)`."""
    whole = passed + failed
    percent = f"{100 * passed // whole}% " if whole > 0 else ""
    return f"{percent}({passed}/{whole} tests passed)"


def built_from(reader: Reader) -> dict[str, dict[str, str]]:
    """The digests of all that a reader has read."""
    found: dict[str, dict[str, str]] = {}
    for path, key in sorted(reader.seen):
        found.setdefault(path, {})[key] = digest_of(reader.seen[path, key])
    return found


Digests = tuple[tuple[str, str, str], ...]
"Path, key and digest of each facet that was read, sorted: what a state keeps."


def flat(built_from: BuiltFrom) -> Digests:
    """Digests as a state keeps them.

    >>> by_path(flat({"a.py": {"doc": "01", "sig:f": "02"}}))
    {'a.py': {'doc': '01', 'sig:f': '02'}}
    """
    return tuple(
        (path, key, digest)
        for path, keys in sorted(built_from.items())
        for key, digest in sorted(keys.items())
    )


def by_path(digests: Digests) -> BuiltFrom:
    """Digests by path and key."""
    found: dict[str, dict[str, str]] = {}
    for path, key, digest in digests:
        found.setdefault(path, {})[key] = digest
    return found


def _symbol(reader: Reader, path: str, name: str) -> Iterator[tuple[str, str]]:
    kind, signature, *_ = (*(reader.facet(path, f"sig:{name}") or ()), "", "")
    yield kind.capitalize() or "Function", f"{name} [in {path}]"
    if reader.facet(path, "error"):
        yield "As of", "the last version of the module that could be parsed"
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


def _module(reader: Reader, path: str) -> Iterator[tuple[str, str]]:
    if not reader.exists(path):
        return
    yield "Module", path
    yield from _line("Purpose", reader.facet(path, "doc"), " ")
    if error := reader.facet(path, "error"):
        line, message = (*error, "", "")[:2]
        yield "Cannot be parsed", f"{message}, line {line}" if line else message
    names = reader.facet(path, "names") or ()
    told = tuple(_told(reader, path, name) for name in names if "." not in name)
    yield from _line("Holds", told, "; ")
    yield from _line("Headings", reader.facet(path, "heading"), "; ")
    needs = (_needed(reader, path, written) for written in reader.facet(path, "imports") or ())
    yield from _line("Needs", tuple(dict.fromkeys(needs)))
    shown = (one for name in names for one in _shown(reader, path, f"follows:{name}", name))
    # What it takes from other modules of the task, as `[path::name(interface)]`.
    yield from _line("Uses", tuple(dict.fromkeys(one for one in shown if "::" in one)), "; ")


def _told(reader: Reader, path: str, name: str) -> str:
    """A function or class of a module: its interface, and the first sentence on it."""
    kind, signature, *_ = (*(reader.facet(path, f"sig:{name}") or ()), "", "")
    doc = " ".join(reader.facet(path, f"doc:{name}") or ()).partition(". ")[0].rstrip(".")
    shown = f"class {name}" if kind == "class" else f"{name}{signature}"
    return f"{shown}: {doc}" if doc else shown


def _needed(reader: Reader, path: str, written: str) -> str:
    module = module_path(reader, path, written)
    return f"[{module}]" if module else written.partition(".")[0] or written


def _shown(reader: Reader, path: str, key: str, scope: str) -> Iterator[str]:
    """What the names of a facet stand for: own things with their interface, libraries by name."""
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


def _line(label: str, texts: Facet | None, joint: str = ", ") -> Iterator[tuple[str, str]]:
    if texts and (text := joint.join(" ".join(text.split()) for text in texts)):
        yield label, text
