"""What both caches share: how what they hold is found again, what fits, and what failed.

A look-up goes from the surest to the least sure: by name in the online cache, by name in the
offline one, then along the graph, then by meaning. Only a name can hit or miss. Neighbours and
what is similar are offered beside the hits, and say so: likeness cannot tell "enable" from
"disable".

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
from functools import cached_property
from itertools import islice
from typing import Any, NamedTuple, TypeVar

from immutables import Map

from backcast.domain.events import (
    AnswerRefused,
    ChecksRan,
    Fact,
    ModelFailed,
    TaskFailed,
    ToolReturned,
    WorkflowEvent,
)
from backcast.domain.node import name_of, path_of

LONGEST = 1_000
"Characters of a message that are kept in a state; all of it stands in the log."
LISTED = 16
"Failing checks that are kept of one run."

FOUND = ("online", "offline", "made")
"Where what was shown came from; what neither cache held was made."

T = TypeVar("T")


class Held(NamedTuple):
    """One node that a cache holds, and what else it is called by."""

    node: str
    task: str = ""
    "The finished task that left it; empty in the online cache."
    names: tuple[str, ...] = ()
    "Names beyond those that are read off its id, such as the goal of a task."


@dataclass(frozen=True)
class LookUpPolicy:
    """When a look-up goes on, and how far."""

    enough: int = 1
    "With this many hits nothing more is offered than was asked for by name."
    neighbours: int = 8
    "At most this many are offered along the graph."
    similar: int = 3
    "At most this many are offered by meaning."


class CacheHit(NamedTuple):
    """A node that was found, where, and how."""

    node: str
    found: str
    "online or offline."
    by: str
    "name, graph or meaning."
    task: str = ""
    "The finished task that left it, where it was found offline."


class LookUp(NamedTuple):
    """What a look-up found, surest first, and the names that neither cache holds."""

    hits: tuple[CacheHit, ...] = ()
    misses: tuple[str, ...] = ()
    "In the order asked for: whoever asked makes these, and tells so in CONTEXT_BUILT."


def look_up(
    names: Sequence[str],
    online: Sequence[Held],
    offline: Sequence[Held],
    policy: LookUpPolicy,
    neighbours: Callable[[str], Iterable[str]] = lambda node: (),
    similar: Sequence[str] = (),
) -> LookUp:
    """What two caches hold under some names or ids, and what lies near that.

    Of several nodes with one id the first counts. `neighbours` gives a node's neighbours, nearest
    first; `similar` is what a search ranked, best first. Neither is asked where the names suffice.
    """
    first, second = tiers = _Tier("online", online), _Tier("offline", offline)
    hits = first.hits(names)
    left = [name for name in names if name not in first.names]
    more = second.hits(names if len(hits) < policy.enough else left)
    hits |= {node: hit for node, hit in more.items() if node not in hits}
    misses = [name for name in left if name not in second.names]
    if len(hits) < policy.enough:
        near = (other for node in list(hits) for other in neighbours(node))
        hits |= _offered(tiers, hits, near, "graph", policy.neighbours)
    if len(hits) < policy.enough:
        hits |= _offered(tiers, hits, similar, "meaning", policy.similar)
    return LookUp(tuple(hits.values()), tuple(dict.fromkeys(misses)))


def names_of(node: str) -> tuple[str, ...]:
    """What a node answers to: its id, its path and file name, or its qualified and last name.

    >>> names_of("method:shop/cart.py::Cart.total")
    ('method:shop/cart.py::Cart.total', 'shop/cart.py::Cart.total', 'Cart.total', 'total')
    >>> names_of("module:shop/cart.py")
    ('module:shop/cart.py', 'shop/cart.py', 'cart.py')
    """
    path, name = path_of(node), name_of(node)
    last = name.rpartition(".")[2] if name else path.rpartition("/")[2]
    told = (node, node.partition(":")[2], name or path, last)
    return tuple(dict.fromkeys(filter(None, told)))


def capped(entries: Iterable[T], tokens: Callable[[T], int], limit: int) -> list[T]:
    """The entries that fit, in order. One that does not is left out whole, and the next is tried.

    >>> capped(["aaa", "bbbb", "c"], len, 4)
    ['aaa', 'c']
    """
    kept = []
    for entry in entries:
        count = tokens(entry)
        if count <= limit:
            kept.append(entry)
            limit -= count
    return kept


def youngest(
    entries: Map[str, T], limit: int, age: Callable[[T], int], slack: int = 0
) -> Map[str, T]:
    """The entries without the first ones that are too many, by a number that rises; ties by id.

    With some slack that many more may gather before they are dropped together, which is quicker.
    """
    excess = len(entries) - limit
    if excess <= slack:
        return entries
    for name in sorted(entries, key=lambda name: (age(entries[name]), name))[:excess]:
        entries = entries.delete(name)
    return entries


class Failure(NamedTuple):
    """Something that failed, in as many words as were told."""

    kind: str
    "checks, tool, model or task."
    at: str
    "The module that was checked, or the tool; empty where that was not told."
    name: str
    "Of the check that failed; empty where that was not told."
    message: str
    "Its first lines, up to `LONGEST` characters; empty where it was not told."
    text: str | None
    "The blob of all that was said."
    version: int
    number: int = 1
    "Its place in what the event told, counted from 1."
    over: bool = False
    "Whether the same has been tried again since."
    place: str = ""
    "Where it was raised, path:line; empty where that was not told."


def failures_of(event: WorkflowEvent) -> tuple[Failure, ...]:
    """What an event says to have failed, in the order told; empty where nothing did."""
    fact, version = event.fact, event.version
    match fact:
        case ChecksRan(unmet=unmet) if unmet > 0:
            at = module_of(fact)
            told = tuple(_checks_told(getattr(fact, "failures", None))) or (("", "", ""),)
            return tuple(
                Failure("checks", at, name, message, None, version, number, place=place)
                for number, (name, message, place) in enumerate(told, 1)
            )
        case ToolReturned(failed=True, tool=tool, output=output):
            message = shortened(getattr(fact, "message", None))
            return (Failure("tool", shortened(tool), "", message, output, version),)
        case ModelFailed(kind=kind) if kind not in (None, "answer"):
            return ()  # what a server said of itself is nothing for a prompt
        case ModelFailed(reason=reason) | AnswerRefused(reason=reason):
            return (Failure("model", "", "", shortened(reason), None, version),)
        case TaskFailed(reason=reason):
            return (Failure("task", "", "", shortened(reason), None, version),)
    return ()


def module_of(fact: Fact) -> str:
    """The path of the module that a run of checks was about; empty where it was about all."""
    name = getattr(fact, "module_name", None)
    return name if isinstance(name, str) else ""


def shortened(text: object, longest: int = LONGEST) -> str:
    """The first whole lines of a text, as many as fit; empty for what is no text."""
    if not isinstance(text, str) or len(text) <= longest:
        return text if isinstance(text, str) else ""
    whole = text[: longest + 1].rpartition("\n")[0]
    return whole or f"{text[: longest - 1]}…"


def _checks_told(told: object) -> Iterator[tuple[str, str, str]]:
    """Name, message and place of each failing check: objects, mappings or plain names."""
    for one in told[:LISTED] if isinstance(told, list | tuple) else ():
        plain = isinstance(one, str)
        name, message, at = (one, None, None) if plain else map(_of(one), ("name", "message", "at"))
        if isinstance(name, str) or isinstance(message, str):
            yield shortened(name), shortened(message), shortened(at)


def _of(one: object) -> Callable[[str], Any]:
    return one.get if isinstance(one, Mapping) else lambda key: getattr(one, key, None)


@dataclass(frozen=True)
class _Tier:
    """One of the two caches, as a look-up reads it; indexed when it is first asked."""

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
    """The first of some nodes that a cache holds and that are no hits yet."""
    new = (node for node in dict.fromkeys(nodes) if node not in hits)
    held = (
        next((tier.hit(tier.nodes[node], by) for tier in tiers if node in tier.nodes), None)
        for node in new
    )
    return {hit.node: hit for hit in islice(filter(None, held), max(0, limit))}
