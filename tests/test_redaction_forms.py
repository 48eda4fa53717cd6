"""Secrets of many forms in many places: none is in a redacted export, and no look-alike is lost."""

import json
import re
import time
from base64 import b64decode, b64encode
from binascii import Error
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import quote, unquote

import pytest

from backcast.domain.events import (
    ChecksRan,
    Claim,
    ModelReplied,
    SourceRead,
    TaskStarted,
    ToolCalled,
    UnknownFact,
)
from backcast.engine.log import EventStore
from backcast.engine.log.blobs import Blob
from backcast.engine.log.importers.events import line_for, parts
from backcast.engine.log.redaction import Redaction, redacted
from backcast.engine.log.redaction.masks import Masks
from backcast.engine.log.redaction.patterns import within
from backcast.engine.memory.import_log import run
from tests import lookalikes
from tests.secret_forms import FIELDS, OWN_FORMS, TEXTS, drawn, value

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
SEEDS = [1, 2, 3]
Stated = tuple[Claim, list[Blob]]


def filled(template: Any, random: Random, secrets: list[str]) -> Any:
    """A template with secrets in it, which are added to a list."""
    match template:
        case str():
            first, *others = template.replace("{{", "\1").replace("}}", "\2").split("{}")
            for other in others:
                secrets.append(value(random))
                first += secrets[-1] + other
            return first.replace("\1", "{").replace("\2", "}")
        case list():
            return [filled(item, random, secrets) for item in template]
        case dict():
            return {key: filled(item, random, secrets) for key, item in template.items()}
    return template


def called(arguments: Any, *blobs: Blob) -> Stated:
    return Claim(ToolCalled(tool="sh", arguments=arguments), NOON), list(blobs)


def body(text: str) -> Stated:
    blob = Blob(text.encode())
    return Claim(SourceRead(path="a.txt", source=blob.ref), NOON), [blob]


def reply(text: str) -> Stated:
    blob = Blob(f"Here it is:\n\n```\n{text}\n```\n".encode())
    return Claim(ModelReplied(text=blob.ref), NOON), [blob]


def odd(text: str) -> Stated:
    return Claim(UnknownFact(kind="ODD", payload={"deep": [{"er": [text]}]}), NOON), []


PLACES: dict[str, Callable[[str], Stated]] = {
    "body": body,
    "answer": reply,
    "body with CRLF": lambda text: body(f"a\r\n{text}\r\nb"),
    "indented body": lambda text: body("    " + text.replace("\n", "\n    ")),
    "argument": lambda text: called({"command": text}),
    "deep argument": lambda text: called([{"a": {"b": [[text], 1]}}]),
    "key": lambda text: called({text: 1}),
    "JSON in JSON": lambda text: called({"body": json.dumps({"a": json.dumps([text])})}),
    "JSON in a body": lambda text: body(json.dumps({"a": [{"b": f"x\n{text}\ny"}]})),
    "unknown event": odd,
    "preview": lambda text: (Claim(ChecksRan(passed=1, failed=0, preview=text), NOON), []),
    "writer": lambda text: (Claim(ToolCalled(tool=text, arguments={}), NOON, text), []),
    "base64": lambda text: called({"data": b64encode(text.encode()).decode()}),
    "percent": lambda text: called({"query": quote(text, safe="")}),
    "repr": lambda text: body(repr({"cmd": text})),
}


def exported(stated: list[Stated], goal: str = "g", task: str = "t") -> tuple[str, list[Any]]:
    """The redacted export of what was stated, and its lines."""
    with EventStore.open("sqlite://") as store:
        store.append(task, [Claim(TaskStarted(goal=goal), NOON)], after=0)
        for number, (claim, blobs) in enumerate(stated, 1):
            store.append(task, [claim], after=number, blobs=blobs)
        lines = written(store)
        return "\n".join(lines), [json.loads(line) for line in lines]


def written(store: EventStore) -> list[str]:
    [task] = store.tasks()
    return list(map(line_for, redacted(lambda: parts(store, task), Redaction(Masks()))))


def texts_in(held: Any) -> Iterator[str]:
    """All texts in a value, and those that they hold as JSON, base64 or percent-encoded."""
    match held:
        case str():
            yield held
            yield from (unquote(held),) if "%" in held else ()
            for packed in held.split():
                with suppress(Error, ValueError):
                    yield b64decode(packed, validate=True).decode()
            if held[:1] in ("{", "[", '"'):
                with suppress(ValueError):
                    yield from texts_in(json.loads(held))
        case list():
            for item in held:
                yield from texts_in(item)
        case dict():
            for key, item in held.items():
                yield key
                yield from texts_in(item)


def found(secrets: list[str], text: str, lines: list[Any]) -> list[str]:
    """The secrets that can be read in an export."""
    held = [text, *texts_in(lines)]
    ways = {secret: {secret, b64encode(secret.encode()).decode()} for secret in secrets}
    return [
        secret for secret in secrets if any(way in text for way in ways[secret] for text in held)
    ]


