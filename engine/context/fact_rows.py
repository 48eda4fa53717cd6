"""Facts that answer a request, within so many tokens: by words or meaning, then along the graph.

What answers best is followed by what is known of the same thing, and of modules that import it or
that it imports. A fact is shown whole or not at all.
"""

from collections.abc import Callable, Iterable, Sequence

from backcast.domain.node import path_of
from backcast.domain.timed_facts import SEVERAL, TimedFact, leads_to
from backcast.engine.context.search import Document, SearchHit, search_words

Ranking = Callable[[Sequence[Document], str, int], Sequence[SearchHit]]
HITS = 48
"Facts that are looked at by their words."
CENTRES = 6
"The best of these, around which the graph is followed."
SAME, LEADS = 0.45, 0.3
"The share of a hit's worth that a fact of the same subject has, and one along an import."
DIGITS = 6


def retrieved(
    facts: Sequence[TimedFact],
    query: str,
    tokens: int,
    count: Callable[[str], int],
    ranking: Ranking = search_words,
) -> list[TimedFact]:
    """Return the facts that answer a query best and whose text has at most so many tokens."""
    documents = [
        Document(f"{number:07}", _words_of(fact)) for number, fact in enumerate(facts)
    ]  # fmt: skip
    if not query.strip() or not documents:
        return []
    hits = ranking(documents, query, HITS)
    worth = {int(hit.id): hit.score for hit in hits}
    for number, more in _near(facts, [int(hit.id) for hit in hits[:CENTRES]], worth):
        worth[number] = max(worth.get(number, 0.0), more)
    order = sorted(worth, key=lambda number: (-round(worth[number], DIGITS), number))
    return within([facts[number] for number in order], tokens, count)


def _words_of(fact: TimedFact) -> str:
    return f"{fact.subject} {fact.relation} {fact.object} {fact.tag}"


def _near(
    facts: Sequence[TimedFact], centres: Sequence[int], worth: dict[int, float]
) -> list[tuple[int, float]]:
    """Return the facts around some hits, and what each is worth by that."""
    leads = leads_to(dict.fromkeys(path_of(fact.subject) for fact in facts))
    subjects, paths = dict[str, float](), dict[str, float]()
    for number in centres:
        fact = facts[number]
        subjects.setdefault(fact.subject, worth[number])
        paths.setdefault(path_of(fact.subject), worth[number])
        if path := leads(fact):
            subjects.setdefault(f"module:{path}", worth[number] * LEADS / SAME)
    found = list[tuple[int, float]]()
    for number, fact in enumerate(facts):
        if fact.subject in subjects:
            found.append((number, subjects[fact.subject] * SAME))
        elif fact.relation == "imports" and (path := leads(fact)) in paths:
            found.append((number, paths[path] * LEADS))
    return found


def within(facts: Iterable[TimedFact], tokens: int, count: Callable[[str], int]) -> list[TimedFact]:
    """Return as many of some facts, the first of them first, as have a text of so many tokens."""
    chosen, misses = list[TimedFact](), 0
    for fact in facts:
        if count(row_text([*chosen, fact])) <= tokens:
            chosen.append(fact)
        elif (misses := misses + 1) > CENTRES:
            break
    return chosen


def row_text(facts: Sequence[TimedFact]) -> str:
    """Return facts as a prompt shows them: a line for each subject, in the order of the facts."""
    lines: dict[str, dict[str, list[str]]] = {}
    for fact in facts:
        relation = fact.relation if fact.found else f"{fact.relation} (claimed)"
        over = "" if fact.until is None else f" (until {fact.until:%Y-%m-%d %H:%M})"
        objects = lines.setdefault(fact.subject, {}).setdefault(relation, [])
        objects.append(fact.object + over)
    return "\n".join(
        f"{subject} {'; '.join(_told_as(name, objects) for name, objects in by_name.items())}"
        for subject, by_name in lines.items()
    )


def _told_as(relation: str, objects: Sequence[str]) -> str:
    plain = relation.removesuffix(" (claimed)")
    return f"{relation}: {(', ' if plain in SEVERAL else ' | ').join(objects)}"
