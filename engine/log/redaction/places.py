"""Secrets at telling places, in URLs and headers; and people's names in paths of homes."""

import re
from collections.abc import Iterator

from backcast.engine.log.redaction.named import KIND, is_random
from backcast.engine.log.redaction.rules import SecretSpan, found_by, is_given, rule

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

RULES = (
    rule("url_password", rf"://{_USER}:(?P<secret>[^\s/?#\"'<>\\]{{1,500}})@(?=[\w\[])", "://",
         is_given),
    rule("url_password", r"://(?P<secret>(?=[A-Za-z_.~-]{0,255}\d)[\w.~-]{20,500})@", "://"),
    rule("url_password", r"%3[Aa]%2[Ff]%2[Ff][\w.~+-]{0,64}(?:%3[Aa]|:)"
         r"(?P<secret>[^\s/?#\"'<>\\&]{1,500}?)(?:%40|@)", "%3A%2F%2F %3a%2f%2f", is_given),
    rule("signature", r"(?:[?&;]|%26)(?:X-Amz-Signature|[Ss]ig|[Ss]ignature)(?:=|%3[Dd])"
         r"(?P<secret>[\w.~+/%-]{16,}+)", "ig= ignature= ig%3 ignature%3"),
    rule("authorization", r"(?:uthorization|UTHORIZATION)(?:\\*[\"'])?\]?[ \t]{0,3}[:=,][ \t]{0,3}"
         r"(?:[rbfuRBFU]{0,2}\\*[\"'])?(?:[Bb]earer|[Bb]asic|[Tt]oken|BEARER|BASIC|TOKEN)"
         r"[ \t]{1,3}(?P<secret>[^\s\"'\\,]{6,}+)", "uthorization UTHORIZATION", is_given),
    rule("authorization", r"earer[ \t]{1,3}(?P<secret>[A-Za-z0-9_.~+/-]{20,}+={0,2})", "earer",
         is_random),
    rule(KIND, r"curl\b[^\n]{0,400}?[ \t](?:-u|--user)[ =]\\*[\"']?[^\s:\"']{1,64}:"
         r"(?P<secret>[^\s\"'\\]{3,200}+)", "curl", is_given),
    rule(HOME, rf"/{_FOLDERS}\\{{0,2}}/{_NAME}", "/home /Users", sure=False, before=_ROOT),
    rule(HOME, rf"%2[Ff]{_FOLDERS}%2[Ff](?P<secret>\w[\w.+-]{{0,63}})", "%2F %2f", sure=False),
    rule(HOME, r"[A-Za-z]:\\{1,8}(?:Users|Documents and Settings)\\{1,8}"
         r"(?P<secret>\w[\w.@+-]{0,63}(?: \w[\w.@+-]{0,63}){0,2}(?=\\)|\w[\w.@+-]{0,63})",
         r"\Users \Documents", sure=False),
    rule(HOME, rf"/projects/-{_FOLDERS}-(?P<secret>[A-Za-z0-9_.]{{1,64}})", "/projects/-",
         sure=False),
)  # fmt: skip


def found_in(text: str) -> Iterator[SecretSpan]:
    """Yield secrets at telling places."""
    return found_by(RULES, text)
