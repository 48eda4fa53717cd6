r"""What a span says of a call, in one form for both dialects: GenAI and OpenInference.

>>> unflattened({"llm.tools.1.tool.json_schema": "b", "llm.tools.0.tool.json_schema": "a"},
...             "llm.tools.")
[{'tool': {'json_schema': 'a'}}, {'tool': {'json_schema': 'b'}}]
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from pydantic_core import from_json, to_json

from backcast.engine.log.importers.content import mapping, sequence, string

MODEL, TOOL, OTHER = "model", "tool", "other"
CALLS = ("chat", "text_completion", "generate_content", "completion")
HIDDEN = "__REDACTED__"
"What OpenInference writes in place of a text that was hidden."
CONTENT = (
    "gen_ai.input.messages", "gen_ai.output.messages", "gen_ai.system_instructions",
    "gen_ai.tool.definitions", "gen_ai.tool.call.arguments", "gen_ai.tool.call.result",
)  # fmt: skip
FLAT = ("llm.input_messages.", "llm.output_messages.", "llm.tools.", "llm.prompts.")
"The beginnings of attributes that facts tell."
Messages = list[dict[str, Any]]


class ModelCall(NamedTuple):
    """A call of a model."""

    messages: Messages
    "In the form of chat completions; empty where the span does not tell."
    tools: list[Any]
    answer: dict[str, Any]
    "The answer's message; empty where the span does not tell."
    model: str | None
    finish: str | None
    counts: dict[str, int]


def kind_of(attributes: Mapping[str, Any]) -> str:
    """Return what a span is about."""
    operation, kind = (
        attributes.get("gen_ai.operation.name"),
        attributes.get("openinference.span.kind"),
    )
    if operation == "execute_tool" or str(kind).upper() == "TOOL":
        return TOOL
    if operation in CALLS or str(kind).upper() == "LLM":
        return MODEL
    asked = operation is None and kind is None
    return MODEL if asked and "gen_ai.request.model" in attributes else OTHER


def call_of(attributes: Mapping[str, Any]) -> ModelCall:
    """Return what a span says of a call of a model."""
    finish = sequence(attributes.get("gen_ai.response.finish_reasons"))
    asked = [message for item in _listed(attributes.get("gen_ai.input.messages"))
             for message in _messages(mapping(item))]  # fmt: skip
    if system := _texts(_listed(attributes.get("gen_ai.system_instructions"))):
        asked = [{"role": "system", "content": system}, *asked]
    answers = _listed(attributes.get("gen_ai.output.messages"))
    answer = next((m for item in answers for m in _messages(mapping(item))), {})
    finish += [mapping(item).get("finish_reason") for item in answers]
    tools = _listed(attributes.get("gen_ai.tool.definitions"))
    if not asked:
        asked = _flat_messages(attributes, "llm.input_messages.")
        asked = asked or [
            {"role": "user", "content": text}
            for item in unflattened(attributes, "llm.prompts.")
            if (text := string(mapping(item.get("prompt")).get("text")))
        ]
    if not asked and (text := _shown(attributes.get("input.value"))):
        asked = [{"role": "user", "content": text}]
    if not answer:
        answer = next(iter(_flat_messages(attributes, "llm.output_messages.")), {})
    if not answer and (text := _shown(attributes.get("output.value"))):
        answer = {"role": "assistant", "content": text}
    for item in unflattened(attributes, "llm.tools."):
        schema = mapping(item.get("tool")).get("json_schema")
        tools.append(_parsed(schema) if isinstance(schema, str) else schema)
    models = ("gen_ai.response.model", "gen_ai.request.model", "llm.model_name")
    named = [attributes.get(name) for name in models]
    finish.append(attributes.get("llm.finish_reason"))
    if not any(message["content"] for message in asked if message["role"] in ("user", "system")):
        asked = []  # what is left where content is off: that there were calls, and of what
    return ModelCall(
        asked, [tool for tool in tools if tool is not None], answer,
        next(filter(None, map(string, named)), None),
        next(filter(None, map(string, finish)), None), _counts(attributes),
    )  # fmt: skip


def unflattened(attributes: Mapping[str, Any], prefix: str) -> list[dict[str, Any]]:
    """Return the list whose elements stand under `prefix`, a number and their path."""
    found: dict[int, dict[str, Any]] = {}
    for name, value in attributes.items():
        if not name.startswith(prefix):
            continue
        number, _, path = name.removeprefix(prefix).partition(".")
        if number.isdecimal() and len(number) < 7 and path:
            _put(found.setdefault(int(number), {}), path.split("."), value)
    return [found[number] for number in sorted(found)]


def _put(into: dict[str, Any], path: list[str], value: Any) -> None:
    for step in path[:-1]:
        below = into.setdefault(step, {})
        if not isinstance(below, dict):
            return
        into = below
    into.setdefault(path[-1], value)


def _numbered(value: Any) -> list[dict[str, Any]]:
    """Return the elements of an object whose names are numbers, in order."""
    fields = {int(name): item for name, item in mapping(value).items()
              if name.isdecimal() and len(name) < 7}  # fmt: skip
    return [mapping(fields[number]) for number in sorted(fields)]


def _flat_messages(attributes: Mapping[str, Any], prefix: str) -> Messages:
    """Return the messages that OpenInference flattens."""
    messages = []
    for item in unflattened(attributes, prefix):
        said = mapping(item.get("message"))
        content: Any = _shown(said.get("content"))
        blocks = [
            mapping(block.get("message_content")) for block in _numbered(said.get("contents"))
        ]
        if content is None and blocks:
            content = [block for block in blocks if block.get("text") != HIDDEN]
        calls = [mapping(call.get("tool_call")) for call in _numbered(said.get("tool_calls"))]
        message = _message(str(said.get("role") or "user"), content, [
            (call.get("id"), mapping(call.get("function")).get("name"),
             mapping(call.get("function")).get("arguments"))
            for call in calls
        ])  # fmt: skip
        if id := string(said.get("tool_call_id")):
            message["tool_call_id"] = id
        if message.get("content") or calls:
            messages.append(message)
    return messages


def _messages(said: dict[str, Any]) -> Messages:
    """Return a message of the GenAI dialect; the result of a call becomes a message of its own."""
    role, parts = str(said.get("role") or "user"), [mapping(p) for p in sequence(said.get("parts"))]
    if not parts:  # as the conventions had it before
        asked = [(call.get("id"), mapping(call.get("function")).get("name"),
                  mapping(call.get("function")).get("arguments"))
                 for call in map(mapping, sequence(said.get("tool_calls")))]  # fmt: skip
        message = _message(role, said.get("content"), asked)
        if role == "tool" and said.get("id"):
            message["tool_call_id"] = said["id"]
        return [message] if message["content"] or asked else []
    calls = [(p.get("id"), p.get("name"), p.get("arguments"))
             for p in parts if p.get("type") == "tool_call"]  # fmt: skip
    results: Messages = []
    for part in parts:
        if part.get("type") == "tool_call_response":
            result = part.get("response", part.get("result"))
            text = result if isinstance(result, str) else to_json(result).decode()
            results.append({"role": "tool", "tool_call_id": part.get("id"), "content": text})
    others = [p for p in parts if p.get("type") in ("blob", "uri", "file")]
    texts = _texts([p for p in parts if p.get("type", "text") == "text"])
    content: Any = [{"type": "text", "text": texts}, *others] if others else texts
    message = _message(role, content, calls)
    if thoughts := _texts([p for p in parts if p.get("type") in ("reasoning", "thinking")]):
        message["reasoning_content"] = thoughts
    holds = message.get("content") or calls or thoughts
    return [*([message] if holds else []), *results]


def _message(role: str, content: Any, calls: list[tuple[Any, Any, Any]]) -> dict[str, Any]:
    role = {"developer": "system", "model": "assistant", "ai": "assistant",
            "human": "user"}.get(role, role)  # fmt: skip
    message: dict[str, Any] = {"role": role, "content": None if calls and not content else content}
    if calls:
        message["tool_calls"] = [
            {"id": id, "type": "function", "function": {"name": name, "arguments": (
                arguments if isinstance(arguments, str) else to_json(arguments).decode())}}
            for id, name, arguments in calls
        ]  # fmt: skip
    return message


def _texts(parts: list[Any]) -> str:
    found = (part if isinstance(part, str) else mapping(part).get("content", mapping(part).get(
        "text")) for part in parts)  # fmt: skip
    return "\n".join(text for text in found if isinstance(text, str) and text)


def _shown(value: object) -> str | None:
    """Return a text that was not hidden."""
    return value if isinstance(value, str) and value not in ("", HIDDEN) else None


def _listed(value: Any) -> list[Any]:
    """Return a list, also one that stands in a string of JSON."""
    return sequence(_parsed(value) if isinstance(value, str) else value)[:]


def _parsed(text: str) -> Any:
    try:
        return from_json(text)
    except ValueError:
        return None


def _counts(attributes: Mapping[str, Any]) -> dict[str, int]:
    names = {
        "prompt_tokens": ("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens",
                          "llm.token_count.prompt"),
        "tokens": ("gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens",
                   "llm.token_count.completion"),
        "cached_tokens": ("gen_ai.usage.cache_read.input_tokens",
                          "llm.token_count.prompt_details.cache_read"),
    }  # fmt: skip
    return {
        ours: found[0]
        for ours, theirs in names.items()
        if (found := [attributes[name] for name in theirs if type(attributes.get(name)) is int])
    }
