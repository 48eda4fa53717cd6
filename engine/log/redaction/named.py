r"""Secrets with a name before them: `API_KEY=...`, `"password": "..."`, `--token ...`.

>>> [text[f.start:f.end] for text in ['password = "hunter2"', "API_KEY=a1b2c3", "token = next()"]
...  for f in found_in(text)]
['hunter2', 'a1b2c3']
"""

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from backcast.engine.log.redaction.rules import SecretSpan, is_given, is_mixed

KIND = "secret"
LONGEST_NAME, LONGEST_LEAD = 16, 48
"Letters of a name, and of the option or query before it."
_LETTERS = ("word", "wd", "phrase", "secret", "pass", "token", "credential", "credentials", "key")
"The ends of the names, which are quick to find."
_ENDS = [
    re.compile(way) for end in _LETTERS for way in (end, end.capitalize(), end.upper())
]  # fmt: skip


def _ways(*names: str) -> str:
    """Return names in all their spellings: api_key, apiKey, ApiKey, API_KEY."""
    found = []
    for name in names:
        first, *rest = name.split("-")
        tail = "".join(f"[_.-]?[{part[0]}{part[0].upper()}]{part[1:]}" for part in rest)
        whole = f"[{first[0]}{first[0].upper()}]{first[1:]}{tail}"
        found += [whole, "[_.-]?".join(name.upper().split("-"))]
    return "|".join(found)


_PASSWORDS = _ways("password", "passwd", "passphrase")
_SECRETS = _ways("secret", "secret-key", "pwd", "db-pass", "user-pass", "admin-pass", "smtp-pass")
_TOKENS = _ways(
    "token", "credential", "credentials", "api-key", "access-key", "auth-key", "account-key",
    "private-key", "service-key", "client-key", "encryption-key", "signing-key", "master-key",
    "webhook-key", "license-key",
)  # fmt: skip
_NAME = re.compile(rf"(?:(?P<password>{_PASSWORDS})|(?P<secret>{_SECRETS})|(?P<token>{_TOKENS}))\Z")
_LEAD = re.compile(r"(?:(?P<option>--)|(?P<query>[?&;]|%3[Ff]|%26))[\w.-]*\Z")

_CLOSED = r"\d{0,2}(?:\\*[\"'])?\]?[ \t]{0,8}"
"The text that may follow a name used as a key: a quote, escaped or not, and a bracket."
_FOLLOWED = re.compile(_CLOSED + r"(?:[:=!]|%3|(?<=[ \t])[^\s])")
_SET = r"(?:=>|:=|[=!]==?|:[ \t]{0,3}\w[\w.\[\]| ]{0,40}=|[:=])[ \t]{0,8}"
_OPEN = r"[rbfuRBFU]{0,2}(?P<quote>\\*[\"'])"
_BARE = r"(?P<secret>(?![$<{%*])(?:(?!%26)[^\s\"'\\;&|,`(){}<>\[\]]){4,200}+)(?![(\[{])"
_LONGER = re.compile(r"(?:(?!%26)[^\s\"'\\;&|,`(){}<>\[\]])*+")
"The rest of a value without quotes; only an accepted value is read to its end."


def _quoted(letter: str, longest: int) -> re.Pattern[str]:
    value = rf"(?P<secret>(?:\\{letter}|(?!(?P=quote))(?!\\){letter}){{4,{longest}}}?)"
    return re.compile(f"{_CLOSED}{_SET}{_OPEN}{value}(?P=quote)")


def is_random(secret: str) -> bool:
    """Return whether a value is long, and has digits and letters."""
    return len(secret) >= 8 and is_given(secret) and is_mixed(secret)


