"""Secrets at telling places: URLs, headers, command lines; and people's names in paths of homes."""

import re
from collections.abc import Iterator

from backcast.engine.log.redaction import names
from backcast.engine.log.redaction.names import HEADER, KIND, is_random
from backcast.engine.log.redaction.rules import (
    COMMA,
    SecretSpan,
    found_by,
    is_given,
    is_mixed,
    rule,
)

HOME = "home_path"
"The kind of a person's name in a path, which is replaced by `user`."
USER = "user"
_NAME = r"(?P<secret>\w(?:[\w.@+-]{0,62}\w)?)"
_FOLDERS = r"(?:home|Users)"
_ROOT = re.compile(
    r"(?:\A|[^\w.~*)\]}\\-]|\\[nrt])"
    r"(?:\\{0,2}/(?:export|usr|var|data|net|nfs|mnt\\{0,2}/[A-Za-z]|[A-Za-z]))?\\{0,2}\Z"
)
"The text before /home or /Users: other systems' places and drives, no relative path."
_USER = r"[^\s/?#@:\"'<>\\]{0,64}"


def _is_credential(secret: str) -> bool:
    return is_given(secret) and not re.match(r"(?:username|realm|credential|keyid)=", secret, re.I)


def _is_no_code(secret: str) -> bool:
    return is_given(secret) and (is_mixed(secret) or secret.endswith("="))


_QUOTE = r"(?:\\*[\"'])"
_AUTHORIZATION = (
    rf"(?:uthorization|UTHORIZATION)(?:{_QUOTE}?\]?[ \t]{{0,3}}[:=,][ \t]{{0,3}}|{COMMA})"
)
_BEGIN = r"(?:\b|(?<=\\n)|(?<=\\t)|(?<=\\r))"
"The beginning of a word, also behind a line end as JSON has it."

