"""A rule: what a secret looks like, or what stands around one."""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

WORD = re.compile(r"(?:\A|[^A-Za-z0-9]|\\[nrt])\Z")
"What stands before a word: no letter or digit, unless it is of a line's end as JSON has it."
BEFORE = 24
"Letters that are looked at before a secret; more than any rule needs."


class SecretSpan(NamedTuple):
    """A part of a text that is to be masked."""

    start: int
    end: int
    kind: str
    "Letters and underscores: `aws_key`."
    sure: bool = False
    "Whether it is a secret wherever else it stands, without what told it here."


class Rule(NamedTuple):
    """How secrets of a kind are found."""

    kind: str
    pattern: re.Pattern[str]
    "The secret is its group of this name, else all of it. Never more than linear: texts are large."
    hints: tuple[str, ...] = ()
    "One of them stands in each text in which there is such a secret; finding that out is quick."
    fits: Callable[[str], bool] = lambda secret: True
    sure: bool = True
    before: re.Pattern[str] | None = None
    "What stands right before the match, so that a search can begin with what is rare."


def rule(
    kind: str,
    pattern: str,
    hints: str = "",
    fits: Callable[[str], bool] = lambda secret: True,
    *,
    sure: bool = True,
    before: re.Pattern[str] | None = None,
) -> Rule:
    """A rule of a regular expression, and of hints with blanks between them."""
    return Rule(kind, re.compile(pattern, re.MULTILINE), tuple(hints.split()), fits, sure, before)


def found_by(rules: Sequence[Rule], text: str) -> Iterator[SecretSpan]:
    """What rules find in a text; parts may overlap."""
    for one in rules:
        if one.hints and not any(hint in text for hint in one.hints):
            continue
        group = "secret" if "secret" in one.pattern.groupindex else 0
        for match in one.pattern.finditer(text):
            start = match.start()
            if one.before and not one.before.search(text[max(0, start - BEFORE) : start]):
                continue
            if one.fits(match[group]):
                yield SecretSpan(*match.span(group), one.kind, one.sure)


def is_given(secret: str) -> bool:
    """Whether a value is one: no place for one, such as `${KEY}`, `<your key>` or `****`, and not
    the end of a text of which the name was the last word: `'password="' + given + '"'`."""
    return secret[0] not in "$<{'\"" and secret[:2] not in ("%(", "%s") and len(set(secret)) > 1


def is_mixed(secret: str) -> bool:
    """Whether a value has digits and letters, unlike most words."""
    return bool(_DIGIT.search(secret) and _LETTER.search(secret))


_DIGIT, _LETTER = re.compile(r"\d"), re.compile(r"[^\W\d_]")
