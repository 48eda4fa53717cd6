"""A log can be shown to others: no secret that shows as one is in it, and all else is as it was."""

import ast
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import example, given, settings
from hypothesis import strategies as st

from backcast.domain.events import (
    ChecksRan,
    Claim,
    ModelReplied,
    ModuleIteration,
    SourceRead,
    ToolCalled,
    UnknownFact,
    WorkflowEvent,
)
from backcast.engine.interfaces.commands.export import write
from backcast.engine.log import EventStore
from backcast.engine.log.blobs import Blob
from backcast.engine.log.importers.events import line_for, parts
from backcast.engine.log.redaction import Redaction, redacted
from backcast.engine.log.redaction.masks import Masks
from backcast.engine.log.redaction.patterns import PatternError, Patterns, within
from backcast.engine.memory.import_log import run
from tests.secrets import OWN, Planted, planted, private_key, ways_of
from tests.strategies import NOON

PATTERNS = Patterns([("--pattern 1", OWN)])
GAPS = [" ", "\n", "\t", '"', "'", " , "]


def masked(*texts: str, patterns: Patterns | None = None) -> list[str]:
    masks = Masks(patterns)
    for text in texts:
        masks.learn(text)
    return [masks.mask(text) for text in texts]


# A log of any kind


@st.composite
def texts(draw: st.DrawFn, secrets: list[Planted]) -> str:
    """A text, with secrets in it or without."""
    told = [draw(st.text(max_size=8))]
    for one in draw(st.lists(st.sampled_from(secrets), max_size=2)) if secrets else ():
        told += [draw(st.sampled_from(GAPS)), one.text, draw(st.sampled_from(GAPS))]
        told.append(draw(st.text(max_size=8)))
    return "".join(told)


@st.composite
def claims(draw: st.DrawFn, secrets: list[Planted]) -> tuple[Claim, list[Blob]]:
    """What a writer states, with secrets in the fact, in its keys or in a body."""
    text = texts(secrets)
    body = Blob(draw(text.map(str.encode) | st.binary(max_size=9)))
    fact = draw(
        st.one_of(
            st.builds(SourceRead, path=text, source=st.just(body.ref)),
            st.builds(ModelReplied, text=st.just(body.ref), seen=st.just([body.ref])),
            st.builds(ModuleIteration, module_name=text, iteration=st.integers(1, 3)),
            st.builds(ToolCalled, tool=text, arguments=st.dictionaries(text, text, max_size=3)),
            st.builds(ChecksRan, passed=st.just(1), failed=st.just(0), preview=text),
            st.builds(
                UnknownFact,
                kind=st.just("ODD"),
                payload=st.dictionaries(text, st.lists(text | st.integers()), max_size=2),
            ),
        )
    )
    return Claim(fact, NOON, draw(text).replace("\0", "")), [body]


@st.composite
def logs(draw: st.DrawFn) -> tuple[list[Planted], str, list[tuple[Claim, list[Blob]]]]:
    """The secrets that are planted, the task's name, and what is stated."""
    secrets = draw(st.lists(planted(), max_size=3, unique_by=lambda one: one.secret))
    task = draw(texts(secrets)).replace("\0", "") + "task"
    return secrets, task, draw(st.lists(claims(secrets), min_size=1, max_size=4))


def stored(task: str, stated: list[tuple[Claim, list[Blob]]]) -> EventStore:
    store = EventStore.open("sqlite://")
    for number, (claim, blobs) in enumerate(stated):
        store.append(task, [claim], after=number, blobs=blobs)
    return store


def exported(store: EventStore, file: Path, patterns: Patterns = PATTERNS) -> Redaction:
    [task] = store.tasks()
    redaction = Redaction(Masks(patterns))
    write(file, map(line_for, redacted(lambda: parts(store, task), redaction)))
    return redaction


