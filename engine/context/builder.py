"""The ContextBuilder: from a task's states, a request and a policy to what the model sees.

Equal states, request, policy, profile and texts give equal bytes, whatever was built before: the
cache only saves time. No prompt is ever longer than the window leaves room for: it is counted once
more after rendering, whatever the items added up to.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property

from backcast.domain.allocation import OVER, Filling, Offer, allocated
from backcast.domain.budget import CONTEXT, ModelProfile
from backcast.domain.budget import allocated as budgets_of
from backcast.domain.context import Candidate, Context, Item, Omission
from backcast.domain.errors import BudgetExceededError, InputError
from backcast.domain.graph import Graph
from backcast.domain.policy import DEFAULT, MAP, Policy
from backcast.engine.context.build_cache import BuildCache
from backcast.engine.context.candidates import Candidates
from backcast.engine.context.module_order import ModuleOrder
from backcast.engine.context.rendering import body_of, file_of, heading, messages_of
from backcast.engine.context.request import Request
from backcast.engine.context.request_scope import BuildSettings
from backcast.engine.context.retention import Retained, Retention, placed
from backcast.engine.context.search.vectors import Nearness
from backcast.engine.context.verdicts import CHECKS
from backcast.engine.history.collecting import rarely_collecting
from backcast.engine.history.task_states import TaskStates
from backcast.engine.models.templates import PromptPiece, digest_of, pieces
from backcast.engine.models.tokenizers import Encodes

VERSION = 4
"Grows when the same states would give another prompt."
TASK = "task description"
APART = (TASK, MAP)
"Sections outside the context part, each with a row of the budget."
TOO_LARGE = "too large to be shown in full"
HEADINGS = 25
"Headings take about the 25th part of the code's tokens; what they leave is given back once."
MENDED = 2
"Choices that are made anew at most, since lines of functions would stand twice."
Chosen = tuple[list[Item], list[Omission], list[Omission]]
"Items, omissions of full texts that are too large, and all others."
SPARE = 100
"A hundredth of the code's tokens that stays free is too little to choose anew for."


class ContextBuilder:
    """A builder of contexts for one model under one policy."""

    def __init__(
        self,
        profile: ModelProfile,
        cache: BuildCache,
        policy: Policy = DEFAULT,
        nearness: Nearness | None = None,
    ) -> None:
        """`cache` counts tokens as the profile's model does. `InputError` where the policy weighs
        meaning and there is no `nearness`."""
        if policy.weights.get("meaning") and nearness is None:
            raise InputError(f"policy {policy.name!r} weighs meaning, which needs an embedder")
        self.profile, self.policy, self.cache, self.counting = (
            profile,
            policy,
            cache,
            cache.counting,
        )
        self.settings = BuildSettings(policy, profile, cache, nearness)
        self._retention = Retention(policy, cache.read)
        self.budgets = budgets(profile, policy)
        self.texts = policy.words

    @rarely_collecting()
    def build(self, states: TaskStates, graph: Graph, request: Request) -> Context:
        """Return the context of a request.

        `BudgetExceededError` where the items that must be shown do not fit.
        """
        symbols = self.cache.symbols(states.graph, graph)
        offering = Candidates(states, symbols, request, self.settings)
        offered = offering.all()
        retained = self._retention.retained(states.prompts, request, offered, offering.order)
        chosen = self._chosen(offering, offered, retained)
        if self.policy.once:
            chosen = self._mended(chosen, offering, offered, retained)
        items, large, omissions = chosen
        left_out = [*large, *offering.left_out(items), *self._first(omissions)]
        levels = {item.section: item.level for item in items}
        if request.query.strip() and levels[TASK] not in ("full", "summary"):
            left_out.insert(0, Omission("the words of the request", TASK, OVER))
        parts = {(item.node, item.text) for item in items if item.level == "part"}
        long = tuple(text for text in offering.long if (text.node, text.short.text) in parts)
        return self._context(items, left_out)._replace(long=long)

    def _mended(
        self, chosen: Chosen, offering: Candidates, offered: Sequence[Candidate],
        retained: Mapping[str, Retained],
    ) -> Chosen:  # fmt: skip
        """Return a choice in which no function stands twice, once whole and once in part."""
        for _ in range(MENDED):
            offered = offering.mended(offered, chosen[0])
            if not offered:
                break
            again = self._chosen(offering, offered, retained)
            lost = _critical(chosen[0]) - _critical(again[0])
            if not all(offering.holds(node) for node, _ in lost):
                break  # Longer lines leave no room for something else that must be shown.
            chosen = again
        return chosen

    def _chosen(
        self, offering: Candidates, offered: Sequence[Candidate], retained: Mapping[str, Retained]
    ) -> Chosen:
        """Return the items, omissions of full texts that are too large, and all other omissions.

        The task names what is too large, if there is room for that. What this leaves no room for is
        too large as well.
        """
        items, omissions = self._filled(offered, retained, offering.order)
        candidates, large = offered, set[str]()
        while more := _not_full(candidates, items):
            large |= more
            candidates = offering.noted(offered, large)
            stay = {node: before for node, before in retained.items() if node not in large}
            try:
                noted, others = self._filled(candidates, stay, offering.order)
            except BudgetExceededError:
                break
            if self._tokens(noted) > self.profile.prompt:
                break
            items, omissions = noted, others
        cut = [Omission(item.node, item.section, TOO_LARGE) for item in items if item.node in large]
        return items, cut, omissions

    def _filled(
        self, offered: Sequence[Candidate], retained: Mapping[str, Retained],
        modules: ModuleOrder | None,
    ) -> tuple[list[Item], list[Omission]]:  # fmt: skip
        """Return items and omissions such that the context part is within its tokens."""
        maps = [candidate for candidate in offered if candidate.section == MAP]
        mapped, _ = allocated(maps, {}, self.profile.prompt)
        beyond = self.profile.prompt - self.frame - sum(item.tokens for item in mapped)
        limit = min(self.profile.context, beyond - self._asked(offered))
        rest = beyond - limit
        tasks = [candidate for candidate in offered if candidate.section == TASK]
        task, _ = allocated(tasks, {TASK: rest}, rest)
        offer = Offer(candidate for candidate in offered if candidate.section not in APART)
        room, gives_back = limit - limit // HEADINGS, True
        while True:
            filling, some = self._allocated(offer, room, retained)
            some = modules.merged(some) if modules and not retained else some
            over = self.estimate(some) - limit
            if gives_back and over < -limit // SPARE and not filling.is_whole:
                room, gives_back = room - over, False
                continue
            if over <= 0 or room <= 0:
                known = sorted(some, key=self._order(retained, modules))
                known = modules.headed(known) if modules else known
                whole = [*mapped, *known, *task]
                over = over if over > 0 else self._counted_over(whole, known, limit)
                if over <= 0 or room <= 0:
                    return whole, filling.omissions()
            room, gives_back = room - over, False

    def _counted_over(self, whole: Sequence[Item], known: Sequence[Item], limit: int) -> int:
        """Return the tokens that the context part or the whole prompt has too many; 0 or less
        where both fit."""
        # Two texts may be more tokens together than apart, as may the final line end.
        over = self.counting.size(text_of(known, self.policy) + "\n") - limit
        return over if over > 0 else self._tokens(whole) - self.profile.prompt

    def _allocated(
        self, offer: Offer, room: int, retained: Mapping[str, Retained]
    ) -> tuple[Filling, list[Item]]:
        """Return what is shown of the code within some tokens, and its items."""
        levels = {node: before.level for node, before in retained.items()}
        filling = offer.filled(self.budgets, max(0, room), levels)
        items = filling.items()
        return filling, [placed(item, retained) for item in items] if retained else items

    def _order(
        self, retained: Mapping[str, Retained], modules: ModuleOrder | None
    ) -> Callable[[Item], tuple[object, ...]]:
        """Return a sort key: sections from stable to volatile, retained items first, then by file
        and line."""
        sections = {section: number for number, section in enumerate(self.policy.order)}

        def order(item: Item) -> tuple[object, ...]:
            before = retained.get(item.node)
            place = (0, before.place) if before else (1, 0)
            # The last changes stand behind the text that they changed, most of which stays,
            # and so does what was said of it.
            late = item.node.startswith(("iteration:", CHECKS))
            file = file_of(item.node)
            far = modules is not None and not modules.near(file)
            return sections[item.section], place, late, far, file, item.place, item.node

        return order

    def _tokens(self, items: Sequence[Item]) -> int:
        """Return the tokens of the whole prompt."""
        messages = messages_of(items, self.policy.system, self.policy.order, texts=self.texts)
        return self._size(pieces(self.profile.template, messages))

    def _size(self, prompt: Sequence[PromptPiece]) -> int:
        """Return the tokens of a rendered prompt, control tokens included."""
        return sum(1 if piece.control else self.counting.size(piece.text) for piece in prompt)

    def _asked(self, offered: Sequence[Candidate]) -> int:
        """Return the tokens of the request's own words, if they leave the code half its part."""
        most = self.profile.prompt - self.frame - self.profile.context // 2
        sizes = [
            level.tokens
            for candidate in offered
            for level in candidate.levels
            if candidate.section == TASK and level.name in ("full", "summary")
        ]
        return next((size for size in sizes if size <= most), 0)

    def estimate(self, items: Sequence[Item]) -> int:
        """Return about the tokens of the context part, item by item and heading by heading."""
        known = [item for item in items if item.section not in APART]
        files = dict.fromkeys((item.section, file_of(item.node)) for item in known)
        titles = (self.texts[name] for name in dict.fromkeys(item.section for item in known))
        # In small letters, as they were always estimated: another estimate is another choice.
        headings = [f"{title.lower()}\n\n" for title in titles if title]
        headings += [heading(path, text=self.texts["file"]) for _, path in files if path]
        return sum(item.tokens for item in known) + sum(map(self.counting.count, headings))

    def _first(self, omissions: Sequence[Omission]) -> list[Omission]:
        """Return the first omissions, and how many more there are for each reason."""
        first = list(omissions[: self.policy.omissions])
        more = Counter(omission.reason for omission in omissions[self.policy.omissions :])
        return [*first, *(Omission(f"{more[why]} more", "", why) for why in sorted(more))]

    def _context(self, items: Sequence[Item], omissions: Sequence[Omission]) -> Context:
        messages = messages_of(items, self.policy.system, self.policy.order, texts=self.texts)
        prompt = pieces(self.profile.template, messages)
        used = dict.fromkeys(self.policy.order, 0)
        for item in items:
            used[item.section] += item.tokens
        tokens = self._size(prompt)
        if tokens > self.profile.prompt:
            must = tuple(item.node for item in items if item.priority == "CRITICAL")
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
            sections=tuple((name, rows.get(name, 0), used[name]) for name in self.policy.order),
            digest=digest_of(prompt),
        )

    @cached_property
    def frame(self) -> int:
        """The tokens of a prompt without items."""
        messages = messages_of((), self.policy.system, self.policy.order, texts=self.texts)
        return self._size(pieces(self.profile.template, messages))


