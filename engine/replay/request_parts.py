"""A recorded request as the parts of a prompt, in the order in which chat templates show them."""

import contextlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from backcast.domain.message_parts import CALL, MESSAGE, THINKING, MessagePart
from backcast.engine.log.blobs import ref_of
from backcast.engine.log.exchanges.bodies import part_text
from backcast.engine.log.exchanges.requests import RecordedRequest, body_of
from backcast.engine.log.store import EventStore
from backcast.engine.replay.result_parts import result_part
from backcast.engine.replay.tool_calls import argument_line, argument_text, called

SYSTEM = ("system", "developer")
_OBSERVED = re.compile(
    r"\s*(?:<returncode>|<tool_response>|OBSERVATION:\s|EXECUTION RESULT of \[(\w+)\])"
)
"How results begin that agents without tools of the interface send in the user's name."
BESIDE = ("image", "image_url", "input_image", "document", "file", "input_file", "input_audio")


Finish = Callable[[MessagePart, Sequence[MessagePart]], MessagePart]
"Completes a part, which stands behind others."


class KeptTexts:
    """The texts of a run's requests, each read once however many requests repeat it."""

    def __init__(self, store: EventStore) -> None:
        self.store = store
        self._bodies: dict[str, bytes] = {}
        self._refs: dict[str, str] = {}
        self._parts: dict[str, str] = {}
        "The blob of a part by its text."

    def get(self, ref: str) -> bytes:
        """Return a body."""
        if ref not in self._bodies:
            self._bodies[ref] = self.store.get(ref)
        return self._bodies[ref]

    def hear(self, found: RecordedRequest) -> None:
        """Note the blobs of a request's parts."""
        for part in found.parts:
            if part.text not in self._refs:
                self._refs[part.text] = part.text
                self._parts.setdefault(part_text(self.get(part.text)), part.text)

    def ref(self, text: str) -> str:
        """Return the name of the blob that holds a text: alone, else as it stood in a body."""
        if text not in self._refs:
            ref = ref_of(text.encode(errors="surrogatepass"))
            self._refs[text] = ref if self.store.holds(ref) else self._parts.get(text, "")
        return self._refs[text] if text else ""


