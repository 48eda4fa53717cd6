"""A model that mends a cart: it answers in three dialects, as streams with calls of tools."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.upstreams import Playing

WRONG = "sum(price for name, count, price in self.items)"
RIGHT = "sum(count * price for name, count, price in self.items)"
CART = f'''class Cart:
    def __init__(self) -> None:
        self.items: list[tuple[str, int, float]] = []

    def add(self, name: str, count: int, price: float) -> None:
        self.items.append((name, count, price))

    def total(self) -> float:
        """Return the price of all of it."""
        return {WRONG}
'''
TEST = """from cart import Cart

cart = Cart()
cart.add("pear", 3, 0.5)
cart.add("bread", 1, 2.0)
assert cart.total() == 3.5, cart.total()
print("1 passed")
"""
RUN, DONE = "python3 test_cart.py", "total() counts each thing now."
MEND = f"sed -i 's/{WRONG}/{RIGHT.replace('*', chr(92) + '*')}/' cart.py"
USAGE = (100, 60)
"Tokens of each prompt, and of them those that were not read again."
Call = tuple[str, dict[str, Any]]


def repository(folder: Path) -> Path:
    """Write the cart, and the test that it fails."""
    folder.mkdir()
    (folder / "cart.py").write_text(CART)
    (folder / "test_cart.py").write_text(TEST)
    return folder


def play(asked: Playing, done: str = DONE, mend: str = MEND) -> None:
    """Answer a request of an agent; another one has no answer.

    `done` is what it says at its end, and `mend` the command by which a shell mends the cart.
    """
    if asked.command != "POST":
        asked.whole(b'{"object": "list", "data": []}')
        return
    value = json.loads(asked.body)
    calls = _calls({_name(tool) for tool in value.get("tools") or ()}, done, mend)
    turn = len({id for id in range(len(calls)) if f'"call_{id}"'.encode() in asked.body})
    call = calls[turn] if turn < len(calls) else None
    text = "Let me see." if call else done
    path = asked.path.partition("?")[0]
    if not value.get("stream"):
        asked.whole(json.dumps(_whole(text, call, f"call_{turn}")).encode())
        return
    asked.begin()
    for event in events(path, text, call, f"call_{turn}"):
        kind = f"event: {event['type']}\n" if "type" in event else ""
        asked.chunk(f"{kind}data: {json.dumps(event)}\n\n".encode())
    if path.endswith("completions"):
        asked.chunk(b"data: [DONE]\n\n")
    asked.end()


def events(path: str, text: str, call: Call | None, id: str) -> Iterator[dict[str, Any]]:
    """Yield the events of a stream that says something, and perhaps calls a tool."""
    dialect = {"/v1/messages": _messages, "/v1/responses": _responses}.get(path, _chat)
    yield from dialect(text, call, id)


def _name(tool: dict[str, Any]) -> str:
    return str((tool.get("function") or tool).get("name"))


def _calls(tools: set[str], done: str, mend: str) -> list[Call]:
    """Return what an agent with these tools is asked to do."""
    if "exec_command" in tools:
        return [("exec_command", {"cmd": line}) for line in ("cat cart.py", RUN, mend, RUN)]
    if {"read", "edit"} <= tools:
        edit = {"path": "cart.py", "edits": [{"oldText": WRONG, "newText": RIGHT}]}
        changed = ("edit", edit) if mend == MEND else ("bash", {"command": mend})
        return [("read", {"path": "cart.py"}), changed, ("bash", {"command": RUN})]
    end = "echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT"
    if done != DONE:
        end += f"; cat <<'E'\n{done}\nE"
    lines = ("cat cart.py", RUN, mend, RUN, end) if tools else ()
    return [("bash", {"command": line}) for line in lines]


def _whole(text: str, call: Call | None, id: str) -> dict[str, Any]:
    """Return an answer of the chat interface that is no stream."""
    *pieces, last = _chat(text, call, id)
    message: dict[str, Any] = {}
    for piece in pieces:
        message |= piece["choices"][0]["delta"]
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls" if call else "stop"}
    return last | {"object": "chat.completion", "choices": [choice]}


def _chat(text: str, call: Call | None, id: str) -> Iterator[dict[str, Any]]:
    yield _choice({"role": "assistant", "content": text})
    if call:
        function = {"name": call[0], "arguments": json.dumps(call[1])}
        named = {"index": 0, "id": id, "type": "function", "function": function}
        yield _choice({"tool_calls": [named]})
    tokens, cached = USAGE
    usage = {"prompt_tokens": tokens, "completion_tokens": 5, "total_tokens": tokens + 5,
             "prompt_tokens_details": {"cached_tokens": cached}}  # fmt: skip
    yield _choice({}, "tool_calls" if call else "stop") | {"usage": usage}


def _choice(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "local",
            "choices": [choice]}  # fmt: skip


def _messages(text: str, call: Call | None, id: str) -> Iterator[dict[str, Any]]:
    tokens, cached = USAGE
    usage = {"input_tokens": tokens - cached, "cache_read_input_tokens": cached,
             "output_tokens": 0}  # fmt: skip
    message: dict[str, Any] = {"id": "m", "type": "message", "role": "assistant", "content": [],
               "model": "local", "stop_reason": None, "usage": usage}  # fmt: skip
    yield {"type": "message_start", "message": message}
    blocks: list[tuple[dict[str, Any], dict[str, Any]]] = [
        ({"type": "text", "text": ""}, {"type": "text_delta", "text": text})
    ]
    if call:
        begun = {"type": "tool_use", "id": id, "name": call[0], "input": {}}
        blocks.append((begun, {"type": "input_json_delta", "partial_json": json.dumps(call[1])}))
    for index, (block, delta) in enumerate(blocks):
        yield {"type": "content_block_start", "index": index, "content_block": block}
        yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
    reason = {"stop_reason": "tool_use" if call else "end_turn", "stop_sequence": None}
    yield {"type": "message_delta", "delta": reason, "usage": {"output_tokens": 5}}
    yield {"type": "message_stop"}


def _responses(text: str, call: Call | None, id: str) -> Iterator[dict[str, Any]]:
    tokens, cached = USAGE
    answer = {"id": f"r{id}", "object": "response", "created_at": 1, "model": "local"}
    yield {"type": "response.created", "response": answer | {"status": "in_progress"}}
    said = {"type": "output_text", "text": text, "annotations": []}
    items: list[dict[str, Any]] = [
        {"type": "message", "id": f"m{id}", "role": "assistant", "status": "completed",
         "content": [said]}
    ]  # fmt: skip
    if call:
        items.append({"type": "function_call", "id": f"f{id}", "call_id": id, "name": call[0],
                      "arguments": json.dumps(call[1]), "status": "completed"})  # fmt: skip
    for index, item in enumerate(items):
        yield {"type": "response.output_item.added", "output_index": index, "item": item}
        yield {"type": "response.output_item.done", "output_index": index, "item": item}
    usage = {"input_tokens": tokens, "input_tokens_details": {"cached_tokens": cached},
             "output_tokens": 5, "total_tokens": tokens + 5,
             "output_tokens_details": {"reasoning_tokens": 0}}  # fmt: skip
    whole = answer | {"status": "completed", "output": items, "usage": usage}
    yield {"type": "response.completed", "response": whole}