def _critical(items: Sequence[Item]) -> set[tuple[str, str]]:
    """Return the nodes and levels of what must be shown."""
    return {(item.node, item.level) for item in items if item.priority == "CRITICAL"}


def _not_full(offered: Sequence[Candidate], items: Sequence[Item]) -> set[str]:
    """Return the wanted nodes with a full text that are shown by less."""
    wanted = {one.node for one in offered if one.wanted and one.levels[0].name == "full"}
    return {item.node for item in items if item.node in wanted and item.level != "full"}


def text_of(items: Sequence[Item], policy: Policy) -> str:
    """Return the context part alone: what is known of the code, without the request."""
    known = [item for item in items if item.section not in APART]
    return body_of(known, policy.order, texts=policy.words)


def budgets(profile: ModelProfile, policy: Policy) -> dict[str, int]:
    """Return the tokens of each section of the context; a section without a share has none."""
    shares = policy.shares or {row: profile.rows.get(row, 0) for row in CONTEXT}
    return budgets_of(profile.context, shares) if sum(shares.values()) else dict.fromkeys(shares, 0)


def count(prompt: Sequence[PromptPiece], tokenizer: Encodes) -> int:
    """Return the tokens of a rendered prompt, control tokens included."""
    return sum(1 if piece.control else len(tokenizer.encode(piece.text)) for piece in prompt)
