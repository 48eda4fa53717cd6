"""`backcast export`: write a task's log, or its modules at length, to a file."""

import os
import shutil
import stat
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click

from backcast.domain.errors import InputError
from backcast.domain.json_text import json_text
from backcast.engine.history.address import Address
from backcast.engine.interfaces.addresses import Place, address_argument, task_at
from backcast.engine.interfaces.options import json_option, store_option
from backcast.engine.interfaces.terminal import hand_on, say

if TYPE_CHECKING:
    from backcast.domain.events import WorkflowEvent
    from backcast.engine.log.redaction import Redaction
    from backcast.engine.log.redaction.patterns import Patterns
    from backcast.engine.log.store import EventStore

LONG_FORM = ".txt"
"How the name of a file ends in which a repository is told, and not its log."
LEVEL = 9
"Of zstd's compression."
SHOWN = 5
"Missing bodies that are named."
_DATABASE = b"SQLite format 3\0"
"The first bytes of a store."
_PARTS_OF_DATABASE = ("-wal", "-shm", "-journal")
"How the names of files beside a store end."


@click.command(name="export")
@address_argument(metavar="TASK[@WHEN]")
@store_option
@click.option("--redact", is_flag=True, help="Mask secrets, and names in the paths of homes.")
@click.option("--pattern", "patterns", multiple=True, metavar="REGEX", help="Mask that too.")
@click.option(
    "--patterns", "pattern_file", type=click.Path(path_type=Path), metavar="FILE",
    help="Mask these too: one a line, # begins a comment line.",
)  # fmt: skip
@click.option(
    "--format", "form", type=click.Choice(["events", "atif", "otlp"]), default="events",
    show_default=True,
    help="How the log is written: as events, as a trajectory of an agent (ATIF), or as spans.",
)  # fmt: skip
@click.option("--content", is_flag=True, help="With otlp: also what was said, and tools returned.")
@json_option
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
def command(
    address: Address, url: str, redact: bool, patterns: tuple[str, ...],
    pattern_file: Path | None, form: str, content: bool, as_json: bool, file: Path,
) -> None:  # fmt: skip
    """Write a task's log as JSON lines, to FILE or stdout (-).

    To a FILE that ends in .txt, write what is in the task's modules instead, as of a moment, for
    people and other tools: purpose, key concepts with the code that they stand for, folders and
    what they import, examples as they stand in the README and the tests, how the code is written,
    libraries, modules, in the form of llms.txt.

    \b
    backcast export till run.jsonl
    backcast import events run.jsonl --store other.db
    backcast export till --redact --pattern 'ACME-[0-9]{6}' run.jsonl.zst
    backcast export httpx@2026-11-20T10:31 llms.txt

    What ends in .zst is compressed. With --redact keys, passwords and tokens that show as such are
    masked, equal ones by equal masks (MASKED_aws_key_1), and /home/ann becomes /home/user; stderr
    tells how many. E-mail addresses and names elsewhere stay, and so does what nothing shows to be
    a secret: look at the file before you give it away, or name what else is one by --pattern.

    With --format atif the run becomes one JSON trajectory (ATIF-v1.7) of messages, replies, calls,
    results and tokens, with those of its subagents; stderr tells what it has no place for. With
    --format otlp it becomes spans of OpenTelemetry (GenAI: invoke_agent, chat, execute_tool), JSON
    lines as an exporter writes them; what was said stands in them with --content alone.

    The exit code is 1 where an event is damaged, or a body missing: the rest is written.
    """
    from backcast.engine.log.rows import DamageReporter

    if not redact and (patterns or pattern_file or as_json):
        raise click.UsageError("--pattern, --patterns and --json go with --redact")
    long_form = file.suffix == LONG_FORM
    if form != "events" and (redact or long_form):
        raise click.UsageError(f"--format {form} goes without --redact and FILE.txt")
    if content and form != "otlp":
        raise click.UsageError("--content goes with --format otlp: other forms hold what was said")
    if not long_form and address.when:
        raise click.UsageError(
            f"{str(address)!r}: a moment goes with FILE{LONG_FORM}: a log is whole"
        )
    found = patterns_named(patterns, pattern_file) if redact else None
    lacks = _MissingBodies()
    with task_at(address, url) as place:
        store, task = place.store, place.task
        store.report = reporter = DamageReporter(store.report)
        if long_form:
            redaction = _write_long_form(file, place, found)
            if redaction is not None:
                _print(redaction, as_json)
        elif form == "atif":
            _write_trajectory(file, store, task)
        elif form == "otlp":
            _write_spans(file, store, task, content=content)
        elif found is None:
            from backcast.engine.log.importers.events import export_lines

            write(file, export_lines(store, task, lacks))
        else:
            _print(_write_redacted(file, store, task, found, lacks), as_json)
    lacks.report()
    raise SystemExit(1 if reporter.reported or lacks.found else 0)


