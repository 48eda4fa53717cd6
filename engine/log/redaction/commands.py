"""Secrets on command lines that only the command itself tells: `mysql -pSECRET`, `curl -u ann:...`.

Options that have a name, such as `--password`, are found by it (see `named`).
"""

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence

from backcast.engine.log.redaction.names import KIND
from backcast.engine.log.redaction.rules import (
    COMMA,
    WORD,
    Rule,
    SecretSpan,
    found_by,
    is_given,
    rule,
)

_GAP = (
    r"(?:(?<=[\"'],)(?:\r?\n|\\[rn])|\\\r?\n|(?<!\\)(?:\\{3}|\\{6}|\\{12})[rn]"
    r"|(?!\\[rn])[^\n|;]){0,300}?"
)
"The text between a command and one of its options; a line may go on after a backslash."
_BLANK = rf"(?:{COMMA}\\*[\"']|(?:[ \t]|\\\r?\n){{1,8}}\\*[\"']?|=\\*[\"']?)"
"The text between an option and its value; the two may be items of a list."
_GLUED = r"\\*[\"']?"
_NEAR = _BLANK.replace("{1,8}", "{0,8}")
_VALUE = r"(?P<secret>(?<=[\"'])[^\"'\\\n]{3,200}+(?=\\*[\"'])|[^\s\"'\\,;|&)\]]{3,200}+)"
_LOGINS = r"(?:docker|podman|nerdctl|buildah|skopeo|crane|oc|az|cf|ibmcloud|helm[ \t]+registry)"
FLAGS = (
    ("mysql", "mysql|mysqldump|mysqladmin|mysqlimport|mysqlsh", "-p", _GLUED),
    ("mariadb", "mariadb|mariadb-dump|mariadb-admin", "-p", _GLUED),
    ("sshpass", "sshpass", "-p", f"(?:{_BLANK}|{_GLUED})"),
    ("mongo", "mongo(?:sh|dump|restore|export|import)?", "-p", f"(?:{_BLANK}|{_GLUED})"),
    ("login", _LOGINS + r"(?:\W|\\n){1,40}login", "-p", _BLANK),
    ("twine", "twine", "-p", _BLANK),
    ("7z", "7za?", "-p", _GLUED),
    ("redis-cli", "redis-cli", "-a", _BLANK),
    ("ldap", "ldap(?:search|add|modify|delete|whoami|passwd)", "-w", _BLANK),
    ("sqlcmd bcp isql", "sqlcmd|bcp|isql", "-P", _BLANK),
    ("-P", "(?:un)?zip", "-P", _BLANK),
)
"Hints, commands, their options before a secret, and what stands between the two."
USERS = (
    ("curl", "curl", "-u|--user|-U|--proxy-user"),
    ("wget", "wget", "-u|--user"),
    ("-a --auth", "https?", "-a|--auth"),
    ("smbclient", "smbclient", "-U|--user"),
)
"Hints, commands, and their options before user:password."


def _is_no_port(secret: str) -> bool:
    return is_given(secret) and not _PORT.fullmatch(secret)


_PORT = re.compile(r"[\d.]{0,24}:?\d{1,5}(?::\d{1,5})?(?:/\w{1,4})?|[a-z]+(?:_[a-z]+)+|[./~].*")


def _flags() -> Iterator[Rule]:
    """Yield the rules of options that are secret because of the command alone."""
    for hints, commands, flag, blank in FLAGS:
        lead = rf"(?:{commands})\b{_GAP}(?<=[\s\"']){flag}{blank}"
        yield rule(KIND, lead + _VALUE, hints, _is_no_port, before=WORD)
    for hints, commands, flags in USERS:
        lead = rf"(?:{commands})(?=[\s\"'\\]){_GAP}(?<=[\s\"'])(?:{flags}){_NEAR}"
        yield rule(KIND, rf"{lead}[^\s:%\"'\\]{{1,64}}[:%]{_VALUE}", hints, is_given, before=WORD)


RULES = tuple(_flags())


def in_command(items: Sequence[str]) -> Iterator[tuple[int, int, int]]:
    """Yield secrets among the words of a command line: the word's index, and where it is there."""
    text, starts = '["' + '", "'.join(items) + '"]', list[int]()
    start = 2
    for item in items:
        starts.append(start)
        start += len(item) + 4
    for found in found_by(RULES, text):
        index = bisect_right(starts, found.start) - 1
        start = found.start - starts[index]
        yield index, start, min(found.end - starts[index], len(items[index]))


def found_in(text: str) -> Iterator[SecretSpan]:
    """Yield secrets on the command lines in a text."""
    return found_by(RULES, text)
