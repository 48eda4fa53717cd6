"""Where time goes: the parts of the engine, each without the parts inside it.

The places named here are those of a step of a run.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import backcast.engine.workflow.prompts as running
from backcast.engine.context.builder import ContextBuilder
from backcast.engine.log.store import EventStore
from backcast.engine.memory.outlines import Outlining
from backcast.projections import dependency_graph

Place = tuple[str, Any, str]
"What a part is called, and the function that it is: its owner, and its name there."
PLACES: tuple[Place, ...] = (
    ("reading and folding", running.RunningTask, "read_on"),
    ("outlining", Outlining, "catch_up"),
    ("building the context", ContextBuilder, "build"),
    ("comparing it with the one before", running, "prefix_of"),
    ("making a fact of it", running, "fact_of"),
    ("the graph of the modules", dependency_graph, "graph_of"),
    ("appending", EventStore, "append"),
    ("the files for the checks", running.RunningTask, "files"),
)
PARTS = tuple(name for name, _, _ in PLACES)


class Parts:
    """The seconds spent in each part so far."""

    def __init__(self, places: Sequence[Place] = PLACES) -> None:
        self.places = places
        self.seconds = dict.fromkeys((name for name, _, _ in places), 0.0)
        self._inner: list[float] = []
        "What the parts inside of those that are running have taken."

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Measure, for as long as the block lasts."""
        with ExitStack() as stack:
            for name, owner, attribute in self.places:
                timed = self._timed(name, getattr(owner, attribute))
                stack.enter_context(patch.object(owner, attribute, timed))
            yield

    def _timed(self, name: str, work: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*arguments: Any, **named: Any) -> Any:
            self._inner.append(0.0)
            begin = time.perf_counter()
            try:
                return work(*arguments, **named)
            finally:
                took = time.perf_counter() - begin
                self.seconds[name] += took - self._inner.pop()
                if self._inner:
                    self._inner[-1] += took

        return timed
