"""Compresses a text for whoever asked: by rules first, by a model where that is asked for.

The first stage keeps lines, see `backcast.domain.compression`. Where the policy says `abstractive`
and too much would go, a model sums up what is no error, trace or thing that was asked for; these
stay whole above its words. An answer that names a path or symbol that the text does not have is
refused, asked for once more with the reason, and then the extracts stand. The model's answer is a
fact, so nothing is asked again.
"""

from typing import NamedTuple

from backcast.domain.action_evidence import SYMBOL, evidence_in, shown_in
from backcast.domain.compression import CompressedText, compressed, extracted
from backcast.domain.compression_settings import SHARE, CompressionSettings
from backcast.domain.context_events import CompressedItem, TextCompressed
from backcast.domain.message_parts import REF
from backcast.domain.text_request import TextRequest
from backcast.engine.log.blobs import Blob
from backcast.engine.models import Limits, Message, Model
from backcast.engine.models.tokenizers import Tokenizer

EXTRACTIVE = "extractive"
MAX_TEXT = 24_000
"Most characters of a text that a model is shown; those with the worthiest lines."
LEAST = 64
"Tokens below which no summary is asked for."


class ShortText(NamedTuple):
    """A compressed text with its fact, and the blobs that it points at."""

    text: str
    result: CompressedText
    fact: TextCompressed | None
    "None where the text stayed as it was."
    blobs: tuple[Blob, ...] = ()


def compress(
    text: str, request: TextRequest, settings: CompressionSettings, tokenizer: Tokenizer, *,
    share: float = SHARE, about: str = "", model: Model | None = None,
) -> ShortText:  # fmt: skip
    """Return a text within the settings' target, with what a log keeps of that.

    `model` sums up the rest where the settings are `abstractive` and extracts have more tokens
    than the target.
    """
    whole = Blob(text.encode(errors="surrogatepass"))
    short = compressed(text, request, settings, tokenizer.count, share=share, name=whole.ref[:REF])
    if not short.state:
        return ShortText(text, short, None)
    by, answer, refused = EXTRACTIVE, "", ""
    over = short.tokens > settings.target or short.state == "offloaded"
    if model is not None and settings.abstractive and over:
        short, answer, refused = _abstract(text, request, settings, short, tokenizer, model)
        by = EXTRACTIVE if refused else model.id
    body = Blob(short.text.encode(errors="surrogatepass"))
    said = (Blob(answer.encode(errors="surrogatepass")),) if answer else ()
    fact = TextCompressed(
        about=about, text=body.ref, by=by,
        compressed=CompressedItem(whole=whole.ref, **short.facts),
        **({"answer": said[0].ref} if said else {}), **({"refused": refused} if refused else {}),
    )  # fmt: skip
    return ShortText(short.text, short, fact, (whole, body, *said))


def _abstract(
    text: str, request: TextRequest, settings: CompressionSettings, short: CompressedText,
    tokenizer: Tokenizer, model: Model,
) -> tuple[CompressedText, str, str]:  # fmt: skip
    """Return the text with a model's summary of what may go, its answer, and why it is refused."""
    name = Blob(text.encode(errors="surrogatepass")).ref[:REF]
    stays = extracted(text, request, 0, tokenizer.count, name=name)
    stays_text = stays.text if stays.state else ""
    room = settings.target - tokenizer.count(stays_text) - 16
    if room < LEAST:
        return short, "", f"what must stay leaves {max(0, room)} tokens for a summary"
    shown = extracted(text, request, MAX_TEXT // 4, tokenizer.count).text[: 2 * MAX_TEXT]
    ask = (
        "You sum up an output for a programmer who will not see it. Say only what it shows, name"
        f" files and symbols exactly. At most {room // 2} words, no headings."
    )
    messages = [Message("system", ask), Message("user", shown)]
    answer = problem = ""
    for _ in range(2):
        answer = model.complete(messages, Limits(room)).text.strip()
        problem = refusal(answer, text, room, tokenizer)
        if not problem:
            made = f"{stays_text}\n[summary of the rest, by {model.id}]\n{answer}".strip()
            size = tokenizer.count(made)
            found = short._replace(
                text=made, tokens=size, kept=stays.kept, dropped=stays.dropped,
            )  # fmt: skip
            return found, answer, ""
        again = f"That cannot be used: {problem}. Answer again."
        messages = [*messages, Message("assistant", answer), Message("user", again)]
    return short, answer, problem


def refusal(answer: str, text: str, room: int, tokenizer: Tokenizer) -> str:
    """Return why a summary cannot stand for a text; empty where it can."""
    if not answer:
        return "it is empty"
    if (tokens := tokenizer.count(answer)) > room:
        return f"it has {tokens} tokens, at most {room} are needed"
    known = shown_in(text)
    for thing in sorted(evidence_in(answer)):
        if thing.kind in ("path", "error", SYMBOL) and not known.shows(thing):
            return f"it names {thing.text}, which the text does not"
    return ""
