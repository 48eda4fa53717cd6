"""Requests of every dialect: as a chat, their sessions, and what an agent changes in its past."""

import json
from pathlib import Path
from typing import Any

import pytest

from backcast.engine.interfaces.proxy.recording import ServerCounter
from backcast.engine.log.exchanges import spool
from backcast.engine.log.exchanges.answers import read_answer
from backcast.engine.log.exchanges.bodies import part_text, split_body
from backcast.engine.log.exchanges.chat_form import NoChatError, chat_form
from backcast.engine.log.exchanges.recorded_tools import RecordedTools, printed
from backcast.engine.log.exchanges.sessions import conversation
from backcast.engine.log.exchanges.spool import Spool
from backcast.engine.log.exchanges.writer import ExchangeWriter
from backcast.engine.log.store import EventStore
from backcast.engine.models.http_client import ask
from tests.servers import llama_server

TOOL = {"name": "run", "description": "Runs a command in the shell.",
        "parameters": {"type": "object", "properties": {"line": {"type": "string"}}}}  # fmt: skip
ODD: dict[str, list[dict[str, Any]]] = {
    "messages": [
        {"system": "A", "messages": [{"role": "user", "content": "B"}]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "B"}]}]},
        {"system": [{"type": "text", "text": "A", "cache_control": {"type": "ephemeral"}},
                    {"type": "text", "text": "B"}],
         "messages": [
            {"role": "user", "content": [{"type": "text", "text": "C"},
                                         {"type": "text", "text": "D"}]},
            {"role": "assistant", "content": [
                {"type": "thinking", "thinking": "Hm", "signature": "s"},
                {"type": "text", "text": "E"},
                {"type": "tool_use", "id": "t", "name": "run", "input": {"line": "ls é"}},
                {"type": "tool_use", "id": "u", "name": "run", "input": {}}]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "t", "content": [
                    {"type": "text", "text": "one"}, {"type": "text", "text": "two"}]},
                {"type": "tool_result", "tool_use_id": "u"},
                {"type": "text", "text": "F"}]}],
         "tools": [{"name": "run", "description": "Runs it.", "input_schema": {}}]},
        {"system": "x-anthropic-billing-header: cc_version=1; cch=a5145;Be terse.",
         "messages": [{"role": "user", "content": "B"}]},
    ],
    "responses": [
        {"input": "B"},
        {"instructions": "A", "input": [{"role": "user", "content": "B"}]},
        {"instructions": "A", "input": [
            {"type": "message", "role": "developer",
             "content": [{"type": "input_text", "text": "B"}]},
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "C"}]},
            {"type": "reasoning", "summary": [],
             "content": [{"type": "reasoning_text", "text": "Hm"}]},
            {"type": "message", "role": "assistant",
             "content": [{"type": "output_text", "text": "D"}]},
            {"type": "function_call", "name": "run", "call_id": "c", "arguments": "{}"},
            {"type": "function_call", "name": "run", "call_id": "d", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c", "output": "E"},
            {"type": "function_call_output", "call_id": "d",
             "output": [{"type": "input_text", "text": "F"}]}],
         "tools": [{"type": "function", **TOOL}, {"type": "web_search"}]},
    ],
    "chat": [
        {"messages": [{"role": "system", "content": "A"}, {"role": "user", "content": "B"}],
         "tools": [{"type": "function", "function": TOOL}]},
    ],
}  # fmt: skip
PATHS = {"messages": "/v1/messages/count_tokens", "responses": "/v1/responses/input_tokens",
         "chat": "/v1/chat/completions/input_tokens"}  # fmt: skip


def test_odd_requests_are_counted_as_the_server_counts_them(tmp_path: Path) -> None:
    with llama_server("qwen3", tmp_path, "--jinja") as url:
        counter = ServerCounter(url)
        for dialect, requests in ODD.items():
            for number, asked in enumerate(requests):
                answer = ask(url + PATHS[dialect], asked, "", 20)
                counted = counter.prompt(f"{dialect}{number}", json.dumps(asked).encode(), dialect)
                assert counted is not None, asked
                assert counted.tokens == json.loads(answer.body)["input_tokens"], asked
        whole = counter.prompt("text", json.dumps({"prompt": "Once upon"}).encode(), "completion")
        assert whole is not None
        assert whole.text == "Once upon"
        past = {"previous_response_id": "r", "input": "B"}
        assert counter.prompt("past", json.dumps(past).encode(), "responses") is None
    with pytest.raises(NoChatError, match="no chat has a web_search_call"):
        chat_form({"input": [{"type": "web_search_call"}]}, "responses")


