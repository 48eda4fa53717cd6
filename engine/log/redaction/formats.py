"""Secrets with a form of their own.

The table is ours, since existing libraries find that a line holds a secret, not where it begins and
ends: detect-secrets 1.5 gives `ghp` for a GitHub token, a JWT without its signature, the first
words of a private key, and nothing for the keys of most makers of models. None of these rules looks
for randomness: digests, references and base64 alone are no secrets.
"""

import re
from collections.abc import Iterator

from backcast.engine.log.redaction.rules import WORD, SecretSpan, found_by, is_mixed, rule

UNPACKED = re.compile(r"(?:\A|[^A-Za-z0-9+/=_-]|\\[nrt])\Z")
"The text before a word that is no part of base64."


def is_unlike_words(secret: str) -> bool:
    """Return whether one part of a text between hyphens and underscores is long and mixed."""
    return any(
        len(part) >= 16 and re.search(r"\d", part) and re.search(r"[A-Za-z]", part)
        for part in re.split(r"[_-]", secret)
    )


_SALTED = r"[./A-Za-z0-9]{1,32}\$[./A-Za-z0-9]{22,128}+"
RULES = (
    rule("password_hash", r"\$(?:[156]|apr1|y)\$(?:rounds=\d{1,9}\$|[./A-Za-z0-9]{1,8}\$)?"
         rf"{_SALTED}|"
         r"\$2[abxy]\$\d\d\$[./A-Za-z0-9]{53}", "$1$ $5$ $6$ $apr1$ $y$ $2a$ $2b$ $2x$ $2y$"),
    rule("service_token", r"ntn_[A-Za-z0-9]{40,}+|glsa_[A-Za-z0-9]{20,}+(?:_[0-9a-f]{8})?"
         r"|tskey-[a-z]{3,12}-[A-Za-z0-9-]{20,}+|e2b_[A-Za-z0-9]{20,}+|f(?:o1|m[12][ar]?)_"
         r"[A-Za-z0-9+/=_-]{20,}+|lin_oauth_[A-Za-z0-9]{20,}+|csk-[A-Za-z0-9]{30,}+",
         "ntn_ glsa_ tskey- e2b_ fo1_ fm1 fm2 lin_oauth_ csk-", is_unlike_words, before=WORD),
    rule("service_token", r"secret_[A-Za-z0-9]{43}(?![A-Za-z0-9_])", "secret_", is_mixed,
         before=WORD),
    rule("google_key", r"1//0[A-Za-z0-9_-]{30,}+", "1//0", is_mixed, before=WORD),
    rule("aws_key", r"(?:AKIA|ASIA)[0-9A-Z]{16}[ \t,;:|]{1,8}(?P<secret>[A-Za-z0-9/+]{40})"
         r"(?![A-Za-z0-9/+=])", "AKIA ASIA", before=WORD),
    rule("model_key", r"sk-ant-\\*[\"'][ \t]{0,4}\+?[ \t]{0,4}\\*[\"']"
         r"(?P<secret>api\d\d-[A-Za-z0-9_-]{20,}+)", "sk-ant-"),
    rule("fernet_key", r"\b[kK](?:ey|EY)[ \t]{0,3}=[ \t]{0,3}b?\\*[\"']"
         r"(?P<secret>[A-Za-z0-9_-]{43}=)\\*[\"']", "key KEY Key", is_mixed),
    rule("aws_key", r"(?:AKIA|ASIA|ABIA|ACCA)[0-9A-Z]{16}", "AKIA ASIA ABIA ACCA",
         before=WORD),
    rule("github_token", r"gh[oprsu]_[A-Za-z0-9]{36,}+|github_pat_[A-Za-z0-9_]{22,}+",
         "gho_ ghp_ ghr_ ghs_ ghu_ github_pat_"),
    rule("gitlab_token", r"gl(?:pat|dt|rt|ptt|cbt|soat|ft)-[A-Za-z0-9_-]{20,}+",
         "glpat- gldt- glrt- glptt- glcbt- glsoat- glft-"),
    rule("slack_token", r"xox[a-z]-[A-Za-z0-9-]{10,}+|xapp-[A-Za-z0-9-]{10,}+", "xox xapp-"),
    rule("slack_hook", r"hooks\.slack\.com(?:/|%2[Ff])services(?:/|%2[Ff])"
         r"(?P<secret>[A-Za-z0-9_/%]{20,}+)", "hooks.slack.com"),
    rule("discord_hook", r"api/webhooks/\d{5,20}/(?P<secret>[A-Za-z0-9_-]{60,}+)", "api/webhooks/"),
    rule("stripe_key", r"[rs]k_(?:live|test)_[A-Za-z0-9]{10,}+|whsec_[A-Za-z0-9+/=]{20,}+",
         "k_live_ k_test_ whsec_"),
    rule("model_key", r"sk-(?=[A-Za-z_-]{0,64}\d)[A-Za-z0-9_-]{20,}+", "sk-", before=WORD),
    rule("model_key", r"gsk_[A-Za-z0-9]{40,}+|xai-[A-Za-z0-9]{40,}+|hf_[A-Za-z0-9]{30,}+"
         r"|r8_[A-Za-z0-9]{37,}+|pplx-[A-Za-z0-9]{40,}+", "gsk_ xai- hf_ r8_ pplx-"),
    rule("google_key", r"AIza[A-Za-z0-9_-]{35}|(?:ya29\.|GOCSPX-)[A-Za-z0-9_-]{20,}+",
         "AIza ya29. GOCSPX-"),
    rule("npm_token", r"npm_[A-Za-z0-9]{36,}+", "npm_"),
    rule("pypi_token", r"pypi-[A-Za-z0-9_-]{50,}+", "pypi-"),
    rule("sendgrid_key", r"SG\.[A-Za-z0-9_-]{16,64}\.[A-Za-z0-9_-]{16,}+", "SG."),
    rule("twilio_key", r"SK[0-9a-f]{32}(?![A-Za-z0-9])", "SK", before=WORD),
    rule("telegram_token", r"(?<!\d)\d{8,10}:AA[A-Za-z0-9_-]{33}", ":AA"),
    rule("social_token", r"EAA[A-Za-z0-9]{40,}+[+/=]?", "EAA",
         fits=lambda found: found[-1] not in "+/=", before=UNPACKED),
    rule("service_token", r"(?:dckr_pat_|sntry[su]_|lin_api_|sbp_|nvapi-|tvly-|lsv2_[ps]t_|fw_"
         r"|rubygems_|figd_|PMAK-|NRAK-|pul-|xkeysib-|dp\.[a-z]{2,5}\.|sq0[a-z]{3}-|ATATT3|ATCTT3"
         r"|CCIPAT_|ops_eyJ|phx_|vcp_|re_|key-)(?=[A-Za-z_-]{0,64}\d)[A-Za-z0-9_=-]{20,}+",
         "dckr_pat_ sntry lin_api_ sbp_ nvapi- tvly- lsv2_ fw_ rubygems_ figd_ PMAK- NRAK- pul-"
         " xkeysib- dp. sq0 ATATT3 ATCTT3 CCIPAT_ ops_eyJ phx_ vcp_ re_ key-", before=WORD,
         fits=is_unlike_words),
    rule("cloud_token", r"do[opr]_v1_[0-9a-f]{64}|dapi[0-9a-f]{32}|hv[sb]\.[A-Za-z0-9_-]{24,}+"
         r"|shp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}", "_v1_ dapi hvs. hvb. shpat_ shpca_ shppa_ shpss_"),
    rule("private_key", r"AGE-SECRET-KEY-1[0-9A-Z]{58}", "AGE-SECRET-KEY-1"),
    rule("jwt", r"eyJ[A-Za-z0-9_-]{10,}+(?:\.[A-Za-z0-9_-]++){0,4}", "eyJ",
         fits=lambda found: "." in found),
)  # fmt: skip

