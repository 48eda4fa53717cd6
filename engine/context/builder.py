"""The ContextBuilder: what was known, a request and a policy to what the model sees.

Equal states, request, policy, profile and texts give equal bytes, whatever was built before: what
is kept from one context to the next only saves time. No prompt is ever longer than the window
leaves room for: it is counted once more after rendering, whatever the items added up to.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import NamedTuple

from backcast.domain.allocation import OVER, Offer, allocated
from backcast.domain.budget import CONTEXT, ModelProfile
from backcast.domain.budget import allocated as shared
from backcast.domain.context import Candidate, Context, Item, Omission
from backcast.domain.errors import BudgetExceededError, InputError
from backcast.domain.graph import Graph
from backcast.domain.policy import ADDED, DEFAULT, MAP, STABLE, Policy
from backcast.engine.context.build_cache import BuildCache
from backcast.engine.context.candidates import BuildSettings, Candidates
from backcast.engine.context.rendering import RenderItem, body_of, file_of, heading, messages_of
from backcast.engine.context.request import Request
from backcast.engine.context.search.vectors import Nearness
from backcast.engine.history.task_states import TaskStates
from backcast.engine.log.blobs import ref_of
from backcast.engine.models.templates import PromptPiece, digest_of, pieces
from backcast.engine.models.tokenizers import Encodes
from backcast.projections import prompts

VERSION = 4
"Grows when the same states would give another prompt."
TASK = "task description"
APART = (TASK, MAP)
"The sections that stand outside the context part, each with a row of its own."
TOO_LARGE = "too large to be shown in full"


class Retained(NamedTuple):
    """How something was shown before, and is shown again."""

    place: int
    section: str
    level: int


class ContextBuilder:
    """Builds contexts for one model under one policy."""

    def __init__(
        self,
        profile: ModelProfile,
        kept: BuildCache,
        policy: Policy = DEFAULT,
        nearness: Nearness | None = None,
    ) -> None:
        """`kept` counts as the profile's model does. `nearness` is asked where the policy weighs
        meaning; `InputError` where there is none."""
        if policy.weights.get("meaning") and nearness is None:
            raise InputError(f"policy {policy.name!r} weighs meaning, which needs an embedder")
        self.profile, self.policy, self.kept, self.counting = profile, policy, kept, kept.counting
        self.means = BuildSettings(policy, profile, kept, nearness)
        self.budgets = budgets(profile, policy)

    def build(self, states: TaskStates, graph: Graph, request: Request) -> Context:
        """The context of a request. `BudgetExceededError` where what must be shown does not fit."""
        symbols = self.kept.symbols(states.graph, graph)
        offering = Candidates(states, symbols, request, self.means)
        offered = offering.all()
        kept = self._kept(states.prompts, request, offered)
        items, large, omissions = self._told(offering, offered, kept)
        left_out = [*large, *offering.left_out(), *self._named(omissions)]
        levels = {one.section: one.level for one in items}
        if request.query.strip() and levels[TASK] not in ("full", "summary"):
            left_out.insert(0, Omission("the words of the request", TASK, OVER))
        return self._context(items, left_out)

    def _kept(
        self, before: prompts.State, request: Request, offered: Sequence[Candidate]
    ) -> dict[str, Retained]:
        """What the last prompt about the same target showed that would be shown so again.

        Only of what stands before anything that changes; nothing where less than half is left.
        """
        if not (self.policy.keep and before.version and before.target == request.target):
            return {}
        stable, by_node = (*STABLE, ADDED), {one.node: one for one in offered}
        parts = [part for part in before.parts if part.section in stable]
        kept = {}
        for place, part in enumerate(parts):
            one = by_node.get(part.node)
            for number, level in enumerate(one.levels if one else ()):
                same = level.name == part.level and _ref(level.text) == part.text
                # What is wanted is shown in full now, if it was shown by less.
                if one and same and not (one.wanted and number):
                    kept[part.node] = Retained(place, part.section, number)
        return kept if 2 * len(kept) >= len(parts) else {}

    def _told(
        self, offering: Candidates, offered: Sequence[Candidate], kept: Mapping[str, Retained]
    ) -> tuple[list[Item], list[Omission], list[Omission]]:
        """What is shown, what of it is wanted in full but too large, and what is left out.

        The task names what is too large, if there is room for that. What this leaves no room for is
        too large as well.
        """
        items, omissions = self._filled(offered, kept)
        left, large = offered, set[str]()
        while more := _lowered(left, items):
            large |= more
            left = offering.noted(offered, large)
            stay = {node: one for node, one in kept.items() if node not in large}
            try:
                some, others = self._filled(left, stay)
            except BudgetExceededError:
                break
            if self._tokens(some) > self.profile.prompt:
                break
            items, omissions = some, others
        told = [Omission(one.node, one.section, TOO_LARGE) for one in items if one.node in large]
        return items, told, omissions

    def _filled(
        self, offered: Sequence[Candidate], kept: Mapping[str, Retained]
    ) -> tuple[list[Item], list[Omission]]:
        """What is shown, and what is not, so that the context part is within its tokens."""
        maps = [one for one in offered if one.section == MAP]
        mapped, _ = allocated(maps, {}, self.profile.prompt)
        frame = self.frame + sum(one.tokens for one in mapped)
        limit = min(self.profile.context, self.profile.prompt - frame - self._asked(offered))
        left = self.profile.prompt - frame - limit
        tasks = [one for one in offered if one.section == TASK]
        task, _ = allocated(tasks, {TASK: left}, left)
        offer = Offer(one for one in offered if one.section not in APART)
        # Headings take about so much; what they leave is given back once.
        room, again = limit - limit // 25, True
        while True:
            known, omissions = self._chosen(offer, room, kept)
            over = self._estimate(known) - limit
            if again and over < -limit // 100 and omissions:
                room, again = room - over, False
                continue
            if over <= 0:
                # Two texts may be more tokens together than apart.
                # So may the line end with which it is printed.
                over = len(self.counting.encode(text_of(known, self.policy) + "\n")) - limit
            if over <= 0:
                over = self._tokens([*mapped, *known, *task]) - self.profile.prompt
            if over <= 0 or room <= 0:
                return [*mapped, *known, *task], omissions
            room, again = room - over, False

    def _chosen(
        self, offer: Offer, room: int, kept: Mapping[str, Retained]
    ) -> tuple[list[Item], list[Omission]]:
        """What is shown of the code, in order, and what is not, within some tokens."""
        levels = {node: stay.level for node, stay in kept.items()}
        items, omissions = offer.allocated(self.budgets, max(0, room), levels)
        placed = (_placed(one, kept) for one in items)
        return sorted(placed, key=self._order(kept)), omissions

    def _order(self, kept: Mapping[str, Retained]) -> Callable[[Item], tuple[object, ...]]:
        """Sections from stable to volatile; in them what stays as it was, then by file and line."""
        sections = {section: number for number, section in enumerate(self.policy.order)}

        def order(one: Item) -> tuple[object, ...]:
            stay = kept.get(one.node)
            place = (0, stay.place) if stay else (1, 0)
            # What was changed last stands behind the text that it changed, most of which stays.
            late = one.node.startswith("iteration:")
            return sections[one.section], place, late, file_of(one.node), one.place, one.node

        return order

    def _tokens(self, items: Sequence[Item]) -> int:
        """The tokens of the whole prompt."""
        shown = [RenderItem(one.node, one.section, one.text, one.level) for one in items]
        messages = messages_of(shown, self.policy.system, self.policy.order)
        return count(pieces(self.profile.template, messages), self.counting)

    def _asked(self, offered: Sequence[Candidate]) -> int:
        """The tokens of the request's own words, as far as they leave the code half its part."""
        most = self.profile.prompt - self.frame - self.profile.context // 2
        sizes = [
            level.tokens
            for one in offered
            for level in one.levels
            if one.section == TASK and level.name in ("full", "summary")
        ]
        return next((size for size in sizes if size <= most), 0)

    def _estimate(self, items: Sequence[Item]) -> int:
        """The tokens of the context part, item by item and heading by heading."""
        known = [one for one in items if one.section not in APART]
        heads = dict.fromkeys((one.section, file_of(one.node)) for one in known)
        told = [f"# {section}\n\n" for section in dict.fromkeys(one.section for one in known)]
        told += [heading(path) for _, path in heads if path]
        return sum(one.tokens for one in known) + sum(map(self.counting.count, told))

    def _named(self, omissions: Sequence[Omission]) -> list[Omission]:
        """The first of what is left out, and how many more there are for each reason."""
        named = list(omissions[: self.policy.omissions])
        more = Counter(one.reason for one in omissions[self.policy.omissions :])
        return [*named, *(Omission(f"{more[why]} more", "", why) for why in sorted(more))]

    def _context(self, items: Sequence[Item], omissions: Sequence[Omission]) -> Context:
        shown = [RenderItem(one.node, one.section, one.text, one.level) for one in items]
        messages = messages_of(shown, self.policy.system, self.policy.order)
        prompt = pieces(self.profile.template, messages)
        used = dict.fromkeys(self.policy.order, 0)
        for item in items:
            used[item.section] += item.tokens
        tokens = count(prompt, self.counting)
        if tokens > self.profile.prompt:
            must = tuple(one.node for one in items if one.priority == "CRITICAL")
            raise BudgetExceededError(tokens, self.profile.prompt, must)
        rows = self.budgets | {section: self.profile.rows.get(section, 0) for section in APART}
        return Context(
            messages=messages,
            text=text_of(items, self.policy),
            items=tuple(items),
            omissions=tuple(omissions),
            tokens=tokens,
            window=self.profile.window,
            reserve=self.profile.generation,
            sections=tuple((one, rows.get(one, 0), used[one]) for one in self.policy.order),
            digest=digest_of(prompt),
        )

    @cached_property
    def frame(self) -> int:
        """The tokens of a prompt in which nothing is shown."""
        messages = messages_of((), self.policy.system, self.policy.order)
        return count(pieces(self.profile.template, messages), self.counting)


