"""Workers that read logs by a model that lies beside them."""

import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.clusters import Cluster, cluster
from tests.models import tiny

LOGS = Path(__file__).parents[1] / "fixtures" / "logs"


def reading_folder(folder: Path, names: Iterable[str]) -> Path:
    """Copy logs by these names into `folder`, and the model that reads them, as `model.gguf`."""
    for name in names:
        shutil.copy(LOGS / f"{name}.jsonl", folder)
    shutil.copy(tiny("mistral"), folder / "model.gguf")
    return folder


@contextmanager
def reading_cluster(home: Path, folder: Path) -> Iterator[Cluster]:
    """Start a good worker, and one with the same logs and another model of the same name."""
    other = home / "other"
    shutil.copytree(folder, other)
    shutil.copy(tiny("qwen3"), other / "model.gguf")
    with cluster(home / "dask", BACKCAST_THREADS="1") as started:
        started.start("good", folder)
        started.start("other model", other)
        started.wait(2)
        yield started
