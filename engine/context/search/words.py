"""The words of texts.

An identifier counts whole and in its parts, which underscores and capitals divide, all in lower
case. There is no list of stop words and no stemming: code has its own.
"""

import re
from collections.abc import Sequence
from functools import lru_cache

IDENTIFIER = re.compile(r"\w+")
FORM = "\0"
"What stands between the forms of one word in a query: a text that holds any of them holds it."

_FORMS = re.compile(rf"\w+(?:{FORM}\w+)+")
_BREAK = re.compile(r"_+|(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def words(text: str) -> list[str]:
    """Return the words of a text, in order.

    >>> words("def parse_json(HTTPServer): ...")
    ['def', 'parse_json', 'parse', 'json', 'httpserver', 'http', 'server']
    """
    return [word for found in IDENTIFIER.findall(text) for word in parts_of(found)]


@lru_cache(maxsize=50_000)
def parts_of(identifier: str) -> Sequence[str]:
    parts = [part.lower() for part in _BREAK.split(identifier) if part]
    whole = identifier.lower()
    return parts if parts == [whole] or not parts else [whole, *parts]


@lru_cache(maxsize=64)
def asked_words(query: str) -> Sequence[str]:
    """Return the words of a query, sorted, once each; the forms of a word are one of them."""
    forms = {FORM.join(sorted(set(one.lower().split(FORM)))) for one in _FORMS.findall(query)}
    return sorted(forms.union(words(_FORMS.sub(" ", query))))
