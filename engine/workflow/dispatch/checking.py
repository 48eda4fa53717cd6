"""Holds what an agent claims against what it left: the files by git, the tests by our own run."""

import fnmatch
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from backcast.domain.dispatch_events import ChangedFile
from backcast.domain.errors import InputError
from backcast.domain.events import CheckFailure
from backcast.domain.name_list import first_names
from backcast.engine.workflow.sandbox.run import Outcome, SandboxLimits, run_checks, safe_path

USUAL_TESTS = ("test_*.py", "*_test.py")
LISTED = 5
"Names that a difference lists."


class Finding(NamedTuple):
    """What our own check found."""

    passed: int | None = None
    failed: int | None = None
    errors: int | None = None
    skipped: int | None = None
    tests: tuple[str, ...] = ()
    failures: tuple[CheckFailure, ...] = ()
    isolation: Mapping[str, str] = {}
    output: bytes = b""
    notes: tuple[str, ...] = ()

    @property
    def unmet(self) -> int:
        """How many tests failed or could not run."""
        return (self.failed or 0) + (self.errors or 0)


def chosen_tests(paths: Sequence[str], wanted: Sequence[str]) -> list[str]:
    """Return the files of tests: those that are wanted, or else all with a usual name.

    >>> chosen_tests(["a.py", "tests/test_a.py", "tests/b_test.py"], [])
    ['tests/b_test.py', 'tests/test_a.py']
    """

    def is_test(path: str) -> bool:
        name = path.rpartition("/")[2]
        if not wanted:
            return any(fnmatch.fnmatchcase(name, usual) for usual in USUAL_TESTS)
        return any(
            path == place
            or path.startswith(f"{place.rstrip('/')}/")
            or fnmatch.fnmatchcase(path, place)
            for place in wanted
        )

    return sorted(path for path in paths if path.endswith(".py") and is_test(path))


def found_by_tests(
    before: Mapping[str, bytes], after: Mapping[str, bytes], wanted: Sequence[str],
    limits: SandboxLimits,
) -> Finding:  # fmt: skip
    """Run the tests as they were before the agent came, and those that it wrote or changed.

    A test that the agent deleted, skipped or weakened is thereby run as it was.
    """
    notes = []
    safe = {path: body for path, body in after.items() if _is_safe(path)}
    if len(safe) < len(after):
        notes.append(f"{len(after) - len(safe)} files with odd names were left out of the tests")
    old = {path: before[path] for path in chosen_tests(list(before), wanted)}
    guarded = {path: body for path, body in before.items()
               if path in old or path.rpartition("/")[2] == "conftest.py"}  # fmt: skip
    own = [path for path in chosen_tests(list(safe), wanted) if safe[path] != before.get(path)]
    outcomes = list[Outcome]()
    if old:
        files = {**safe, **guarded}
        outcomes.append(run_checks(files, sorted(old), limits, given=sorted(guarded)))
    if own:
        outcomes.append(run_checks(safe, own, limits, given=[*own]))
    if not outcomes:
        return Finding(notes=(*notes, "there are no tests"))
    return Finding(
        passed=sum(outcome.passed for outcome in outcomes),
        failed=sum(outcome.failed for outcome in outcomes),
        errors=sum(outcome.errors for outcome in outcomes),
        skipped=sum(outcome.skipped for outcome in outcomes),
        tests=tuple(sorted({*old, *own})),
        failures=tuple(failure for outcome in outcomes for failure in outcome.failures),
        isolation=dict(outcomes[0].isolation),
        output=b"".join(outcome.output for outcome in outcomes),
        notes=tuple(notes),
    )


def differences(
    claim: Mapping[str, Any], files: Sequence[ChangedFile], finding: Finding
) -> tuple[list[str], list[str]]:
    """Return the statements of a claim that are not so, and what it does not mention.

    >>> claim = {"files_changed": ["b.py"], "tests": [{"command": "pytest", "passed": 5}]}
    >>> finding = Finding(3, 2, 0, 0)
    >>> differences(claim, [ChangedFile(path="a.py", change="changed")], finding)[0]
    ['claims to have changed b.py, which is as it was', 'claims 5 passed (pytest); 2 of 5 fail']
    """
    changed = {file.path for file in files}
    false, untold = list[str](), list[str]()
    claimed = {_plain(path) for path in claim.get("files_changed", ())}
    if unchanged := sorted(claimed - changed):
        stand = "is as it was" if len(unchanged) == 1 else "are as they were"
        false.append(f"claims to have changed {first_names(unchanged, LISTED)}, which {stand}")
    if silent := sorted(changed - claimed):
        untold.append(f"changed {first_names(silent, LISTED)} without a word of it")
    if claim.get("status") == "completed" and not changed:
        false.append("claims that the task is completed; nothing was changed")
    total = (finding.passed or 0) + finding.unmet
    for test in claim.get("tests", ()):
        passed, command = test["passed"], " ".join(str(test["command"]).split())[:80]
        said = f"claims {passed} passed ({command})" if _is_count(passed) else (
            f"claims that {command!r} passed")  # fmt: skip
        if passed and finding.passed is None:
            false.append(f"{said}; no test was found to run")
        elif passed and finding.unmet:
            verb = "fails" if finding.unmet == 1 else "fail"
            false.append(f"{said}; {finding.unmet} of {total} {verb}")
    return false, untold


def verdict(
    outcome: str, reason: str, claim: Mapping[str, Any] | None, error: str,
    files: Sequence[ChangedFile], finding: Finding, false: Sequence[str],
) -> tuple[bool, str]:  # fmt: skip
    """Return whether an implementer's work is accepted, and why it is or is not."""
    if outcome != "answered":
        return False, f"the agent {'failed' if outcome == 'failed' else 'was stopped'}: {reason}"
    if claim is None:
        return False, f"it has no result that can be read: {error}"
    if claim["status"] != "completed":
        return False, f"it says {claim['status']}: {' '.join(str(claim['summary']).split())[:300]}"
    if not files:
        return False, "nothing was changed"
    if finding.passed is None:
        return False, "no test was found that could show that the task is done (--tests names them)"
    total = (finding.passed or 0) + finding.unmet
    if finding.unmet:
        verb = "fails" if finding.unmet == 1 else "fail"
        return False, f"{finding.unmet} of {total} tests {verb}"
    if not finding.passed:
        return False, "no test ran that could show that the task is done"
    if false:
        return False, f"its claim is false: {false[0]}"
    return True, "1 test passes" if finding.passed == 1 else f"{finding.passed} tests pass"


def _is_count(passed: object) -> bool:
    return isinstance(passed, int) and not isinstance(passed, bool)


def _plain(path: str) -> str:
    return path.removeprefix("./")


def _is_safe(path: str) -> bool:
    try:
        safe_path(path)
    except InputError:
        return False
    return True
