"""What hides a secret from a pattern and from no reader: colour codes, letters without a width,
blanks that do not break, and line ends that a backslash takes back.
"""

import re
from bisect import bisect_right
from typing import NamedTuple

from backcast.engine.log.redaction.rules import SecretSpan

_ESC = r"(?:\x1b|\\{1,8}(?:u001[bB]|x1[bB]|033|e(?=\[)))"
_UNSEEN = (
    r"[\xad\u200b-\u200f\u2060\ufeff]|\\{1,8}u(?:200[b-fB-F]|2060|[fF][eE][fF][fF]|00[aA][dD])"
)
_VEIL = re.compile(
    rf"{_ESC}\[[0-?]{{0,40}}[ -/]{{0,4}}[@-~]|\x9b[0-?]{{0,40}}[ -/]{{0,4}}[@-~]"
    rf"|{_ESC}\][^\x07\x1b\\\n]{{0,300}}(?:\x07|{_ESC}\\{{1,8}}|\\{{1,8}}u0007)"
    rf"|{_UNSEEN}|(?P<blank>\xa0|\\{{1,8}}u00[aA]0)|\\\r?\n[ \t]{{0,40}}"
)


class UnveiledText(NamedTuple):
    """A text as its reader sees it, and where each stretch of it stands in the whole."""

    text: str
    starts: list[int]
    "Where the stretches begin in `text`, rising; the first at 0."
    origins: list[int]
    "Where they begin in the whole text."

    def origin(self, span: SecretSpan) -> SecretSpan:
        """Return a span of this text as one of the whole: from its first to its last letter."""
        return span._replace(start=self._at(span.start), end=self._at(span.end - 1) + 1)

    def _at(self, place: int) -> int:
        index = bisect_right(self.starts, place) - 1
        return self.origins[index] + place - self.starts[index]


def unveiled(text: str) -> UnveiledText | None:
    r"""Return a text without what hides its secrets; None where nothing does.

    >>> unveiled("a\x1b[31mb\xa0c")
    UnveiledText(text='ab c', starts=[0, 1, 2, 3], origins=[0, 6, 7, 8])
    """
    pieces, starts, origins, size, last = list[str](), [0], [0], 0, 0
    for veil in _VEIL.finditer(text):
        size += veil.start() - last
        pieces.append(text[last : veil.start()])
        if veil["blank"]:
            pieces.append(" ")
            starts.append(size)
            origins.append(veil.start())
            size += 1
        last = veil.end()
        starts.append(size)
        origins.append(last)
    return UnveiledText("".join((*pieces, text[last:])), starts, origins) if last else None
