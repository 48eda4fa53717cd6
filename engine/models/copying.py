"""How much of a text could be copied from its prompt? A reader that only copies, without weights.

It stands beside models that read, for a first look and for machines without one: what makes a text
likelier to a small model is mostly what is like it, and that is found in milliseconds. It knows no
language: a token that stands nowhere costs the same whatever it is, so its nats are a measure of
likeness in the form of a likelihood, and no probability.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from time import monotonic

from backcast.domain.errors import InputError, ModelError
from backcast.engine.models.likelihood import (
    DIGITS,
    ReadText,
    RenderedPrompt,
    SpelledText,
    rendered_prompt,
)
from backcast.engine.models.tokenizers import Mistral, tokenizer_of

VERSION = 1
"Grows when the same prompt and text would give other numbers."
COPY = "copy"
"Its name as a model that reads."
WINDOW = 32_768
"Tokens of the largest window: nothing but time limits it."
LONGEST = 16
"Tokens of a run that two places share, at most, that are looked at."
STRONGER = 1.2
"The logarithm by which a place counts more for each token of the run that it shares."
TRUST, RUN = 0.95, 4.0
"How far what followed there is trusted, at most, and the tokens by which trust grows."
NEW, SEEN, SPARE = 0.8 * math.exp(-2.2), 0.2, 200
"""What counts as the chance of a token that cannot be copied, and how much its share of all tokens
so far, with so many to spare, adds to that."""


class CopyReader:
    """A reader whose only knowledge is what stands before."""

    exact = True

    def __init__(self) -> None:
        """`MissingExtraError` where nothing counts as Mistral 7B does."""
        tokenizer = tokenizer_of("mistral-v3")
        assert isinstance(tokenizer, Mistral)
        self._tokenizer = tokenizer
        self.place, self.tokenizer = COPY, "mistral-v3"
        self.trained = self.window = WINDOW
        self.model = f"{COPY} {VERSION}"
        self.id = tokenizer.id
        self.counted_as = "mistral"
        self.template = sha256(self.counted_as.encode()).hexdigest()[:DIGITS]
        self.reader = f"{VERSION}, no weights"
        self.heard: Callable[[int], None] = lambda tokens: None

    def encode(self, text: str) -> list[int]:
        """Return the tokens of a text between two control tokens, by number."""
        return self._tokenizer.encode(text)

    def count(self, text: str) -> int:
        """Return the tokens of a text between two control tokens."""
        return self._tokenizer.count(text)

    def prompt(self, messages: Sequence[tuple[str, str]], header: str = "") -> RenderedPrompt:
        """Return messages as Mistral 7B is given them: see `rendered_prompt`."""
        return rendered_prompt(self.counted_as, messages, header)

    def spelled(self, prompt: RenderedPrompt, text: str) -> SpelledText:
        """Return a prompt and a text as tokens; see `LikelihoodReader.spelled`."""
        if not text.strip():
            raise InputError("the outcome: needed a text to read, found an empty one")
        front, body = "".join(run.text for run in prompt.runs), text.encode(errors="replace")
        tokens, pieces, size = self.encode(front + text), list[bytes](), 0
        while size < len(body):
            pieces.append(self._tokenizer.piece(tokens[-1 - len(pieces)]))
            size += len(pieces[-1])
        split = len(tokens) - len(pieces)
        if not split:
            raise InputError("needed a prompt before the text, found none")
        return SpelledText(tokens[:split], tokens[split:], pieces[::-1], size - len(body))

    def read(self, prompt: RenderedPrompt, text: str, until: float = math.inf) -> ReadText:
        """Return how likely each token of a text is behind a prompt, as `copied` has it.

        `until` is a moment of `time.monotonic`; after it, `ModelError`.
        """
        spelled, nats = self.spelled(prompt, text), list[float]()
        for value in copied(spelled.prompt, spelled.text):
            if monotonic() > until:
                raise ModelError(f"{len(nats):,} tokens read", "timeout")
            nats.append(value)
        self.heard(len(spelled.prompt) + len(spelled.text))
        return ReadText(tuple(spelled.pieces), tuple(nats), spelled.before)


def copied(prompt: Sequence[int], text: Sequence[int]) -> Iterator[float]:
    """Yield of each token of a text the negative logarithm of its chance, by copying alone.

    Each earlier place where the token before stood speaks for what followed there, the more the
    longer the run that it shares with the end of what was read. The longest run tells how far they
    are trusted; the rest of the chance is that of any token, more for those that stood before.

    >>> seen = [1, 2, 3, 4, 9]
    >>> once, again = (sum(copied([*seen, *more], [3, 4])) for more in ([], [1, 2]))
    >>> f"{once:.1f}, {again:.1f}"
    '3.7, 1.4'
    """
    read, places = list(prompt), defaultdict[int, list[int]](list)
    for place, token in enumerate(read):
        places[token].append(place)
    for token in text:
        found, longest = _followers(read, places)
        seen = len(places[token]) / (len(read) + SPARE)
        chance = NEW + SEEN * seen
        if longest:
            trust = TRUST * (1 - math.exp(-longest / RUN))
            share = found.get(token, 0.0) / sum(found.values())
            chance = trust * share + (1 - trust) * chance
        yield -math.log(chance)
        places[token].append(len(read))
        read.append(token)


def _followers(read: Sequence[int], places: dict[int, list[int]]) -> tuple[dict[int, float], int]:
    """Return what followed on the last token wherever it stood before, weighed, and the longest run
    that such a place shares with the end."""
    found, longest, last = dict[int, float](), 0, len(read) - 1
    for place in places[read[last]][:-1] if read else ():
        run = 1
        while run < LONGEST and run <= place and read[place - run] == read[last - run]:
            run += 1
        next_token = read[place + 1]
        found[next_token] = found.get(next_token, 0.0) + math.exp(STRONGER * run)
        longest = max(longest, run)
    return found, longest
