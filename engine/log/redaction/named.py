r"""Secrets with a name before them in a text: `API_KEY=...`, `"password": "..."`, `--token ...`.

>>> [text[f.start:f.end] for text in ['password = "hunter2"', "API_KEY=a1b2c3", "token = next()"]
...  for f in found_in(text)]
['hunter2', 'a1b2c3']
"""

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple
from urllib.parse import unquote

from backcast.engine.log.redaction import names
from backcast.engine.log.redaction.names import KIND, fits, is_random, kind_of, name_before
from backcast.engine.log.redaction.rules import COMMA, SecretSpan, is_given, is_mixed

LONGEST_LEAD = 48
"Letters of what may stand before a name."
LONGEST_VALUES = 4000
"Characters of a list or an object whose values are secrets."
_ENDS = [re.compile(way) for end in names.ENDS for way in (end, end.capitalize(), end.upper())]
_LEAD = re.compile(
    r"(?:(?P<option>(?:--|(?:^|[\s\"'\[,(])-)[\w.-]*)|(?P<query>(?:[?&;#]|%3[Ff]|%26)[\w.-]*)"
    r"|(?P<tag><(?:\w+:)?[\w.-]*)"
    r"|(?P<variable>(?:\b|\\n)(?:ENV|setx|config(?:ure)?[ \t]+set)[ \t]+[\w./:-]*)"
    r"|(?P<header>(?:^|[\"'\s])[A-Za-z]+-(?:[A-Za-z]+-)*))\Z",
    re.MULTILINE,
)

_CLOSED = r"_?\d{0,2}(?:\\*[\"'])?\]?[ \t]{0,8}"
"The text that may follow a name used as a key: a quote, escaped or not, and a bracket."
_FOLLOWED = re.compile(
    r"s?" + _CLOSED + r"(?:[:=!,>]|%3|(?<=[ \t])[^\s]|(?:\n|\\+n)\s{0,40}[\"']?[Vv]alue)"
)
_SET = r"(?:=>|:=|[=!]==?|:[ \t]{0,3}\w[\w.\[\]| ]{0,40}=|[:=])[ \t]{0,8}"
_OPEN = r"[rbfuRBFU]{0,2}(?P<quote>\\*[\"'])"
_BARE = r"(?P<secret>(?![$<{%*])(?:(?!%26)[^\s\"'\\;&|,`(){}<>\[\]]){4,200}+)(?![(\[{])"
_LONGER = re.compile(r"(?:(?!%26)[^\s\"'\\;&|,`(){}<>\[\]])*+")
"The rest of a value without quotes; only an accepted value is read to its end."
_MORE = re.compile(
    r"\\*[\"'](?:[ \t]{0,8}\+[ \t]{0,8})?\\*[\"'](?P<secret>[\w.~+/=@!#%^-]++)(?=\\*[\"'])"
    r"|(?:\\*[\"'])?\\\r?\n(?P<next>[\w.~+/=@!#%^-]++)"
)
"The next part of a value in parts: 'a'\"b\", 'a' + 'b', or a line that is continued."
_PAIR = (
    r"(?:\\*[\"'])?[ \t]{0,8}[,;]?(?:\\[nr]|\s){0,40}[^\n<>\"':]{0,60}?\\*[\"']?"
    r"\b[Vv]alue\\*[\"']?[ \t]{0,8}[:=][ \t]{0,8}"
)
"The text between a name and a value that are two fields of one object."


def _quoted(letter: str, longest: int, before: str = _CLOSED + _SET) -> re.Pattern[str]:
    value = rf"(?P<secret>(?:\\{letter}|\\\r?\n|(?!(?P=quote))(?!\\){letter}){{4,{longest}}}?)"
    return re.compile(f"{before}{_OPEN}{value}(?P=quote)")


def _is_no_code(secret: str) -> bool:
    """Return whether a value without quotes cannot be code."""
    return is_given(secret) and not _CODE.fullmatch(unquote(secret))


_CODE = re.compile(r"[A-Za-z_][\w.]*[(\[].*|[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+\.?")


def _mixed(secret: str) -> bool:
    return is_mixed(secret) and _is_no_code(secret)


def _random(secret: str) -> bool:
    return is_random(secret) and _is_no_code(secret)


def _said(secret: str) -> bool:
    """Return whether a word of a sentence is a secret and not the name of a method: sha256."""
    return len(secret) >= 6 and _mixed(secret) and not _METHOD.fullmatch(secret.lower())


