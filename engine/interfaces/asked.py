"""The models that an option of a command names, where no run is gone on with."""

from pathlib import Path

from backcast.domain.errors import InputError
from backcast.engine.models import Model
from backcast.engine.models.address import shown
from backcast.engine.models.recording import Recording
from backcast.engine.workflow.runtime import open_runtime

KINDS = "recording:FILE, llama:FILE or http://HOST:PORT/v1"


def model_asked(option: str, text: str, profile: str | None = None) -> Model:
    """The recorded answers of a model, llama.cpp in this process, or a server; `InputError` for
    any other name. `profile` is for servers that do not tell how they count."""
    kind, _, name = text.partition(":")
    if kind == "recording" and name:
        return Recording(Path(name))
    if kind.lower() in ("llama", "http", "https") and name:
        return open_runtime(text, profile=profile).model
    raise InputError(f"needed {option} {KINDS}, found {shown(text)!r}")
