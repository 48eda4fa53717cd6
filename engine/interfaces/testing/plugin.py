"""A pytest plugin with fixtures for the prompts of recorded runs, built again by today's code.

    def test_the_target_is_shown(context_at):
        assert_contains(context_at("logs/till.jsonl", 49), "items.py")

The assertions stand in `assertions`, beside this. Every run of pytest loads this module where
Backcast is installed, so the rest of Backcast is imported where it is first needed.
"""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from backcast.engine.interfaces.testing.agent_histories import history_at

if TYPE_CHECKING:
    from backcast.domain.budget import ModelProfile
    from backcast.domain.context import Context
    from backcast.domain.policy import Policy
    from backcast.engine.interfaces.testing.open_logs import OpenLogs
    from backcast.engine.interfaces.testing.recorded_places import RecordedPlace
    from backcast.engine.interfaces.testing.replayed import Replayed
    from backcast.engine.log.open_logs import Log

__all__ = ["history_at"]  # pytest finds the fixture in this module

MARKER, POLICY, MODEL = "backcast_logs", "backcast_policy", "backcast_model"
OPTION = "--backcast-policy"
SETTINGS = ("pytest.toml", ".pytest.toml", "pytest.ini", ".pytest.ini", "pyproject.toml",
              "tox.ini", "setup.cfg")  # fmt: skip
"Files that make their folder pytest's root."
LOG, STEP = "recorded_log", "recorded_step"
"Fixtures that run a test once for each log, or for each recorded prompt."


class PytestRun(NamedTuple):
    """The settings of a pytest run that the assertions need."""

    base: Path = Path()
    "Base of relative paths: the folder of the configuration file, else pytest's rootdir."
    update: bool = False
    "Whether assertions write golden files."
    model: str = ""
    "Who reads outcomes: llama:FILE, the address of a server, or copy."
    policy: str = ""
    "The file of the policy under test, whose rules hold; else its name."
    scores: Path | None = None
    "Where scores are kept, so that no outcome is read twice; None where pytest keeps nothing."


RUNS = [PytestRun()]
"The pytest runs in progress in this process, the innermost last."
_POLICY = pytest.StashKey["Policy | None"]()
_OPEN = pytest.StashKey["OpenLogs"]()
_PLACES = pytest.StashKey["dict[tuple[str, ...], list[RecordedPlace]]"]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the options of the command line and of the configuration file."""
    group = parser.getgroup("backcast", "Backcast: the prompts of recorded runs, built again")
    group.addoption(
        OPTION, metavar="FILE",
        help="Build every prompt under the policy of this TOML file, or of this strategy's name,"
        " instead of its own: pytest --backcast-policy=mine.toml",
    )  # fmt: skip
    group.addoption(
        "--backcast-update", action="store_true",
        help="Write the golden files of assert_same_context instead of comparing with them.",
    )  # fmt: skip
    group.addoption(
        "--backcast-model", metavar="MODEL",
        help="Who reads for assert_as_likely: llama:FILE, http://HOST:PORT/v1, or copy.",
    )  # fmt: skip
    group.addoption(
        "--backcast-damaged", action="store_true",
        help="Pass over what cannot be read of a log, with a warning, instead of failing.",
    )  # fmt: skip
    parser.addini(MODEL, "The model that reads, where --backcast-model names none.")
    parser.addini(POLICY, "The policy's file or name, where --backcast-policy names none.")
    parser.addini(
        MARKER, "The folders, files and patterns of logs that tests with recorded_log or"
        " recorded_step are run over, where no marker names them: logs more/*.jsonl", type="args",
    )  # fmt: skip


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker, and read the policy under test if there is one."""
    config.addinivalue_line(
        "markers",
        f'{MARKER}("logs", "more/*.jsonl"): run this test once for each log of these folders, files'
        " and patterns (fixture recorded_log), or for each prompt in them (recorded_step).",
    )
    config.stash[_POLICY] = _policy_under_test(config)
    RUNS.append(
        PytestRun(
            _base(config), bool(config.getoption("backcast_update", default=False)),
            config.getoption("backcast_model", default=None) or config.getini(MODEL),
            _policy_named(config), _scores(config),
        )
    )  # fmt: skip


