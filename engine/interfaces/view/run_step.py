"""A step of a run: some events that follow each other, and what came of them."""

from datetime import datetime
from typing import NamedTuple

GLYPHS = {
    "failed": "✗", "refused": "!", "checks": "✗", "passed": "✓", "plan": "P", "commit": "◆",
    "code": "C",
    "summary": "S", "tool": "T", "reply": "A", "begin": "·",
}  # fmt: skip
"The sign of each outcome, for those who cannot tell its colour."
NAMES = {
    "failed": "failed", "refused": "refused", "checks": "checks failed", "passed": "checks passed",
    "plan": "plan", "commit": "commit", "code": "code", "summary": "summary", "tool": "tool",
    "reply": "answer",
    "begin": "",
}  # fmt: skip
RANKS = {name: rank for rank, name in enumerate(reversed(GLYPHS))}
"Of several outcomes in a step the highest counts."


class RunStep(NamedTuple):
    """Some events that follow each other: a request, its answer, and what came of it."""

    number: int
    "From 1; 0 for what stands before the first step."
    first: int
    last: int
    name: str
    outcome: str = "begin"
    why: str = ""
    "The reason of a failure or refusal."
    prompt: int = 0
    "The version of its prompt; 0 for none."
    foreign: bool = False
    "Whether another program built the prompt, or its messages alone are known."
    answered: bool = False
    replied: int = 0
    "The version of its first answer; 0 for none."
    at: datetime | None = None
    whole: bool = False
    "Whether the checks of the whole task ran in it."
    message: str = ""
    "How the message begins with which it begins; empty for none."

    @property
    def title(self) -> str:
        """Its name; of a message that nothing has answered how that begins."""
        return self.name or self.message or "an empty message"

    @property
    def commit(self) -> bool:
        """Whether it is a commit of a repository's history."""
        return self.outcome == "commit"

    @property
    def event(self) -> int:
        """The event by which the step is linked: its last, as of which all of it is known."""
        return self.last

    @property
    def asked(self) -> int:
        """The event that names its prompt: of one that is formed the answer's; 0 for none."""
        return self.prompt or (self.replied if self.foreign else 0)

    @property
    def label(self) -> str:
        """What came of it, in a word or two."""
        return NAMES[self.outcome]
