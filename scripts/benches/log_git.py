"""Import of a git history: time and size, beside git reading and holding the same objects.

The control of the time is `git cat-file --batch` of the same objects in the same order, its output
thrown away; that of the size is what those objects take in the repository (`objectsize:disk`).
"""

import shutil
import subprocess
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import NamedTuple

from backcast.engine.log.importers import Report, git, import_batches
from backcast.engine.memory.import_log import keep_all_states
from scripts.benches.figures import Bench, Bound, Figure, ratios, seconds
from scripts.benches.log_storage import by_table
from scripts.benches.workload import checkpoint, open_store

ROUNDS = 3


class History(NamedTuple):
    """A repository as it is imported: all of it, or its first commits."""

    repository: Path
    name: str
    commits: int
    objects: list[str]
    "The ids of the files that it brought, each once, in order."


def measure(bench: Bench) -> list[Figure]:
    """The rows of the table, for each repository."""
    return [figure for repository in bench.repositories for figure in _figures(bench, repository)]


def _figures(bench: Bench, repository: Path) -> list[Figure]:
    bench.say(f"import of {repository}")
    whole = History(repository, "all", git.count(repository), _objects(repository))
    group = f"git import of {_short(repository)}, durable"
    parts = [_part(bench, whole, share) for share in (4, 2)] if whole.commits >= 40 else []
    histories = [whole, *parts]
    reading: dict[str, list[float]] = {history.name: [] for history in histories}
    importing: dict[str, list[float]] = {history.name: [] for history in histories}
    for _ in range(2 * ROUNDS - 1 if bench.full else ROUNDS):
        for history in histories:
            cat = partial(_cat, history.repository, "--batch", history.objects)
            reading[history.name].append(seconds(cat))
            path = bench.folder / f"git-{history.name}.db"
            importing[history.name].append(_import(history.repository, path))
    aims = {"all": Bound("<=", 15)}
    figures = [
        Figure(
            group,
            f"time, {history.name}",
            ratios(importing[history.name], reading[history.name]),
            ours=_rates(importing[history.name], history),
            control=_control(reading[history.name], history),
            aim=aims.get(history.name),
        )
        for history in histories
    ]
    return [*figures, _size(bench.folder / "git-all.db", group, whole)]


def _rates(taken: Sequence[float], history: History) -> str:
    each = median(taken)
    return f"{each:.2f} s, {history.commits / each:,.0f} commits/s"


def _control(taken: Sequence[float], history: History) -> str:
    return f"git cat-file --batch {median(taken):.3f} s, {len(history.objects):,} objects"


def _short(repository: Path) -> str:
    """The end of a path, enough to tell repositories apart."""
    return "/".join(repository.resolve().parts[-2:])


def _part(bench: Bench, whole: History, share: int) -> History:
    """The first commits of a history, as a repository of its own that borrows the objects."""
    commits = _git(whole.repository, "rev-list", "--first-parent", "--reverse", "HEAD").split()
    commits = commits[: len(commits) // share]
    path = bench.folder / f"part-{share}"
    shutil.rmtree(path, ignore_errors=True)
    _git(whole.repository, "clone", "-q", "--bare", "--shared", "--no-tags", ".", str(path))
    _git(path, "update-ref", "--no-deref", "HEAD", commits[-1])
    name = {4: "the first quarter", 2: "the first half"}[share]
    return History(path, name, len(commits), _objects(path))


def _import(repository: Path, path: Path) -> float:
    """Seconds to import a history into a new store, and to keep states of it as an import does."""
    for old in path.parent.glob(f"{path.name}*"):
        old.unlink()
    report = Report()

    def work() -> None:
        batches = git.read(repository, git.task_of(repository), store, report)
        import_batches(store, "git", batches, report)
        keep_all_states(store, report)

    with open_store(path, "full") as store:
        return seconds(work)


def _size(path: Path, group: str, history: History) -> Figure:
    """The store beside what git packs the same blobs into."""
    stored = checkpoint(path)
    option = "--batch-check=%(objectsize:disk) %(objectsize)"
    lines = _cat(history.repository, option, history.objects).splitlines()
    sizes = [tuple(map(int, line.split())) for line in lines if not line.endswith(b"missing")]
    packed, plain = (sum(column) for column in zip(*sizes, strict=True))
    tables = ", ".join(f"{table} {size / 1e6:.2f}" for table, size in by_table(path).items())
    return Figure(
        group,
        "size, kept states included",
        [stored / packed],
        ours=f"{stored / 1e6:.2f} MB: {tables or 'by table unknown, SQLite lacks dbstat'}",
        control=f"the blobs in git's packs {packed / 1e6:.2f} MB (unpacked {plain / 1e6:.1f} MB)",
        aim=Bound("<=", 5),
    )


def _objects(repository: Path) -> list[str]:
    """The ids of the files that the history along first parents brought, each once, in order."""
    log = (
        "log",
        "--first-parent",
        "-m",
        "--reverse",
        "--root",
        "--raw",
        "--no-abbrev",
        "--no-renames",
    )
    lines = [line.split(" ", 5) for line in _git(repository, *log, "--format=").splitlines()]
    return list(
        dict.fromkeys(line[3] for line in lines if line[1] not in ("000000", git.SUBMODULE))
    )


def _cat(repository: Path, option: str, objects: Sequence[str]) -> bytes:
    """What `git cat-file` says of objects; with `--batch` nothing, it is thrown away."""
    command = ["git", "-C", str(repository), "cat-file", option]
    asked = "".join(f"{oid}\n" for oid in objects).encode()
    out = subprocess.DEVNULL if option == "--batch" else subprocess.PIPE
    return subprocess.run(command, input=asked, stdout=out, check=True).stdout or b""


def _git(repository: Path, *arguments: str) -> str:
    command = ["git", "-C", str(repository), *arguments]
    done = subprocess.run(command, capture_output=True, check=True)
    return done.stdout.decode(errors="replace")
