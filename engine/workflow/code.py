"""The code that a task has come to, as files in a folder."""

from pathlib import Path

from backcast.domain.errors import InputError
from backcast.engine.history.snapshots import state_at
from backcast.engine.log.blobs import ref_of
from backcast.engine.log.store import EventStore
from backcast.engine.workflow.sandbox.run import safe_path
from backcast.projections import dependency_graph


def write_code(store: EventStore, task_id: str, folder: Path) -> list[Path]:
    """Write the latest text of every module and test; gives the files.

    Nothing is written outside the folder: names come from models. A file that is none of the
    store's texts is somebody's own, and is not written over.
    """
    state = state_at(store, dependency_graph, task_id)
    written = []
    for path in sorted(state.modules):
        source = state.modules[path].source
        if not source:
            continue
        file = folder / safe_path(path)
        if not file.parent.resolve().is_relative_to(folder.resolve()):
            raise InputError(f"{file}: needed a place inside {folder}, found a link out of it")
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            if file.is_symlink():
                file.unlink()
            elif file.exists() and not store.holds(ref_of(file.read_bytes())):
                raise InputError(
                    f"{file}: needed a free place, found a file that no run has made; name another"
                    f" folder: 'backcast resume {task_id} --out FOLDER'"
                )
            file.write_bytes(store.get(source))
        except OSError as error:
            raise InputError(f"{file}: cannot be written: {error.strerror}") from None
        written.append(file)
    return written
