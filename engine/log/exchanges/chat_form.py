"""Give a request the form of the chat interface, as llama-server does before its template.

llama-server takes messages and responses as well, but shows the prompt of chats alone.

>>> asked = {"system": [{"type": "text", "text": "Be terse"}], "messages": []}
>>> chat_form(asked, "messages")
{'messages': [{'role': 'system', 'content': 'Be terse'}]}
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from backcast.engine.log.exchanges.bodies import MESSAGES, RESPONSES

_STAMP = "x-anthropic-billing-header:"
"A line of instructions that differs in each request; llama-server makes its stamp one."
Fields = dict[str, Any]


class NoChatError(ValueError):
    """A request that llama-server would refuse, too."""


def chat_form(asked: Mapping[str, Any], dialect: str) -> Fields:
    """Return a request of any dialect as one for a chat; `NoChatError` where it cannot be."""
    form = {MESSAGES: _of_messages, RESPONSES: _of_responses}.get(dialect, dict)
    return form(asked)


# Messages


def _of_messages(asked: Mapping[str, Any]) -> Fields:
    said = list[Fields]()
    if (system := asked.get("system")) is not None:
        blocks = [{"type": "text", "text": system}] if isinstance(system, str) else system
        texts = (_stamped(block["text"]) for block in _of_type(blocks, "text"))
        said.append({"role": "system", "content": "".join(texts)})
    for message in _dicts(asked.get("messages")):
        said += _message(message)
    form: Fields = {"messages": said}
    if isinstance(tools := asked.get("tools"), list):
        form["tools"] = [
            _tool({"name": tool.get("name", ""), "description": tool.get("description", ""),
                   "parameters": tool.get("input_schema", {})})
            for tool in _dicts(tools)
        ]  # fmt: skip
    kept = ("temperature", "top_p", "top_k", "chat_template_kwargs")
    return form | {name: asked[name] for name in kept if name in asked}


def _stamped(text: str) -> str:
    at = text.find("cch=", len(_STAMP)) if text.startswith(_STAMP) else -1
    if at < 0 or text[at + 9 : at + 10] != ";":
        return text
    return text[: at + 4] + "fffff" + text[at + 9 :]


def _message(message: Fields) -> Iterable[Fields]:
    """Yield a message of the messages interface, and the results in it, as messages of a chat."""
    content = message.get("content")
    if not isinstance(content, list):
        if content is not None or message.get("role") != "assistant":
            yield message
        return
    shown, thoughts, calls, results = list[Fields](), "", list[Fields](), list[Fields]()
    for block in _dicts(content):
        match block.get("type"):
            case "text":
                shown.append(block)
            case "thinking":
                thoughts += block.get("thinking", "")
            case "image":
                shown += _image(block)
            case "tool_use":
                arguments = json.dumps(block.get("input", {}), ensure_ascii=False)
                calls.append(_call(block.get("id"), block.get("name"), arguments))
            case "tool_result":
                said = _result(block.get("content"))
                id = block.get("tool_use_id", "")
                results.append({"role": "tool", "tool_call_id": id, "content": said})
    if shown or calls or thoughts:
        given = {"tool_calls": calls, "reasoning_content": thoughts}
        added = {name: value for name, value in given.items() if value}
        yield {"role": message.get("role"), "content": shown or "", **added}
    yield from results


def _result(content: object) -> object:
    """Return a result: one text, unless it shows images."""
    if not isinstance(content, list):
        return content if isinstance(content, str) else ""
    texts = [{"type": "text", "text": block["text"]} for block in _of_type(content, "text")]
    images = [image for block in _of_type(content, "image") for image in _image(block)]
    return [*texts, *images] if images else "".join(text["text"] for text in texts)


def _image(block: Fields) -> list[Fields]:
    source = block.get("source") or {}
    data = f"data:{source.get('media_type', 'image/jpeg')};base64,{source.get('data', '')}"
    url = {"base64": data, "url": source.get("url", "")}.get(source.get("type", ""))
    return [] if url is None else [{"type": "image_url", "image_url": {"url": url}}]


# Responses


def _of_responses(asked: Mapping[str, Any]) -> Fields:
    if asked.get("previous_response_id"):
        raise NoChatError("the messages before it are with the server")
    form = {name: value for name, value in asked.items()
            if name not in ("input", "instructions", "tools", "reasoning")}  # fmt: skip
    said = list[Fields]()
    if "instructions" in asked:
        said.append({"role": "system", "content": asked["instructions"] or ""})
    items = asked.get("input")
    if isinstance(items, str):
        said.append({"role": "user", "content": items})
    else:
        for item in _dicts(items):
            _item(item, said)
    form["messages"] = said
    # Others than functions no template knows.
    tools = [
        _tool({"strict": True} | {name: value for name, value in tool.items() if name != "type"})
        for tool in _of_type(asked.get("tools") or [], "function")
    ]
    if tools:
        form["tools"] = tools
    effort = (asked.get("reasoning") or {}).get("effort")
    return form if effort is None else form | {"reasoning_effort": effort}


def _item(item: Fields, said: list[Fields]) -> None:
    """Add an item: what the model said in a row is one message."""
    before = said[-1] if said and said[-1].get("role") == "assistant" else None
    match item:
        case {"role": "user" | "system" | "developer" as role, "content": content}:
            said.append({"role": role, "content": _texts(content)})
        case {"role": "assistant", "type": "message"}:
            shown = _texts(item.get("content") or [])
            if before is None:
                said.append({"role": "assistant", "content": shown})
            else:
                before["content"] = [*(before.get("content") or []), *shown]
        case {"type": "function_call", "name": name, "call_id": id, "arguments": arguments}:
            call = _call(id, name, arguments)
            if before is None:
                said.append({"role": "assistant", "tool_calls": [call]})
            else:
                before.setdefault("tool_calls", []).append(call)
        case {"type": "function_call_output", "call_id": id, "output": output}:
            result = output if isinstance(output, str) else _texts(output)
            said.append({"role": "tool", "tool_call_id": id, "content": result})
        case {"type": "reasoning", "content": [{"text": text}, *_]}:
            if before is None:
                before = {"role": "assistant", "content": []}
                said.append(before)
            before["reasoning_content"] = text
        case _:
            raise NoChatError(f"no chat has a {item.get('type', 'message')}")


def _texts(content: object) -> list[Fields]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    shown = list[Fields]()
    for block in _dicts(content):
        match block:
            case {"type": "input_text" | "output_text" | "text", "text": text}:
                shown.append({"type": "text", "text": text})
            case {"type": "input_image", "image_url": url}:
                shown.append({"type": "image_url", "image_url": {"url": url}})
            case _:
                raise NoChatError(f"no chat shows {block.get('type')}")
    return shown


# Both


def _tool(function: Fields) -> Fields:
    return {"type": "function", "function": function}


def _call(id: object, name: object, arguments: str) -> Fields:
    return {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}


def _dicts(value: object) -> list[Fields]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _of_type(blocks: object, type: str) -> list[Fields]:
    found = [block for block in _dicts(blocks) if block.get("type") == type]
    return [block for block in found if type != "text" or isinstance(block.get("text"), str)]
