"""Import of a git history: time and size, beside git reading and holding the same objects.

The control of the time is `git cat-file --batch` of the same objects in the same order, with its
output thrown away; that of the size is the sum of `objectsize:disk` of those objects.
"""

import subprocess
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from backcast.engine.log.importers import Report, git, import_batches
from backcast.engine.memory.import_log import keep_all_states
from scripts.benches.figures import Bench, Bound, Figure, ratios, seconds
from scripts.benches.workload import checkpoint, open_store

ROUNDS = 3


def measure(bench: Bench) -> list[Figure]:
    """Return the rows of the table, for each repository."""
    return [figure for repository in bench.repositories for figure in _figures(bench, repository)]


def _figures(bench: Bench, repository: Path) -> list[Figure]:
    bench.say(f"import of {repository}")
    commits, objects = git.count(repository), _objects(repository)
    path = bench.folder / "git.db"
    reading, importing = list[float](), list[float]()
    for _ in range(2 * ROUNDS - 1 if bench.full else ROUNDS):
        reading.append(seconds(lambda: _cat(repository, "--batch", objects)))
        importing.append(_import(repository, path))
    group = f"git import of {'/'.join(repository.resolve().parts[-2:])}, durable"
    middle = median(importing)
    time = Figure(
        group,
        "time",
        ratios(importing, reading),
        ours=f"{middle:.2f} s, {commits / middle:,.0f} commits/s",
        control=f"git cat-file --batch {median(reading):.3f} s, {len(objects):,} objects",
        aim=Bound("<=", 15),
    )
    return [time, _size(path, group, repository, objects)]


def _import(repository: Path, path: Path) -> float:
    """Return the seconds to import a history into a new store and to keep states of it."""
    for old in path.parent.glob(f"{path.name}*"):
        old.unlink()
    report = Report()

    def work() -> None:
        batches = git.read(repository, git.task_of(repository), store, report)
        import_batches(store, "git", batches, report)
        keep_all_states(store, report)

    with open_store(path, "full") as store:
        return seconds(work)


def _size(path: Path, group: str, repository: Path, objects: Sequence[str]) -> Figure:
    """Compare the store's size with that of the same blobs in git's packs."""
    stored = checkpoint(path)
    option = "--batch-check=%(objectsize:disk) %(objectsize)"
    lines = _cat(repository, option, objects).splitlines()
    sizes = [tuple(map(int, line.split())) for line in lines if not line.endswith(b"missing")]
    packed, plain = (sum(column) for column in zip(*sizes, strict=True))
    return Figure(
        group,
        "size, kept states included",
        [stored / packed],
        ours=f"{stored / 1e6:.2f} MB",
        control=f"the blobs in git's packs {packed / 1e6:.2f} MB (unpacked {plain / 1e6:.1f} MB)",
        aim=Bound("<=", 5),
    )


def _objects(repository: Path) -> list[str]:
    """Return the ids of the files along the history of first parents, each once, in order."""
    log = (
        "log",
        "--first-parent",
        "--diff-merges=first-parent",
        "--reverse",
        "--root",
        "--raw",
        "--no-abbrev",
    )
    raw = _git(repository, *log, "--no-renames", "--format=").splitlines()
    changes = [line.split(" ", 5) for line in raw]
    return list(
        dict.fromkeys(line[3] for line in changes if line[1] not in ("000000", git.SUBMODULE))
    )


def _cat(repository: Path, option: str, objects: Sequence[str]) -> bytes:
    """Return the output of `git cat-file` for objects; with `--batch` it is thrown away."""
    command = ["git", "-C", str(repository), "cat-file", option]
    asked = "".join(f"{oid}\n" for oid in objects).encode()
    out = subprocess.DEVNULL if option == "--batch" else subprocess.PIPE
    return subprocess.run(command, input=asked, stdout=out, check=True).stdout or b""


def _git(repository: Path, *arguments: str) -> str:
    command = ["git", "-C", str(repository), *arguments]
    done = subprocess.run(command, capture_output=True, check=True)
    return done.stdout.decode(errors="replace")
