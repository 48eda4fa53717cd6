r"""Which words of ours stand in a prompt, beside the project's code and the user's own words?

A request is recorded in the words of `TEXTS`, whatever the policy: a prompt shows it in those of
its policy, so that one recorded request can be shown in any words.

>>> reworded("Work on a.py.\nBe quick.", TEXTS, dict(TEXTS) | {"work": "In {path}:"})
'In a.py:\nBe quick.'
"""

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from string import Formatter
from typing import Any, NamedTuple

HEADINGS: Mapping[str, str] = {
    "context map": "# Context map",
    "related modules": "# Related modules",
    "dependencies": "# Dependencies",
    "historical patterns": "# Historical patterns",
    "related functions": "# Related functions",
    "test results": "# Test results",
    "current module": "# Current module",
    "added": "# Added",
    "recent errors": "# Recent errors",
    "task description": "# Task description",
}
"The line above each section."
FILE: Mapping[str, str] = {"file": "## {path}"}
"The line above what is shown of a file."
LINES: Mapping[str, str] = {
    "goal": "Task: {goal}",
    "work": "Work on {path}.",
    "work on": "Work on {path}, {name}.",
    "large": "Not shown in full, since too large: {names}.",
    "write": "Write the module {path}: {purpose}.",
    "mend": "Mend the module {path}: {purpose}.",
    "beside": "Beside it there are:",
    "import": "It may import {modules}.",
    "checked": "It is checked by {tests}.",
    "requirements": "Requirements:",
    "failed": "What failed stands under Recent errors.",
    "attempt": "This is attempt {number}: earlier answers could not be used.",
    "form": "Answer with one fenced block that begins with ```python {path} and holds the whole"
    " file.",
    "show": "To see something in full first, answer instead with a block that begins with"
    " ```show and names it, at most {nodes} names, one a line.",
    "plan": "Plan the modules of this task.",
    "modules": "Each module has a path, a purpose in one sentence, the paths of the other modules"
    " that it needs, and the given test files that check it. The given tests are {tests}; do not"
    " plan them again.",
    "given": "The modules are these, and no others:",
    "paths": "All paths of modules end in .py.",
    "json": "Answer in JSON, such as {form}",
    "summary": "Sum up the {kind} {what} for a programmer who will not see it. Say only what the"
    " text shows. Answer in JSON, with the fields {fields}; summary has at most {words} words, the"
    " others a sentence each.",
}
"The lines of the task's section, in which requests are recorded."
NEW: Mapping[str, str] = {"new": "Work on {path}."}
"The line for a module that is not there yet; a policy whose texts lack it has that of `work`."
PLANS: Mapping[str, str] = {
    "example": "Plan of an earlier task like this one, {task}, whose tests passed: {goal}",
    "differs": "It was asked for otherwise: {theirs}.",
}
"The lines of the plan of an earlier task, which a request for a plan shows as an example."
CHECKED: Mapping[str, str] = {
    "ran": "Last run: {passed} of {all} passed.",
    "ran all": "Last run of all tests: {passed} of {all} passed.",
    "skipped": " Skipped: {count}.",
    "failing": "Failed: {names}.",
    "passing": "Passed: {names}.",
    "since": "Changed since that run: {names}.",
    "try": "Iteration {number}: {passed} of {all} passed.",
    "try all": "All tests: {passed} of {all} passed.",
    "mended": "Mended: {names}.",
    "still": "Still failed: {names}.",
}
"The lines about runs of checks: the last one, and those before it."
TEXTS: Mapping[str, str] = {**HEADINGS, **FILE, **LINES, **PLANS, **CHECKED}
"Every text by name, as it always was."
KNOWN: Mapping[str, str] = {**TEXTS, **NEW}
"Every text that a policy may have."

HOLDS: Mapping[str, tuple[str, ...]] = {
    "goal": ("{goal}",), "write": ("{purpose}",), "mend": ("{purpose}",),
    "form": ("```python {path}",), "modules": ("{tests}",), "json": ("JSON",),
    "summary": ("{what}", "{fields}", "JSON"), "plan": (),
}  # fmt: skip
"What texts must hold that may not be empty: the user's words, and the form that is read."
HOLDS_IF_ANY: Mapping[str, tuple[str, ...]] = {
    "show": ("```show",), "import": ("{modules}",), "checked": ("{tests}",), "large": ("{names}",),
    "file": ("{path}",), "work": ("{path}",), "new": ("{path}",), "work on": ("{path}", "{name}"),
    "example": ("{task}",), "differs": ("{theirs}",),
}  # fmt: skip
"What texts must hold unless they are empty."
WORDS_OF_USERS = ("goal", "purpose")
"Placeholders of what the user says, which no instruction is left out with."
_SENTENCE = re.compile(r"(?<=[.:;])[ \n]+")


