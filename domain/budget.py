"""How many tokens may each part of a prompt take? A model's window, divided without a rest.

>>> MISTRAL_7B_8K.context, MISTRAL_7B_8K.generation, sum(MISTRAL_7B_8K.rows.values())
(4000, 2500, 8192)
"""

from collections.abc import Mapping
from typing import NamedTuple

from backcast.domain.errors import InputError

CONTEXT = (
    "current module", "related functions", "related modules", "dependencies", "recent errors",
    "test results", "historical patterns",
)  # fmt: skip
"The rows for what is known of the code; the other rows are fixed parts of a prompt."
ROWS = ("system prompt", "task description", *CONTEXT, "generation", "context map", "buffer")
BOUND = 3
"The usual ratio of a token bound to the model's own count, for English and code."
MAP_TOKENS = 1_024
"The default size of a context map."
FLOOR = 20
"The least percent of a window that a new profile keeps for the answer."


class ModelProfile(NamedTuple):
    """A model's window and its division, chat template and tokenizer.

    >>> MISTRAL_7B_8K.window, MISTRAL_7B_8K.prompt, MISTRAL_7B_8K.generation
    (8192, 5692, 2500)
    """

    name: str
    window: int
    "Tokens of prompt and answer together."
    rows: Mapping[str, int]
    "Tokens of each part; their sum is the window."
    template: str
    "The chat template: mistral, chatml, or qwen3 (chatml for a model that can think)."
    tokenizer: str
    "The id of the tokenizer: see `backcast.engine.models.tokenizers`."
    yarn: int = 1
    "The factor by which the model's own window is stretched when it is loaded."

    @property
    def generation(self) -> int:
        """Tokens kept free for the answer."""
        return self.rows["generation"]

    @property
    def context(self) -> int:
        """Tokens for what is known of the code."""
        return sum(self.rows.get(row, 0) for row in CONTEXT)

    @property
    def prompt(self) -> int:
        """Tokens that a rendered prompt may have: all but the answer's."""
        return self.window - self.generation

    def with_context(self, tokens: int, most: int | None = None) -> "ModelProfile":
        """Return a profile with `tokens` for the context, rows in the same proportion, and a window
        changed by the difference. `InputError` where that is larger than `most`, by default the
        present one: no profile has a window that its model lacks."""
        if tokens < 1:
            raise InputError(f"needed a context of 1 token or more, found {tokens}")
        most = self.window if most is None else most
        window, rest = self.window - self.context + tokens, self.window - self.context
        if window > most:
            raise InputError(
                f"needed a context of {most - rest:,} tokens or fewer, found {tokens:,}: the window"
                f" of {self.name} has {most:,}, and {rest:,} are for the rest of the prompt and the"
                f" answer{_wider(tokens)}"
            )
        shares = {row: self.rows[row] for row in CONTEXT if row in self.rows}
        rows = {**self.rows, **allocated(tokens, shares)}
        return checked(self._replace(name=f"{self.name}-{tokens}", window=window, rows=rows))

    def with_prompt(self, tokens: int) -> "ModelProfile":
        """Return a profile whose rendered prompts have `tokens` at most: the rows but the answer's
        in the same proportion, and a window changed by the difference. `InputError` where that is
        more than this one has.

        >>> MISTRAL_7B_8K.with_prompt(2_000).prompt
        2000
        """
        if not 1 <= tokens <= self.prompt:
            raise InputError(
                f"needed a prompt of 1 to {self.prompt:,} tokens, found {tokens:,}: the window of"
                f" {self.name} has {self.window:,}, and {self.generation:,} are for the answer"
            )
        shares = {row: self.rows[row] for row in self.rows if row != "generation"}
        rows = {**self.rows, **allocated(tokens, shares)}
        name, window = f"{self.name}-prompt-{tokens}", tokens + self.generation
        return checked(self._replace(name=name, window=window, rows=rows))


