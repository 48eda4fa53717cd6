"""Which names say that a value is secret, and how much of such a value is?

One table serves fields, headers, options, variables and texts. Where a field has the name, its
value goes whatever it looks like, unless the name has other uses: `token` is also a word of
tokenizers. Where only a text has the name, the value's look decides too (see `named`).

>>> [kind_of(name) for name in ("DB_PASSWORD", "x-api-key", "token_count", "cookie_cutter")]
['password', 'named', '', '']
"""

import re
from base64 import b64decode
from binascii import Error
from collections.abc import Iterator
from typing import NamedTuple

from backcast.engine.log.redaction.rules import SecretSpan, is_given, is_mixed

KIND, HEADER, COOKIE = "secret", "authorization", "cookie"
"Kinds of a mask."
_TABLE = {
    "password": "password passwd passphrase passcode pwd pword",
    "secret": "secret secret-key secret-key-base"
    " db-pass user-pass admin-pass smtp-pass root-pass store-pass"
    " connection-string dsn",
    "named": "access-token refresh-token auth-token api-token bearer-token id-token session-token"
    " csrf-token xsrf-token security-token oauth-token bot-token app-token deploy-token"
    " service-token private-token github-token gitlab-token slack-token npm-token hf-token"
    " vault-token admin-token user-token registration-token client-token job-token webhook-token"
    " api-key access-key private-key auth-key subscription-key functions-key encryption-key"
    " signing-key shared-key account-key hmac-key jwt-key consumer-key",
    "weak": "token credential pass pin-code client-key service-key master-key webhook-key"
    " license-key app-key session-key storage-key deploy-key admin-key csrf csrftoken"
    " csrfmiddlewaretoken phpsessid jsessionid sessionid otp jwt pw",
    "cookie": "cookie cookie-jar",
    "header": "authorization",
    "auth": "auth basic-auth userpwd user-pwd",
}
"The names by what they say of their value; - stands where words may be parted in any way."
_WORD_ALONE = {"pass", "csrf", "otp", "jwt", "dsn", "auth", "pword", "pw"}
"Names that are also the ends of other words: bypass."
ENDS = (
    "word", "wd", "phrase", "code", "secret", "pass", "token", "credential", "key", "string",
    "dsn", "sessionid", "sessid", "csrf", "otp", "jwt", "cookie", "pw", "base",
)  # fmt: skip
"The ends of all names that a text may have before a value."
PLURAL = {"password", "secret", "named"}
"Kinds of name of which a plural holds nothing but secrets."
VALUE_KEYS = frozenset(
    ["value", "values", "plain", "plaintext", "raw", "current", "content", "string", "#text"]
)
"Keys that say nothing about a value but that it is one."
_SCHEME = re.compile(r"[A-Za-z][\w-]{2,20}[ \t]+(?=\S)")
_PAIR = re.compile(r"(?<![\w.-])(?P<name>[\w!#$%*.^|~+-]{1,100})=\"?(?P<secret>[^\s;\"&]{4,}+)")
_ATTRIBUTES = {"path", "domain", "expires", "max-age", "samesite", "priority", "version"}
_LOGIN = re.compile(r"[^\s:/]{1,100}:(?!//)(?P<secret>\S.{2,})")


_SEPARATORS = str.maketrans("", "", "_.- ")
_KINDS = {
    name.translate(_SEPARATORS): kind for kind, names in _TABLE.items() for name in names.split()
}
_LENGTHS = sorted({len(name) for name in _KINDS}, reverse=True)
LONGEST_NAME = 32
"Letters of a name with what parts its words."
_KEY = re.compile(r"(?P<name>[\w. $@-]*?[a-zA-Z])(?P<plural>(?<!s)s)?_?\d{0,2}")
LONGEST_KEY = 100


class Name(NamedTuple):
    """A name that tells of a secret, in a text."""

    start: int
    kind: str


def name_before(text: str, end: int) -> Name | None:
    """Return the longest name that ends at a place of a text, in any spelling: apiKey, API_KEY."""
    start = max(0, end - LONGEST_NAME)
    letters = text[start:end].translate(_SEPARATORS).lower()
    for length in _LENGTHS:
        kind = _KINDS.get(letters[-length:]) if len(letters) >= length else None
        if kind:
            first = _first_of(text, end, length)
            name = text[first:end]
            if name.lower() not in _WORD_ALONE or _is_word(text, first):
                # sessionId and session_id are what logs call a conversation.
                other = letters.endswith("sessionid") and name not in ("sessionid", "SESSIONID")
                return None if other else Name(first, kind)
    return None


def _first_of(text: str, end: int, letters: int) -> int:
    """Return where the last letters before a place begin; separators do not count."""
    start = end
    while letters:
        start -= 1
        letters -= text[start] not in "_.- "
    return start


