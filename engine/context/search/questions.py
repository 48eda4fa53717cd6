"""The words of a question by which code is found: those that carry it, in their other forms too.

A question asks about "versions" where the code has `version`, and what holds a sentence together
("where is the") stands in every docstring and says nothing.
"""

import re
from collections.abc import Iterator, Sequence

from backcast.domain.node import path_of
from backcast.domain.paths import is_test
from backcast.engine.context.search import Document, SearchHit, search_words
from backcast.engine.context.search.code_words import SearchWords
from backcast.engine.context.search.words import FORM, words

EMPTY = frozenset(
    words(
        "a about all also am an and any are as at be been being but by can could did do does doing"
        " done for from had has have having here how i if in into is it its just like may me might"
        " must my no nor not now of off on only onto or our out over own shall should so some such"
        " than that the their them then there these they this those to too under up upon us very"
        " was we were what when where whether which while who whom whose why will with within"
        " without would you your"
    )
)
"Words that say nothing about what is asked."
TESTS = frozenset(("test", "tests", "tested", "testing", "fixture", "fixtures"))
"Words of a question that asks for tests."
ENDS = ("ing", "ed")
_WORD = re.compile(r"\w+")
_MANY = re.compile("(?:s|x|z|h)es$")


def looked_for(question: str) -> str:
    """Return the words by which a question looks for code, in order.

    Names of code stay as they are; a plain word comes with the forms of one and of many, and
    without -ing and -ed, behind `FORM`. A question of nothing but empty words stays as it is.

    >>> looked_for("Where are versions compared by parse_version()?").replace(FORM, "|")
    'versions|version compared|compareds|compar|compare parse_version'
    """
    found = [
        FORM.join(dict.fromkeys(_forms(word))) if word.islower() or word.istitle() else word
        for word in _WORD.findall(question)
        if word.lower() not in EMPTY
    ]
    return " ".join(found) or question


def asks_for_tests(question: str) -> bool:
    """Tell whether a question asks for tests."""
    return not TESTS.isdisjoint(words(question))


def own(documents: Sequence[Document], question: str) -> Sequence[Document]:
    """Return the documents less those of tests, unless the question asks for tests or there are no
    others."""
    if asks_for_tests(question):
        return documents
    # The id of a node, behind its task where there are several.
    found = [one for one in documents if not is_test(path_of(one.id.rpartition("\0")[2]))]
    return found or documents


def found_by_words(
    documents: Sequence[Document], question: str, k: int, counted: SearchWords
) -> list[SearchHit]:
    """Find the `k` documents that answer a question best by its words, tests apart, the best first.

    `counted` are words that were counted before.
    """
    return search_words(own(documents, question), looked_for(question), k, counted)


def _forms(word: str) -> Iterator[str]:
    """Yield a word and its other forms, as far as English makes them by the rule."""
    yield word
    if "_" in word or len(word) < 4:
        return
    if word.endswith("ies"):
        yield f"{word[:-3]}y"
    elif _MANY.search(word):
        yield word[:-2]
    elif word.endswith("s"):
        yield word if word.endswith("ss") else word[:-1]
    else:
        yield f"{word}s"
    for end in ENDS:
        if word.endswith(end) and len(word) > len(end) + 2:
            yield word.removesuffix(end)
            yield f"{word.removesuffix(end)}e"
