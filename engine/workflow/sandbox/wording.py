"""Says what happened in a run so that whoever wrote the code can mend it.

pytest and Python tell programmers at a terminal what happened; a small model sees one line of it.
Each line here names what the code did, where, and what to do instead.
"""

import re
import signal
import sys
from collections.abc import Callable

from backcast.domain.events import CheckFailure
from backcast.engine.workflow.sandbox.evidence import (
    FRAME,
    NAMED,
    RunEvidence,
    crash_in,
    defined,
    line_with,
    printable,
)
from backcast.engine.workflow.sandbox.hosts import without_places
from backcast.engine.workflow.sandbox.outcome import LONGEST_MESSAGE, Results

MAIN = 'put it under `if __name__ == "__main__":`'
_SYSTEM_EXIT = re.compile(r"\ASystemExit(?::.*)?\Z", re.DOTALL)
_STATUS = re.compile(r"\Aended before its tests did, with exit status (-?\d+)\Z")
_INTERRUPT = re.compile(r"^([^\s:][^:\n]*):(\d+): KeyboardInterrupt$", re.MULTILINE)
_NO_MODULE = re.compile(r"\AModuleNotFoundError: No module named '([\w.]+)'")
_NO_NAME = re.compile(r"\AImportError: cannot import name '(\w+)' from '([\w.]+)' \(.*\)")
_NO_ATTRIBUTE = re.compile(r"\AAttributeError: module '(\w+)' has no attribute '(\w+)'")
_PYTEST_EXIT = re.compile(r"\bpytest\.exit\(")
_EXITS = re.compile(r"\b_exit\(|\babort\(\)|\bos\.kill\(|\bexecv")


def worded(results: Results, run: RunEvidence) -> Results:
    """Return results whose failures say what happened and what to do, and name no place of this
    machine."""
    return results._replace(failures=tuple(_worded(failure, run) for failure in results.failures))


def _worded(failure: CheckFailure, run: RunEvidence) -> CheckFailure:
    message, at = failure.message, failure.at
    if failure.name.endswith("pytest::internal"):
        failure, message, at = _internal(failure, run)
    at_import = failure.kind == "error" and "::" not in failure.name  # else a fixture failed
    for rule in RULES:
        if said := rule(message, at, at_import, run):
            message, at = said
            break
    shown = printable(without_places(message, run.box))[:LONGEST_MESSAGE]
    return failure.model_copy(update={"message": shown, "at": at})


def _internal(failure: CheckFailure, run: RunEvidence) -> tuple[CheckFailure, str, str]:
    """Return what ended pytest itself: the name of the test file, the exception and its place."""
    prefix = "INTERNALERROR> "
    lines = [line for line in run.output.split("\n") if line.startswith(prefix)]
    trace = "\n".join(line.removeprefix(prefix) for line in lines)
    raised = [line for line in trace.split("\n") if line and line[0] not in " T"]
    tests = [p for p, _ in FRAME.findall(trace.replace(f"{run.box}/files/", "")) if p in run.given]
    name = tests[0] if tests else ""
    message = raised[-1] if raised else failure.message
    return failure.model_copy(update={"name": name}), message, run.place(trace)


Said = tuple[str, str] | None
"A message and its place; None where a rule has nothing to say."


def _exit(message: str, at: str, at_import: bool, run: RunEvidence) -> Said:
    if not _SYSTEM_EXIT.match(message):
        return None
    path, _, number = at.rpartition(":")
    line = run.line(at)
    code, where = path or "the code", f" at line {number}" if number else ""
    line = line or message.partition("\n")[0]
    if "parse_args" in line:
        when = "at import" if at_import else "in a test"
        return (
            f"{code} ended the interpreter {when}: {line}{where} reads the arguments of the program"
            f" that runs the tests; {MAIN}, or give it a list of arguments",
            at,
        )
    if at_import:
        return f"{code} ended the interpreter at import: {line}{where}; {MAIN}", at
    first = message.partition("\n")[0]
    return (
        f"{first}: {code} ended the interpreter in a test: {line}{where}; return a value, or raise"
        " an exception that the test expects",
        at,
    )


def _status(message: str, at: str, at_import: bool, run: RunEvidence) -> Said:
    found = _STATUS.match(message)
    if found is None:
        return None
    status = int(found[1])
    place = run.place(crash_in(run.output), innermost=False)
    if status > 128 or status < 0:
        return _signal(status - 128 if status > 128 else -status, place, run)
    place, line = line_with(run, _EXITS)
    last = run.output.strip().rpartition("\n")[2][:200]
    if not line:
        more = f": {last}" if last else ""
        return (
            f"the code ended the interpreter before its tests did, with status {status}{more}",
            at,
        )
    path, _, number = place.rpartition(":")
    return (
        f"{path} ended the interpreter before its tests did, with status {status}: {line} at line"
        f" {number}; return, or raise an exception, so that tests can go on",
        place,
    )


def _signal(number: int, place: str, run: RunEvidence) -> Said:
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = ""
    why = {
        11: "code outside Python, such as ctypes, read memory that is not its own",
        6: "os.abort(), or code outside Python, gave up",
        9: "it killed itself, or needed too much memory",
    }.get(number, "the code sent it to itself, or ran into a limit")
    if not place:
        place, _ = line_with(run, _EXITS)
    path, _, line = place.rpartition(":")
    where = f" at line {line}" if line else ""
    shown = f" ({run.line(place)})" if run.line(place) else ""
    crashed = f"{path or 'the code'} crashed the interpreter{where}{shown}"
    return f"{crashed}: signal {number} {name}: {why}", place


