"""Rules that find secrets by their form, or by the text around them."""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple
from urllib.parse import unquote

WORD = re.compile(r"(?:\A|[^A-Za-z0-9]|\\[nrt])\Z")
"The text before a word: no letter or digit, unless it belongs to a line end as JSON has it."
COMMA = r"\\*[\"'],(?:\s|\\+[nr]){0,40}"
"The text between two items of a list that stand in quotes, without the second quote."
BEFORE = 24
"Letters that are read before a secret; more than any rule needs."


class SecretSpan(NamedTuple):
    """A part of a text that is to be masked."""

    start: int
    end: int
    kind: str
    "Letters and underscores: `aws_key`."
    sure: bool = False
    "Whether it is a secret everywhere, also where nothing announces it."


class Rule(NamedTuple):
    """How secrets of a kind are found."""

    kind: str
    pattern: re.Pattern[str]
    "The secret is its group of this name, else the whole match. At most linear in time."
    hints: tuple[str, ...] = ()
    "Texts, one of which is in every text with such a secret; a quick test."
    fits: Callable[[str], bool] = lambda secret: True
    sure: bool = True
    before: re.Pattern[str] | None = None
    "The text right before the match, so that a search can begin with something rare."


def rule(
    kind: str,
    pattern: str,
    hints: str = "",
    fits: Callable[[str], bool] = lambda secret: True,
    *,
    sure: bool = True,
    before: re.Pattern[str] | None = None,
) -> Rule:
    """Return a rule of a regular expression, and of hints separated by blanks."""
    return Rule(kind, re.compile(pattern, re.MULTILINE), tuple(hints.split()), fits, sure, before)


def found_by(rules: Sequence[Rule], text: str) -> Iterator[SecretSpan]:
    """Yield the spans that rules find in a text; they may overlap."""
    for rule in rules:
        if rule.hints and not any(hint in text for hint in rule.hints):
            continue
        group = "secret" if "secret" in rule.pattern.groupindex else 0
        for match in rule.pattern.finditer(text):
            start = match.start()
            if rule.before and not rule.before.search(text[max(0, start - BEFORE) : start]):
                continue
            if rule.fits(match[group]):
                yield SecretSpan(*match.span(group), rule.kind, rule.sure)


def is_given(secret: str) -> bool:
    """Return whether a value is real: no placeholder such as `${KEY}`, `<your key>` or `****`, and
    not the rest of a text that ends with the name: `'password="' + given + '"'`."""
    secret = unquote(secret) if "%" in secret else secret
    return (
        secret[0] not in "$<{'\""
        and secret[:2] not in ("%(", "%s")
        and len(set(secret)) > 1
        and not _PLACEHOLDER.match(secret)
    )


def is_mixed(secret: str) -> bool:
    """Return whether a value has digits and letters, unlike most words."""
    return bool(_DIGIT.search(secret) and _LETTER.search(secret))


_DIGIT, _LETTER = re.compile(r"\d"), re.compile(r"[^\W\d_]")
_PLACEHOLDER = re.compile(
    r"(?:your|insert|enter)[-_ ](?:[a-z]+[-_ ])*[a-z]+\Z|[xX*.-]{3,}(?:[-_][xX*.-]+)*\Z"
    r"|\[?(?:redacted|masked|hidden|removed|filtered|none|null|nil|true|false|undefined|str|string"
    r"|optional|required|empty|unset)\]?\Z",
    re.IGNORECASE,
)
