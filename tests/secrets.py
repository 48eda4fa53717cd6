"""Secrets to plant: each as it would stand in a text, and the part of it that nobody may read."""

import json
from string import ascii_letters, ascii_uppercase, digits
from typing import NamedTuple
from urllib.parse import quote

from hypothesis import strategies as st

ALNUM = ascii_letters + digits
OWN = r"ACME-\d{6}"


class Planted(NamedTuple):
    """A secret in a text."""

    text: str
    secret: str


def of(letters: str, size: int) -> st.SearchStrategy[str]:
    """A text of so many of these letters; no two letters are alike by choice."""
    return st.lists(st.sampled_from(letters), min_size=size, max_size=size).map("".join)


def after(start: str, letters: str, size: int) -> st.SearchStrategy[str]:
    return of(letters, size).map(lambda rest: start + rest)


VALUES = of(ALNUM, 14).map(lambda value: f"q7{value}")
FORMATS = {
    "aws_key": after("AKIA", ascii_uppercase + "234567", 16),
    "github_token": after("ghp_", ALNUM, 36) | after("github_pat_", ALNUM, 60),
    "gitlab_token": after("glpat-", ALNUM, 20),
    "slack_token": after("xoxb-1234567890-", ALNUM, 24),
    "stripe_key": after("sk_live_", ALNUM, 24),
    "model_key": after("sk-proj-1", ALNUM, 60) | after("sk-ant-api03-", ALNUM, 80)
    | after("hf_", ALNUM, 34),
    "google_key": after("AIza", ALNUM, 35),
    "npm_token": after("npm_", ALNUM, 36),
    "pypi_token": after("pypi-AgEIcHlwaS5vcmc", ALNUM, 70),
    "jwt": st.tuples(of(ALNUM, 30), of(ALNUM, 43)).map(
        lambda parts: f"eyJhbGciOiJIUzI1NiJ9.eyJ{parts[0]}.{parts[1]}"
    ),
    "pattern": of(digits, 6).map(lambda rest: f"ACME-{rest}"),
}  # fmt: skip
CONTEXTS = (
    "API_KEY={}", "export DB_PASSWORD={}", 'password = "{}"', "{{'access_token': '{}'}}",
    "https://ann:{}@db.example.org/x", "https://x.org/?api_key={}&page=2", "?token%3D{}%26a",
    "Authorization: Bearer {}", "%3A%2F%2Fann%3A{}%40db", "--password {}",
)  # fmt: skip
ENTRIES = [key.format for key in ("/home/{}/src", "/Users/{}", r"C:\Users\{}\src")]
KEY_LINES = st.lists(of(ALNUM + "+/", 64), min_size=1, max_size=3)


def planted() -> st.SearchStrategy[Planted]:
    """A secret of any kind."""
    formats = st.one_of(*FORMATS.values()).map(lambda secret: Planted(secret, secret))
    named = st.tuples(st.sampled_from(CONTEXTS), VALUES).map(
        lambda told: Planted(told[0].format(told[1]), told[1])
    )
    homes = st.tuples(st.sampled_from(ENTRIES), VALUES).map(
        lambda told: Planted(told[0](told[1]), told[1])
    )
    keys = st.tuples(KEY_LINES, st.sampled_from(["\n", "\r\n", "\\n", '\\n"\n  "'])).map(
        lambda told: Planted(private_key(told[0], told[1]), told[0][-1])
    )
    written = st.one_of(formats, named, homes, keys)
    inside = written.map(lambda one: Planted(json.dumps({"said": one.text}), one.secret))
    return st.one_of(written, inside)


def private_key(lines: list[str], end: str = "\n") -> str:
    """A private key, whose lines end so."""
    body = end.join([*lines, "Zm9v"])
    return f"-----BEGIN RSA PRIVATE KEY-----{end}{body}{end}-----END RSA PRIVATE KEY-----"


def ways_of(secret: str) -> list[str]:
    """A secret as it may be written."""
    return [secret, quote(secret, safe=""), json.dumps(secret)[1:-1]]
