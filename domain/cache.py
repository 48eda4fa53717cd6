"""How do the two caches find what they hold, and what failed?

A look-up tries the surest way first: by name in the online cache, by name in the offline one, then
along the graph, then by meaning. Only a name can hit or miss. Neighbours and similar nodes are
offered beside the hits, and are marked as such: likeness cannot tell "enable" from "disable".

>>> online = [Held("function:a.py::f")]
>>> offline = [Held("function:a.py::f", "task-1"), Held("module:b.py", "task-1")]
>>> found = look_up(["f", "b.py", "c.py"], online, offline, LookUpPolicy())
>>> [(hit.node, hit.found, hit.by) for hit in found.hits]
[('function:a.py::f', 'online', 'name'), ('module:b.py', 'offline', 'name')]
>>> found.misses
('c.py',)
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import islice
from typing import Any, NamedTuple, TypeVar

from immutables import Map

from backcast.domain.events import (
    AnswerRefused,
    ChecksRan,
    Fact,
    ModelFailed,
    ModelReplied,
    TaskFailed,
    ToolReturned,
    WorkflowEvent,
)
from backcast.domain.node import name_of, path_of, plain_name

LONGEST = 1_000
"Characters of a message that a state keeps; the log has all of it."
LISTED = 16
"Failing checks of one run that a state keeps."

FOUND = ("online", "offline", "made")
"Where a shown text came from; `made` if neither cache held it."

T = TypeVar("T")


class Held(NamedTuple):
    """A node that a cache holds, and its other names."""

    node: str
    task: str = ""
    "The finished task that contributed it; empty in the online cache."
    names: tuple[str, ...] = ()
    "Names that its id does not tell, such as the goal of a task."


@dataclass(frozen=True)
class LookUpPolicy:
    """When a look-up continues, and how far."""

    enough: int = 1
    "The number of hits from which on no neighbours and similar nodes are offered."
    neighbours: int = 8
    "The most nodes that are offered along the graph."
    similar: int = 3
    "The most nodes that are offered by meaning."


class CacheHit(NamedTuple):
    """A node that was found, where, and how."""

    node: str
    found: str
    "online or offline."
    by: str
    "name, graph or meaning."
    task: str = ""
    "The finished task that contributed it, for an offline hit."


class LookUp(NamedTuple):
    """The hits of a look-up, surest first, and the names that neither cache holds."""

    hits: tuple[CacheHit, ...] = ()
    misses: tuple[str, ...] = ()
    "Names in the order asked for; the caller makes these nodes, and CONTEXT_BUILT records that."


def look_up(
    names: Sequence[str],
    online: Sequence[Held],
    offline: Sequence[Held],
    policy: LookUpPolicy,
    neighbours: Callable[[str], Iterable[str]] = lambda node: (),
    similar: Sequence[str] = (),
) -> LookUp:
    """Return the hits of two caches for names or ids, and nodes near them.

    Of several nodes with one id the first counts. `neighbours` gives a node's neighbours, nearest
    first; `similar` gives the result of a search, best first. Neither is called if the names
    suffice.
    """
    first, second = tiers = _Tier("online", online), _Tier("offline", offline)
    hits = first.hits(names)
    missing = [name for name in names if name not in first.names]
    more = second.hits(names if len(hits) < policy.enough else missing)
    hits |= {node: hit for node, hit in more.items() if node not in hits}
    misses = [name for name in missing if name not in second.names]
    if len(hits) < policy.enough:
        near = (other for node in list(hits) for other in neighbours(node))
        hits |= _offered(tiers, hits, near, "graph", policy.neighbours)
    if len(hits) < policy.enough:
        hits |= _offered(tiers, hits, similar, "meaning", policy.similar)
    return LookUp(tuple(hits.values()), tuple(dict.fromkeys(misses)))


@lru_cache(maxsize=10_000)
def names_of(node: str) -> tuple[str, ...]:
    """Return the names of a node: its id, its path and file name, or its qualified and last name.

    >>> names_of("method:shop/cart.py::Cart.total")
    ('method:shop/cart.py::Cart.total', 'shop/cart.py::Cart.total', 'Cart.total', 'total')
    >>> names_of("module:shop/cart.py")
    ('module:shop/cart.py', 'shop/cart.py', 'cart.py')
    """
    path, name = path_of(node), name_of(node)
    last = plain_name(name.rpartition(".")[2]) if name else path.rpartition("/")[2]
    names = (node, node.partition(":")[2], name or path, last)
    return tuple(dict.fromkeys(filter(None, names)))


def youngest(
    entries: Map[str, T], limit: int, age: Callable[[T], int], slack: int = 0
) -> Map[str, T]:
    """Return the `limit` entries with the highest `age`; ties by id.

    With `slack`, that many more may gather before they are dropped together, which is quicker.
    """
    excess = len(entries) - limit
    if excess <= slack:
        return entries
    for name in sorted(entries, key=lambda name: (age(entries[name]), name))[:excess]:
        entries = entries.delete(name)
    return entries


class Failure(NamedTuple):
    """A failure, in the words of the event."""

    kind: str
    "checks, tool, model or task."
    at: str
    "The module that was checked, or the tool; empty if unknown."
    name: str
    "The name of the failing check; empty if unknown."
    message: str
    "The first lines of its message, up to `LONGEST` characters; empty if unknown."
    text: str | None
    "The blob of the whole output."
    version: int
    number: int = 1
    "Its place among the failures of the event, counted from 1."
    over: bool = False
    "Whether the same thing has been tried again since."
    place: str = ""
    "Where it was raised, path:line; empty if unknown."


def failures_of(event: WorkflowEvent) -> tuple[Failure, ...]:
    """Return the failures that an event records, in its order."""
    fact, version = event.fact, event.version
    match fact:
        case ChecksRan(unmet=unmet) if unmet > 0:
            at, output = module_of(fact), getattr(fact, "output", None)
            output = output if isinstance(output, str) else None
            failures = tuple(_failing_checks(getattr(fact, "failures", None))) or (("", "", ""),)
            return tuple(
                Failure("checks", at, name, message, output, version, number, place=place)
                for number, (name, message, place) in enumerate(failures, 1)
            )
        case ToolReturned(failed=True, tool=tool, output=output):
            message = shortened(getattr(fact, "message", None))
            return (Failure("tool", shortened(tool), "", message, output, version),)
        case ModelFailed(kind=kind) if kind not in (None, "answer"):
            return ()  # a server's message about itself does not belong into a prompt
        case ModelFailed(reason=reason) | AnswerRefused(reason=reason):
            return (Failure("model", asked_of(fact), "", shortened(reason), None, version),)
        case TaskFailed(reason=reason):
            return (Failure("task", "", "", shortened(reason), None, version),)
    return ()


def asked_of(fact: ModelReplied | ModelFailed | AnswerRefused) -> str:
    """Return the module about which a model was asked while others were made beside it."""
    return module_of(fact) if fact.call is not None else ""


def module_of(fact: Fact) -> str:
    """Return the path of the module that a run of checks was about; empty for the whole task."""
    name = getattr(fact, "module_name", None)
    return name if isinstance(name, str) else ""


def shortened(text: object, longest: int = LONGEST) -> str:
    """Return as many whole first lines of a text as fit; empty for a value that is no text."""
    if not isinstance(text, str) or len(text) <= longest:
        return text if isinstance(text, str) else ""
    whole = text[: longest + 1].rpartition("\n")[0]
    return whole or f"{text[: longest - 1]}…"


def _failing_checks(failures: object) -> Iterator[tuple[str, str, str]]:
    """Yield name, message and place of failing checks: objects, mappings or plain names."""
    for check in failures[:LISTED] if isinstance(failures, list | tuple) else ():
        plain, keys = isinstance(check, str), ("name", "message", "at")
        name, message, at = (check, None, None) if plain else map(_getter(check), keys)
        if isinstance(name, str) or isinstance(message, str):
            yield shortened(name), shortened(message), shortened(at)


def _getter(failing: object) -> Callable[[str], Any]:
    return failing.get if isinstance(failing, Mapping) else lambda key: getattr(failing, key, None)


@dataclass(frozen=True)
class _Tier:
    """One cache as a look-up reads it; indexed at the first question."""

    found: str
    held: Sequence[Held]

    @cached_property
    def nodes(self) -> dict[str, Held]:
        return {held.node: held for held in reversed(self.held)}

    @cached_property
    def names(self) -> dict[str, list[Held]]:
        names: dict[str, list[Held]] = {}
        for held in self.held:
            for name in dict.fromkeys(names_of(held.node) + held.names):
                names.setdefault(name, []).append(held)
        return names

    def hits(self, names: Sequence[str]) -> dict[str, CacheHit]:
        hits: dict[str, CacheHit] = {}
        for held in (held for name in names for held in self.names.get(name, ())):
            hits.setdefault(held.node, self.hit(held, "name"))
        return hits

    def hit(self, held: Held, by: str) -> CacheHit:
        return CacheHit(held.node, self.found, by, held.task)


def _offered(
    tiers: tuple[_Tier, ...],
    hits: Mapping[str, CacheHit],
    nodes: Iterable[str],
    by: str,
    limit: int,
) -> dict[str, CacheHit]:
    """Return the first `limit` nodes that a cache holds and that are not hits yet."""
    new = (node for node in dict.fromkeys(nodes) if node not in hits)
    held = (
        next((tier.hit(tier.nodes[node], by) for tier in tiers if node in tier.nodes), None)
        for node in new
    )
    return {hit.node: hit for hit in islice(filter(None, held), max(0, limit))}