@pytest.mark.parametrize("place", PLACES)
def test_no_secret_of_any_form_is_left_in_a_place(place: str) -> None:
    for seed in SEEDS:
        random, secrets = Random(seed), list[str]()
        stated = [PLACES[place](filled(text, random, secrets)) for text in TEXTS]
        for make in OWN_FORMS.values():
            secrets.append(make(random))
            stated.append(PLACES[place](secrets[-1]))
        text, lines = exported(stated)
        assert found(secrets, text, lines) == []


@pytest.mark.parametrize("form", range(len(TEXTS)), ids=[text[:40] for text in TEXTS])
def test_a_form_is_found_alone(form: int) -> None:
    """Alone: no other place shows the secret."""
    for seed, place in enumerate(PLACES.values()):
        secrets = list[str]()
        stated = place(filled(TEXTS[form], Random(seed), secrets))
        text, lines = exported([stated])
        assert found(secrets, text, lines) == []


@pytest.mark.parametrize("fields", FIELDS, ids=str)
def test_a_field_that_its_name_shows_to_be_secret_is_masked_however_deep(
    fields: dict[str, Any],
) -> None:
    for seed in SEEDS:
        secrets = list[str]()
        held = filled(fields, Random(seed), secrets)
        for stated in (
            called(held), called({"a": [{"b": held}]}), called({"text": json.dumps(held)}),
            called({"text": json.dumps({"a": json.dumps([held])})}), body(json.dumps(held)),
            body(repr(held)), body(json.dumps(held, indent=2)),
            (Claim(UnknownFact(kind="ODD", payload=held), NOON), []),
        ):  # fmt: skip
            text, lines = exported([stated])
            assert found(secrets, text, lines) == [], stated


NUMBERS = ["password", "pin_password", "access_key", "apiKey", "DB_PASSWORD", "clientSecret", "pwd"]


@pytest.mark.parametrize("name", NUMBERS)
def test_a_number_is_masked_where_its_name_says_that_it_is_secret(name: str) -> None:
    number = 8675309123
    held = {name: number, "n": number + 1, f"{name}_length": 12345678}
    text, lines = exported([called({"a": held, "list": {name: [number]}})])
    assert str(number) not in text
    assert str(number + 1) in text
    assert lines[-1]["data"]["arguments"]["a"] == held | {name: "MASKED_secret_1"}
    text, lines = exported([body(json.dumps({"a": held}))])
    assert json.loads(lines[1]["text"]) == {"a": held | {name: "MASKED_secret_1"}}
    text, lines = exported([called({"text": json.dumps({"a": json.dumps(held)})})])
    inner = json.loads(json.loads(lines[-1]["data"]["arguments"]["text"])["a"])
    assert inner == held | {name: "MASKED_secret_1"}


def test_a_secret_has_one_mask_wherever_it_stands() -> None:
    secret = value(Random(5))
    text, _ = exported(
        [
            called({"headers": {"authorization": f"Bearer {secret}"}, "password": secret}),
            body(f"curl -H 'Authorization: Bearer {secret}' https://ann:{secret}@x.org"),
            body(f"sshpass -p {secret} ssh h; echo {quote(secret)} {secret}"),
            called({"argv": ["redis-cli", "-a", secret], secret: [secret]}),
        ],
        goal=f"log in with {secret}",
    )
    assert secret not in text
    assert set(re.findall(r"MASKED\w+", text)) == {"MASKED_authorization_1"}


def test_a_password_in_a_basic_header_is_masked_elsewhere_too() -> None:
    secret = value(Random(6))
    packed = b64encode(f"ann:{secret}".encode()).decode()
    text, _ = exported([called({"Authorization": f"Basic {packed}"}), body(f"Try {secret}.")])
    assert secret not in text
    assert packed not in text


