"""The model that an option names, for commands that do not go on with a run."""

from backcast.domain.errors import InputError
from backcast.engine.models import Model
from backcast.engine.models.address import shown
from backcast.engine.workflow.runtime import Runtime, open_runtime

KINDS = "answers:FILE, llama:FILE or http://HOST:PORT/v1"


def model_asked(option: str, text: str, profile: str | None = None) -> Model:
    """Return recorded answers, llama.cpp in this process, or a server; `InputError` for any other
    name. `profile` is for servers that do not tell how they count."""
    return runtime_asked(option, text, profile).model


def runtime_asked(option: str, text: str, profile: str | None = None) -> Runtime:
    """Return the model that an option names, with its profile; `InputError` as in
    `model_asked`."""
    kind, _, name = text.partition(":")
    if kind.lower() in ("answers", "llama", "http", "https") and name:
        return open_runtime(text, profile=profile)
    raise InputError(f"needed {option} {KINDS}, found {shown(text)!r}")