def allocated(tokens: int, shares: Mapping[str, int]) -> dict[str, int]:
    """Divide tokens by shares without a rest; the largest fractions get it, ties by order."""
    whole = sum(shares.values())
    if whole <= 0:
        raise InputError("needed shares that add up to more than 0")
    rows = {row: tokens * share // whole for row, share in shares.items()}
    rest = tokens - sum(rows.values())
    order = sorted(shares, key=lambda row: -(tokens * shares[row] % whole))
    for row in order[:rest]:
        rows[row] += 1
    return rows


def checked(profile: ModelProfile) -> ModelProfile:
    """Return the profile if its rows add up; raise `InputError` with both numbers otherwise."""
    odd = [row for row in profile.rows if row not in ROWS or profile.rows[row] < 0]
    if odd:
        raise InputError(f"profile {profile.name}: needed rows such as {ROWS[0]}, found {odd[0]!r}")
    whole = sum(profile.rows.values())
    if whole != profile.window:
        raise InputError(
            f"profile {profile.name}: its rows add up to {whole:,} tokens, its window has"
            f" {profile.window:,}"
        )
    return profile


def reserved(profile: ModelProfile) -> ModelProfile:
    """Return a new profile if its rows add up and it keeps `FLOOR` percent of its window for the
    answer; raise `InputError` with both numbers otherwise. Recorded profiles are `checked` only."""
    least, kept = -(-profile.window * FLOOR // 100), profile.rows.get("generation", 0)
    if kept < least:
        raise InputError(
            f"profile {profile.name}: needed {least:,} tokens or more for the answer ({FLOOR} % of"
            f" its window of {profile.window:,}), found {kept:,}: raise its row 'generation'"
        )
    return checked(profile)


def _profile(
    name: str, window: int, tokenizer: str, template: str, rows: tuple[int, ...], yarn: int = 1
) -> ModelProfile:
    return reserved(
        ModelProfile(name, window, dict(zip(ROWS, rows, strict=True)), template, tokenizer, yarn)
    )


#        system task | module functions modules needs errors tests patterns | answer map buffer
_SMALL = (500, 300, 300, 1200, 0, 800, 400, 1300, 0, 2500, 512, 380)
_LARGE = (500, 500, 500, 0, 3000, 2500, 1500, 2500, 2000, 15000, 1024, 3744)
MISTRAL_7B_8K = _profile("mistral-7b-8k", 8_192, "mistral-v3", "mistral", _SMALL)
MISTRAL_7B_32K = _profile("mistral-7b-32k", 32_768, "mistral-v3", "mistral", _LARGE)
QWEN3_8B_32K = _profile("qwen3-8b-32k", 32_768, "qwen3", "qwen3", _LARGE)
QWEN3_8B_65K = _profile(
    "qwen3-8b-65k", 65_536, "qwen3", "qwen3",
    (500, 500, 1000, 0, 8000, 7000, 3000, 6000, 5500, 28000, 1024, 5012), 2,
)  # fmt: skip
QWEN3_8B_131K = _profile(
    "qwen3-8b-131k", 131_072, "qwen3", "qwen3",
    (500, 500, 2000, 0, 22000, 20000, 6000, 15000, 14000, 40000, 1024, 10048), 4,
)  # fmt: skip
PROFILES = {
    profile.name: profile
    for profile in (MISTRAL_7B_8K, MISTRAL_7B_32K, QWEN3_8B_32K, QWEN3_8B_65K, QWEN3_8B_131K)
}


def of_window(name: str, window: int, tokenizer: str, template: str) -> ModelProfile:
    """Return the profile of a server's own window: the rows of the nearer table, in proportion."""
    if window < 512:
        raise InputError(f"needed a window of 512 tokens or more, found {window}")
    nearer = MISTRAL_7B_8K if window < 20_000 else QWEN3_8B_32K
    rows = allocated(window, nearer.rows)
    return reserved(ModelProfile(name, window, rows, template, tokenizer))


def _wider(tokens: int) -> str:
    """Return a way out where some profile has a context of so many tokens; empty for none."""
    names = [name for name, profile in PROFILES.items() if profile.context >= tokens]
    return f"; a profile with room for it is {names[0]}" if names else ""
