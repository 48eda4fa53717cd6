"""What proves an answer: quotes that are there, say more than the question, and bear it out.

All is judged by words alone: that a quote proves an answer means that it holds what the answer
says, not that somebody has understood either.
"""

import re
from collections.abc import Sequence

from backcast.domain.node import name_of, path_of
from backcast.domain.question_events import AnswerQuote
from backcast.engine.context.search.words import words

COMMON = frozenset(
    words(
        "a an and any are as at be by can do does for from has have how if in into is it its no not"
        " of on or so than that the then there these this to was were what when where which who"
        " whose why will with yes"
    )
)
"Words that say nothing of what is asked."
NONE_GIVEN = "it gives no quote"
NONE_PROVEN = "none of its quotes is proven"
NOTHING_NEW = "it says nothing that the question does not say"
NOT_BORNE_OUT = "its quotes do not hold what it says"
NOT_OF_IT = "its quotes hold nothing of what is asked"
ONE_WORD = "it is there, but a single word shows nothing"
ASKED_ONLY = "it is there, but says no more than the question"
_WORD = re.compile(r"[\w.-]*")
_NAME = re.compile(r"\w+")
_PRECISE = re.compile(r"\w*(?:\d|_|[a-z][A-Z])\w*")


def content(text: str) -> set[str]:
    """Return the words of a text that say something, without the s of a plural.

    >>> sorted(content("What does PluginManager return?"))
    ['manager', 'plugin', 'pluginmanager', 'return']
    """
    return {_stem(word) for word in words(text) if word not in COMMON}


def _stem(word: str) -> str:
    return word[:-1] if len(word) > 3 and word.endswith("s") else word


def says_more(quote: str, question: str) -> bool:
    """Return whether a quote holds something that the question does not.

    >>> says_more("HookCaller", "Which module defines HookCaller?")
    False
    >>> says_more("class HookCaller:", "Which module defines HookCaller?")
    True
    """
    return bool(content(quote) - content(question))


def shows_nothing(quote: str, question: str) -> str:
    """Return why a quote that is there proves nothing; empty where it may.

    >>> shows_nothing("1", "How many?"), shows_nothing("parts = 1", "How many parts?")
    ('it is there, but a single word shows nothing', '')
    """
    if not says_more(quote, question):
        return ASKED_ONLY
    return ONE_WORD if _WORD.fullmatch(quote.strip()) else ""


def unproven(question: str, text: str, quotes: Sequence[AnswerQuote]) -> str:
    """Return why nothing proves an answer; empty where its quotes do.

    They must be proven, hold a word that it says beyond the question, and each number or name that
    it says beyond it. They must hold a name that the question asks about; where it has none, more
    than what is asked and answered. A name may be that of their node.
    """
    if not text.strip():
        return ""
    new = content(text) - content(question)
    if content(text) and not new:
        return NOTHING_NEW
    if not quotes:
        return NONE_GIVEN
    proven = [quote for quote in quotes if quote.proven]
    if not proven:
        return NONE_PROVEN
    named = {name for name in _PRECISE.findall(question) if not name.isdigit()}
    around = " ".join(f"{quote.node} {quote.text}" for quote in proven)
    if named and not named & set(_NAME.findall(around)):
        return NOT_OF_IT
    known = content(" ".join(quote.text for quote in proven))
    if not named and known <= content(f"{question} {text}"):
        return NOT_OF_IT
    places = [place for quote in proven for place in _places(quote.node) if place in text]
    known |= content(" ".join(places))
    precise = content(" ".join(_PRECISE.findall(text))) & new
    return "" if new & known and precise <= known else NOT_BORNE_OUT


def _places(node: str) -> list[str]:
    """Return how a node may be named: by its path, its file, its name."""
    path, name = path_of(node), name_of(node)
    return [one for one in (path, path.rpartition("/")[2], name.rpartition(".")[2]) if one]