_METHOD = re.compile(
    r"(?:sha|md|base|utf|hmac|bcrypt|argon|scrypt|pbkdf|python|py|ipv|u?int|float|oauth|http|aes"
    r"|rsa|ecdsa|ed|iso|rfc|pkcs|crc|blake|uuid|ascii|latin|hs|rs|es|ps|v|x|b|k|h|p|i|s|win)[-_]?"
    r"\d{1,5}(?:[-_/.:][a-z\d]{1,12})*(?:s|n|url|encoded|hashed|sum|bit|bits)?\W*|\d+\W*[a-z]+"
)


class _ValueForm(NamedTuple):
    """A form in which a value may follow a name."""

    pattern: re.Pattern[str]
    names: tuple[str, ...]
    "Kinds of name, one of which is needed."
    fits: Callable[[str], bool] | None
    "None for the same test as in a field."
    sure: bool = False
    bare: bool = True


_NAMES = ("password", "secret", "named", "weak")
_LINE_ENDS = r"(?=[ \t]*(?:\r?$|\\+[nr]|[ \t]#|\\*[\"']))"
_FORMS = (
    _ValueForm(_quoted(r"[^\r\n]", 200), ("password",), None, sure=True, bare=False),
    _ValueForm(_quoted(r"[^\s]", 1000), ("secret", "field"), None, sure=True, bare=False),
    _ValueForm(_quoted(r"[^\s]", 8000), ("named", "weak"), is_random, sure=True, bare=False),
    _ValueForm(_quoted(r"[^\s]", 1000, rf"_?\d{{0,2}}{COMMA}"), _NAMES, is_random,
               sure=True, bare=False),
    _ValueForm(_quoted(r"[^\r\n]", 1000, _PAIR), ("field", "password", "secret"), is_given,
               sure=True, bare=False),
    _ValueForm(re.compile(_PAIR + _BARE + _LINE_ENDS, re.M), _NAMES, _mixed),
    _ValueForm(re.compile(rf"{_CLOSED}{_SET}(?P<secret>\d[\d.]{{3,40}}+)(?![\w%])"),
               ("field", "shut"), is_given),
    _ValueForm(re.compile(rf"{_CLOSED}{_SET}(?P<secret>\d{{6,40}}+)(?![\w%.])"),
               ("password", "secret"), is_given),
    _ValueForm(re.compile(rf"_?\d{{0,2}}={_BARE}"), ("shouted",), _is_no_code),
    _ValueForm(re.compile(rf"_?\d{{0,2}}(?:=|%3[Dd]|:[ \t]{{1,8}}){_BARE}"), ("password", "secret"),
               _mixed),
    _ValueForm(re.compile(rf"_?\d{{0,2}}(?:=|%3[Dd]){_BARE}"), ("named", "weak"), _random),
    _ValueForm(re.compile(rf"{_CLOSED}[:=][ \t]{{1,8}}{_BARE}{_LINE_ENDS}", re.M),
               _NAMES, _random),
    _ValueForm(re.compile(rf"{_CLOSED}:[ \t]{{0,8}}{_BARE}{_LINE_ENDS}", re.M), ("header",),
               _is_no_code, sure=True),
    _ValueForm(re.compile(rf"(?:[ \t]{{1,8}}|{COMMA})\\*[\"']?{_BARE}"), ("option",),
               _mixed, sure=True),
    _ValueForm(re.compile(r"[ \t]{1,8}\\*(?P<quote>[\"'])(?P<secret>[^\r\n\"'\\]{4,200})"
                          r"(?P=quote)"), ("option",), is_given, sure=True, bare=False),
    _ValueForm(re.compile(rf"={_BARE}"), ("option",), _is_no_code, sure=True),
    _ValueForm(re.compile(rf"[ \t]{{1,8}}{_BARE}"), ("variable",), _is_no_code, sure=True),
    _ValueForm(re.compile(r"[^<>\n]{0,80}>[ \t]{0,8}(?P<secret>[^<>\s][^<>\n]{3,1000}?)"
                          r"[ \t]{0,8}</"),
               ("tag",), None, sure=True, bare=False),
    _ValueForm(re.compile(r"[ \t]{1,3}(?:is|was|to|be|are)(?: now| set to)?:?[ \t]{1,3}[`\"'(]{0,2}"
                          r"(?P<secret>[^\s\"'`\\,;<>()\[\]{}]{6,200}?)(?=[.!?]*(?:[\s\"'`\\,;)]|\Z))"),
               _NAMES, _said, sure=True, bare=False),
    _ValueForm(re.compile(r"(?:=|%3[Dd])(?P<secret>(?:(?!%26)[^\s&#\"'\\<>]){6,200}+)"), ("query",),
               is_given),
)  # fmt: skip
_LISTED = re.compile(rf"s?{_CLOSED}{_SET}(?=[\[{{(])")
_PART = re.compile(
    r"(?P<open>[\[{(])|(?P<close>[\])}])|[rbfuRBFU]{0,2}(?P<quote>\\*[\"'])"
    r"(?P<text>(?:\\[^\r\n]|(?!(?P=quote))[^\r\n\\]){0,1000}?)(?P=quote)(?P<key>[ \t]{0,8}:)?"
    r"|(?<![\w.])(?P<number>\d[\d.]{3,40}+)(?!\w)"
)