def pytest_unconfigure(config: pytest.Config) -> None:
    """Close the open logs."""
    if _POLICY in config.stash:  # else it was not configured to its end
        RUNS.pop()
    if _OPEN in config.stash:
        config.stash[_OPEN].close()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test once for each recorded log, or once for each recorded prompt."""
    names = [name for name in (LOG, STEP) if name in metafunc.fixturenames]
    if not names:
        return
    marker = metafunc.definition.get_closest_marker(MARKER)
    if patterns := tuple(marker.args if marker else metafunc.config.getini(MARKER)):
        places = _places(metafunc.config, STEP in names, patterns)
        metafunc.parametrize(
            names, [[place] * len(names) for place in places], indirect=True,
            ids=[place.id for place in places],
        )  # fmt: skip


@pytest.fixture(scope="session")
def policy(pytestconfig: pytest.Config) -> "Policy | None":
    """The policy under test, from --backcast-policy FILE or the ini option backcast_policy.
    None without either: each prompt keeps its recorded policy. Tests may override it:
        @pytest.fixture
        def policy():
            return DEFAULT.model_copy(update={"errors": 1})
    """
    return pytestconfig.stash[_POLICY]


@pytest.fixture
def event_log(pytestconfig: pytest.Config) -> "Iterator[Callable[..., Log]]":
    """Open a log for the length of a test: a file that 'backcast export' wrote, or a store's URL.
        log = event_log("logs/till.jsonl")
        log = event_log("logs/caches.jsonl", task="task-web")

    A file is read once for all tests; events that one test appends are invisible to the others. A
    log that is not whole fails the test, unless `pytest --backcast-damaged` passes over that.
    """
    from backcast.domain.errors import BackcastError, DamagedError
    from backcast.engine.interfaces.testing.open_logs import not_whole
    from backcast.engine.log.open_logs import opened

    logs, base = _open_logs(pytestconfig), _base(pytestconfig)
    passed_over = pytestconfig.getoption("backcast_damaged", default=False)
    with ExitStack() as stores:

        def open_log(path: str | Path, task: str | None = None) -> "Log":
            __tracebackhide__ = True
            try:
                log = (
                    stores.enter_context(opened(str(path), task, whole=True))
                    if "://" in str(path) else logs.log(base / path, task)
                )  # fmt: skip
            except BackcastError as error:
                raise error.with_traceback(None) from None  # ours tell a test's author nothing
            if log.problems and not passed_over:
                raise DamagedError(not_whole(log.problems))
            notes = [f"skipped {problem}" for problem in log.problems] + [logs.unknown(log)]
            for note in filter(None, notes):
                warnings.warn(pytest.PytestWarning(f"backcast: {note}"), stacklevel=2)
            return log

        yield open_log
    logs.trim()


@pytest.fixture
def replay(
    pytestconfig: pytest.Config, event_log: "Callable[..., Log]", policy: "Policy | None"
) -> "Callable[..., Iterator[Replayed]]":
    """Build the recorded prompts of a log again, in the order in which they were asked for.
        for step in replay("logs/till.jsonl"):
            assert_within_budget(step.context)

    Each has its `step` (the request, and what was known then), its `context` as built today, its
    `recorded` form, and the `previous` prompt. The policy is the one under test, else each prompt's
    own, unless the call names one: replay(log, policy, profile).
    """
    under_test, logs = _checked(policy), _open_logs(pytestconfig)

    def replay(
        log: "Log | str | Path",
        policy: "Policy | None" = None,
        profile: "ModelProfile | None" = None,
    ) -> "Iterator[Replayed]":
        __tracebackhide__ = True
        opened = event_log(log) if isinstance(log, str | Path) else log
        return logs.replays(opened, policy or under_test, profile)

    return replay


@pytest.fixture
def context_at(
    event_log: "Callable[..., Log]", replay: "Callable[..., Iterator[Replayed]]"
) -> "Callable[..., Context]":
    """Build one recorded prompt again, named by its event number, or "first" or "last".
        context = context_at("logs/till.jsonl", 49)
        context = context_at(event_log("logs/caches.jsonl", task="task-web"), "last")

    'backcast verify LOG' lists the numbers. A policy and a profile may follow, as for `replay`.
    """
    from backcast.engine.interfaces.testing.replayed import place_of

    def context_at(
        log: "Log | str | Path", step: int | str, *args: Any, **kwargs: Any
    ) -> "Context":
        __tracebackhide__ = True
        opened = event_log(log) if isinstance(log, str | Path) else log
        task, version = place_of(opened, step)
        prompts = replay(opened._replace(tasks=(task,)), *args, **kwargs)
        return next(one.context for one in prompts if one.step.version == version)

    return context_at


@pytest.fixture
def recorded_log(request: pytest.FixtureRequest, event_log: "Callable[..., Log]") -> "Log":
    """Each of several logs in turn: the test runs once for each log.
        @pytest.mark.backcast_logs("logs", "more/*.jsonl")
        def test_all_is_within_budget(recorded_log, replay):
            for step in replay(recorded_log):
                assert_within_budget(step.context)

    The ini option backcast_logs names the logs of tests without the marker.
    """
    from backcast.domain.errors import BackcastError

    try:
        log: Log = event_log(_place(request, LOG).path)
        return log
    except BackcastError as error:
        problem = str(error)
    pytest.fail(problem, pytrace=False)


@pytest.fixture
def recorded_step(
    request: pytest.FixtureRequest,
    event_log: "Callable[..., Log]",
    replay: "Callable[..., Iterator[Replayed]]",
) -> "Replayed":
    """Each recorded prompt of several logs in turn, built again: the test runs once for each.
        @pytest.mark.backcast_logs("logs/till.jsonl")
        def test_nothing_stale_is_shown(recorded_step):
            assert_no_stale(recorded_step)

    The ini option backcast_logs names the logs of tests without the marker.
    """
    place = _place(request, STEP)
    prompts = replay(event_log(place.path, place.task))
    return next(prompt for prompt in prompts if prompt.step.version == place.version)


def _checked(policy: "Policy | None") -> "Policy | None":
    """Return what a fixture named `policy` gave; fail where it is another thing of that name."""
    from backcast.domain.policy import Policy

    if policy is not None and not isinstance(policy, Policy):
        pytest.fail(
            "needed a backcast.Policy or None of the fixture 'policy', which replaces Backcast's"
            f" own, found a {type(policy).__name__}: give yours another name", pytrace=False,
        )  # fmt: skip
    return policy


def _place(request: pytest.FixtureRequest, name: str) -> "RecordedPlace":
    """Return the place that a test runs with; fail the test where there is none."""
    if not hasattr(request, "param"):
        pytest.fail(
            f"{name}: needed @pytest.mark.{MARKER}(FOLDER) or the ini option {MARKER}, found"
            " neither", pytrace=False,
        )  # fmt: skip
    place: RecordedPlace = request.param
    if place.problem:
        pytest.fail(place.problem, pytrace=False)
    return place


def _base(config: pytest.Config) -> Path:
    return config.inipath.parent if config.inipath else config.rootpath


def _policy_named(config: pytest.Config) -> str:
    """Return the file of the policy under test, or its name; empty for none."""
    option, ini = config.getoption("backcast_policy", default=None), config.getini(POLICY)
    name: str = option or ini
    path = (config.invocation_params.dir if option else _base(config)) / name
    return str(path) if name and path.is_file() else name


def _scores(config: pytest.Config) -> Path | None:
    """Return the file in pytest's cache where scores are kept; None where it has no cache."""
    cache = getattr(config, "cache", None)
    return cache.mkdir("backcast") / "scores" if cache else None