class _MissingBodies:
    """A collector of the bodies that a log points at and its store lacks."""

    def __init__(self) -> None:
        self.found: dict[str, str] = {}
        "By the body's name: what is wrong, in the words of `fsck`."

    def __call__(self, event: "WorkflowEvent", ref: str) -> None:
        where = f"event {event.position} (task {event.task_id!r})"
        self.found.setdefault(ref, f"{where}: points at {ref[:17]}…, which is missing")

    def report(self) -> None:
        """Name the first ones, and how many there are."""
        from backcast.engine.interfaces.terminal import message

        for line in list(self.found.values())[:SHOWN]:
            message(line)
        if self.found:
            count = f"{len(self.found):,} bod{'ies' if len(self.found) > 1 else 'y'}"
            message(f"the log is written without {count} that the store lacks")


def _write_trajectory(file: Path, store: "EventStore", task: str) -> None:
    from backcast.engine.log.importers.atif_export import exported

    found = exported(store, task)
    write(file, found.text.splitlines())
    _note_left_out("a trajectory", found.left_out)


def _write_spans(file: Path, store: "EventStore", task: str, *, content: bool) -> None:
    from backcast.engine.replay.otlp_export import exported_spans

    left_out = Counter[str]()
    write(file, exported_spans(store, task, content=content, left_out=left_out))
    _note_left_out("a span", left_out)


def _note_left_out(form: str, kinds: "Counter[str]") -> None:
    from backcast.engine.interfaces.terminal import message

    counts = ", ".join(f"{count:,} {kind}" for kind, count in sorted(kinds.items()) if count)
    if counts:
        message(f"note: {form} has no place for {counts}: they are left out")


def _write_redacted(
    file: Path, store: "EventStore", task: str, patterns: "Patterns", lacks: _MissingBodies
) -> "Redaction":
    from backcast.engine.interfaces.terminal import progress_bar
    from backcast.engine.log.importers.events import line_for, parts
    from backcast.engine.log.redaction import Redaction, redacted
    from backcast.engine.log.redaction.masks import Masks

    redaction, last = Redaction(Masks(patterns)), store.version(task)
    with progress_bar("redacting", None) as advance:
        masked = redacted(lambda: parts(store, task, last, lacks), redaction, advance)
        write(file, map(line_for, masked), shared=True)
    return redaction


def _write_long_form(file: Path, place: Place, patterns: "Patterns | None") -> "Redaction | None":
    """Write what is in the modules of a task; what its log shows to be secret is masked in it."""
    from backcast.engine.history.snapshots import state_at
    from backcast.engine.interfaces.outlining import need_outlines
    from backcast.engine.interfaces.terminal import progress_bar
    from backcast.engine.log.importers.events import parts
    from backcast.engine.log.redaction import Redaction
    from backcast.engine.log.redaction.masks import Masks
    from backcast.engine.memory.mapping.cartographer import long_form
    from backcast.projections import dependency_graph

    store, task, at = place.store, place.task, place.outlined()
    need_outlines(store, task, at)
    state = state_at(store, dependency_graph, task, at)
    if patterns is None:
        write(file, long_form(task, state, read=store.get).splitlines())
        return None
    redaction = Redaction(Masks(patterns))
    with progress_bar("redacting", None) as advance:
        for part in parts(store, task, store.version(task)):
            redaction.learn(part)
            advance(1)
    write(file, long_form(task, state, redaction.masked_text, store.get).splitlines(),
          shared=True)  # fmt: skip
    return redaction