def found_in(text: str) -> Iterator[SecretSpan]:
    """Yield secrets with a name before them."""
    for ends in _ENDS:
        reached = listed = 0
        for match in ends.finditer(text):
            end = match.end()
            # Skip names inside a secret; few of the others have a value.
            if match.start() < reached or not _FOLLOWED.match(text, end):
                continue
            name, kinds = _name_at(text, end)
            for found in _given(text, end, name, kinds):
                reached = max(reached, found.end)
                yield found
            # A name inside a list was read with the list.
            if "listed" in kinds and end >= listed and (start := _LISTED.match(text, end)):
                values, listed = _listed(text, start.end(), name + "s" * (text[end] == "s"))
                yield from values


def _given(text: str, end: int, name: str, kinds: set[str]) -> Iterator[SecretSpan]:
    """Yield the values that follow a name which ends at `end`."""
    for form in _FORMS:
        if kinds.intersection(form.names):
            match = form.pattern.match(text, end)
            if match and _fit(form, match["secret"], name, kinds):
                start, last = match.span("secret")
                # The pattern is bounded, since most of its matches are no secrets.
                longer = _LONGER.match(text, last) if form.bare else None
                last = longer.end() if longer else last
                yield SecretSpan(start, last, KIND, form.sure)
                while more := _MORE.match(text, last):
                    group = "secret" if more["secret"] else "next"
                    yield SecretSpan(*more.span(group), KIND)
                    last = more.end(group)


def _fit(form: _ValueForm, secret: str, name: str, kinds: set[str]) -> bool:
    if name.lower() == "pwd" and secret[0] in "/~.":  # the folder in which a shell works
        return False
    if form.fits is not None:
        return form.fits(secret)
    return any(fits(kind, secret, name) for kind in kinds.intersection(_NAMES))


def _listed(text: str, start: int, name: str) -> tuple[list[SecretSpan], int]:
    """Return the secret values of a list or an object that has a name, and where it ends."""
    key, objects, found = "", list[bool](), list[SecretSpan]()
    for part in _PART.finditer(text, start, start + LONGEST_VALUES):
        if part["open"]:
            objects.append(part["open"] == "{")
            key = "" if len(objects) > 1 and objects[-1] else key
        elif part["close"]:
            if objects:
                objects.pop()
            if not objects:
                return found, part.end()
        elif part["key"] and objects and objects[-1]:
            key = part["text"]
        else:
            group = "number" if part["number"] else "text"
            named = names.within(name, key) if key else name
            found += _in_item(named, part[group], part.start(group), group == "number")
    return found, start + LONGEST_VALUES


def _in_item(name: str, value: str, start: int, number: bool) -> Iterator[SecretSpan]:
    if number:
        if names.is_secret_number(name, value):
            yield SecretSpan(start, start + len(value), KIND)
    elif is_mixed(value) or not kind_of(value):  # else a list of names
        for found in names.in_field(name, value):
            yield found._replace(start=start + found.start, end=start + found.end)


def _name_at(text: str, end: int) -> tuple[str, set[str]]:
    """Return the name that ends at `end`, and what it may be; empty if it is none."""
    found = name_before(text, end)
    if found is None:
        return "", set()
    first, kind = found
    name, kinds = text[first:end], {kind}
    kinds |= {"shouted"} if name.isupper() and kind in _NAMES else set()
    lead = _LEAD.search(text[max(0, first - LONGEST_LEAD) : first])
    kinds |= {lead.lastgroup or ""} if lead else set()
    if _SHUT.match(text, end):
        kinds |= {"field"} if kinds & {"named"} else set()
        kinds |= {"shut"} if kinds & names.PLURAL else set()
        kinds |= {"listed"} if name.lower() != "token" else set()
    elif text[end : end + 1] == "s":
        kinds |= {"listed"} if kinds & (names.PLURAL | {"cookie"}) else set()
    return name, kinds


_SHUT = re.compile(r"s?_?\d{0,2}\\*[\"']")
