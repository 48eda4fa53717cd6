"""A model behind a server that speaks as OpenAI's does: llama-server, vLLM and many others.

llama-server tells more than they, and is told more: which it is, `/props` says.
"""

import json
import logging
import re
from collections.abc import Mapping, Sequence
from time import monotonic
from types import MappingProxyType
from typing import Any

from backcast.domain.errors import ModelError
from backcast.engine.models import NOTHING, Call, Completion, Limits, Message
from backcast.engine.models.address import address_of, key_for
from backcast.engine.models.asking import PATIENCE, Connection
from backcast.engine.models.cancelling import Cancellation
from backcast.engine.models.templates import merged
from backcast.engine.models.wire import NO_SYSTEM, completion_of, name_of

log = logging.getLogger("backcast")

STREAMED: tuple[dict[str, Any], ...] = (
    {}, {"stream": True}, {"stream": True, "stream_options": {"include_usage": True}},
)  # fmt: skip
"How an answer is asked for: whole, as a stream, and as one with its counts."
NO_STREAM = re.compile(r"\bstream")
"So a server says that it knows no streams, or not their options."
GREEDY: dict[str, Any] = {"temperature": 0, "seed": 1}
SWITCHED = ("vllm", "sglang")
"Servers beside llama.cpp that hand `chat_template_kwargs` to the template, by their own name."
LOOK = 10.0
"Seconds for what only llama-server tells: it has answered already, and others need not."
PROBE = tuple(
    Message(role, f"{role}-{number}")
    for number, role in enumerate(("system", "user", "assistant", "user"))
)


