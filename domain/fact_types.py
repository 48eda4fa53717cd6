"""Which kinds of fact are there? All of them, by the name under which they are stored."""

from backcast.domain import dispatch_events
from backcast.domain.events import Fact, UnknownFact

ELSEWHERE = (dispatch_events,)
"Modules whose facts are kinds too: a kind is known once its module is imported."

FACTS: dict[str, type[Fact]] = {
    fact.type: fact for fact in Fact.__subclasses__() if fact is not UnknownFact
}
