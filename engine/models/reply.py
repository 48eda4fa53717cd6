"""A reply as it comes, token by token: the thought, the answer, and where it ends.

>>> reply = ReplyReader(stop=["END"])
>>> [reply.take(text) for text in (b"<thi", b"nk>hm</think>", b"\\n\\n4", b"2 E", b"ND of it")]
[False, False, False, False, True]
>>> reply.thought, reply.answer, reply.tokens
('hm', '42 ', 5)
"""

from codecs import getincrementaldecoder
from collections.abc import Sequence

OPEN, CLOSE = "<think>", "</think>"


def split_thinking(text: str) -> tuple[str, str]:
    r"""Return what was thought, and the answer; a block that is not closed has no answer behind it.

    >>> split_thinking("<think>\nTwo.\n</think>\n\ndef two(): ...\n")
    ('Two.', 'def two(): ...\n')
    >>> split_thinking("<think>Two, or")
    ('Two, or', '')
    >>> split_thinking("It writes </think> where a <think> was.")
    ('', 'It writes </think> where a <think> was.')
    """
    opened = text.lstrip()
    if not opened.startswith(OPEN):
        return "", text
    thought, _, answer = opened.removeprefix(OPEN).partition(CLOSE)
    return thought.strip(), answer.lstrip("\n")


class ReplyReader:
    """What a model has said so far. A block of thought counts only at the very start."""

    def __init__(self, stop: Sequence[str] = (), opened: bool = False) -> None:
        self.thought = self.answer = ""
        self.tokens = self.thought_tokens = 0
        self.thinking = opened
        "Whether the block of thought is open: nothing is an answer yet."
        self._stop = [text for text in stop if text]
        self._begun = opened
        # A token may end within a character: that is no text before the rest of it came.
        self._decoder = getincrementaldecoder("utf-8")("replace")

    def take(self, piece: bytes) -> bool:
        """Take the bytes of one token; whether a text of `stop` has ended the answer."""
        self.tokens += 1
        text = self._decoder.decode(piece)
        if self.thinking:
            self._think(text)
        else:
            self._say(text)
        self.thought_tokens += self.thinking
        return not self.thinking and self._stopped(len(text))

    def close(self, tokens: int) -> None:
        """End the thought from outside, by so many tokens that the model did not choose."""
        self.tokens += tokens
        self.thinking = False

    def _think(self, text: str) -> None:
        searched = max(0, len(self.thought) - len(CLOSE))
        self.thought += text
        end = self.thought.find(CLOSE, searched)
        if end >= 0:
            rest = self.thought[end + len(CLOSE) :]
            self.thought, self.thinking, self._begun = self.thought[:end], False, True
            self._say(rest)

    def _say(self, text: str) -> None:
        self.answer += text
        if not self._begun:
            start = self.answer.lstrip()
            if start.startswith(OPEN):
                self.answer, self.thinking = "", True
                self._think(start.removeprefix(OPEN))
            self._begun = not OPEN.startswith(start)
        elif self.thought:
            self.answer = self.answer.lstrip("\n")

    def _stopped(self, new: int) -> bool:
        longest = max(map(len, self._stop), default=0)
        searched = max(0, len(self.answer) - new - longest)
        ends = [self.answer.find(text, searched) for text in self._stop]
        stops = [end for end in ends if end >= 0]
        if stops:
            self.answer = self.answer[: min(stops)]
        return bool(stops)
