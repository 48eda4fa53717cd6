"""Reads what an agent printed: its final answer, whether it failed, and what it says it cost."""

import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from backcast.engine.workflow.dispatch.agents import OutputForm, Selector

LARGEST = 64 * 2**20
"Bytes of a file that are read."
ANY = "*"
"The value of a selector that stands for any."


class AgentOutput(NamedTuple):
    """What an agent said at its end."""

    answer: str = ""
    failed: str | None = None
    "Why it failed, as it tells; None where it tells nothing of the kind."
    session: str = ""
    prompt_tokens: int | None = None
    answer_tokens: int | None = None
    money: float | None = None


def read_output(form: OutputForm, printed: str, file: Path | None = None) -> AgentOutput:
    """Return what an agent's output tells; its words as a whole where it prints none of its form.

    `file` is the file that its form names.
    """
    text = printed if file is None else _text_of(file)
    if form.form == "plain":
        return AgentOutput(answer=text)
    records = list(_records(form.form, text))
    failed = [_value(record, selector.text) for record, selector in _found(records, form.failed)]
    return AgentOutput(
        answer=_last_text(records, form.answer),
        failed=_shown(failed[-1]) if failed else None,
        session=_last_text(records, form.session),
        **_usage(records, form.usage),
    )


def _usage(records: Sequence[Any], selectors: Sequence[Selector]) -> dict[str, Any]:
    """Return tokens and money, added up over all records that tell of them."""
    totals: dict[str, Any] = {}
    for record, selector in _found(records, selectors):
        for name, paths in (("prompt_tokens", selector.prompt), ("answer_tokens", selector.answer),
                            ("money", (selector.money,) if selector.money else ())):  # fmt: skip
            for path in paths:
                number = _value(record, path)
                if isinstance(number, int | float) and not isinstance(number, bool) and number >= 0:
                    totals[name] = totals.get(name, 0) + number
    return totals


def _last_text(records: Sequence[Any], selectors: Sequence[Selector]) -> str:
    texts = [
        _text(_value(record, selector.text)) for record, selector in _found(records, selectors)
    ]
    return next((text for text in reversed(texts) if text), "")


def _found(records: Sequence[Any], selectors: Sequence[Selector]) -> Iterator[tuple[Any, Selector]]:
    """Yield the records that a selector names, in their order."""
    for record in records:
        for selector in selectors:
            if all(
                (found := _value(record, path)) is not None and wanted in (ANY, found)
                for path, wanted in selector.where.items()
            ):
                yield record, selector


def _records(form: str, text: str) -> Iterator[Any]:
    """Yield the records of an output; lines that are none are left out."""
    if form == "jsonl":
        for line in text.splitlines():
            if line.lstrip().startswith("{"):
                with suppress(ValueError, RecursionError):
                    yield json.loads(line)
        return
    with suppress(ValueError, RecursionError):
        value = json.loads(_json_in(text))
        yield from value if isinstance(value, list) else [value]


def _json_in(text: str) -> str:
    """Return a text from where its JSON begins: some agents print a line before."""
    starts = [at for at in (text.find("{"), text.find("[")) if at >= 0]
    return text[min(starts) :] if starts else ""


def _value(record: Any, path: str) -> Any:
    """Return the value at a path of keys and places; None where there is none."""
    for part in path.split("."):
        if isinstance(record, dict):
            record = record.get(part)
        elif isinstance(record, list) and part.lstrip("-").isdecimal():
            at = int(part)
            record = record[at] if -len(record) <= at < len(record) else None
        else:
            return None
    return record


def _text(value: Any) -> str:
    """Return a text, or the texts of a list of parts together."""
    if isinstance(value, list):
        return "".join(_text(part.get("text") if isinstance(part, dict) else part)
                       for part in value)  # fmt: skip
    if isinstance(value, dict):  # an answer that was held to a schema
        return json.dumps(value)
    return value if isinstance(value, str) else ""


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return " ".join(text.split())[:400]


def _text_of(file: Path) -> str:
    with suppress(OSError):
        if file.is_file() and not file.is_symlink() and file.stat().st_size <= LARGEST:
            return file.read_text("utf-8", "replace")
    return ""
