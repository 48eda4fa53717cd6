"""The engine's time by its parts, each without the parts inside it."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import backcast.engine.workflow.prompts as prompts
from backcast.engine.context.builder import ContextBuilder
from backcast.engine.history.follow import TaskFollower
from backcast.engine.log.store import EventStore
from backcast.engine.memory.outlines import Outlining
from backcast.projections import dependency_graph

Place = tuple[str, Any, str]
"A part's name, and its function: the owner, and the name there."
PLACES: tuple[Place, ...] = (
    ("reading and folding", TaskFollower, "read_on"),
    ("outlining", Outlining, "outline"),
    ("building the context", ContextBuilder, "build"),
    ("comparing it with the one before", prompts, "compared"),
    ("making a fact of it", prompts, "fact_of"),
    ("the graph of the modules", dependency_graph, "graph_of"),
    ("appending", EventStore, "append"),
    ("the files for the checks", TaskFollower, "files"),
)
PARTS = tuple(name for name, _, _ in PLACES)


class Parts:
    """The seconds spent in each part so far."""

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(PARTS, 0.0)
        self._inner: list[float] = []
        "The seconds of the parts inside each part that is running."

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Measure for as long as the block lasts."""
        with ExitStack() as stack:
            for name, owner, attribute in PLACES:
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
