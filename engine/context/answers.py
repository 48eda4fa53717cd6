"""Answers to questions that a step of a run has asked, as its next prompt shows them."""

from collections.abc import Iterator

from backcast.domain.context import Candidate
from backcast.domain.policy import ADDED
from backcast.domain.question_events import ANSWER
from backcast.engine.context.request_scope import RequestScope
from backcast.projections.questions import OpenQuestion


def answers(scope: RequestScope) -> Iterator[Candidate]:
    """Yield the answers that a request wants, each with its quotes, without them, and by name."""
    known = scope.states.questions.questions
    for node in scope.wanted:
        name = node.removeprefix(ANSWER)
        if node.startswith(ANSWER) and name in known:
            levels = scope.levels(texts_of(known[name]), 1.0)
            yield Candidate(
                node, ADDED, "CRITICAL", levels, 1.0, wanted=True, rank=scope.rank(node)
            )


def texts_of(question: OpenQuestion) -> list[tuple[str, str]]:
    """Return a question with its answer at each level of detail; only proven quotes count."""
    about = f" (about {question.about})" if question.about else ""
    head, found = f"# Asked: {question.text}{about}", question.answer
    if found is None:
        return [("name", head)]
    best = "" if found.complete else f" (no more than a best effort: {found.reason})"
    best += f" (unproven: {found.doubt})" if found.doubt else ""
    said = f"{found.text}{best}" if found.text else f"no answer: {found.reason}"
    quotes = [f'{quote.node}: "{quote.text}"' for quote in found.shown]
    short = f"{head}\n{said}"
    return [("full", "\n".join([short, *quotes])), ("summary", short), ("name", head)]
