"""What a server sends back, read strictly: a completion, or the error that says why there is none.

The form is that of OpenAI's chat completions, with what llama-server adds to it. What a field is
not told is left out; what is told in another form than it must have makes the whole garbled.
"""

import json
import re
from typing import Any

from pydantic import BaseModel, Field, ValidationError

from backcast.domain.errors import ModelError
from backcast.engine.models import Completion
from backcast.engine.models.reply import split_thinking

FINISHES = ("stop", "length")
NAMED = 200
"Characters of a model's name that are kept."
CALLED = 2_000
"Characters of a tool's call that are kept."
SHOWN = 200
"Characters of what a server says that an error repeats."
TOO_LONG = re.compile(
    r"exceed_context_size_error|context_length_exceeded|exceeds? the available context size"
    r"|maximum context length|larger than the max context size",
)

NO_SYSTEM = re.compile(r"[Oo]nly user and assistant roles|[Ss]ystem role|roles must alternate")
"How chat templates say that they take no system role."


class ChatMessage(BaseModel):
    """What the model says, its thoughts apart where the server keeps them so."""

    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    "The same, as vLLM has called it since."
    refusal: str | None = None
    "What it says instead of an answer."
    tool_calls: list[dict[str, Any]] | None = None


class Choice(BaseModel):
    """One answer, and why it ends."""

    message: ChatMessage
    finish_reason: str


class PromptDetails(BaseModel):
    """What is told of a prompt."""

    cached_tokens: int | None = None


class Usage(BaseModel):
    """Tokens, as the server counts them."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: PromptDetails | None = None


class Timings(BaseModel):
    """What llama-server tells beyond."""

    cache_n: int | None = None
    "Tokens of the prompt that were in the slot's cache."


class ChatCompletion(BaseModel):
    """A chat completion."""

    choices: list[Choice] = Field(min_length=1)
    usage: Usage | None = None
    timings: Timings | None = None
    model: str = ""


def completion_of(body: bytes, where: str, seconds: float) -> Completion:
    """Return the completion that a body holds; `ModelError` where it holds none."""
    try:
        reply = ChatCompletion.model_validate_json(body)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, problem["loc"])) or "the body"
        reason = f"{problem['msg']} ({place}) in {_start(body)}"
        raise garbled(where, reason) from None
    choice = reply.choices[0]
    thinking, text = _split(choice.message)
    finish = choice.finish_reason
    if not text and choice.message.refusal:
        text = choice.message.refusal
    if choice.message.tool_calls:  # it is told that there are none
        calls = json.dumps(choice.message.tool_calls)[:CALLED]
        text, finish = f"{text or ''}<tool_call>{calls}</tool_call>", "stop"
    if finish not in FINISHES:
        filtered = finish == "content_filter"
        why = ": a filter of the server stopped the model; put the task in other words"
        raise ModelError(
            f"{where}: needed an answer that ends by stop or length, found"
            f" {finish[:40]!r}{why if filtered else ''}",
            "refused" if filtered else "garbled",
        )
    usage = reply.usage or Usage()
    if text is None and finish == "stop" and not thinking:
        raise garbled(where, "an answer without content")
    return Completion(
        text or "", usage.prompt_tokens, usage.completion_tokens,
        finish, _cached(reply), thinking, seconds, name_of(reply.model),
    )  # fmt: skip


def name_of(text: str) -> str:
    r"""Return a model's name as it can be stored and shown, whatever a server says.

    >>> name_of("x\0y")
    'x?y'
    """
    return _printable(text[:NAMED])


def _printable(text: str) -> str:
    return "".join(one if one.isprintable() else "?" for one in text)


def _split(said: ChatMessage) -> tuple[str, str | None]:
    """Return what was thought, and what was answered."""
    apart = said.reasoning_content or said.reasoning or ""
    if said.content is None or apart:
        return apart.strip(), said.content
    return split_thinking(said.content)


def _cached(reply: ChatCompletion) -> int | None:
    if reply.timings is not None and reply.timings.cache_n is not None:
        return reply.timings.cache_n
    details = reply.usage.prompt_tokens_details if reply.usage else None
    return details.cached_tokens if details else None


def garbled(where: str, found: str) -> ModelError:
    """Return the error for an answer that is none."""
    return ModelError(f"{where}: needed a chat completion in JSON, found {found}", "garbled")


def refusal(status: int, body: bytes, where: str, key: str) -> ModelError:
    """Return the error that a status of 300 and above is."""
    if status in (401, 403):  # such a server likes to repeat the key
        return ModelError(f"{where}: answered {status}: it needs another API key", "refused")
    message = told_by(body).replace(key, "...") if key else told_by(body)
    if status == 400 and TOO_LONG.search(_text(body)):
        return ModelError(f"{where}: the prompt is too long for it: {message}", "overflow")
    passing = (status in (408, 429) or status >= 500) and status != 501
    kind = "unavailable" if passing and not NO_SYSTEM.search(message) else "refused"
    return ModelError(f"{where}: answered {status}: {message}", kind)


def told_by(body: bytes) -> str:
    """Return the message of an error's body in one line, or the body's beginning."""
    try:
        error: Any = json.loads(body)["error"]
        message = error if isinstance(error, str) else error["message"]
        return _printable(" ".join(str(message).split())[:SHOWN])
    except (ValueError, KeyError, TypeError, RecursionError):
        return _start(body)


def _start(body: bytes) -> str:
    return repr(_text(body)[:60])


def _text(body: bytes) -> str:
    return body[:100_000].decode(errors="replace")
