"""Addresses as arguments of commands: parsed, completed by the shell, and opened."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click
from click.shell_completion import CompletionItem

from backcast.domain.errors import BackcastError, InputError, MomentError, UnavailableError
from backcast.engine.history.address import FORMS, Address, looks_dated, parse
from backcast.engine.interfaces.log_findings import LogFindings
from backcast.engine.interfaces.many_logs import LogTimes, shown_progress
from backcast.engine.interfaces.options import DEFAULT_STORE, opened
from backcast.engine.interfaces.terminal import message
from backcast.engine.log.remote import is_remote, shown

if TYPE_CHECKING:
    from backcast.domain.moment import Moment
    from backcast.engine.log.open_logs import Log
    from backcast.engine.log.places import LogPlaces
    from backcast.engine.log.store import EventStore

TASK_WHEN, ANY = "TASK[@WHEN]", "[FILE.jsonl#]TASK[@WHEN]"
LOGS = "LOG|TASK"
"How commands over many logs name them: see `backcast help scale`."
UNREADABLE = 2
"The exit code where a log cannot be read at all."
NAMED, COMPLETED = 5, 40
"Tasks that an error names, and moments that a shell is offered."


class AddressType(click.ParamType[Address]):
    """`TASK[@WHEN]`, with the tasks and moments of the store as completions."""

    name = "address"

    def convert(self, value: Any, param: Any, ctx: Any) -> Address:
        """Return the address that was typed; `InputError` where it is none."""
        return value if isinstance(value, Address) else parse(value)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Return the tasks, or behind an @ the moments, that begin as what is typed."""
        try:
            with opened(ctx.params.get("url") or DEFAULT_STORE) as store:
                return [CompletionItem(text) for text in _completions(store, incomplete)]
        except BackcastError:
            return []


