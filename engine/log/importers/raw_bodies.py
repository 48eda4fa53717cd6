"""Raw bodies that agents write beside a model's server: the very bytes of requests, and answers.

Claude Code writes `<uuid>.request.json` and `<request-id>.response.json`, Qwen Code one file
`openai-*.json` for both. A request and its answer are an exchange, as a proxy would record it, so
they go through the same writer. The task is the session's, with `-bodies` behind it, since the
agent's own log of the session is a task of its own.
"""

import hashlib
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from backcast.domain.errors import InputError
from backcast.domain.events import Claim, Imported
from backcast.engine.log.exchanges import sessions, spool
from backcast.engine.log.exchanges.bodies import MESSAGES
from backcast.engine.log.exchanges.sessions import session_in
from backcast.engine.log.exchanges.spool import Exchange, ExchangeHead
from backcast.engine.log.exchanges.writer import ExchangeWriter
from backcast.engine.log.importers import Report
from backcast.engine.log.importers.call_counts import BYTES
from backcast.engine.log.importers.content import mapping, name_of, sequence, string
from backcast.engine.log.importers.json_values import named, parse
from backcast.engine.log.importers.lines import MAX_LINE, first_object, unreadable
from backcast.engine.log.store import EventStore

FORMAT = "raw-bodies"
VERSION = 1
FAULTS: dict[int, str] = {}
"What was wrong with the facts of earlier versions."
PREFIX = "RAW_BODIES"
NEEDED = (
    "raw bodies: *.request.json and *.response.json of Claude Code, or openai-*.json of Qwen Code"
)
REQUEST, RESPONSE = ".request.json", ".response.json"
BEHIND = "-bodies"
BY_TIME = "answers that were taken for those of the requests before them, as no later one holds"
_SPACE = re.compile(rb'"(?:[^"\\]|\\.)*"|[ \t\r\n]+', re.DOTALL)


class RawRequest(NamedTuple):
    """A request in a file of its own, as far as is needed to find its answer."""

    path: Path
    at: float
    model: str
    said: bytes
    "A hash of its messages."
    before: tuple[bytes, bytes] | None
    "What its last answer says, and a hash of the messages before that."


class RawExchange(NamedTuple):
    """A request and its answer, each in a file."""

    id: str
    at: float
    request: Path
    response: Path | None = None
    "None where both stand in one file."


def write(store: EventStore, path: Path, task_id: str | None, report: Report) -> Report:
    """Write the exchanges of a folder, or of a file, that the store does not hold."""
    files = _files(path)
    writer = ExchangeWriter(store, task_id or FORMAT)
    before = {task: store.version(task) for task in store.tasks()}
    marked = set[str]()
    for found in sorted(_exchanges(files, report), key=lambda raw: (raw.at, raw.id)):
        try:
            exchange = _exchange(found, task_id)
        except InputError as error:
            report.skipped.append(f"{found.request.name}: {error}")
            continue
        report.calls[BYTES] = report.calls.get(BYTES, 0) + 1
        if (written := writer.write(exchange)) is None:
            report.known += 1
        elif written.task not in marked:
            marked.add(written.task)
            _mark(store, written.task, exchange.began)
    for task in marked:
        report.tasks[task] = store.version(task) - before.get(task, 0)
        report.added += report.tasks[task]
    return report


def _mark(store: EventStore, task: str, when: datetime) -> None:
    """Note once in a task where its exchanges come from."""
    if not any(True for _ in store.read(task, types=["IMPORTED"])):
        claim = Claim(Imported(format=FORMAT, version=VERSION), when, FORMAT, ())
        store.write_rows([store.row(task, store.version(task) + 1, claim)], [], [])


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        found = [file for file in sorted(path.rglob("*.json")) if _is_ours(file.name)]
        if not found:
            raise InputError(f"{path}: needed {NEEDED}, found a folder without them")
        return found
    if not _is_ours(path.name) or path.name.endswith(RESPONSE):
        first_object(path, lambda entry: False, NEEDED, FORMAT)
    if path.name.endswith(REQUEST):
        return [path, *sorted(path.parent.glob(f"*{RESPONSE}"))]
    return [path]


def _is_ours(name: str) -> bool:
    return name.endswith((REQUEST, RESPONSE)) or name.startswith("openai-")


def _bytes(path: Path) -> bytes:
    try:
        if path.stat().st_size > 4 * MAX_LINE:
            raise InputError(f"needed at most {4 * MAX_LINE:,} bytes, found more")
        return path.read_bytes()
    except OSError as error:
        raise unreadable(path, error) from None


def _value(path: Path) -> Any:
    try:
        return parse(_bytes(path))
    except InputError:
        return None


# Pairs


def _exchanges(files: list[Path], report: Report) -> Iterator[RawExchange]:
    requests, responses = list[RawRequest](), list[Path]()
    for file in files:
        if file.name.endswith(RESPONSE):
            responses.append(file)
        elif file.name.endswith(REQUEST):
            try:
                requests.append(_request(file))
            except InputError as error:
                report.skipped.append(f"{file.name}: {error}")
        else:
            yield RawExchange(f"raw:{file.stem}", file.stat().st_mtime, file)
    yield from _paired(requests, responses, report)