@pytest.mark.parametrize("cut", ["begin", "end", "none"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\\n", '\\n"\n  "', "\\\\n"])
@pytest.mark.parametrize("kind", ["RSA ", "", "OPENSSH ", "EC ", "ENCRYPTED "])
def test_a_private_key_is_masked_where_it_is_cut_too(kind: str, end: str, cut: str) -> None:
    random = Random(7)
    rows = [drawn(random, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefgh0123456789+/", 64) for _ in range(4)]
    begin = [] if cut == "begin" else [f"-----BEGIN {kind}PRIVATE KEY-----"]
    close = [] if cut == "end" else [f"-----END {kind}PRIVATE KEY-----"]
    text, lines = exported([body(end.join([*begin, *rows, *close]))])
    assert found([row[8:] for row in rows], text, lines) == []


def test_what_only_looks_like_a_secret_stays() -> None:
    assert len(set(lookalikes.TEXTS)) >= 200
    for text in lookalikes.TEXTS:
        stated = [place(text) for place in PLACES.values()]
        with EventStore.open("sqlite://") as store:
            for number, (claim, blobs) in enumerate(stated):
                store.append("t", [claim], after=number, blobs=blobs)
            assert written(store) == list(map(line_for, parts(store, "t"))), text


@pytest.mark.parametrize("name", lookalikes.FIELDS)
def test_a_field_that_only_looks_like_a_secret_stays(name: str) -> None:
    held = {name: lookalikes.FIELDS[name]}
    _, lines = exported([called(held), called({"a": [held]})])
    assert [line["data"]["arguments"] for line in lines[1:]] == [held, {"a": [held]}]
    for text in (json.dumps(held), repr(held), json.dumps({"a": json.dumps(held)})):
        _, lines = exported([body(text)])
        assert lines[1]["text"] == text


@pytest.mark.parametrize("seed", SEEDS)
def test_a_redacted_log_is_imported_and_redacts_to_itself(seed: int, tmp_path: Path) -> None:
    random = Random(seed)
    stated = [
        place(filled(random.choice(TEXTS), random, [])) for place in PLACES.values() for _ in "ab"
    ]
    stated += [called(filled(fields, random, [])) for fields in FIELDS]
    text, _ = exported(stated, goal="a", task="t")
    file = tmp_path / "log.jsonl"
    file.write_text(text + "\n")
    with EventStore.open("sqlite://") as other:
        report = run(other, "events", file)
        assert (report.skipped, report.added) == ([], len(stated) + 1)
        assert "\n".join(written(other)) == text


HOSTILE = [
    '"passwords": [', '"secrets": {"a": "b", ', "'cookies': {", "-----END RSA PRIVATE KEY-----\n",
    "mysql -p", "docker login -p ", "Cookie: a=", "Authorization: Basic ", ":5432:a:b:", "%3D",
    'api_key", "', '"name": "API_KEY", ', "<password>", "auth=('a',", "machine a login ",
    "password='abcd1'\"efgh\"", "password=abcd1\\\nefgh\\\n", "password is ", "_.- key", "[{(",
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_text_takes_no_more_than_its_length(text: str) -> None:
    with within(60, "took what grows faster than the text"):  # these take a second at the most
        masks, long = Masks(), text * (50_000 // len(text))
        masks.learn(long)
        masks.mask(long)


def test_how_many_secrets_are_known_does_not_slow_the_search_of_a_text() -> None:
    random, masks = Random(8), Masks()
    secrets = [value(random) for _ in range(20_000)]
    for secret in secrets:
        masks.learn(secret, "password")
    text = "\n".join(secrets[::200]) + "\n" + "the quick brown fox " * 5_000
    with within(20, "looked for each secret by itself"):  # it takes a tenth of a second
        masked = masks.mask(text)
    assert found(secrets[::200], masked, []) == []


HIDDEN = [
    '\x1b[35mconfig.py\x1b[m:\x1b[1;31mSECRET_TOKEN\x1b[m = "{}"',
    "\x1b[33mDB_PASSWORD\x1b[0m=\x1b[36m{}\x1b[0m", "ghp_\x1b[31m{0}{0}{0}\x1b[0m",
    "\x1b]8;;https://a.org\x07DB_PASSWORD\x1b]8;;\x07={}", "password\xa0=\xa0{}",
    "gh\u200bp_{0}{0}{0}", "API_KEY=\\\n{}",
    r'{{"text": "\u001b[33mDB_PASSWORD\u001b[0m=\u001b[36m{}\u001b[0m"}}',
]  # fmt: skip


@pytest.mark.parametrize("template", HIDDEN)
def test_what_no_reader_sees_hides_no_secret(template: str) -> None:
    secret = value(Random(4))
    text = f"before \x1b[32mgreen\x1b[0m\n{template.format(secret)}\nafter {secret[:3]}\x1b[31m!"
    masks = Masks()
    masks.learn(text)
    masked = masks.mask(text)
    assert secret not in masked
    assert "MASKED_" in masked
    assert masked.startswith("before \x1b[32mgreen\x1b[0m\n")
    assert masked.endswith(f"\nafter {secret[:3]}\x1b[31m!")


def test_colours_alone_are_nothing_to_mask() -> None:
    for text in lookalikes.TEXTS:
        shown = f"\x1b[1m{text}\x1b[0m\xa0\u200b"
        masks = Masks()
        masks.learn(shown)
        assert masks.mask(shown) == shown


UNITS = (
    "eyJ", "EAA", "eyJ.", "sk-", "sk-a", "AKIA", "ghp_", "xoxb-", "SG.", "ntn_", "$6$a$", "$y$a",
    "1//0", "psk=", "passphrase ", "client-key-data:", "key='", "fm1_", "\x1b[", "\x1b]8;;", "\\\n",
    "\\u001b[", "password", "password=", "token_", "a:", "://a:", "%41", "/home/", "curl -u ",
    "<password>", "Cookie: a=", "Authorization: Bearer ", "-----BEGIN PRIVATE KEY-----\n",
    '"', "\\",
)  # fmt: skip


@pytest.mark.parametrize("end", ["", "+", "!", "="])
def test_no_text_takes_more_than_its_share_of_time(end: str) -> None:
    for unit in UNITS:
        spent = []
        for size in (3_000, 30_000):
            text = unit * (size // len(unit)) + end
            begun = time.process_time()
            masks = Masks()
            masks.learn(text)
            masks.mask(text)
            spent.append(time.process_time() - begun)
        # Ten times the text: ten times the time, where a hundred times would be quadratic.
        assert spent[1] < 40 * max(spent[0], 0.003), (unit, spent)
