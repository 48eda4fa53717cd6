"""Who can read a text and tell how likely it was: a model file in this process, or a server."""

from collections.abc import Callable, Sequence
from typing import Protocol

from backcast.engine.models.likelihood import ReadText, RenderedPrompt, SpelledText


class OutcomeReader(Protocol):
    """A model that reads texts, and counts tokens as it reads them."""

    exact: bool
    id: str
    "The name of its vocabulary."
    place: str
    "The file or address, as errors name it."
    model: str
    "The name by which its scores are known."
    counted_as: str
    "Its chat template, as a profile has it."
    template: str
    "The digest of that template; empty where it has none."
    reader: str
    "The program that reads, with its version."
    tokenizer: str
    "The name of its tokens in a profile."
    trained: int
    "Tokens of the largest window that it can have."
    window: int
    "Tokens of prompt and text together."
    heard: Callable[[int], None]
    "Is called with the tokens of each piece that is read, where it is read in pieces."

    def encode(self, text: str) -> list[int]:
        """Return the tokens of a text between two control tokens, by number."""

    def count(self, text: str) -> int:
        """Return the tokens of a text between two control tokens."""

    def prompt(self, messages: Sequence[tuple[str, str]], header: str = "") -> RenderedPrompt:
        """Return messages as its template renders them, with the answer begun by `header`."""

    def spelled(self, prompt: RenderedPrompt, text: str) -> SpelledText:
        """Return a prompt and the text behind it as tokens."""

    def read(self, prompt: RenderedPrompt, text: str, until: float = ...) -> ReadText:
        """Return how likely each token of a text is behind a prompt."""
