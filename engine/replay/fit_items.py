"""Texts of functions that are shown to a reader alone, to see what each is worth for an outcome.

Of each step some are the best by one kind of evidence, in turn, and some are drawn by lot: weights
that were fitted only to what is alike already would know nothing of the rest.
"""

from collections.abc import Iterator, Sequence
from hashlib import sha256
from typing import NamedTuple

import numpy as np

from backcast.domain.context import Item
from backcast.domain.errors import InputError
from backcast.domain.node import kind_of, name_of, path_of
from backcast.domain.policy import LIKENESS_NAMES, Policy
from backcast.engine.context.builder import TASK, ContextBuilder
from backcast.engine.context.evidence import Evidence
from backcast.engine.context.rendering import RenderItem, messages_of
from backcast.engine.context.request_scope import RequestScope
from backcast.engine.replay.corpus import Setting
from backcast.engine.replay.fit import ALWAYS, ItemWorth, share_saved
from backcast.engine.replay.fit_steps import FitStep, SharedPlan, StepList
from backcast.engine.replay.score_jobs import ScoreJob, StepScore

MOST, DRAWN = 12, 4
"Texts that are shown alone for a step, and those of them that are drawn by lot."
NAMES = tuple(name for name in LIKENESS_NAMES if name not in (ALWAYS, "meaning"))
"Evidence to which weights are fitted; nearness in meaning needs an embedder."
KINDS = ("method", "special", "test file", "rank")
"Evidence by which no text is chosen: what kind of function it is, and what takes long to gather."


class ItemPlan(NamedTuple):
    """A step whose outcome is read with one text at a time."""

    plan: SharedPlan
    "One job, whose prompts are the request alone, then with each text."
    evidence: tuple[tuple[float, ...], ...]
    "Of each text, in the order of `NAMES`."

    def worths(self, step: StepScore) -> Iterator[ItemWorth]:
        """Yield what each text was worth."""
        without, place = step.sums(0, new=True).nats, f"{step.job.log}: {step.job.place}"
        for number, evidence in enumerate(self.evidence, 1):
            beside = step.sums(number, new=True).nats
            yield ItemWorth(place, evidence, share_saved(without, beside))


def planned_items(
    known: StepList, found: FitStep, policy: Policy, most: int = MOST
) -> ItemPlan | None:
    """Return the prompts that tell what single texts are worth; None where there are none.

    The request stands in each, and the target's own text where it is there already.
    """
    step, name = found.step, policy.name
    plan = SharedPlan(known, [])
    builder = plan.builder(found.log.store, step, Setting(name, policy))
    context = builder.build(step.known.states, step.known.graph, step.request)
    symbols = builder.cache.symbols(step.known.states.graph, step.known.graph)
    offering = RequestScope(step.known.states, symbols, step.request, builder.settings)
    evidence = offering.evidence()
    evidence.gather(n for n in NAMES if n not in KINDS or policy.likeness.get(n))
    frame = [item for item in context.items if item.section == TASK or _own(item, offering)]
    without = plan.reader.prompt(_messages(builder, frame), found.outcome.header)
    prompts, tokens = [without], [plan.size(without, found.outcome.text)]
    named, seen = [f"{name}, the request alone"], list[tuple[float, ...]]()
    for row in chosen_rows(evidence, offering.target, found.place, 2 * most):
        node = symbols.nodes[row]
        text = offering.sources.piece(path_of(node), name_of(node)).text
        size = offering.counting.item("full", text) if text else 0
        if not 0 < size <= known.profile.context // 2:
            continue
        near = path_of(node) == offering.path
        section = "related functions" if near else "related modules"
        shown = [*frame, Item(node, section, "HIGH", "full", text, size, 0.0, ())]
        prompt = plan.reader.prompt(_messages(builder, shown), found.outcome.header)
        try:
            tokens.append(plan.size(prompt, found.outcome.text))
        except InputError:  # this text is too long, others may not be
            continue
        prompts.append(prompt)
        named.append(f"{name}, {node} alone")
        seen.append(tuple(float(evidence[n][row]) if n in evidence else 0.0 for n in NAMES))
        if len(seen) == most:
            break
    plan.settings = [Setting(label, policy) for label in named]
    plan.jobs.append(
        ScoreJob(
            found.log.name, step.task_id, step.version, step.name, found.unit, step.request.target,
            found.outcome, tuple(prompts), tuple(tokens),
        )
    )  # fmt: skip
    return ItemPlan(plan, tuple(seen)) if seen else None


def _own(item: Item, offering: RequestScope) -> bool:
    return bool(offering.path) and item.node == offering.target


def _messages(builder: ContextBuilder, items: Sequence[Item]) -> Sequence[tuple[str, str]]:
    rendered = [RenderItem(item.node, item.section, item.text, item.level) for item in items]
    return messages_of(rendered, builder.policy.system, builder.policy.order)


def chosen_rows(evidence: Evidence, target: str, place: str, most: int) -> list[int]:
    """Return the rows of functions to show, a share of them drawn by lot.

    The lot also says by which kind of evidence it begins, and which of equal ones comes first. The
    order is such that its beginning is a choice too: of each `MOST` rows `DRAWN` are drawn.
    """
    within = f"{name_of(target)}." if name_of(target) else ""
    lots = dict[int, str]()
    for row, node in enumerate(evidence.symbols.nodes):
        inner = path_of(node) == path_of(target) and within and name_of(node).startswith(within)
        if kind_of(node) in ("function", "method") and node != target and not inner:
            lots[row] = _lot(f"{place} {node}")
    by_lot = sorted(lots, key=lots.__getitem__)
    drawn, best = iter(by_lot), _in_turn(evidence, by_lot, place)
    chosen = dict[int, None]()
    while len(chosen) < min(most, len(lots)):
        lot = len(chosen) % (MOST // DRAWN) == MOST // DRAWN - 1
        found = next((row for row in (drawn if lot else best) if row not in chosen), None)
        chosen[found if found is not None else next(r for r in drawn if r not in chosen)] = None
    return list(chosen)


def _in_turn(evidence: Evidence, rows: Sequence[int], place: str) -> Iterator[int]:
    """Yield the best of some rows by each kind of evidence in turn, the better first."""
    queues = []
    for name in NAMES:
        if name in evidence and name not in KINDS:
            values = evidence[name][rows]
            order = np.argsort(-values, kind="stable")
            queues.append([rows[number] for number in order.tolist() if values[number] > 0])
    begin = int(_lot(place), 16) % max(1, len(queues))
    queues = [queue for queue in (*queues[begin:], *queues[:begin]) if queue]
    for number in range(max(map(len, queues), default=0)):
        yield from (queue[number] for queue in queues if number < len(queue))


def _lot(text: str) -> str:
    return sha256(text.encode(errors="surrogatepass")).hexdigest()
