"""Golden files: a prompt as text that people can read, its tokens and digest before its messages.

The diff of two golden texts names the sections that differ, then the first differing lines.
"""

import os
from collections.abc import Iterator
from difflib import unified_diff
from itertools import islice
from pathlib import Path

from backcast.domain.context import Context
from backcast.domain.policy import SECTIONS
from backcast.domain.texts import SHORT_WORDS, TEXTS
from backcast.engine.interfaces.views import one_line

LINES = 20
"Differing lines that are shown."
WIDTH = 120
"Characters of a differing line."
_SECTIONS = {
    texts[section]: section for texts in (SHORT_WORDS["texts"], TEXTS) for section in SECTIONS
}
"The sections by the line above each, in the words of our own policies."


def golden_text(context: Context) -> str:
    """Return the text of a prompt's golden file."""
    messages = (f"[{role}]\n{text}\n" for role, text in context.messages)
    return "\n".join([f"{context.tokens} tokens, digest {context.digest}\n", *messages])


def read_golden(path: Path) -> str | None:
    """Return the text of a golden file; None where there is none."""
    try:
        return path.read_bytes().decode(errors="surrogatepass")
    except (FileNotFoundError, NotADirectoryError):
        return None


def write_golden(path: Path, text: str) -> None:
    """Write a golden file atomically, unless it holds the text already."""
    if read_golden(path) == text:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    # Several processes may run the same test.
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    part.write_bytes(text.encode(errors="surrogatepass"))
    part.replace(path)


def golden_diff(golden: str, now: str) -> str:
    """Return the sections where a golden text and today's differ, and the first lines."""
    return "\n".join(one_line(line, WIDTH) for line in _lines(golden, now))


def _lines(golden: str, now: str) -> Iterator[str]:
    old, new = _sections(golden), _sections(now)
    for name in dict.fromkeys([*old, *new]):
        was, is_now = old.get(name, []), new.get(name, [])
        if was != is_now:
            diff = list(unified_diff(was, is_now, n=0, lineterm=""))[2:]
            more, less = (sum(line.startswith(sign) for line in diff) for sign in "+-")
            yield f"  {name}: {len(was)} -> {len(is_now)} lines, +{more} -{less}"
    diff = list(unified_diff(golden.split("\n"), now.split("\n"), "golden", "now", "", "", 1, ""))
    yield from islice(diff, LINES)
    if len(diff) > LINES:
        yield f"... and {len(diff) - LINES} lines more"


def _sections(text: str) -> dict[str, list[str]]:
    """Return the lines of each section by name; lines before the first are under `head`."""
    sections: dict[str, list[str]] = {}
    name = "head"
    for line in text.split("\n"):
        name = _SECTIONS.get(line, name)
        sections.setdefault(name, []).append(line)
    return sections