class ServerModel:
    """The model at `http://HOST:PORT/v1`, which is asked at once who it is."""

    def __init__(
        self,
        url: str,
        name: str = "",
        *,
        key: str = "",
        deterministic: bool = False,
        sampling: Mapping[str, Any] = MappingProxyType({}),
        slot: int | None = None,
        seconds: float = 60.0,
        backoff: float = 0.5,
        patience: float = PATIENCE,
    ) -> None:
        """`ModelError` where nobody answers within `seconds`; a model that loads is waited for.

        `deterministic` has llama-server read each prompt anew: what it remembers changes the last
        bits. Else it looks itself for the slot that remembers most of a prompt; `slot` names one,
        for a server that others ask too. `backoff`: the seconds before a second try;
        `patience`: those for which a server that went down is waited for. Without a
        `key` it is BACKCAST_API_KEY, and OPENAI_API_KEY for https://api.openai.com alone.
        """
        self.url = _address(url)
        self.deterministic, self.slot = deterministic, slot
        self.sampling = GREEDY | dict(sampling)
        self.native = False
        "Whether it is llama.cpp's: then counts are exact, and what it remembered is told."
        self.window: int | None = None
        "Tokens of prompt and answer together, where it tells."
        self.slots: int | None = None
        "The calls that it answers at once, where it tells."
        self.merges = False
        "Whether the system's text goes into the first user turn, as the template takes no other."
        self.streams = len(STREAMED) - 1
        "Which of STREAMED it takes: what is closed in the midst of a stream is soon ended there."
        self._line = Connection(self.url, key_for(self.url, key) or "no-key", backoff, patience)
        self._meet(name, seconds)

    def complete(
        self,
        messages: Sequence[Message],
        limits: Limits,
        *,
        schema: Mapping[str, Any] | None = None,
        stop: Sequence[str] = (),
        call: Call = NOTHING,
    ) -> Completion:
        """Return what the model answers; `ModelError` where it does not."""
        started = monotonic()
        options = self._options(limits, schema, stop)

        merges = self.merges
        while True:
            seconds = limits.seconds - (monotonic() - started)
            asked = {**options, **self._streamed(), "messages": _sent(messages, merges)}
            try:
                body = self._line.chat(asked, limits._replace(seconds=seconds))
                break
            except ModelError as error:
                if not merges and NO_SYSTEM.search(str(error)):
                    merges = True
                elif self.streams and error.kind == "refused" and NO_STREAM.search(str(error)):
                    self.streams -= 1
                else:
                    raise
        self.merges = merges
        answer = completion_of(body, self.url, monotonic() - started)
        return answer._replace(model="" if answer.model == name_of(self._name) else answer.model)

    def count(self, messages: Sequence[Message], limits: Limits) -> int | None:
        """The tokens of a prompt, as `complete` would send it; None where the server cannot say."""
        if not self.native:
            return None
        prompt = self.own("/apply-template", self.asked(messages, limits), limits.seconds)
        asked = {"content": prompt.get("prompt"), "add_special": True, "parse_special": True}
        tokens = self.own("/tokenize", asked, limits.seconds).get("tokens")
        return len(tokens) if isinstance(tokens, list) else None

    def asked(self, messages: Sequence[Message], limits: Limits) -> dict[str, Any]:
        """Return messages as `complete` sends them, with what the template is told."""
        sent = {"messages": _sent(messages, self.merges), "model": self._name}
        return sent | self._switch(limits)

    def own(
        self, path: str, asked: object, seconds: float, cancellation: Cancellation | None = None
    ) -> dict[str, Any]:
        """Ask for something that only llama-server has."""
        return self._line.post(f"{self.root}{path}", asked, seconds, cancellation)

    @property
    def identity(self) -> str:
        """All that an answer depends on beside what is asked: models may share a name."""
        parts = [self.id, self._which if self.native else self.url, dict(self.sampling)]
        return json.dumps(parts, sort_keys=True, default=str)

    @property
    def greedy(self) -> bool:
        """Whether the likeliest token is always taken."""
        return self.deterministic or self.sampling.get("temperature") == 0

    @property
    def root(self) -> str:
        """Where llama-server has what is its own, and `llama_server` asks."""
        return self.url.removesuffix("/v1")

    def _options(
        self, limits: Limits, schema: Mapping[str, Any] | None, stop: Sequence[str]
    ) -> dict[str, Any]:
        extra = self._switch(limits)
        if self.native:
            extra |= {"cache_prompt": True, "reasoning_budget_tokens": limits.thinking}
            slot = self.slot if limits.slot is None else limits.slot
            if slot is not None:
                extra["id_slot"] = slot
        extra |= self.sampling
        if self.deterministic:
            extra |= {"temperature": 0} | ({"cache_prompt": False} if self.native else {})
        options: dict[str, Any] = {"model": self._name, "max_tokens": limits.max_tokens}
        if stop:
            options["stop"] = list(stop)
        if schema is not None:
            form = {"name": "answer", "schema": dict(schema), "strict": True}
            options["response_format"] = {"type": "json_schema", "json_schema": form}
        return options | extra

    def _streamed(self) -> dict[str, Any]:
        """Return what asks for the answer as it comes, with what has been read and said by then."""
        native = {"timings_per_token": True, "return_progress": True}
        return STREAMED[self.streams] | (native if self.native and self.streams else {})

    def _switch(self, limits: Limits) -> dict[str, Any]:
        """Return what tells a template whether the model may think."""
        if not self._switched:
            return {}
        return {"chat_template_kwargs": {"enable_thinking": limits.thinking > 0}}

    def _meet(self, name: str, seconds: float) -> None:
        """Ask who answers."""
        owner, first = "", dict[str, Any]()
        try:
            listed = self._line.get(f"{self.url}/models", seconds).get("data")
            first = listed[0] if isinstance(listed, list) and listed else {}
            name, owner = name or str(first["id"]), str(first.get("owned_by", ""))
        except (ModelError, LookupError, AttributeError, TypeError) as error:
            down = isinstance(error, ModelError) and error.kind in ("unavailable", "timeout")
            if down or not name:
                raise _unnamed(self.url, error) from None
        self._which: list[object] = [first.get("meta") if isinstance(first, dict) else None]
        self._name = name.encode(errors="replace").decode()
        self.id = name_of(_short(self._name)) + (", deterministic" if self.deterministic else "")
        self._look(seconds)
        self._switched = self.native or owner in SWITCHED

    def _look(self, seconds: float) -> None:
        """Ask what only llama-server tells."""
        try:
            props = self._line.get(f"{self.root}/props", min(seconds, LOOK))
        except ModelError:
            props = {}
        self.native = "build_info" in props and "chat_template" in props
        if not self.native:
            log.warning(
                "%s is not llama.cpp's server: token counts are a bound, and what it remembers of"
                " a prompt may not be seen", self.url,
            )  # fmt: skip
            return
        settings = props.get("default_generation_settings")
        window = settings.get("n_ctx") if isinstance(settings, dict) else None
        self.window = window if isinstance(window, int) else None
        self._which.append(props.get("model_path"))
        slots = props.get("total_slots")
        self.slots = slots if isinstance(slots, int) and slots > 0 else None
        self.merges = not self._takes_system(props, seconds)

    def _takes_system(self, props: Mapping[str, Any], seconds: float) -> bool:
        """Tell whether the template shows the system's text before the first user's."""
        caps = props.get("chat_template_caps")
        if isinstance(caps, dict) and caps.get("supports_system_role") is False:
            return False  # llama-server would join the two by one line end, we by two
        asked = {"messages": [message._asdict() for message in PROBE], "model": self._name}
        try:
            prompt = str(self._line.post(f"{self.root}/apply-template", asked, seconds)["prompt"])
        except (ModelError, KeyError):
            return False
        places = [prompt.find(message.content) for message in PROBE]
        return min(places) >= 0 and places == sorted(places)


def _sent(messages: Sequence[Message], merges: bool) -> list[dict[str, str]]:
    sent = merged(messages) if merges else messages
    # A file name can hold half a character, which JSON cannot.
    return [
        {"role": role, "content": text.encode(errors="replace").decode()} for role, text in sent
    ]


def _address(url: str) -> str:
    """Return the URL under which `/chat/completions` lies; `InputError` where it can be none."""
    return address_of(url, "/v1").removesuffix("/v1") + "/v1"


def _short(name: str) -> str:
    """Return a model's name without the folder of its file."""
    return name.rpartition("/")[2] if name.endswith(".gguf") else name


def _unnamed(url: str, error: Exception) -> ModelError:
    if isinstance(error, ModelError):
        return error
    return ModelError(f"{url}/models: needed the name of a model, found none", "garbled")
