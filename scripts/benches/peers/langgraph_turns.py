"""A LangGraph conversation on its SqliteSaver, as a process that is asked a question a line.

Runs in .venv-peers. `run` has the conversation; `history` walks `get_state_history` to its end and
takes the messages out of each state.
"""

import json
import os
import sqlite3
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, TypedDict

answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage  # noqa: E402
from langgraph.checkpoint.sqlite import SqliteSaver  # noqa: E402
from langgraph.graph import END, START, StateGraph  # noqa: E402
from langgraph.graph.message import add_messages  # noqa: E402

THREAD = {"configurable": {"thread_id": "conversation"}}


class State(TypedDict):
    messages: Annotated[list[AnyMessage], add_messages]


class Asked:
    """The questions."""

    def run(self, path: str, texts: list[str]) -> dict[str, object]:
        self.texts = texts
        self.connection = sqlite3.connect(path, check_same_thread=False)
        self.connection.execute("PRAGMA synchronous=FULL")
        answered = iter(texts[1::2])
        graph = StateGraph(State)
        graph.add_node("answer", lambda state: {"messages": [AIMessage(next(answered))]})
        graph.add_edge(START, "answer")
        graph.add_edge("answer", END)
        self.graph = graph.compile(checkpointer=SqliteSaver(self.connection))
        begin = time.perf_counter()
        for text in texts[::2]:
            self.graph.invoke({"messages": [HumanMessage(text)]}, THREAD)
        taken = time.perf_counter() - begin
        self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        [checkpoints] = self.connection.execute("SELECT count(*) FROM checkpoints").fetchone()
        packages = ("langgraph", "langgraph-checkpoint-sqlite")
        return {
            "seconds": taken,
            "bytes": Path(path).stat().st_size,
            "checkpoints": checkpoints,
            "version": ", ".join(f"{name} {version(name)}" for name in packages),
        }

    def history(self) -> dict[str, float]:
        begin = time.perf_counter()
        states = [s.values.get("messages", []) for s in self.graph.get_state_history(THREAD)]
        taken = time.perf_counter() - begin
        if [message.content for message in states[0]] != self.texts:
            raise RuntimeError("the conversation is not what was said")
        return {"seconds": taken}


asked = Asked()
for line in sys.stdin:
    question = json.loads(line)
    try:
        answer = getattr(asked, question.pop("ask"))(**question)
    except Exception as error:
        answer = {"error": f"{type(error).__name__}: {error}"[:300]}
    answers.write(json.dumps(answer) + "\n")
    answers.flush()