def test_calls_and_results_of_any_kind_are_known() -> None:
    items = [
        {"type": "custom_tool_call", "call_id": "c", "name": "apply_patch", "input": "*** Begin"},
        {"type": "custom_tool_call_output", "call_id": "c", "output": "Done!"},
        {"type": "local_shell_call", "call_id": "d", "action": {"command": ["ls"]}},
        {"type": "local_shell_call_output", "call_id": "d", "output": "a.py"},
        {"type": "function_call", "call_id": "e", "name": "see", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "e", "output": [
            {"type": "input_text", "text": "A picture:"}, {"type": "input_image", "image_url": "d"},
        ]},
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm"}],
         "encrypted_content": "x"},
    ]  # fmt: skip
    body = json.dumps({"model": "m", "input": items, "tools": [{"type": "web_search"}]}).encode()
    *parts, tool = split_body(body, "responses").parts
    assert [(part.kind, part.name) for part in parts] == [
        ("call", "apply_patch"), ("result", "apply_patch"), ("call", "local_shell"),
        ("result", "local_shell"), ("call", "see"), ("result", "see"), ("thinking", ""),
    ]  # fmt: skip
    assert (tool.kind, tool.name) == ("tool", "web_search")
    assert [part_text(parts[n].text) for n in (0, 1, 5, 6)] == [
        "apply_patch *** Begin", "Done!", "A picture:", "Hm"
    ]  # fmt: skip
    events = [{"type": "response.output_item.done", "item": item} for item in items]
    stream = b"".join(b"data: %s\n\n" % json.dumps(event).encode() for event in events)
    torn = read_answer(stream, "responses", "text/event-stream")
    assert [(call.name, call.id) for call in torn.calls] == [
        ("apply_patch", "c"), ("local_shell", "d"), ("see", "e")
    ]  # fmt: skip
    assert json.loads(torn.calls[0].arguments) == {"input": "*** Begin"}
    assert not torn.ended


class Recording:
    """A writer, and exchanges as a proxy would hand them over."""

    def __init__(self, folder: Path) -> None:
        self.folder = Spool(folder / "spool")
        self.store = EventStore.open(f"sqlite:///{folder}/log.db")
        self.writer = ExchangeWriter(self.store, "work")

    def asked(self, request: dict[str, Any], answer: dict[str, Any], path: str) -> str:
        """Write an exchange, and return its task."""
        exchange = self.folder.begin("POST", path, {})
        exchange.add(spool.ASKED, json.dumps({"model": "m", **request}).encode())
        exchange.note(spool.ANSWERED, {"status": 200, "headers": {}})
        exchange.add(spool.ANSWER, json.dumps(answer).encode())
        exchange.end(spool.FINISHED)
        found = spool.read(exchange.path)
        assert found is not None
        written = self.writer.write(found)
        assert written is not None
        return written.task

    def kinds(self, task: str) -> list[str]:
        return [event.type for event in self.store.read(task)]


def _chat(*calls: tuple[str, dict[str, str]]) -> dict[str, Any]:
    return {"role": "assistant", "content": "So", "tool_calls": [
        {"id": id, "type": "function", "function": {"name": "read", "arguments": json.dumps(given)}}
        for id, given in calls
    ]}  # fmt: skip


def test_what_an_agent_masks_later_did_not_happen_again(tmp_path: Path) -> None:
    recording, path = Recording(tmp_path), "/v1/chat/completions"
    talk: list[dict[str, Any]] = [{"role": "user", "content": "Mend it"}]
    for number in range(3):
        said = _chat((f"c{number}", {"path": f"a{number}.py"}))
        recording.asked({"messages": talk}, {"choices": [{"message": said}]}, path)
        talk += [said, {"role": "tool", "tool_call_id": f"c{number}", "content": "def f(): ..."}]
    talk[2] = {**talk[2], "content": "[left out]"}
    assert recording.asked({"messages": talk}, {"choices": []}, path) == "work"
    kinds = recording.kinds("work")
    assert kinds.count("TOOL_RETURNED") == kinds.count("TOOL_CALLED") == 3
    assert kinds.count("MESSAGE_RECEIVED") == 1