class LineMatch(NamedTuple):
    """A line that a text made."""

    name: str
    values: dict[str, str]


def problem_of(name: str, text: str) -> str:
    """Return what was needed of a text and what was found; empty where nothing is wrong.

    >>> problem_of("goal", "Do it")
    "needed a text with {goal}, found 'Do it'"
    """
    if "\n" in text or "\r" in text:
        return f"needed one line, found {text!r}"
    try:
        fields = [part[1:] for part in Formatter().parse(text) if part[1] is not None]
    except ValueError as error:
        return f"needed a text in which braces hold a name, found {text!r}: {error}"
    known = fields_of(KNOWN[name])
    for field, how, conversion in fields:
        if field not in known or how or conversion:
            names = " or ".join(f"{{{one}}}" for one in known)
            needed = f"no placeholder but {names}" if known else "no placeholder"
            return f"needed {needed}, found {{{field}}} in {text!r}"
    if name in HOLDS and not text:
        return "needed a text, found an empty one"
    holds = HOLDS.get(name, ()) or (HOLDS_IF_ANY.get(name, ()) if text else ())
    if absent := [part for part in holds if part not in text]:
        return f"needed a text with {absent[0]}, found {text!r}"
    return ""


def fields_of(text: str) -> list[str]:
    """Return the names of a text's placeholders."""
    return [field for _, field, _, _ in Formatter().parse(text) if field]


def reworded(text: str, old: Mapping[str, str], new: Mapping[str, str]) -> str:
    """Return a task's text with the lines that the `old` texts made as the `new` texts make them.

    A line that none of them made is the user's, and stays.
    """
    changed = tuple((name, old[name]) for name in LINES if old[name] != new[name])
    if not changed:
        return text
    every = tuple((name, old[name]) for name in LINES)
    lines = []
    for line in text.split("\n"):
        found = matched(line, every)
        if found is None:
            lines.append(line)
        elif said := new[found.name].format(**found.values):
            lines.append(said)
    return "\n".join(lines)


@lru_cache(maxsize=10_000)
def matched(line: str, texts: tuple[tuple[str, str], ...]) -> LineMatch | None:
    """Return by which of some named texts a line was made: by the one with the most words."""
    for name, pattern in _patterns(texts):
        if found := pattern.fullmatch(line):
            return LineMatch(name, found.groupdict())
    return None


@lru_cache(maxsize=100)
def _patterns(texts: tuple[tuple[str, str], ...]) -> list[tuple[str, re.Pattern[str]]]:
    """Return the texts that have words of their own as patterns, those with the most first."""
    spoken = [(name, text) for name, text in texts if literal(text).strip()]
    longest = sorted(spoken, key=lambda text: -len(literal(text[1])))
    return [(name, re.compile(_pattern(text))) for name, text in longest]


def _pattern(text: str) -> str:
    parts, seen = list[str](), set[str]()
    for words, field, _, _ in Formatter().parse(text):
        parts.append(re.escape(words))
        if field:
            parts.append(f"(?P={field})" if field in seen else f"(?P<{field}>.*)")
            seen.add(field)
    return "".join(parts)


def literal(text: str) -> str:
    """Return the words of a text without its placeholders.

    >>> literal("Work on {path}, {name}.")
    'Work on , .'
    """
    return "".join(words for words, _, _, _ in Formatter().parse(text))


def without(text: str, number: int) -> str:
    """Return a text without one of its sentences; what the user says in it stays.

    >>> without("Task: {goal}", 0), without("Be brief. Be kind.", 1)
    ('{goal}', 'Be brief.')
    """
    parts = list(sentences(text))
    kept = [f"{{{one}}}" for one in fields_of(parts[number]) if one in WORDS_OF_USERS]
    parts[number : number + 1] = kept
    return " ".join(parts)


def sentences(text: str) -> Iterator[str]:
    """Yield the sentences of a text."""
    yield from filter(None, _SENTENCE.split(text))


SHORT_WORDS: Mapping[str, Any] = {
    "system": "Write Python. Use what the project has.",
    "texts": {
        **TEXTS,
        "new": "Work on {path}, a new module.",
        "context map": "# Map",
        "related modules": "# Modules",
        "dependencies": "# Imports",
        "historical patterns": "# Patterns",
        "related functions": "# Functions",
        "test results": "# Tests",
        "current module": "# Module",
        "recent errors": "# Errors",
        "task description": "# Task",
        "large": "Too large to show: {names}.",
        "write": "Write {path}: {purpose}.",
        "mend": "Mend {path}: {purpose}.",
        "beside": "Beside it:",
        "checked": "Tests: {tests}.",
        "failed": "",
        "form": "Answer with ```python {path} and the whole file.",
        "show": "To see code first, answer with ```show and up to {nodes} names, one a line.",
    },
}
"Settings of a policy with the fewest words of ours that lost nothing: `Policy(**SHORT_WORDS)`."