def _is_word(text: str, start: int) -> bool:
    """Return whether a word begins at a place: after no letter, or with a capital after a small."""
    before, first = text[start - 1 : start], text[start]
    return not before.isalpha() or (before.islower() and first.isupper())


def kind_of(name: str) -> str:
    """Return what a field's name says of its value; empty for nothing."""
    return _kind_and_plural(name)[0]


def _kind_and_plural(name: str) -> tuple[str, bool]:
    key = _KEY.fullmatch(name) if len(name) <= LONGEST_KEY else None
    found = name_before(name, key.end("name")) if key else None
    if key is None or found is None:
        return "", False
    plural = bool(key["plural"])
    if plural and name[found.start : key.end("name")].lower() == "token":
        return "", False  # as of a tokenizer
    return found.kind, plural


def within(name: str, key: str) -> str:
    """Return the name that counts for a value under a key of an object that has a name itself."""
    if kind_of(key):
        return key
    kind, plural = _kind_and_plural(name)
    return name if key.lower() in VALUE_KEYS or (plural and kind in PLURAL | {"cookie"}) else key


def named_by(before: str, value: str) -> str:
    """Return the name that a text gives to the next item of a list, if it gives one: an option
    before its value, or a header before its own; empty for none."""
    kind = kind_of(before.lstrip("-"))
    if kind_of(value):  # a list of names
        return ""
    if before.startswith("-"):
        return before.lstrip("-") if kind else ""
    shown = {"header": _SCHEME.match(value) or is_random(value), "cookie": "=" in value}
    return before if kind and shown.get(kind, is_random(value)) else ""


def is_secret_number(name: str, number: str) -> bool:
    """Return whether a number is a secret because of its field's name."""
    return kind_of(name) in PLURAL and sum(letter.isdigit() for letter in number) >= 4


def in_field(name: str, value: str) -> Iterator[SecretSpan]:
    """Yield what is secret of a value because of its field's name."""
    kind = kind_of(name)
    if not kind or len(value) < 4 or not is_given(value.strip() or "$"):
        return
    match kind:
        case "header":
            yield from credentials(value, 0, len(value))
        case "cookie":
            pairs = list(cookies(value, 0, len(value)))
            whole = [] if "=" in value else [SecretSpan(0, len(value), COOKIE, is_random(value))]
            yield from pairs or whole
        case "auth":
            yield from login(value, 0, len(value))
        case _ if fits(kind, value, name):
            yield SecretSpan(0, len(value), KIND, sure=True)


def fits(kind: str, value: str, name: str = "") -> bool:
    """Return whether a value in quotes is a secret under a name of a kind."""
    if kind == "weak":
        return is_random(value)
    if kind == "named":
        return is_given(value) and not _BLANK.search(value.strip())
    if name.lower().endswith(("dsn", "string")):
        return is_given(value) and "://" not in value  # the rules of URLs find its password
    if name.lower().endswith("pwd"):
        return is_given(value) and value[0] not in "/~."  # the folder in which a shell works
    return is_given(value)


_BLANK = re.compile(r"\s")


def credentials(text: str, start: int, end: int) -> Iterator[SecretSpan]:
    """Yield what is secret of the value of an Authorization header; its scheme is not."""
    scheme = _SCHEME.match(text, start, end)
    start = scheme.end() if scheme else start
    if start < end and is_given(text[start:end]):
        yield SecretSpan(start, end, HEADER, sure=True)


def cookies(text: str, start: int, end: int) -> Iterator[SecretSpan]:
    """Yield the values of cookies, without attributes such as their paths."""
    for pair in _PAIR.finditer(text, start, end):
        if pair["name"].lower() not in _ATTRIBUTES and is_given(pair["secret"]):
            yield SecretSpan(*pair.span("secret"), COOKIE, sure=True)


def login(text: str, start: int, end: int) -> Iterator[SecretSpan]:
    """Yield the password of `user:password`, or all of it in base64."""
    found = _LOGIN.fullmatch(text, start, end)
    if found and is_given(found["secret"]):
        yield SecretSpan(*found.span("secret"), KIND, sure=True)
    elif login_in_base64(text[start:end]):
        yield SecretSpan(start, end, KIND, sure=True)


def login_in_base64(text: str) -> list[str]:
    """Return the password of a `user:password` that base64 holds; empty for none."""
    held = unpacked(text) if len(text) < 2000 else ""
    found = _LOGIN.fullmatch(held)
    return [found["secret"]] if found and held.isprintable() else []


def unpacked(text: str) -> str:
    """Return the text that base64 holds; empty for none."""
    plain = text.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        body = b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except (Error, ValueError):
        return ""
    return body.decode() if body.isascii() else ""


def is_random(secret: str) -> bool:
    """Return whether a value is long, and has digits and letters."""
    return (
        len(secret) >= 8 and is_given(secret) and is_mixed(secret) and not _UUID.fullmatch(secret)
    )


_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
