"""Event sourcing: a state is the fold of events, first to last.

A projection is a module that answers one question about the log. It has a `State`, an `initial`
one, and `evolve`, which returns the next state for a state and an event, and touches nothing.
Below them stand plain functions that answer questions about a state. The laws, each a property
test over every projection (`tests/test_laws.py`) or a contract over every store:

- The future cannot change the past: later events do not change the state at a recorded position.
  (By `at` alone a late record may, and does, add to what is known of the past.)
- A fold can be cut anywhere: folding on from a saved state gives the state of the whole fold.
- Every fact can be met in every state: `evolve` returns for unknown kinds too.
- Asking changes nothing: two folds give equal states, and change no event or state.
- Nothing is lost in writing: `decode(encode(fact)) == fact`, for every version ever written.
- The log only grows: the store refuses rewrites, deletes, skipped versions and times that run
  backwards; a reader that follows misses nothing.
- The context fits: prompt and reserve are at most the window, in the model's own tokens; else an
  error gives both numbers.
- The log proves itself: each recorded context is rebuilt to the same digest in a fresh process.
- No prompt knows its outcome: no projection takes notice of a score.
- History is history: the modules at an imported commit are those of `git ls-tree`.
- Order is not luck: equal inputs give equal bytes under any `PYTHONHASHSEED`.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import reduce
from typing import Any, Literal, Protocol

from backcast.domain.events import WorkflowEvent
from backcast.projections import (
    calls,
    changes,
    checks,
    completions,
    compressions,
    context_map,
    dependency_graph,
    facts,
    offline_cache,
    online_cache,
    prefixes,
    progress,
    prompts,
    questions,
    ratings,
    spending,
    summaries,
    versions,
)


class Projection(Protocol):
    """A pure fold that answers one question. Any module or object with these names is one."""

    @property
    def NAME(self) -> str: ...
    @property
    def VERSION(self) -> int:
        """Grows when `evolve` or `State` changes; snapshots of an older version are ignored."""

    @property
    def SCOPE(self) -> Literal["task", "store"]:
        """Whether it folds the events of one task or of the whole store."""

    @property
    def State(self) -> Any: ...
    @property
    def initial(self) -> Any: ...
    def evolve(self, state: Any, event: WorkflowEvent, /) -> Any:
        """Return the state after one more event."""


ALL: Sequence[Projection] = (
    progress,
    versions,
    dependency_graph,
    summaries,
    online_cache,
    offline_cache,
    changes,
    checks,
    prompts,
    context_map,
    spending,
    calls,
    completions,
    questions,
    prefixes,
)
ASKED: Sequence[Projection] = (compressions, facts, ratings)
"Those that are folded only when somebody asks: no command waits for them, no snapshot is kept."
BY_NAME: Mapping[str, Projection] = {projection.NAME: projection for projection in ALL}


def fold(projection: Projection, events: Iterable[WorkflowEvent], state: Any = None) -> Any:
    """Return the state after the events, starting from `state` or from `initial`."""
    return reduce(projection.evolve, events, projection.initial if state is None else state)