def _interrupt(message: str, at: str, at_import: bool, run: RunEvidence) -> Said:
    if not message.startswith("ended before its tests did: pytest ended with"):
        return None
    if "_pytest.outcomes.Exit:" in run.output:
        place, line = line_with(run, _PYTEST_EXIT)
        path, _, number = place.rpartition(":")
        called = f"{path} called {line} at line {number}" if line else "pytest.exit was called"
        return f"{called}, which ends all tests; return, or raise an exception", place or at
    found = _INTERRUPT.search(run.output)
    if found is None:
        return None
    place = f"{found[1]}:{found[2]}" if found[1] in run.files else at
    raised = f"KeyboardInterrupt was raised at line {found[2]} of {found[1]}"
    return f"{raised}, which ends all tests; raise another exception", place


def _stopped(message: str, at: str, at_import: bool, run: RunEvidence) -> Said:
    if not message.startswith("stopped before its tests ended: "):
        return None
    why, place = list[str](), ""
    if "time limit" in message:
        place = run.place(crash_in(run.output), innermost=False)
        path, _, number = place.rpartition(":")
        where = f"at line {number} of {path} ({run.line(place)})" if place else "running"
        why.append(f"after {run.seconds:g} seconds it was still {where}; no loop or wait may last")
    if "output" in message:
        why.append(f"it printed more than {run.output_bytes:,} bytes")
    return f"{message}: {'; '.join(why)}", place or at


def _module(message: str, at: str, at_import: bool, run: RunEvidence) -> Said:
    found = _NO_MODULE.match(message)
    if found is None:
        return None
    first, _, rest = message.partition("\n")
    tail = f"/{found[1].replace('.', '/')}"
    near = [p for p in sorted(run.files) if p.endswith((f"{tail}.py", f"{tail}/__init__.py"))]
    if near:
        dotted = near[0].removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        advice = f"it is {dotted} here"
    else:
        advice = (
            f"it is not installed, and no file here bears that name ({run.modules}); use Python's"
            " standard library or write what is needed into the module itself"
        )
    return "\n".join(filter(None, (f"{first}: {advice}", rest))), at


def _name(message: str, at: str, at_import: bool, run: RunEvidence) -> Said:
    found = _NO_NAME.match(message)
    if found is None:
        return None
    name, module = found[1], found[2]
    first = f"ImportError: cannot import name '{name}' from '{module}'"
    if theirs := _theirs(module, run):
        return f"{first}: {theirs}", at
    if "partially initialized" in message:
        return None
    paths = [f"{module.replace('.', '/')}{end}" for end in (".py", "/__init__.py")]
    path = next((one for one in paths if one in run.files), "")
    if not path:
        return None
    names = defined(run.files[path])
    has = f"it has {', '.join(names[:NAMED])}" if names else "it has none at all"
    return f"{first} ({path}): {path} has no {name} at its top level, {has}", at


def _attribute(message: str, at: str, at_import: bool, run: RunEvidence) -> Said:
    found = _NO_ATTRIBUTE.match(message)
    theirs = _theirs(found[1], run) if found else ""
    return (f"{message}: {theirs}", at) if theirs else None


def _theirs(module: str, run: RunEvidence) -> str:
    """Return that a module is Python's own, where a file of the run bears its name."""
    first = module.partition(".")[0]
    own = [
        path for path in sorted(run.files) if path.partition("/")[0].removesuffix(".py") == first
    ]
    if first not in sys.stdlib_module_names or not own:
        return ""
    return f"that is Python's own {first}, imported in place of {own[0]}; only another name helps"


ADVICE = (
    ("EOFError: EOF when reading a line", False,
     "in a test there is no input: take the value as an argument, and read it only under"
     ' `if __name__ == "__main__":`'),
    ("ImportError: attempted relative import with no known parent package", False,
     "the module is in no package: import it by its name, without a dot"),
    ("ImportError: attempted relative import beyond top-level package", False,
     "import by the whole name, without dots before it"),
    ("(most likely due to a circular import)", False,
     "two modules import each other: import inside the function that needs it, or move what both"
     " need into one of them"),
    ("BlockingIOError: [Errno 11]", False, "too many processes or threads were started"),
    ("RuntimeError: can't start new thread", False, "too many processes or threads were started"),
    ("_pytest.outcomes.Exit: ", True, "pytest.exit ends all tests: raise an exception instead"),
    ("RecursionError", False, "a function calls itself without end"),
    ("not allowed here: network", True, f"no server and no network is needed at import: {MAIN}"),
    ("(while attempting to bind", True, f"a server is started at import: {MAIN}"),
)  # fmt: skip
"What to do by what a message's first line holds; whether only at import."


def _advised(message: str, at: str, at_import: bool, run: RunEvidence) -> Said:
    first, _, rest = message.partition("\n")
    if first == "MemoryError" or first.startswith("MemoryError:"):
        advice = f"more than {run.memory // 2**20:,} MiB of memory were asked for"
        return "\n".join(filter(None, (f"{first}: {advice}", rest))), at
    for sign, only, advice in ADVICE:
        if sign in first and (at_import or not only):
            return "\n".join(filter(None, (f"{first}; {advice}", rest))), at
    return None


Rule = Callable[[str, str, bool, RunEvidence], Said]
RULES: tuple[Rule, ...] = (
    _exit, _status, _interrupt, _stopped, _module, _name, _attribute, _advised,
)  # fmt: skip