def address_argument(
    name: str = "address", *, required: bool = True, metavar: str = ANY, several: bool = False
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add an address to a command; `several` for any number of them."""
    return click.argument(
        name, type=AddressType(), required=required and not several, nargs=-1 if several else 1,
        metavar=f"[{metavar}]..." if several else metavar if required else f"[{metavar}]",
    )  # fmt: skip


class Place(NamedTuple):
    """A task of an open store, and a moment of it."""

    store: "EventStore"
    task: str
    when: str
    "The moment as it was typed."
    log: str = ""
    "The name of the log, where it is not the store of the command."

    @property
    def moment(self) -> "Moment":
        """The moment; `MomentError` where there is none such."""
        from backcast.engine.history.moments import moment_at

        return moment_at(self.store, self.task, self.when)

    def outlined(self) -> "Moment":
        """Outline every text of the task, and return the moment."""
        from backcast.engine.interfaces.outlining import outline_all

        moment = self.moment
        outline_all(self.store, self.task)
        return moment


@contextmanager
def task_at(address: Address, url: str) -> Iterator[Place]:
    """Open the one task that an address names. `InputError` where it names none, or several."""
    from backcast.engine.history.collecting import rarely_collecting

    if address.log:
        with rarely_collecting(), log_at(address, url) as log:
            for problem in log.problems:
                message(f"skipped {problem}")
            yield Place(log.store, only_task(log), address.when, address.log)
        return
    if address.task is None:
        raise InputError(f"needed {TASK_WHEN}, found {str(address)!r}: 'backcast tasks' lists them")
    with ExitStack() as stack:
        with _as_file(address):
            store = stack.enter_context(opened(url))
        require(store, address)
        stack.enter_context(rarely_collecting())
        yield Place(store, address.task, address.when)


@contextmanager
def log_at(address: Address, url: str, *, whole: bool = False) -> "Iterator[Log]":
    """Open the log that an address names, or the store of the command."""
    from backcast.engine.log.open_logs import opened as opened_log

    with ExitStack() as stack:
        with _as_file(address):
            name = address.log or url
            log = stack.enter_context(opened_log(name, address.task, whole=whole))
        yield log


def require(store: "EventStore", address: Address) -> None:
    """Refuse a task that the store does not hold, and say what may have been meant."""
    name = address.task or ""
    task, _, tail = name.rpartition("@")
    # A bare @ at the end of the address made a whole name of what looks dated.
    if not looks_dated(name) and task and store.version(task) and not store.version(name):
        from backcast.engine.history.moments import commit_meant

        meant = commit_meant(store, task, tail)
        raise MomentError(f"needed {FORMS} behind {task}@, found {tail!r}{meant}")
    with _as_file(address):
        store.require(address.task or "")


@contextmanager
def _as_file(address: Address) -> Iterator[None]:
    """Where what is named as a task cannot be had, and is a path, say how logs are named."""
    try:
        yield
    except (InputError, UnavailableError):
        from backcast.engine.log.recorder.addresses import is_database

        path = Path(address.task or "")
        if address.log or not address.task or not (path.is_file() or path.is_dir()):
            raise
        found = "a file" if path.is_file() else "a folder"
        if path.is_file() and is_database(str(path)):
            found = f"a store: name it by --store {path}, and its task beside it"
        raise InputError(
            f"{address.task}: needed a task, or a log whose name ends in .jsonl, found {found}"
        ) from None


def only_task(log: "Log") -> str:
    """Return the task of a log that holds one; `InputError` where it holds several."""
    if len(log.tasks) == 1:
        return log.tasks[0]
    raise InputError(
        f"{shown(log.name)} holds {len(log.tasks)} tasks: needed {shown(log.name)}#TASK, one of"
        f" {', '.join(log.tasks[:NAMED])}{', ...' if log.tasks[NAMED:] else ''}"
    )


def each_log(
    addresses: Sequence[Address], url: str, times: LogTimes | None = None,
    findings: LogFindings | None = None,
) -> "Iterator[Log | None]":  # fmt: skip
    """Open each log in turn; None for one that cannot be read, after the reason is told.

    Many logs show how far they have come. `times` learns what each took, and is then reported by
    the caller; else the slowest of many are named at the end. `findings` learns what is wrong with
    them.
    """
    refuse_moments(addresses)
    findings = findings or LogFindings()
    found, failed = logs_named(addresses, url, lost=findings.lose)
    yield from [None] * failed
    took = times or LogTimes()
    with shown_progress(len(found)) as step:
        for address in found:
            with took.taken(shown(str(address) or url)):
                try:
                    with log_at(address, url, whole=True) as log:
                        findings.add(log)
                        yield log
                except BackcastError as error:
                    findings.lose(str(address) or url, error)
                    yield None
            step(1)
    if times is None:
        took.report()


def refuse_moments(addresses: Sequence[Address]) -> None:
    """Raise `InputError` where an address names a moment of a log, and not the log."""
    for address in addresses:
        if address.when:
            name = shown(str(address))
            raise InputError(
                f"{name!r}: needed a task or a log, found a moment of one; for one prompt there are"
                " 'context', 'blame', 'influence' and 'diff ADDRESS --policy NAME'"
            )


def logs_named(
    addresses: Sequence[Address], url: str, *, again: bool = False,
    lost: Callable[[str, object], None] = lambda name, reason: message(reason),
) -> tuple[list[Address], int]:  # fmt: skip
    """Return the address of each log that some addresses name, and how many of them name none.

    A pattern or a folder stands for all logs that it holds; what is named twice comes once. Why
    an address names none is told by `lost`, unless it was `again`. Without an address the store of
    the command is meant.
    """
    found: dict[Address, None] = {}
    failed = 0
    for address in addresses or (Address(),):
        try:
            places = _places(address, url)
        except BackcastError as error:
            failed += 1
            if not again:
                lost(str(address) or url, error)
            continue
        if not again:
            note_others(_place_of(address), places.others, "logs")
        task = address.task if address.log else None
        found |= dict.fromkeys(Address(name, task, address.when) for name in places.names)
        if not places.names:
            found[address] = None
    return list(found), failed


def note_others(place: str, others: Sequence[str], what: str) -> None:
    """Note the files of a place that were left out, since their names are not those of logs."""
    if others:
        files = "1 file" if len(others) == 1 else f"{len(others):,} files"
        message(
            f"note: {shown(place)}: left out {files} not named as {what}:"
            f" {shown(others[0])}{', ...' if others[1:] else ''}"
        )


def _places(address: Address, url: str) -> "LogPlaces":
    """Return the files that an address names; none where it names a store, or a task of one."""
    from backcast.engine.log.places import LogPlaces, is_pattern, places_of

    if "://" in address.log and not is_remote(address.log):
        return LogPlaces(())
    name = _place_of(address)
    if address.log or ((is_pattern(name) or Path(name).is_dir()) and not _is_task(address, url)):
        return places_of(name)
    return LogPlaces(())


def _place_of(address: Address) -> str:
    return address.log or address.task or ""


def _is_task(address: Address, url: str) -> bool:
    """Return whether the store of the command holds a task of this name."""
    try:
        with opened(url) as store:
            return bool(store.version(address.task or ""))
    except BackcastError:
        return False


def _completions(store: "EventStore", incomplete: str) -> list[str]:
    tasks = store.tasks()
    task, mark, _ = incomplete.rpartition("@")
    if not mark or task not in tasks:
        names = [f"{name}@" if looks_dated(name) else name for name in tasks]
        return [name for name in names if name.startswith(incomplete)]
    events = list(store.read(task, types=["CONTEXT_BUILT", "COMMITTED", "REFS_READ"]))
    moments = ["first", "last"]
    for event in reversed(events):
        data = event.fact.data
        moments += [f"commit:{name}" for name in data.get("refs", ())]
        moments.append(f"commit:{data['sha'][:10]}" if "sha" in data else str(event.version))
    offered = [f"{task}@{moment}" for moment in dict.fromkeys(moments)]
    return [text for text in offered if text.startswith(incomplete)][:COMPLETED]
