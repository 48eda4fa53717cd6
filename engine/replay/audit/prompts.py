"""In which prompts a node was shown, in which it was left out, and why."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import NamedTuple

from backcast.domain.events import (
    ContextBuilt,
    ContextItem,
    ContextOmission,
    StepStarted,
    ToolReturned,
    WorkflowEvent,
)
from backcast.domain.node import SYMBOLS, kind_of, name_of, path_of
from backcast.engine.replay.audit.occurrences import IN, OUT, WITHIN, Occurrence
from backcast.engine.replay.audit.texts import Stage, stage_at

DUPLICATE = "duplicate"
"The reason of what is left out since the text of something else holds it."


class NodePrompt(NamedTuple):
    """What one prompt tells of a node."""

    event: int
    timestamp: datetime
    asked: str
    target: str
    stood_at: int
    "The version that was read up to."
    item: ContextItem | None
    outer: ContextItem | None
    "What was shown in full and holds the node, if that was there."
    left: tuple[ContextOmission, ...]


class NodePrompts:
    """The prompts of a task, as far as they are about one node, gathered from events."""

    def __init__(self, node: str) -> None:
        self.node, self.count = node, 0
        self._asked = ""
        self._prompts: list[NodePrompt] = []
        self._wishes: list[Occurrence] = []

    def take(self, event: WorkflowEvent) -> None:
        """Note how a prompt dealt with the node, and whether the model asked for it."""
        match event.fact:
            case StepStarted(kind=kind):
                self._asked = kind or ""
            case ContextBuilt() as fact:
                self.count += 1
                prompt = self._prompt(event, fact)
                if prompt.item or prompt.outer or prompt.left:
                    self._prompts.append(prompt)
                self._asked = ""
            case ToolReturned(nodes=nodes, tool=tool) if self.node in nodes:
                told = f"by {tool}" if tool else ""
                place = event.version, event.timestamp
                self._wishes.append(Occurrence(*place, "asked for", event.writer, told))

    def occurrences(self, stages: Sequence[Stage]) -> Iterator[Occurrence]:
        """What the model asked for, and what each prompt did: one thing, or nothing."""
        yield from self._wishes
        for one in self._prompts:
            if told := _dealt(one, stages):
                yield told

    def _prompt(self, event: WorkflowEvent, fact: ContextBuilt) -> NodePrompt:
        return NodePrompt(
            event.version, event.timestamp, self._asked, fact.target or "",
            min(fact.stood_at or event.version, event.version),
            next((item for item in fact.items if item.node == self.node), None),
            next((item for item in fact.items if holds(item, self.node)), None),
            tuple(one for one in fact.omissions if one.node == self.node),
        )  # fmt: skip


def holds(item: ContextItem, node: str) -> bool:
    """Whether what was shown is the full text of what a node stands in."""
    kind, name = kind_of(item.node), name_of(item.node)
    if item.level != "full" or item.node == node or path_of(item.node) != path_of(node):
        return False
    if kind_of(node) not in (*SYMBOLS, "attribute"):
        return False
    return kind == "module" or (kind in SYMBOLS and name_of(node).startswith(f"{name}."))


def _dealt(one: NodePrompt, stages: Sequence[Stage]) -> Occurrence | None:
    """How a prompt dealt with a node; None where it did not.

    What was not there yet cannot have been within another. A node that is shown may be told of as
    left out, too: that is of its summary, or of its full text.
    """
    stage = stage_at(stages, one.stood_at)
    outer = one.outer if stage and stage.there else None
    item = one.item or outer
    if not item and not one.left:
        return None
    reasons = dict.fromkeys(left.reason for left in one.left)
    if item:
        reasons.pop(DUPLICATE, None)
    told = Occurrence(
        one.event, one.timestamp, IN if one.item else WITHIN if outer else OUT,
        told="; ".join(reasons), asked=one.asked, target=one.target,
    )  # fmt: skip
    if item is None:
        return told._replace(section=one.left[0].section)
    return told._replace(
        section=item.section, level=item.level, found=item.found, task=item.task or "",
        text=item.text, within="" if one.item else item.node,
        tokens=item.tokens if one.item else None,
    )  # fmt: skip