def test_a_session_that_its_client_names_is_not_mixed_with_another(tmp_path: Path) -> None:
    recording, path = Recording(tmp_path), "/v1/responses"
    first = {"role": "user", "content": "Mend it"}
    said = {"type": "message", "role": "assistant",
            "content": [{"type": "output_text", "text": "So"}]}  # fmt: skip
    answer = {"id": "r1", "status": "completed", "output": [said]}
    tasks = [
        recording.asked({"input": [first], "prompt_cache_key": key}, answer, path) for key in "ab"
    ]
    assert tasks == ["work", "work-2"]
    more = [first, said, {"role": "user", "content": "Go on"}]
    for key in "ab":
        recording.asked({"input": more, "prompt_cache_key": key}, answer, path)
    assert [recording.kinds(task).count("CONTEXT_BUILT") for task in tasks] == [2, 2]


def test_a_request_may_go_on_from_an_answer_that_the_server_holds(tmp_path: Path) -> None:
    recording, path = Recording(tmp_path), "/v1/responses"
    answer = {"id": "r1", "status": "completed", "output": []}
    recording.asked({"input": "Mend it"}, answer, path)
    later = {"input": "Go on", "previous_response_id": "r1"}
    assert recording.asked(later, answer | {"id": "r2"}, path) == "work"
    assert recording.asked({"input": "Other", "previous_response_id": "?"}, answer, path) != "work"
    assert recording.kinds("work").count("MESSAGE_RECEIVED") == 2


def test_the_goal_is_what_a_person_said() -> None:
    reminders = [
        "<environment_context>\n<cwd>/x</cwd>\n</environment_context>",
        "# AGENTS.md instructions for /x\n\n<INSTRUCTIONS>\nBe terse.\n</INSTRUCTIONS>",
    ]
    said = [{"type": "input_text", "text": text} for text in reminders]
    talk = [{"role": "user", "content": said}, {"role": "user", "content": "Mend it"}]
    body = json.dumps({"input": talk}).encode()
    assert conversation(body, "responses", "/v1/responses").goal == "Mend it"


def test_files_are_followed_on_after_the_proxy_began_anew(tmp_path: Path) -> None:
    recording, path = Recording(tmp_path), "/v1/chat/completions"
    instructions = {"role": "system", "content": "Working directory: /home/ann/x"}
    talk: list[dict[str, Any]] = [instructions, {"role": "user", "content": "Mend it"}]

    def turn(id: str, name: str, given: dict[str, Any], result: str) -> None:
        call = {"id": id, "type": "function",
                "function": {"name": name, "arguments": json.dumps(given)}}  # fmt: skip
        said = {"role": "assistant", "content": "", "tool_calls": [call]}
        recording.asked({"messages": talk}, {"choices": [{"message": said}]}, path)
        talk.extend([said, {"role": "tool", "tool_call_id": id, "content": result}])

    turn("a", "read", {"path": "/home/ann/x/a.py"}, "x = 1\n")
    turn("b", "edit", {"path": "a.py", "oldText": "1", "newText": "2"}, "Successfully replaced")
    recording.writer = ExchangeWriter(recording.store, "work")
    turn("c", "edit", {"path": "a.py", "oldText": "2", "newText": "3"}, "Successfully replaced")
    turn("d", "read", {"path": "b.py"}, "Error: no such file")
    recording.asked({"messages": talk}, {"choices": []}, path)
    facts = [event for event in recording.store.read("work")
             if event.type in ("SOURCE_READ", "MODULE_ITERATION")]  # fmt: skip
    texts = [recording.store.get(event.fact.data["source"]) for event in facts]
    assert texts == [b"x = 1\n", b"x = 2\n", b"x = 3\n"]
    names = [event.fact.data.get("path") or event.fact.data["module_name"] for event in facts]
    assert names == ["a.py"] * 3
    assert facts[1].version in facts[2].because
    again = RecordedTools.of(recording.store, "work")
    assert again.answered == {"a", "b", "c", "d"}


def test_what_agents_add_to_an_output_is_no_part_of_it() -> None:
    assert printed('{\n "returncode": 0,\n "output": "x"\n}') == ("x", False)
    assert printed("Exit code: 2\nWall time: 0.1 seconds\nOutput:\nx\n") == ("x\n", True)
    assert printed("Output:\nx") == ("Output:\nx", None)
    assert printed('{"output": 1}') == ('{"output": 1}', None)
