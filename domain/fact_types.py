"""Which kinds of fact are there? All of them, by the name under which they are stored."""

from backcast.domain import (
    call_events,
    context_events,
    dispatch_events,
    memory_events,
    question_events,
    rating_events,
    score_events,
)
from backcast.domain.events import Fact, UnknownFact

ELSEWHERE = (
    call_events,
    context_events,
    dispatch_events,
    memory_events,
    question_events,
    rating_events,
    score_events,
)
"Modules whose facts are kinds too: a kind is known once its module is imported."

FACTS: dict[str, type[Fact]] = {
    fact.type: fact for fact in Fact.__subclasses__() if fact is not UnknownFact
}