def _request(file: Path) -> RawRequest:
    body = _bytes(file)
    fields = mapping(parse(body))
    messages = sessions.conversation(body, MESSAGES, "/v1/messages").messages
    said = [item for item in sequence(fields.get("messages")) if isinstance(item, dict)]
    last = max((n for n, item in enumerate(said) if item.get("role") == "assistant"), default=-1)
    before = None
    if last >= 0 and len(said) == len(messages):
        before = _saying(said[last].get("content")), _hash(messages[:last])
    model = string(fields.get("model")) or ""
    return RawRequest(file, file.stat().st_mtime, model, _hash(messages), before)


def _hash(messages: tuple[bytes, ...]) -> bytes:
    return hashlib.sha256(b"".join(messages)).digest()


def _saying(content: object) -> bytes:
    """Return a hash of what an answer says: its calls' ids, else its texts."""
    blocks = [mapping(block) for block in sequence(content)]
    calls = [str(block.get("id")) for block in blocks if block.get("type") == "tool_use"]
    texts = [content] if isinstance(content, str) else [str(b.get("text", "")) for b in blocks]
    said = json.dumps(calls or ["".join(texts).strip()])
    return hashlib.sha256(said.encode()).digest()


def _paired(
    requests: list[RawRequest], responses: list[Path], report: Report
) -> Iterator[RawExchange]:
    """Yield each request with its answer: what the next request of the conversation holds as the
    answer before it; else the next answer of the same model in time."""
    open_requests = sorted(requests, key=lambda request: (request.at, request.path.name))
    asked = {request.before[0]: request.before[1] for request in requests if request.before}
    unheld, by_time = list[tuple[float, Path, str]](), 0
    for file in responses:
        value = mapping(_value(file))
        content, model = value.get("content"), string(value.get("model")) or ""
        key = asked.get(_saying(content)) if content else None
        found = next((r for r in open_requests if r.said == key), None) if key else None
        if found is None:
            unheld.append((file.stat().st_mtime, file, model))
            continue
        open_requests.remove(found)
        yield RawExchange(f"raw:{_stem(found.path)}", found.at, found.path, file)
    for at, file, model in sorted(unheld, key=lambda answer: (answer[0], answer[1].name)):
        before = [request for request in open_requests if request.at <= at]
        same = [request for request in before if _alike(request.model, model)]
        found = next(iter(same or before), None)
        if found is None:
            report.skipped.append(f"{file.name}: no request before it is without an answer")
            continue
        by_time += 1
        open_requests.remove(found)
        yield RawExchange(f"raw:{_stem(found.path)}", found.at, found.path, file)
    if by_time:
        report.notes.append(f"{BY_TIME} them: {by_time:,}")
    for request in open_requests:
        report.skipped.append(f"{request.path.name}: no answer stands beside it yet")


def _stem(path: Path) -> str:
    return path.name.removesuffix(REQUEST)


def _alike(asked: str, answered: str) -> bool:
    return bool(asked and answered) and (asked.startswith(answered) or answered.startswith(asked))


# Exchanges


def _exchange(found: RawExchange, task_id: str | None) -> Exchange:
    if found.response is None:
        return _of_qwen(found, task_id)
    body, answer = _bytes(found.request), _bytes(found.response)
    parse(answer)
    session = session_in(body, {})
    seconds = max(0.0, found.response.stat().st_mtime - found.at)
    when = datetime.fromtimestamp(found.at, UTC)
    return _made(found.id, when, "/v1/messages", body, answer, seconds, task_id, session)


def _of_qwen(found: RawExchange, task_id: str | None) -> Exchange:
    """Return the exchange in a file of Qwen Code, whose request is written with other spaces."""
    text = _SPACE.sub(
        lambda match: match[0] if match[0][:1] == b'"' else b"", _bytes(found.request)
    )
    fields = mapping(parse(text))
    if not isinstance(fields.get("request"), dict):
        raise InputError(f"needed a request and its answer, found {named(fields)}")
    bodies = _values(text.decode())
    at = string(fields.get("timestamp"))
    try:
        when = datetime.fromisoformat(at or "")
    except ValueError:
        when = datetime.fromtimestamp(found.at, UTC)
    session = string(mapping(fields.get("context")).get("sessionId"))
    body = bodies["request"].encode()
    session = session or session_in(body, {})
    answer = bodies["response"].encode() if isinstance(fields.get("response"), dict) else b""
    why = string(mapping(fields.get("error")).get("message")) or ""
    path = "/v1/chat/completions"
    made = _made(found.id, when, path, body, answer, 0.0, task_id, session)
    if answer:
        return made
    why = why or "the agent wrote no answer"
    return made._replace(status=None, headers={}, how=spool.CUT, why=why)


def _values(text: str) -> dict[str, str]:
    """Return the texts of the values of an object that has no spaces between its tokens."""
    decoder, found, at = json.JSONDecoder(strict=False), dict[str, str](), 1
    while at < len(text) and text[at] == '"':
        name, at = decoder.raw_decode(text, at)
        _, end = decoder.raw_decode(text, at + 1)
        found[name], at = text[at + 1 : end], end + 1
    return found


def _made(
    id: str, when: datetime, path: str, body: bytes, answer: bytes, seconds: float,
    task_id: str | None, session: str | None,
) -> Exchange:  # fmt: skip
    known = name_of(session)
    task = task_id or (f"{known}{BEHIND}" if known else "")
    head = ExchangeHead(id, when.isoformat(), "POST", path, {}, task)
    kind = {"content-type": "application/json"}
    return Exchange(head, body, 200, kind, answer, (), spool.FINISHED, "", seconds)