def _is_no_code(secret: str) -> bool:
    """Return whether a value without quotes cannot be code."""
    return (
        is_given(secret)
        and secret.lower() not in ("none", "null", "true", "false", "undefined")
        and not re.fullmatch(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+\.?", secret)
    )


class _ValueForm(NamedTuple):
    """A form in which a value may follow a name."""

    pattern: re.Pattern[str]
    names: tuple[str, ...]
    "Kinds of name, one of which is needed."
    fits: Callable[[str], bool]
    sure: bool = False
    bare: bool = True


_SURE_NAMES = ("password", "secret")
_FORMS = (
    _ValueForm(_quoted(r"[^\r\n]", 200), ("password",), is_given, sure=True, bare=False),
    _ValueForm(_quoted(r"[^\s]", 1000), ("secret",), is_given, sure=True, bare=False),
    _ValueForm(_quoted(r"[^\s]", 8000), ("token",), is_random, sure=True, bare=False),
    _ValueForm(re.compile(rf"\d{{0,2}}={_BARE}"), ("shouted",), _is_no_code),
    _ValueForm(re.compile(rf"\d{{0,2}}(?:=|%3[Dd]|:[ \t]{{1,8}}){_BARE}"), _SURE_NAMES,
          lambda secret: is_mixed(secret) and _is_no_code(secret)),
    _ValueForm(re.compile(rf"\d{{0,2}}(?:=|%3[Dd]){_BARE}"), ("token",),
          lambda secret: is_random(secret) and _is_no_code(secret)),
    _ValueForm(re.compile(
        rf"{_CLOSED}[:=][ \t]{{1,8}}{_BARE}(?=[ \t]*(?:\r?$|\\[nr]|[ \t]#))", re.M),
          ("password", "secret", "token"),
          lambda secret: is_random(secret) and _is_no_code(secret)),
    _ValueForm(re.compile(rf"[ \t]{{1,8}}\\*[\"']?{_BARE}"), ("option",),
          lambda secret: is_mixed(secret) and _is_no_code(secret), sure=True),
    _ValueForm(re.compile(r"(?:=|%3[Dd])(?P<secret>(?:(?!%26)[^\s&#\"'\\<>]){6,200}+)"), ("query",),
          is_given),
)  # fmt: skip


def found_in(text: str) -> Iterator[SecretSpan]:
    """Yield secrets with a name before them."""
    for ends in _ENDS:
        reached = 0
        for match in ends.finditer(text):
            # Skip names inside a secret; few of the others have a value.
            if match.start() >= reached and _FOLLOWED.match(text, match.end()):
                for found in _given(text, match.end()):
                    reached = max(reached, found.end)
                    yield found


def _given(text: str, end: int) -> Iterator[SecretSpan]:
    """Yield the values that follow a name which ends at `end`."""
    kinds = _kinds_of(text, end)
    for form in _FORMS:
        if kinds.intersection(form.names):
            match = form.pattern.match(text, end)
            if match and form.fits(match["secret"]):
                start, last = match.span("secret")
                # The pattern is bounded, since most of its matches are no secrets.
                longer = _LONGER.match(text, last) if form.bare else None
                yield SecretSpan(start, longer.end() if longer else last, KIND, form.sure)


def _kinds_of(text: str, end: int) -> set[str]:
    """Return what a name that ends at `end` may be; empty if it is none."""
    start = max(0, end - LONGEST_NAME)
    name = _NAME.search(text[start:end])
    if name is None:
        return set()
    kinds = {kind for kind, text in name.groupdict().items() if text}
    kinds |= {"shouted"} if name[0].isupper() else set()
    first = start + name.start()
    lead = _LEAD.search(text[max(0, first - LONGEST_LEAD) : first])
    return kinds | {lead.lastgroup or ""} if lead else kinds


def announced(key: str, value: str) -> str:
    """Return the kind of a value that its key announces as a secret; empty for none."""
    name = _KEY.fullmatch(key)
    if name is None or len(value) < 4 or not is_given(value):
        return ""
    return KIND if name["token"] is None or is_random(value) else ""


_KEY = re.compile(rf"[\w.-]*?(?:{_PASSWORDS}|{_SECRETS}|(?P<token>{_TOKENS}))\d{{0,2}}")