def leaves(value: object, other: object) -> Iterator[tuple[str, str]]:
    """Each text of a value, and what stands in its place in another of the same shape."""
    assert type(value) is type(other)
    if isinstance(value, str) and isinstance(other, str):
        yield value, other
    elif isinstance(value, list | tuple) and isinstance(other, list | tuple):
        for one, another in zip(value, other, strict=True):
            yield from leaves(one, another)
    elif isinstance(value, dict) and isinstance(other, dict):
        yield from leaves(list(value.items()), list(other.items()))
    else:
        assert value == other


def told(event: WorkflowEvent) -> Any:
    return [event.type, event.task_id, event.writer, list(event.because), event.fact.data]


@settings(max_examples=80)
@given(log=logs())
def test_of_any_log_no_secret_is_exported_and_all_else_is_as_it_was(
    log: tuple[list[Planted], str, list[tuple[Claim, list[Blob]]]],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    secrets, task, stated = log
    file = tmp_path_factory.mktemp("redacted") / "log.jsonl.zst"

    def holds_one(text: str) -> bool:
        return any(way in text for one in secrets for way in ways_of(one.secret))

    with stored(task, stated) as origin, EventStore.open("sqlite://") as other:
        first = exported(origin, file)
        lines = zstandard.ZstdDecompressor().decompressobj().decompress(file.read_bytes()).decode()
        assert not holds_one(lines)
        assert not any(holds_one(str(json.loads(line))) for line in lines.split("\n")[:-1])
        assert sum(first.masks.counts.values()) >= first.texts

        assert run(other, "events", file).skipped == []
        pairs = zip(origin.read(), other.read(), strict=True)
        for before, after in pairs:
            assert (before.timestamp, before.version) == (after.timestamp, after.version)
            for old, new in leaves(told(before), told(after)):
                if old.startswith("blob:"):
                    body, copy = origin.get(old), other.get(new)
                    assert (old == new) == (body == copy)
                    old, new = body.decode(errors="replace"), copy.decode(errors="replace")
                assert (old != new) == holds_one(old)
                assert old.count("\n") == new.count("\n")

        again = file.with_name("again.jsonl.zst")
        assert exported(other, again).texts == 0
        assert again.read_bytes() == file.read_bytes()


# What is masked


SECRETS = [
    ("https://ann:hunter2@db.org/x", "https://ann:MASKED_url_password_1@db.org/x"),
    ("https://db.org:8080/a@b", None),
    ('f"https://{user}:{password}@{host}"', None),
    ("API_KEY=abcdef", "API_KEY=MASKED_secret_1"),
    ("API_KEY=os.environ['API_KEY']", None),
    ("API_KEY=${API_KEY}", None),
    ("SECRET=b1c2d3e4 API_KEY=z", "SECRET=MASKED_secret_1 API_KEY=z"),
    (r"{\"password\": \"two words\"}", r"{\"password\": \"MASKED_secret_1\"}"),
    ("password: 'it\\'s 1'", "password: 'MASKED_secret_1'"),
    ("url=x%3Ftoken%3Dabcd1234efgh%26a", "url=x%3Ftoken%3DMASKED_secret_1%26a"),
    ("token = tokens[0]", None),
    ("""print('password = "' + given, "x")""", None),
    ('"eos_token": "<|endoftext|>"', None),
    ("task-0123456789abcdef0123456789", None),
    ("API_KEY=a1b2c3d4" + "5", "API_KEY=MASKED_secret_1"),
    ("AKIAIOSFODNN7EXAMPLE7", "MASKED_aws_key_1_7"),
    ("QVBJX0tFWT1hYmNkZWYxMjM0NTYgYW5kIG1vcmU=", "MASKED_encoded_1"),
    ("see /home/ann.", "see /home/user."),
    (r'"a\n/home/ann/b"', r'"a\n/home/user/b"'),
    (r"C:\Users\Ann Lee\src and so on", r"C:\Users\user\src and so on"),
    ("/mnt/c/Users/ann file:///home/ann", "/mnt/c/Users/user file:///home/user"),
    ("src/home/views.py, https://x.org/home/a", None),
    ("~/.claude/projects/-Users-ann-work", "~/.claude/projects/-Users-user-work"),
]


@pytest.mark.parametrize(("text", "expected"), SECRETS, ids=[text for text, _ in SECRETS])
def test_what_shows_as_a_secret_is_masked_and_what_does_not_is_left(
    text: str, expected: str | None
) -> None:
    assert masked(text) == [text if expected is None else expected]


def test_digests_references_and_ids_are_no_secrets() -> None:
    texts = [
        "blob:" + "0123456789abcdef" * 4, "0123456789abcdef" * 4, "4fd36e1" * 5 + "abcde",
        "123e4567-e89b-12d3-a456-426614174000", "function:pkg/token.py::Token.secret",
        "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5E",
    ]  # fmt: skip
    assert masked(*texts) == texts


def test_equal_secrets_have_equal_masks_and_others_have_others() -> None:
    first, second = "AKIAIOSFODNN7EXAMPLE", "AKIAIOSFODNN7EXAMPLF"
    assert masked(f"{first} {second}", f"{second} {first}") == [
        "MASKED_aws_key_1 MASKED_aws_key_2", "MASKED_aws_key_2 MASKED_aws_key_1",
    ]  # fmt: skip


def test_a_secret_that_shows_once_is_masked_wherever_else_it_stands() -> None:
    said, env = 'It is s3cr3t/pass, "s3cr3t%2Fpass" in a URL.', 'DB_PASSWORD = "s3cr3t/pass"'
    assert masked(said, env) == [
        'It is MASKED_secret_1, "MASKED_secret_1" in a URL.', 'DB_PASSWORD = "MASKED_secret_1"',
    ]  # fmt: skip


def test_masks_that_stand_in_a_log_keep_their_numbers() -> None:
    assert masked("MASKED_aws_key_3", "AKIAIOSFODNN7EXAMPLE") == [
        "MASKED_aws_key_3", "MASKED_aws_key_4",
    ]  # fmt: skip


def test_a_private_key_is_masked_line_by_line() -> None:
    key = private_key(["A1b2" * 16, "c3D4" * 16])
    [text] = masked(f"key = '''{key}'''\n")
    assert text == (
        "key = '''-----BEGIN RSA PRIVATE KEY-----\nMASKED_private_key_1\nMASKED_private_key_2\n"
        "MASKED_private_key_3\n-----END RSA PRIVATE KEY-----'''\n"
    )
    code = 'if "-----BEGIN PRIVATE KEY-----" in text and "-----END PRIVATE KEY-----" in text: f()'
    assert masked(code) == [code]


PLACES = [
    "{} = 1", "def {}(): pass", "class A:\n    {}: int = 1", "x = '{}'", 'x = b"{}"', "x = f'{}'",
    "# {}", '"""\n{}\n"""', "f({}=1)", "import {}", "x.{} = y.{}", "@{}\ndef f(): pass",
    "x = r'''a {} b'''", "API_KEY={}", "x = {{'password': '{}'}}", "token: str = '{}'",
    "def f({}): return {}", "x[{}:{}] = lambda: {}", "'''\n{}''' '{}'",
]  # fmt: skip


@given(
    places=st.lists(st.sampled_from(PLACES), min_size=1, max_size=4),
    secret=st.sampled_from(["AKIAIOSFODNN7EXAMPLE", "ghp_" + "a1B2" * 9, "sk_live_" + "aB3" * 9]),
)
def test_a_source_parses_as_before_wherever_in_it_a_secret_stood(
    places: list[str], secret: str
) -> None:
    source = "\n".join(place.format(*[secret] * place.count("{}")) for place in places)
    [text] = masked(source)
    assert secret not in text
    before, after = ast.parse(source), ast.parse(text)
    assert [type(node) for node in ast.walk(before)] == [type(node) for node in ast.walk(after)]
    lines = [getattr(node, "lineno", 0) for node in ast.walk(before)]
    assert lines == [getattr(node, "lineno", 0) for node in ast.walk(after)]


@settings(max_examples=100)
@given(
    before=st.text(max_size=9), one=planted(), after=st.text(max_size=9), gap=st.sampled_from(GAPS)
)
@example(before="", one=Planted("API_KEY=MASKED_x_1abc2defg", "abc2defg"), after="", gap=" ")
def test_masking_what_is_masked_changes_nothing_more(
    before: str, one: Planted, after: str, gap: str
) -> None:
    text = before + gap + one.text + gap + after
    [once] = masked(text, patterns=PATTERNS)
    assert one.secret not in once
    assert masked(once, patterns=PATTERNS) == [once]
    assert len(once.splitlines()) == len(text.splitlines())


# In facts


def test_a_value_is_a_secret_where_its_key_says_so(tmp_path: Path) -> None:
    arguments = {
        "password": "two words", "env": [{"name": "API_KEY", "value": "abcd1234efgh"}],
        "token": "if", "digest": "a1" * 32, "tokenizer": "mistral-v3-2024",
    }  # fmt: skip
    hex_of_any_kind = Patterns([("1", "[0-9a-f]{64}")])
    with stored("t", [(Claim(ToolCalled(tool="sh", arguments=arguments), NOON), [])]) as store:
        exported(store, tmp_path / "log.jsonl", hex_of_any_kind)
    line = json.loads((tmp_path / "log.jsonl").read_text())
    assert line["data"]["arguments"] == arguments | {
        "password": "MASKED_secret_1", "env": [{"name": "API_KEY", "value": "MASKED_secret_2"}],
    }  # fmt: skip


def test_keys_that_are_one_when_they_are_masked_stay_two(tmp_path: Path) -> None:
    fact = UnknownFact(kind="ODD", payload={"/home/ann": 1, "/home/bob": 2})
    with stored("t", [(Claim(fact, NOON), [])]) as store:
        exported(store, tmp_path / "log.jsonl")
    line = json.loads((tmp_path / "log.jsonl").read_text())
    assert line["data"] == {"/home/user": 1, "/home/user_": 2}


def test_a_path_is_masked_alike_wherever_it_stands(tmp_path: Path) -> None:
    path = "/home/ann/app/a.py"
    body = Blob(f"see {path}, blob:{'0' * 64}".encode())
    facts = [
        SourceRead(path=path, source=body.ref),
        ToolCalled(tool="read", arguments={path: [f"function:{path}::f", body.ref]}),
    ]
    with stored(path, [(Claim(fact, NOON, path), [body]) for fact in facts]) as store:
        exported(store, tmp_path / "log.jsonl")
    blob, first, second = map(json.loads, (tmp_path / "log.jsonl").read_text().splitlines())
    path = "/home/user/app/a.py"
    assert blob["text"] == f"see {path}, blob:{'0' * 64}"
    assert [first["task_id"], first["writer"], first["data"]["path"]] == [path] * 3
    assert first["data"]["source"] == blob["blob"] == Blob(blob["text"].encode()).ref
    assert second["data"]["arguments"] == {path: [f"function:{path}::f", blob["blob"]]}


def test_bodies_that_are_one_when_they_are_masked_are_exported_once(tmp_path: Path) -> None:
    bodies = [Blob(f"/home/{name}/a.py".encode()) for name in ("ann", "bob")]
    facts = [SourceRead(path="a", source=body.ref) for body in bodies]
    facts.append(SourceRead(path="b", source=Blob(b"").ref, note=f"as {bodies[0].ref} was"))
    with stored("t", [(Claim(fact, NOON), bodies) for fact in facts]) as store:
        exported(store, tmp_path / "log.jsonl")
    blob, *events = map(json.loads, (tmp_path / "log.jsonl").read_text().splitlines())
    assert blob["text"] == "/home/user/a.py"
    assert [event["data"]["source"] for event in events[:2]] == [blob["blob"]] * 2
    assert events[2]["data"]["note"] == f"as {blob['blob']} was"


def test_a_body_that_is_no_text_is_kept_and_told(tmp_path: Path) -> None:
    picture, latin = Blob(b"\x89PNG\0AKIAIOSFODNN7EXAMPLE"), Blob(b"caf\xe9 AKIAIOSFODNN7EXAMPLE")
    facts = [SourceRead(path="a", source=blob.ref) for blob in (picture, latin)]
    with stored("t", [(Claim(fact, NOON), [picture, latin]) for fact in facts]) as store:
        redaction = exported(store, tmp_path / "log.jsonl")
    assert (redaction.kept, redaction.texts) == (1, 1)
    with EventStore.open("sqlite://") as other:
        run(other, "events", tmp_path / "log.jsonl")
        read = [other.get(event.fact.data["source"]) for event in other.read()]
    assert read == [picture.body, b"caf\xe9 MASKED_aws_key_1"]


# The user's own patterns


REFUSED = ["", "a*", ".", ".+", r"\w+", "[a-z]", r"\b", "(?=x)", ".{5,}", r"(?s).{3}", "^", "x|"]


@pytest.mark.parametrize("pattern", REFUSED)
def test_a_pattern_of_everything_is_refused(pattern: str) -> None:
    with pytest.raises(PatternError, match=r"^--pattern 1: needed a pattern of a secret"):
        Patterns([("--pattern 1", pattern)])


def test_what_is_no_pattern_is_refused_without_telling_it() -> None:
    with pytest.raises(PatternError) as refused:
        Patterns([("--pattern 1", "hunter2(")])
    assert "hunter2" not in str(refused.value)


def test_a_pattern_that_takes_too_long_is_stopped() -> None:
    slow = Patterns([("--pattern 1", "(x+x+)+y")], seconds=1.0)
    with pytest.raises(PatternError, match="needed a pattern that is quick on any text"):
        masked("x" * 40, patterns=slow)


def test_a_pattern_spares_masks_references_and_lines() -> None:
    patterns = Patterns([("1", "key_1|[0-9a-f]{64}"), ("2", r"begin[\s\S]*end")])
    texts = ["MASKED_aws_key_1", "blob:" + "a1" * 32, "begin\n  two\r\nend"]
    assert masked(*texts, patterns=patterns) == [
        *texts[:2], "MASKED_pattern_1\n  MASKED_pattern_2\r\nMASKED_pattern_3",
    ]  # fmt: skip


def test_what_a_mask_makes_a_pattern_match_is_masked_at_once() -> None:
    patterns = Patterns([("1", r"(?<=_key_1 )\w{5}")])
    [text] = masked("AKIAIOSFODNN7EXAMPLE hello", patterns=patterns)
    assert text == "MASKED_aws_key_1 MASKED_pattern_1"


LONG = [
    "a" * 100_000, "sk-" * 35_000, "://" * 35_000, "://a:" * 20_000, "password=" * 10_000,
    "--token " * 10_000, "-----BEGIN RSA PRIVATE KEY-----\n" * 2_500, "eyJ" + "a." * 45_000,
    'password = "' * 7_500, "api_" * 25_000, "/home/" * 20_000, "%2Fhome%2F" * 10_000,
    "curl " * 20_000, "?token" * 15_000, "AKIA" * 25_000, "A1" * 50_000, "\\" * 100_000,
    "password: " + "\\" * 50_000, "Bearer " * 15_000, "blob:" + "a" * 100_000, "key " * 25_000,
    "C:\\Users\\" * 10_000, "MASKED_a" * 12_500, "MASKED" + "_a" * 45_000, " " * 100_000,
]  # fmt: skip


@pytest.mark.parametrize("text", LONG, ids=[text[:12] for text in LONG])
def test_no_text_takes_more_than_its_length(text: str) -> None:
    with within(60, "took what grows faster than the text"):  # these take a second at the most
        [once] = masked(text)
    assert masked(once) == [once]