_KEY_BEGINS = re.compile(r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
_KEY_ENDS = "-----END"
_KEY_CLOSES = re.compile(r"-----END [A-Z0-9 ]{0,40}PRIVATE KEY")
_KEY_PARTS = re.compile(r"\\[nrt]|(?P<part>[A-Za-z0-9+/]++={0,2})")
LONGEST_KEY, LONGEST_GAP, LONGEST_LINE_END = 64 * 2**10, 100, 12
"Characters of a private key, between two of its lines, and between two that nothing announces."


def found_in(text: str) -> Iterator[SecretSpan]:
    """Yield secrets that have a form of their own."""
    yield from found_by(RULES, text)
    if "PRIVATE KEY" not in text:
        return
    for key in _KEY_BEGINS.finditer(text):
        yield from _lines_of_key(text, key.end())
    last = 0
    for end in _KEY_CLOSES.finditer(text):
        yield from _lines_before(text, last, end.start())
        last = end.end()


def _lines_of_key(text: str, start: int) -> Iterator[SecretSpan]:
    """Yield the lines of a private key; the lines that announce it stay, as does the code around
    them if a source holds the key as texts."""
    end = text.find(_KEY_ENDS, start, start + LONGEST_KEY)
    last = start
    for match in _KEY_PARTS.finditer(text, start, end if end >= 0 else start + LONGEST_KEY):
        if match["part"] is None:
            continue
        if match.start() - last > LONGEST_GAP:
            return
        whole, closing = match.end() - match.start() >= 16, 0 <= end - match.end() <= 12
        if whole or (closing and last > start):
            last = match.end()
            yield SecretSpan(*match.span(), "private_key", whole)


def _lines_before(text: str, start: int, end: int) -> Iterator[SecretSpan]:
    """Yield the lines of a private key whose beginning is cut off."""
    start = max(start, end - LONGEST_KEY)
    if _KEY_BEGINS.search(text, start, end):
        return
    parts = [part for part in _KEY_PARTS.finditer(text, start, end) if part["part"]]
    last = end
    for part in reversed(parts):
        length = part.end() - part.start()
        if last - part.end() > LONGEST_LINE_END or (length < 40 and last < end):
            return
        last = part.start()
        yield SecretSpan(*part.span(), "private_key", length >= 16)
