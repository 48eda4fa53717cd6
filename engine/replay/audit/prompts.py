"""The prompts that showed a node or left it out, and why."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import NamedTuple

from backcast.domain.context_events import ContextBuilt, ContextItem, ContextOmission
from backcast.domain.events import StepStarted, ToolReturned, WorkflowEvent
from backcast.domain.node import SYMBOLS, kind_of, name_of, path_of
from backcast.engine.replay.audit.occurrences import IN, OUT, WITHIN, Occurrence
from backcast.engine.replay.audit.texts import Stage, stage_at

DUPLICATE = "duplicate"
"Reason of an omission whose text another item holds."


class NodePrompt(NamedTuple):
    """The part of one prompt that concerns a node."""

    event: int
    timestamp: datetime
    asked: str
    target: str
    stood_at: int
    "Version that the prompt was built at."
    item: ContextItem | None
    outer: ContextItem | None
    "Item shown in full whose text would hold the node."
    omissions: tuple[ContextOmission, ...]


class NodePrompts:
    """The prompts of a task that concern one node, gathered from events."""

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
            case ContextBuilt(request=None) as fact:  # another program's shows no nodes
                self.count += 1
                prompt = self._prompt(event, fact)
                if prompt.item or prompt.outer or prompt.omissions:
                    self._prompts.append(prompt)
                self._asked = ""
            case ToolReturned(nodes=nodes, tool=tool) if self.node in nodes:
                text = f"by {tool}" if tool else ""
                place = event.version, event.timestamp
                self._wishes.append(Occurrence(*place, "asked for", event.writer, text))

    def occurrences(self, stages: Sequence[Stage]) -> Iterator[Occurrence]:
        """Yield the model's requests for the node, and at most one occurrence for each prompt."""
        yield from self._wishes
        for prompt in self._prompts:
            if occurrence := _occurrence(prompt, stages):
                yield occurrence

    def _prompt(self, event: WorkflowEvent, fact: ContextBuilt) -> NodePrompt:
        return NodePrompt(
            event.version, event.timestamp, self._asked, fact.target or "",
            min(fact.stood_at or event.version, event.version),
            next((item for item in fact.items if item.node == self.node), None),
            next((item for item in fact.items if holds(item, self.node)), None),
            tuple(one for one in fact.omissions if one.node == self.node),
        )  # fmt: skip


def holds(item: ContextItem, node: str) -> bool:
    """Whether an item shows the full text of a node's module or class."""
    kind, name = kind_of(item.node), name_of(item.node)
    if item.level != "full" or item.node == node or path_of(item.node) != path_of(node):
        return False
    if kind_of(node) not in (*SYMBOLS, "attribute"):
        return False
    return kind == "module" or (kind in SYMBOLS and name_of(node).startswith(f"{name}."))


def _occurrence(prompt: NodePrompt, stages: Sequence[Stage]) -> Occurrence | None:
    """Return how a prompt dealt with a node; None where it did not.

    A node that did not exist yet cannot have been within another. A prompt may both show a node
    and omit its summary or full text.
    """
    stage = stage_at(stages, prompt.stood_at)
    outer = prompt.outer if stage and stage.exists else None
    item = prompt.item or outer
    if not item and not prompt.omissions:
        return None
    reasons = dict.fromkeys(omission.reason for omission in prompt.omissions)
    if item:
        reasons.pop(DUPLICATE, None)
    occurrence = Occurrence(
        prompt.event, prompt.timestamp, IN if prompt.item else WITHIN if outer else OUT,
        details="; ".join(reasons), asked=prompt.asked, target=prompt.target,
    )  # fmt: skip
    if item is None:
        return occurrence._replace(section=prompt.omissions[0].section)
    return occurrence._replace(
        section=item.section, level=item.level, found=item.found, task=item.task or "",
        text=item.text, within="" if prompt.item else item.node,
        tokens=item.tokens if prompt.item else None,
    )  # fmt: skip