RULES = (
    rule("url_password", rf"://{_USER}:(?P<secret>[^\s/?#\"'<>\\]{{1,500}})@(?=[\w\[])", "://",
         is_given),
    rule("url_password", r"://(?P<secret>(?=[A-Za-z_.~-]{0,255}\d)[\w.~-]{20,500})@", "://"),
    rule("url_password", r"%3[Aa]%2[Ff]%2[Ff][\w.~+-]{0,64}(?:%3[Aa]|:)"
         r"(?P<secret>(?:(?!%2[Ff])[^\s/?#\"'<>\\&]){1,500}?)(?:%40|@)",
         "%3A%2F%2F %3a%2f%2f", is_given),
    rule("signature", r"(?:[?&;]|%26)(?:X-(?:Amz|Goog)-Signature|[Ss]ig|[Ss]ignature)(?:=|%3[Dd])"
         r"(?P<secret>[\w.~+/%-]{16,}+)", "ig= ignature= ig%3 ignature%3"),
    rule("signature", r"(?<=[ ,])(?:response|cnonce|oauth_token|oauth_signature|mac|Signature)="
         r"\\*[\"']?(?P<secret>[^\s\"'\\,]{16,}+)", "uthorization UTHORIZATION", is_given),
    rule(HEADER, _AUTHORIZATION +
         r"(?:[rbfuRBFU]{0,2}\\*[\"'])?(?i:bearer|basic|token|digest|negotiate|ntlm|api-?key|key"
         r"|oauth|jwt|hmac|splunk|sso-key|genie-?key|bot|apitoken|private-token)"
         r"[ \t]{1,3}(?P<secret>[^\s\"'\\,]{6,}+)(?!(?<=[a-z]{6})[ \t]+[a-z])",
         "uthorization UTHORIZATION", _is_credential),
    rule(HEADER, _AUTHORIZATION +
         r"(?:[rbfuRBFU]{0,2}\\*[\"'])?(?P<secret>[^\s\"'\\,(){}\[\]<>]{8,}+)(?![ \t(\[{])",
         "uthorization UTHORIZATION", is_random),
    rule(HEADER, rf"(?:uthorization|UTHORIZATION){_QUOTE}[ \t]{{0,3}}:[ \t]{{0,3}}{_QUOTE}"
         rf"(?P<secret>[^\s\"'\\]{{6,}}+){_QUOTE}", "uthorization UTHORIZATION", is_given),
    rule(HEADER, r"earer[ \t]{1,3}(?P<secret>[A-Za-z0-9_.~+/-]{20,}+={0,2})", "earer",
         is_random),
    rule(KIND, r"_(?:auth|password)[ \t]{0,3}=[ \t]{0,3}\\*[\"']?(?P<secret>[^\s\"'\\]{4,}+)",
         "_auth _password", lambda secret: _is_no_code(secret)),
    rule(KIND, r"(?:machine[ \t]+\S{1,200}|default)\s{1,40}(?:login|user)\s{1,40}\S{1,200}\s{1,40}"
         r"password\s{1,40}(?P<secret>\S{3,200}+)", "password", is_given),
    rule(KIND, r":(?:\d{4,5}|\*):(?!\d+:)[^:\s]{1,64}:[^:\s]{1,64}:(?P<secret>[^\s:\"'\\]{4,200}+)"
         r"(?=[\s\"'\\]|$)", ":", is_mixed, before=re.compile(r"[\w.*-]\Z")),
    rule(KIND, rf"(?i:auth|login){_QUOTE}?[ \t]{{0,3}}[:=(][ \t]{{0,3}}[\[(]?"
         rf"(?:\s|\\n){{0,40}}{_QUOTE}[^\"'\\\n]{{1,64}}{COMMA}{_QUOTE}"
         rf"(?P<secret>[^\"'\\\n]{{4,200}}+){_QUOTE}",
         "auth Auth login", lambda secret: is_mixed(secret) and is_given(secret)),
    rule(KIND, rf"\b(?i:auth){_QUOTE}?[ \t]{{0,3}}[:=][ \t]{{0,3}}{_QUOTE}"
         rf"(?P<secret>[^\s\"'\\]{{6,}}+){_QUOTE}", "auth Auth AUTH",
         lambda secret: bool(names.login_in_base64(secret))),
    rule(KIND, rf"\b(?i:auth){_QUOTE}?[ \t]{{0,3}}[:=][ \t]{{0,3}}{_QUOTE}[^\s\"'\\:/]{{1,64}}:"
         rf"(?P<secret>[^\s\"'\\/]{{4,}}+){_QUOTE}", "auth Auth AUTH", is_mixed),
    rule(KIND, r"client-key-data\\*[\"']?[ \t]{0,3}[:=][ \t]{0,3}\\*[\"']?"
         r"(?P<secret>[A-Za-z0-9+/]{20,}+={0,2})", "client-key-data"),
    rule(KIND, _BEGIN + r"(?:psk|ssh-pass)\\*[\"']?[ \t]{0,3}[:=][ \t]{0,3}\\*[\"']?"
         r"(?P<secret>[^\s\"'\\,;(){}\x1b]{8,64}+)", "psk ssh-pass", _is_no_code),
    rule(KIND, _BEGIN + r"[Pp]assphrase[ \t]{1,3}"
         r"(?P<secret>[^\s\"'\\,;(){}.\x1b]{8,64}+)", "assphrase", _is_no_code),
    rule(KIND, _BEGIN + r"[Pp]asswort[ \t]{1,3}(?:lautet|ist)[ \t]{0,3}:?[ \t]{1,3}"
         r"(?P<secret>[^\s\"'\\,;()\x1b]{6,64}+)", "asswort", _is_no_code),
    rule(HOME, rf"/{_FOLDERS}\\{{0,2}}/{_NAME}", "/home /Users", sure=False, before=_ROOT),
    rule(HOME, rf"%2[Ff]{_FOLDERS}%2[Ff](?P<secret>\w[\w.+-]{{0,63}})", "%2F %2f", sure=False),
    rule(HOME, r"[A-Za-z]:\\{1,8}(?:Users|Documents and Settings)\\{1,8}"
         r"(?P<secret>\w[\w.@+-]{0,63}(?: \w[\w.@+-]{0,63}){0,2}(?=\\)|\w[\w.@+-]{0,63})",
         r"\Users \Documents", sure=False),
    rule(HOME, rf"/projects/-{_FOLDERS}-(?P<secret>[A-Za-z0-9_.]{{1,64}})", "/projects/-",
         sure=False),
)  # fmt: skip


_COOKIES = re.compile(
    r"(?:[Cc]ookie|COOKIE)(?:\\*[\"'])?\]?(?:[ \t]{0,3}[:=,][ \t]{0,3}|[ \t]{1,3}(?=\\*[\"']))"
    r"[bru]?(?:\\*[\"'])?(?=[\w.-]{1,64}=[^\s;=])(?P<pairs>[^\r\n\"'\\]{1,4000}+)"
)
_BROWSER = re.compile(
    r"\bcurl\b[^\n]{0,300}?[ \t]-b[ \t]{0,3}\\*[\"']?(?P<pairs>[\w.-]{1,64}=[^\r\n\"'\\]{1,4000}+)"
)


def found_in(text: str) -> Iterator[SecretSpan]:
    """Yield secrets at telling places."""
    yield from found_by(RULES, text)
    for hints, pattern in ((("ookie", "OOKIE"), _COOKIES), (("curl",), _BROWSER)):
        if any(hint in text for hint in hints):
            for found in pattern.finditer(text):
                yield from names.cookies(text, *found.span("pairs"))
