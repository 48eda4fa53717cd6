"""The ContextBuilder: what was known, a profile and a request to what the model sees.

Pure: equal states, request, profile and texts give equal bytes. No prompt is ever longer than the
window leaves room for: it is counted once more after rendering, whatever the items added up to.
"""

from typing import NamedTuple

from domain.budget import ModelProfile
from domain.context import Candidate, Context, Item, Omission, allocated
from domain.errors import BudgetExceededError
from domain.graph import Graph
from engine.context.candidates import Read, States, candidates
from engine.context.rendering import ORDER, Piece, Shown, digest_of, messages_of, pieces
from engine.context.tokenizers import Tokenizer

VERSION = 1
"Grows when the same states would give another prompt."


class Request(NamedTuple):
    """What a context is asked for."""

    target: str
    "`module:PATH` or `function:PATH::NAME`; it need not exist yet."


def build(
    states: States,
    graph: Graph,
    request: Request,
    profile: ModelProfile,
    tokenizer: Tokenizer,
    read: Read,
) -> Context:
    """The context of a request. `BudgetExceededError` where what must be shown does not fit."""
    offered = candidates(states, graph, request.target, read, tokenizer.count)
    budgets = _budgets(profile)
    frame = _tokens(profile, tokenizer, ())
    available = min(profile.context + profile.rows["task description"], profile.prompt - frame)
    while True:
        items, omissions = allocated(offered, budgets, available)
        context = _context(items, omissions, budgets, profile, tokenizer)
        if context.tokens <= profile.prompt:
            return context
        # Headings and the joints between texts take tokens too.
        over = context.tokens - profile.prompt
        available -= max(over, 1)
        if available <= 0:
            must = tuple(one.node for one in offered if one.priority == "CRITICAL")
            raise BudgetExceededError(context.tokens, profile.prompt, must)


def _budgets(profile: ModelProfile) -> dict[str, int]:
    """Tokens of each section; one that the profile has no row for has none of its own."""
    return {section: profile.rows.get(section, 0) for section in ORDER}


def _context(
    items: list[Item],
    omissions: list[Omission],
    budgets: dict[str, int],
    profile: ModelProfile,
    tokenizer: Tokenizer,
) -> Context:
    ordered = sorted(items, key=lambda item: (ORDER.index(item.section), item.node))
    shown = [Shown(item.node, item.section, item.text) for item in ordered]
    messages = messages_of(shown)
    prompt = pieces(profile.template, messages)
    used = dict.fromkeys(budgets, 0)
    for item in ordered:
        used[item.section] += item.tokens
    return Context(
        messages=messages,
        items=tuple(ordered),
        omissions=tuple(omissions),
        tokens=count(prompt, tokenizer),
        window=profile.window,
        reserve=profile.generation,
        sections=tuple((section, budgets[section], used[section]) for section in ORDER),
        digest=digest_of(prompt),
    )


def count(prompt: list[Piece], tokenizer: Tokenizer) -> int:
    """The tokens of a rendered prompt, control tokens included."""
    return sum(1 if piece.control else tokenizer.count(piece.text) for piece in prompt)


def _tokens(profile: ModelProfile, tokenizer: Tokenizer, shown: tuple[Shown, ...]) -> int:
    return count(pieces(profile.template, messages_of(shown)), tokenizer)


__all__ = ["Candidate", "Request", "States", "build", "count"]