class RequestPartsReader:
    """Reads the bodies of a run's requests, in order; what a request repeats is read once."""

    def __init__(self, texts: KeptTexts, finish: Finish) -> None:
        self.texts, self.finish = texts, finish
        self.turn, self.answering = 0, False
        self.calls: dict[str, tuple[str, object]] = {}
        "The tool and the arguments of each call, by its id."
        self._messages: list[Any] = []
        self._parts: list[MessagePart] = []
        self._marks: list[tuple[int, int, bool]] = []
        "Behind each message: how many parts there were, the turn, and whether the model spoke."

    def parts(self, found: RecordedRequest) -> tuple[MessagePart, ...]:
        """Return the parts of a request. `ValueError` where its body is not of its dialect."""
        self.texts.hear(found)
        fields = json.loads(body_of(found, self.texts.get))
        if not isinstance(fields, dict):
            raise ValueError("needed a JSON object")
        said = fields.get("messages", fields.get("input", fields.get("prompt")))
        messages = said if isinstance(said, list) else [] if said is None else [said]
        self._rewind(messages)
        for item in messages[len(self._messages) :]:
            message = item if isinstance(item, dict) else {"role": "user", "content": item}
            for part in self._message(message):
                self._parts.append(self.finish(part, self._parts))
            self._messages.append(item)
            self._marks.append((len(self._parts), self.turn, self.answering))
        parts = [*(self.finish(part, ()) for part in _head(fields)), *self._parts]
        order = {"system": 0, "tool": 1}
        return tuple(sorted(parts, key=lambda part: order.get(part.kind, 2)))

    def _rewind(self, messages: list[Any]) -> None:
        """Go back to the last message that a request repeats."""
        same = 0
        for mine, other in zip(self._messages, messages, strict=False):
            if mine != other:
                break
            same += 1
        count, self.turn, self.answering = self._marks[same - 1] if same else (0, 0, False)
        del self._messages[same:], self._marks[same:], self._parts[count:]

    def _message(self, message: Mapping[str, Any]) -> Iterator[MessagePart]:
        role, kind = str(message.get("role") or ""), message.get("type")
        role = role or ("tool" if kind == "function_call_output" else "assistant")
        if role in SYSTEM:
            yield from (MessagePart("system", "system", text) for text in _texts(message))
            return
        self._stands(answering=role == "assistant")
        if kind == "function_call":
            yield self._call(message.get("call_id"), message.get("name"), message.get("arguments"))
        elif kind == "function_call_output":
            yield from self._result(message.get("call_id"), message.get("output"))
        elif kind == "reasoning":
            yield from self._said(THINKING, role, _texts(message.get("summary")))
        elif role in ("tool", "function"):
            yield from self._result(message.get("tool_call_id"), message.get("content"))
        else:
            for name in ("reasoning_content", "reasoning"):
                yield from self._said(THINKING, role, _texts(message.get(name)))
            yield from self._content(message.get("content"), role)
            for call in _list(message.get("tool_calls")):
                function = _mapping(_mapping(call).get("function"))
                id, arguments = _mapping(call).get("id"), function.get("arguments")
                yield self._call(id, function.get("name"), arguments)

    def _stands(self, *, answering: bool) -> None:
        """Count the turns: each begins where the model begins to speak."""
        self.turn += answering and not self.answering
        self.answering = answering

    def _content(self, content: object, role: str) -> Iterator[MessagePart]:
        blocks: list[Any] = content if isinstance(content, list) else [content]
        for block in blocks:
            match block:
                case {"type": "tool_use" | "server_tool_use"}:
                    yield self._call(block.get("id"), block.get("name"), block.get("input"))
                case {"type": "tool_result"}:
                    failed = block.get("is_error") is True
                    yield from self._result(
                        block.get("tool_use_id"), block.get("content"), failed=failed
                    )
                case {"type": "thinking", "thinking": str() as text}:
                    yield from self._said(THINKING, role, [text])
                case {"type": str() as kind} if kind in BESIDE:
                    yield MessagePart(role, "image", f"[{kind}]", turn=self.turn)
                case _:
                    yield from self._said(MESSAGE, role, _texts(block))

    def _said(self, kind: str, role: str, texts: Sequence[str]) -> Iterator[MessagePart]:
        for text in texts:
            found = _OBSERVED.match(text) if role == "user" and self.turn else None
            if found:
                tool, ref = found[1] or "", self.texts.ref(text)
                part = result_part(text, tool, None, call="", ref=ref, failed=False)
                yield part._replace(role=role, turn=self.turn)
            else:
                yield MessagePart(role, kind, text, turn=self.turn, ref=self.texts.ref(text))

    def _call(self, id: object, tool: object, arguments: object) -> MessagePart:
        if isinstance(arguments, str):
            with contextlib.suppress(ValueError, RecursionError):
                arguments = json.loads(arguments)
        name = str(tool or "")
        if isinstance(id, str):
            self.calls[id] = name, arguments
        text = called(name, argument_text(arguments))
        return MessagePart(
            "assistant", CALL, text, turn=self.turn, tool=name, call=str(id or ""),
            arguments=argument_line(arguments),
        )  # fmt: skip

    def _result(
        self, id: object, content: object, *, failed: bool = False
    ) -> Iterator[MessagePart]:
        tool, arguments = self.calls.get(str(id), ("", None))
        blocks: list[Any] = [content] if isinstance(content, str) else _list(content)
        beside = [block for block in blocks if _mapping(block).get("type") in BESIDE]
        text = "\n".join(_texts([block for block in blocks if block not in beside]))
        part = result_part(
            text, tool, arguments, call=str(id or ""), ref=self.texts.ref(text), failed=failed
        )
        yield part._replace(turn=self.turn)
        for block in beside:
            yield MessagePart("tool", "image", f"[{block['type']}]", turn=self.turn)


def _head(fields: Mapping[str, Any]) -> Iterator[MessagePart]:
    """Yield what stands outside of the messages: instructions and tools."""
    for name in ("system", "instructions"):
        for text in _texts(fields.get(name)):
            yield MessagePart("system", "system", text)
    for tool in _list(fields.get("tools")) + _list(fields.get("functions")):
        function = _mapping(tool.get("function", tool)) if isinstance(tool, dict) else {}
        name = str(function.get("name") or "")
        yield MessagePart("system", "tool", json.dumps(tool, ensure_ascii=False), tool=name)


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _texts(value: object) -> list[str]:
    """Return the texts in a content, a block, or a list of them."""
    match value:
        case str():
            return [value] if value else []
        case {"text": str() as text} | {"content": str() as text}:
            return [text] if text else []
        case {"content": list() as blocks}:
            return _texts(blocks)
        case list():
            return [text for block in value for text in _texts(block)]
    return []
