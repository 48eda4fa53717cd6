"""Judges a run: what the tests' text demands, against what was seen and what pytest wrote.

The code under test can only lower its own result here: whatever is missing, left out by somebody
else than the text, or told differently by two witnesses, is a failure.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from backcast.domain.events import CheckFailure
from backcast.engine.workflow.sandbox.box import Box
from backcast.engine.workflow.sandbox.expected import GivenTexts
from backcast.engine.workflow.sandbox.outcome import LISTED, LONGEST_MESSAGE, Results

MENDED = "A test counts only when it runs to its end and passes"
RUNNERS = (
    "_pytest.", "pytest.", "pluggy.", "unittest.", "builtins.", "sys.settrace", "sys.setprofile",
    "sys.platform", "sys.version_info", "sys.implementation", "os.name",
)  # fmt: skip
"Where every change decides tests, whoever made it."


class SeenCase(NamedTuple):
    """One case of a test as the witness saw it."""

    path: str
    test: str
    "Its name in the text, such as `TestA.test_b`; empty for a whole file."
    id: str
    state: str
    "passed, failed, skipped, xfailed, or unrun: it is said to have passed, and was not called."
    maker: str
    "Who defines its function: text, library, or nobody known."
    skips: list[list[Any]]
    "Each time that it was left out: state, path, line, whether a library did it, reason."


def judged(results: Results, texts: GivenTexts, notes: Sequence[Mapping[str, Any]]) -> Results:
    """Return the results without what the code under test gave itself."""
    cases = [SeenCase(*case) for note in notes for case in note.get("cases", ())]
    faults, skipped = list[CheckFailure](), 0
    for note in notes:
        faults += [fault for fault in (_changed(note, texts), _joined(note, texts)) if fault]
    if faults:  # whatever ran after that may have passed by it
        results = results._replace(passed=0)
    lost = 0
    for case in cases:
        fault, undue = _case_fault(case, texts)
        skipped += fault is None and case.state in ("skipped", "xfailed")
        if fault is not None:
            faults.append(fault)
            lost += undue
    if untold := _untold(results, cases):  # then the results are worth nothing
        results, lost = results._replace(passed=0), 0
        faults += untold
    if not results.errors:  # else there may have been no run to see them in
        faults += _missing(results, texts, cases)
    counted = results._replace(passed=max(0, results.passed - lost), skipped=skipped)
    return with_failures(counted, faults)


def with_failures(results: Results, faults: Sequence[CheckFailure]) -> Results:
    """Return results with more failures."""
    room = max(0, LISTED - len(results.failures))
    return results._replace(
        failed=results.failed + len(faults), failures=(*results.failures, *faults[:room])
    )


def altered(results: Results, box: Box, files: Mapping[str, bytes]) -> Results:
    """Return the results with a failure for each module or test that the run changed."""
    faults = [
        _failure(path, "the file was changed or removed while the tests ran. The code must leave"
                 " its own files and those of its tests alone", path)
        for path, body in files.items()
        if path.endswith(".py") and box.read(f"files/{path}", len(body)) != body
    ]  # fmt: skip
    return with_failures(results._replace(passed=0), faults) if faults else results


def counted_imports(results: Results, imports: str) -> Results:
    """Return results whose failures name modules, where the tests only import these."""
    named = [
        failure.model_copy(update={"name": failure.name.partition("[")[2][:-1], "kind": "error"})
        if failure.name.startswith(f"{imports}::")
        else failure
        for failure in results.failures
    ]
    moved = sum(failure.name.startswith(f"{imports}::") for failure in results.failures)
    return results._replace(
        failed=results.failed - moved, errors=results.errors + moved, failures=tuple(named)
    )


def _failure(name: str, message: str, at: str = "") -> CheckFailure:
    return CheckFailure(name=name[:500], message=message[:LONGEST_MESSAGE], at=at, kind="failure")


def _place(path: object, line: object) -> str:
    return f"{path}:{line}" if path and line else f"{path or ''}"


def _changed(note: Mapping[str, Any], texts: GivenTexts) -> CheckFailure | None:
    """Return a failure for a change of what runs the tests, unless their text speaks of it."""
    changed = note.get("changed")
    if not isinstance(changed, str):
        return None
    at, own = note.get("at") or [], texts.by_path.get(note.get("of", ""))
    if texts.replaces(changed.rpartition(".")[2]) or (at and at[0] in texts.by_path):
        return None
    if own is None and not at and not changed.startswith(RUNNERS) and "." in changed:
        return None  # libraries change themselves
    place = _place(*at) if at else ""
    by = f" by {place}" if place else ""
    return _failure(
        "", f"{changed} was changed{by} while the tests ran. The code must leave alone what runs"
        " its tests: no test counts as passed until it does", place,
    )  # fmt: skip


def _joined(note: Mapping[str, Any], texts: GivenTexts) -> CheckFailure | None:
    """Return a failure for a plugin of pytest that the task does not give."""
    if "plugin" not in note:
        return None
    given = texts.by_path.get(note.get("of", ""))
    hooks = note.get("hooks", ())
    if given is not None:
        if given.star or all(hook in given.names for hook in hooks):
            return None
    elif texts.names("pytest_plugins") or texts.names("pluginmanager"):
        return None
    at = note.get("at") or []
    place = _place(*at) if at else ""
    return _failure(
        "", f"a plugin of pytest was added{' by ' + place if place else ''}: {note['plugin']} with"
        f" {', '.join(hooks)[:200]}. The code must leave alone what runs its tests: no test counts"
        " as passed until it does", place,
    )  # fmt: skip


def _case_fault(case: SeenCase, texts: GivenTexts) -> tuple[CheckFailure | None, bool]:
    """Return what is wrong with a case that did not fail, and whether it is counted as passed."""
    if case.state == "failed":
        return None, False
    for _, path, line, outside, reason in case.skips:
        if not _by_its_text(case, texts, path, line, outside):
            return _left_out(case, path, line, reason), False
    if case.state == "unrun":
        message = f"its function was not called, though pytest says that it passed. {MENDED}"
        return _failure(case.id, message, case.path), True
    text = texts.by_path.get(case.path)
    if case.state == "passed" and case.maker != "text" and text and text.required.get(case.test):
        message = (
            "its function is not the one in the test file. The code must leave its tests alone"
        )
        return _failure(case.id, message, case.path), True
    return None, False


def _by_its_text(case: SeenCase, texts: GivenTexts, path: str, line: int, outside: bool) -> bool:
    """Return whether the text of the task itself left out a case."""
    if path:
        return texts.leaves_out(path, line, outside)
    text = texts.by_path.get(case.path)
    inherited = case.maker == "library" and not (text and case.test in text.required)
    return inherited or texts.excuses(case.path, case.test)


def _left_out(case: SeenCase, path: str, line: int, reason: str) -> CheckFailure:
    what = (
        "marked this test as expected to fail" if case.state == "xfailed" else "skipped this test"
    )
    place = _place(path, line)
    said = f" ({' '.join(reason.split())[:200]})" if reason else ""
    message = (
        f"{place or 'a mark that is not in its text'} {what}{said}. {MENDED}: the code must do what"
        " the test asks, and must not leave it out"
    )
    return _failure(case.id, message, place)


def _untold(results: Results, cases: Sequence[SeenCase]) -> list[CheckFailure]:
    """Return the cases that were seen to fail, where the results tell fewer of them."""
    failed = [case for case in cases if case.state == "failed"]
    if len(failed) <= results.failed + results.errors:
        return []
    message = "it failed, and the results that pytest wrote do not say so"
    return [_failure(case.id, message, case.path) for case in failed]


def _missing(
    results: Results, texts: GivenTexts, cases: Sequence[SeenCase]
) -> Iterator[CheckFailure]:
    """Yield the tests that the text demands and nobody saw."""
    seen = {(case.path, case.test) for case in cases}
    # A file that was left out as a whole is told of as a whole.
    broken = {case.path for case in cases if not case.test}
    if texts.chosen:
        return
    for path, text in texts.by_path.items():
        if path in broken:
            continue
        for test in text.required:
            if (path, test) not in seen:
                message = f"it was not run: not collected, or taken out of the run. {MENDED}"
                yield _failure(f"{path}::{test.replace('.', '::')}", message, path)