def _policy_under_test(config: pytest.Config) -> "Policy | None":
    option, ini = config.getoption("backcast_policy", default=None), config.getini(POLICY)
    if not (option or ini):
        return None
    from backcast.domain.errors import InputError
    from backcast.engine.context.policies import policy_at, policy_known

    base = config.invocation_params.dir if option else _base(config)
    try:
        if named := policy_known(option or ini):
            return named
        _refuse_moved_root(config, option or "")
        return policy_at(base / (option or ini))
    except InputError as error:
        raise pytest.UsageError(f"backcast: {error}") from None


def _refuse_moved_root(config: pytest.Config, name: str) -> None:
    """Raise `pytest.UsageError` where pytest took a policy's file for tests, and moved its root.

    It seeks its root before it knows our options: what stands alone behind one is a test to it.
    """
    here, root = config.invocation_params.dir, config.rootpath
    file = (here / name).resolve()
    if any(config.getoption(named, default=None) for named in ("rootdir", "inifilename")):
        return
    if (OPTION, name) not in pairwise(config.invocation_params.args) or root == here:
        return
    if not file.is_file() or file.is_relative_to(here):
        return
    between = [folder for folder in (here, *here.parents) if folder.is_relative_to(root)][:-1]
    nearer = any((folder / config_file).is_file() for folder in between for config_file in SETTINGS)
    if nearer or not config.inipath:
        raise pytest.UsageError(
            f"backcast: needed {OPTION}={name} with a =, found a space: pytest took the file for"
            f" tests, and {root} for their root"
        )


def _open_logs(config: pytest.Config) -> "OpenLogs":
    if _OPEN not in config.stash:
        from backcast.engine.interfaces.testing.open_logs import OpenLogs

        config.stash[_OPEN] = OpenLogs()
    return config.stash[_OPEN]


def _places(config: pytest.Config, prompts: bool, patterns: Sequence[str]) -> "list[RecordedPlace]":
    """Return the logs that some patterns name, or their prompts; found once in a run."""
    from backcast.engine.interfaces.testing.recorded_places import log_places, prompt_places

    known = config.stash.setdefault(_PLACES, {})
    key = "prompts" if prompts else "logs", *patterns
    if key not in known:
        base = _base(config)
        known[key] = (
            prompt_places(
                _open_logs(config), base, patterns,
                damaged=config.getoption("backcast_damaged", default=False),
            ) if prompts else log_places(base, patterns)
        )  # fmt: skip
    return known[key]
