"""Open the model that reads: here, or where a piece of work came with its name and its digests."""

import os
from pathlib import Path
from typing import NamedTuple

from backcast.domain.errors import BackcastError, InputError, ModelError
from backcast.engine.models.address import shown
from backcast.engine.models.copying import COPY, CopyReader
from backcast.engine.models.likelihood import LikelihoodReader
from backcast.engine.models.places import model_file
from backcast.engine.models.reading import OutcomeReader
from backcast.engine.models.server_likelihood import ServerReader
from backcast.engine.replay.score import profile_of, reading_profile


class OtherModelError(Exception):
    """A model that cannot be opened here, or is not the one that was meant."""


class SentReader(NamedTuple):
    """A model that reads, as it is named to a worker."""

    address: str
    "Its file by its absolute path, as `llama:FILE`, or the URL of its server."
    model: str
    template: str
    reader: str
    context_tokens: int | None
    threads: int | None


def reader_of(
    model: str, context_tokens: int | None = None, threads: int | None = None
) -> OutcomeReader:
    """Load the model that reads, or meet its server; `InputError` where that cannot be.

    `copy` is a reader without weights.
    """
    if model == COPY:
        return CopyReader()
    if model.strip().partition(":")[0].lower() in ("http", "https"):
        try:
            server = ServerReader(model)
        except ModelError as error:
            raise InputError(str(error)) from None
        profile_of(server, context_tokens)  # or it says why not
        return server
    path = _file_of(model)
    return LikelihoodReader(path, reading_profile(path, context_tokens).window, threads=threads)


def _file_of(name: str) -> Path:
    """Return the file of a model that reads; `InputError` where it is none."""
    kind, _, place = name.partition(":")
    if kind != "llama" or not place:
        raise InputError(f"needed llama:FILE, http://HOST:PORT/v1 or copy, found {shown(name)!r}")
    return model_file(place)


def sent(reader: OutcomeReader, context_tokens: int | None, threads: int | None) -> SentReader:
    """Return an open model as it is named to workers."""
    place = reader.place
    is_named = "://" in place or place == COPY
    address = place if is_named else f"llama:{os.path.abspath(place)}"
    known = reader.model, reader.template, reader.reader
    return SentReader(address, *known, context_tokens, threads)


class KeptReader:
    """The model that a worker has open, for the pieces that follow."""

    def __init__(self) -> None:
        self._open: tuple[SentReader, OutcomeReader] | None = None

    def take(self, needed: SentReader) -> OutcomeReader:
        """Return the model that is needed; `OtherModelError` where it is another one."""
        if self._open is None or self._open[0] != needed:
            self._open = None
            name = shown(needed.address)
            try:
                reader = reader_of(needed.address, needed.context_tokens, needed.threads)
            except (BackcastError, OSError) as error:
                raise OtherModelError(
                    f"needed the model {needed.model} at {name}, found none: {error}"
                ) from None
            found = sent(reader, needed.context_tokens, needed.threads)
            pairs = zip(found[1:4], needed[1:4], strict=True)
            if odd := next((pair for pair in pairs if pair[0] != pair[1]), None):
                raise OtherModelError(f"needed {odd[1]} at {name}, found {odd[0]}")
            self._open = needed, reader
        return self._open[1]


KEPT = KeptReader()
"The model of this process, which reads for one piece of work after another."