def patterns_named(texts: tuple[str, ...], file: Path | None) -> "Patterns":
    """Return the patterns of --pattern and of the file of --patterns; they must be usable."""
    from backcast.engine.log.redaction.patterns import PatternError, Patterns, patterns_in

    named = [(f"--pattern {number}", pattern) for number, pattern in enumerate(texts, 1)]
    try:
        if file is not None:
            named += patterns_in(file.read_text(encoding="utf-8").splitlines(), str(file))
        return Patterns(named)
    except PatternError as error:
        raise click.UsageError(str(error)) from None
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8"
        raise click.UsageError(f"{file}: needed a file of patterns, found: {reason}") from None


def _print(redaction: "Redaction", as_json: bool) -> None:
    """Say what was masked, and never what it was."""
    counts = dict(sorted(redaction.masks.counts.items()))
    if as_json:
        result = {"masked": counts, "texts": redaction.texts, "kept": redaction.kept}
        say(json_text(result), err=True)
        return
    masked = ", ".join(f"{count} {kind}" for kind, count in counts.items())
    say(f"masked {masked or 'nothing'} in {redaction.texts} texts", err=True)
    if redaction.kept:
        say(f"kept {redaction.kept} bodies that are no text as they are", err=True)


def write(path: Path, lines: Iterable[str], *, shared: bool = False) -> None:
    """Write lines to a file, compressed where it ends in .zst, or to stdout (-).

    The file is there when all of it is written, and not before; what stood there stays till then.
    A new file is its owner's alone, as prompts are, unless it is `shared`: made for others.
    Raises `InputError` where it cannot be written, and where a database would be lost.
    """
    if str(path) == "-":
        if not sys.stdout:  # closed: click would write to nowhere
            raise InputError("-: cannot be written: the output is closed")
        for line in lines:
            hand_on(line)
        return
    try:
        with _replacing(path, shared) as out:
            if path.suffix != ".zst":
                out.writelines(f"{line}\n".encode() for line in lines)
                return
            import zstandard

            compressor = zstandard.ZstdCompressor(level=LEVEL, write_checksum=True)
            with compressor.stream_writer(out, closefd=False) as packed:
                for line in lines:
                    packed.write(f"{line}\n".encode())
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror or error}") from None


@contextmanager
def _replacing(path: Path, shared: bool) -> Iterator[BinaryIO]:
    """Open a file beside another, which it takes the place of at the end."""
    path = path.resolve()
    if path.exists() and not stat.S_ISREG(path.stat().st_mode):
        with path.open("wb") as out:  # a pipe, or a device: nothing to replace
            yield out
        return
    if _is_database(path):
        raise InputError(
            f"{path}: needed a file for a log, found a database, which would be lost: name another"
        )
    beside = path.with_name(f".{path.name[:200]}.{os.getpid()}.part")
    try:
        private = partial(os.open, mode=0o666 if shared else 0o600)
        with open(beside, "xb", opener=private) as out:
            yield out
            out.flush()
            os.fsync(out.fileno())
        if path.exists():
            shutil.copymode(path, beside)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def _is_database(path: Path) -> bool:
    """Return whether a file is a store, or a part of one."""
    for end in _PARTS_OF_DATABASE:
        if path.name.endswith(end) and path.exists():
            return _is_database(path.with_name(path.name.removesuffix(end)))
    if not path.exists():
        return False
    with path.open("rb") as held:
        return held.read(len(_DATABASE)) == _DATABASE