def _lowered(offered: Sequence[Candidate], items: Sequence[Item]) -> set[str]:
    """What is wanted and has a full text, but is shown by less."""
    wanted = {one.node for one in offered if one.wanted and one.levels[0].name == "full"}
    return {one.node for one in items if one.node in wanted and one.level != "full"}


def _placed(one: Item, kept: Mapping[str, Retained]) -> Item:
    """An item in the section where it stood; what is new among what stays is added behind it."""
    if one.node in kept:
        return one._replace(section=kept[one.node].section)
    return one._replace(section=ADDED) if kept and one.section in STABLE else one


def _ref(text: str) -> str:
    return ref_of(text.encode(errors="surrogatepass"))


def text_of(items: Sequence[Item], policy: Policy) -> str:
    """The context part alone: what is known of the code, without the request."""
    known = [one for one in items if one.section not in APART]
    return body_of(
        [RenderItem(one.node, one.section, one.text, one.level) for one in known], policy.order
    )


def budgets(profile: ModelProfile, policy: Policy) -> dict[str, int]:
    """Tokens of each section of the context; one that has no share has none of its own."""
    shares = policy.shares or {row: profile.rows.get(row, 0) for row in CONTEXT}
    return shared(profile.context, shares) if sum(shares.values()) else dict.fromkeys(shares, 0)


def count(prompt: Sequence[PromptPiece], tokenizer: Encodes) -> int:
    """The tokens of a rendered prompt, control tokens included."""
    return sum(1 if piece.control else len(tokenizer.encode(piece.text)) for piece in prompt)
