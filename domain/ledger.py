"""How far is a task, what is known, guessed and planned for it, and does it go in circles?

Two ledgers: of progress (what is done, doing and to do, who is next, and with what), and of the
task (facts that are given or were found, what is to be looked up, guesses, the plan). A guess is
what somebody claims. A run that stalls or goes in circles is found by counting alike attempts; it
is planned anew once, and then halts with what a person must decide.

>>> tries = [Attempt("2.1", "qwen", n, failure="a", diff=f"{n}") for n in range(1, 7)]
>>> stall(tries[:2]).kind, stall(tries[:3]).halt, stall(tries).halt
('', False, True)
>>> stall(tries[:3]).why
'2.1: the same failure 3 times, last by event 3'
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple


class StallPolicy(NamedTuple):
    """How many alike attempts in a row are too many."""

    failures: int = 3
    "Attempts that fail in the same way."
    unchanged: int = 3
    "Attempts after which no file has changed."
    diffs: int = 2
    "Attempts with the very same change."
    complaints: int = 2
    "Reviews that require the very same."
    replans: int = 1
    "How often the work is planned anew before a person must decide."


class Attempt(NamedTuple):
    """One try at a part of the task: what came of it, as we found it."""

    item: str
    "The task of a list, or the module."
    who: str
    version: int
    failure: str = ""
    "A digest of what failed; empty where nothing did."
    diff: str = ""
    "A digest of the change; empty where nothing changed."
    complaint: str = ""
    "A digest of what a review requires; empty where it requires nothing."
    review: bool = False
    "Whether it was a review, which changes nothing by right."


class Stall(NamedTuple):
    """Whether a part of the task gets no further, why, and what to do."""

    kind: str = ""
    "same failure, nothing changed, same change, or same complaint; empty where it gets further."
    item: str = ""
    why: str = ""
    advice: str = ""
    halt: bool = False
    "Whether it was planned anew before, so that a person must decide."

    @property
    def circles(self) -> bool:
        """Whether the same comes again and again, and not just nothing."""
        return self.kind in ("same change", "same complaint")


STALLS = StallPolicy()
ADVICE = "plan it anew: split it, ask for less, or first do what it depends on"
DECIDE = "a person must decide: split it, ask for less, do it by hand, or leave it out"


def stall(attempts: Sequence[Attempt], policy: StallPolicy = STALLS) -> Stall:
    """Return how the last attempts stall; those of one part, oldest first.

    Each time that they did, counting begins anew: the work was planned anew then.
    """
    found, begin = Stall(), 0
    times = 0
    for end in range(1, len(attempts) + 1):
        kind, count = _alike(attempts[begin:end], policy)
        if not kind:
            found = Stall()
            continue
        times, begin, last = times + 1, end, attempts[end - 1]
        halt = times > policy.replans
        why = f"{last.item}: the {kind} {count} times" if kind.startswith("same") else (
            f"{last.item}: {kind} in {count} attempts")  # fmt: skip
        why += f", last by event {last.version}"
        found = Stall(kind, last.item, why, DECIDE if halt else ADVICE, halt)
    return found


def _alike(attempts: Sequence[Attempt], policy: StallPolicy) -> tuple[str, int]:
    """Return how the last attempts are alike, and how often; empty where they are not."""
    work = [attempt for attempt in attempts if not attempt.review]
    reviews = [attempt for attempt in attempts if attempt.review]
    ends = (
        ("same change", [attempt.diff for attempt in work], policy.diffs),
        ("same failure", [attempt.failure for attempt in work], policy.failures),
        ("same complaint", [attempt.complaint for attempt in reviews], policy.complaints),
        ("nothing changed", ["" if attempt.diff else "-" for attempt in work], policy.unchanged),
    )
    for kind, values, most in ends:
        last = values[-most:]
        if most and len(last) == most and last[0] and len(set(last)) == 1:
            return kind, most
    return "", 0


class LedgerItem(NamedTuple):
    """A part of the task."""

    id: str
    title: str = ""
    status: str = "to do"
    "to do, doing or done."
    note: str = ""
    "Its last decision, or how its checks went."


class SnapshotFact(NamedTuple):
    """A fact of a ledger under its key, as other orchestrators read it."""

    k: str
    v: str
    confidence: float


class Ledger(NamedTuple):
    """Both ledgers of a task at a moment."""

    status: str
    "running, blocked, done or failed."
    items: tuple[LedgerItem, ...] = ()
    given: tuple[str, ...] = ()
    "What the task states, and what we found."
    look_up: tuple[str, ...] = ()
    guesses: tuple[str, ...] = ()
    "What a model or an agent claims."
    plan: tuple[str, ...] = ()
    stalls: tuple[Stall, ...] = ()
    who: str = ""
    "Who is next; empty where nobody is."
    what: str = ""
    "With what."

    def of(self, status: str) -> list[LedgerItem]:
        """Return the parts of a status."""
        return [item for item in self.items if item.status == status]

    @property
    def progress(self) -> bool:
        """Whether it gets further."""
        return not self.stalls

    def facts(self) -> Iterator[SnapshotFact]:
        """Yield both ledgers as facts with keys; what is claimed has half of the confidence."""
        yield SnapshotFact("ledger.progress.status", self.status, 1.0)
        yield SnapshotFact("ledger.progress.satisfied", _yes(self.status == "done"), 1.0)
        yield SnapshotFact("ledger.progress.advancing", _yes(self.progress), 1.0)
        in_circles = any(stall.circles for stall in self.stalls)
        yield SnapshotFact("ledger.progress.in_circles", _yes(in_circles), 1.0)
        yield SnapshotFact("ledger.progress.stalled", _yes(bool(self.stalls)), 1.0)
        for status in ("done", "doing", "to do"):
            count = f"{len(self.of(status))} of {len(self.items)}"
            yield SnapshotFact(f"ledger.progress.{status.replace(' ', '_')}", count, 1.0)
        for item in self.items:
            yield SnapshotFact(f"ledger.progress.item.{item.id}", item.status, 1.0)
        if self.who or self.what:
            yield SnapshotFact("ledger.progress.next", f"{self.who}: {self.what}".strip(": "), 1.0)
        for stall in self.stalls:
            key = "decide" if stall.halt else "replan"
            yield SnapshotFact(f"ledger.progress.{key}", f"{stall.why}: {stall.advice}", 1.0)
        for name, texts, sure in (
            ("given", self.given, 1.0), ("look_up", self.look_up, 1.0),
            ("guess", self.guesses, 0.5), ("plan", self.plan, 0.5),
        ):  # fmt: skip
            for number, text in enumerate(texts, 1):
                yield SnapshotFact(f"ledger.task.{name}.{number}", text, sure)

    def lines(self) -> Iterator[str]:
        """Yield both ledgers as a prompt shows them."""
        counts = (f"{len(self.of(status))} {status}" for status in ("done", "doing", "to do"))
        yield f"Status: {self.status}; {', '.join(counts)}."
        for item in self.items:
            mark = {"done": "x", "doing": "-"}.get(item.status, " ")
            name = item.id if item.id == item.title or not item.title else f"{item.id} {item.title}"
            yield f"[{mark}] {name}{f' ({item.note})' if item.note else ''}"
        for name, texts in (
            ("Given", self.given), ("To look up", self.look_up), ("Guesses", self.guesses),
            ("Plan", self.plan),
        ):  # fmt: skip
            if texts:
                yield f"{name}:"
                yield from (f"- {text}" for text in texts)
        yield from (f"Stalled: {stall.why}. {_sentence(stall.advice)}" for stall in self.stalls)
        if self.who or self.what:
            yield f"Next: {f'{self.who}: {self.what}'.strip(': ')}"


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."
