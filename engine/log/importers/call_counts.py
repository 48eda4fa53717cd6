"""How much of each call of a model a log holds, and what is said of it.

>>> calls_note({"messages": 28, "none": 12})
'40 calls: 28 by their messages, 12 have no content'
"""

from collections.abc import Mapping

BYTES, MESSAGES, PARTS, NONE = "bytes", "messages", "parts", "none"
"""How true a context is: the request's very bytes; the system's instructions and all messages; what
the log holds of them, without those instructions; nothing."""
NO_CONTEXTS = "calls of the model had no contexts"
"What was wrong with the facts of importers before they formed contexts."
WORDS = {
    BYTES: "by their bytes",
    MESSAGES: "by their messages",
    PARTS: "by parts only, as the log holds no system prompt",
    NONE: "have no content",
}


def calls_note(calls: Mapping[str, int]) -> str:
    """Return in words how many calls of a log have which content; empty without calls."""
    found = [f"{calls[name]:,} {words}" for name, words in WORDS.items() if calls.get(name)]
    whole = sum(calls.values())
    return f"{whole:,} call{'s' * (whole != 1)}: {', '.join(found)}" if found else ""
