"""What an action brings, at the length for which a question's prompt has room."""

from typing import NamedTuple

from backcast.domain.compression_settings import CompressionSettings
from backcast.domain.context_events import TextCompressed
from backcast.domain.text_request import request_of
from backcast.engine.log.blobs import Blob
from backcast.engine.memory.compress import compress
from backcast.engine.models.tokenizers import Tokenizer

_MORE = "... {count} more lines are not shown: ask for less"


class ShortResult(NamedTuple):
    """A result as it is shown, and what the log keeps of that."""

    text: str
    facts: tuple[TextCompressed, ...] = ()
    blobs: tuple[Blob, ...] = ()


def shortened(
    text: str, question: str, tokens: int, most: int, tokenizer: Tokenizer, share: float, about: str
) -> ShortResult:
    """Return the lines of a text that a question needs, of about so many tokens.

    What must stay may be more than that, but never more than `most`.
    """
    settings = CompressionSettings(target=tokens, over=tokens)
    short = compress(text, request_of(question), settings, tokenizer, share=share, about=about)
    facts = (short.fact,) if short.fact else ()
    return ShortResult(bounded(short.text, most, tokenizer), facts, short.blobs)


def bounded(text: str, tokens: int, tokenizer: Tokenizer) -> str:
    """Return the first lines of a text that have at most so many tokens, and what is missing.

    A line that is too long by itself is cut.
    """
    if tokenizer.count(text) <= tokens:
        return text
    lines, kept, room = text.splitlines(), list[str](), tokens - tokenizer.count(_MORE)
    for line in lines:
        room -= tokenizer.count(f"{line}\n")
        if room < 0:
            break
        kept.append(line)
    if not kept and lines:
        cut = lines[0]
        while cut and tokenizer.count(cut) > tokens // 2:
            cut = cut[: len(cut) * 3 // 4]
        kept = [f"{cut} ..."]
    return "\n".join([*kept, _MORE.format(count=len(lines) - len(kept))])
