"""The tables on PostgreSQL: several machines write, one transaction at a time."""

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Self

import psycopg
from eventsourcing import persistence
from eventsourcing.domain import EventSourcingError
from eventsourcing.postgres import PostgresApplicationRecorder, PostgresDatastore
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import tuple_row
from psycopg.sql import SQL

from backcast.domain.errors import InputError, UnavailableError
from backcast.engine.log.recorder.across import MAKE_ACROSS
from backcast.engine.log.recorder.contract import LibraryContract
from backcast.engine.log.recorder.database import CLOSED, Cursor, not_text
from backcast.engine.log.recorder.tables import SCHEMA_VERSION

TABLES = (
    "CREATE TABLE backcast (schema_version integer NOT NULL)",
    f"INSERT INTO backcast VALUES ({SCHEMA_VERSION})",
    """CREATE TABLE events (
        position bigint PRIMARY KEY,
        task_id text NOT NULL,
        version bigint NOT NULL,
        topic text NOT NULL,
        timestamp_us bigint NOT NULL,
        recorded_us bigint NOT NULL,
        writer text NOT NULL,
        because text NOT NULL,
        checksum bigint NOT NULL,
        body bytea NOT NULL
    )""",
    "CREATE UNIQUE INDEX events_by_task ON events (task_id, version) INCLUDE (timestamp_us)",
    MAKE_ACROSS,
    """CREATE FUNCTION refuse_rewriting() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION 'the log is append-only'
           USING ERRCODE = 'integrity_constraint_violation'; END $$""",
    """CREATE TRIGGER events_only_grow BEFORE UPDATE OR DELETE OR TRUNCATE ON events
        FOR EACH STATEMENT EXECUTE FUNCTION refuse_rewriting()""",
    """CREATE TABLE blobs (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        hash bytea NOT NULL UNIQUE,
        base bytea,
        depth integer NOT NULL,
        size bigint NOT NULL,
        packed bytea NOT NULL
    )""",
    """CREATE TABLE sources (
        source text NOT NULL,
        id text NOT NULL,
        digest bytea NOT NULL,
        position bigint NOT NULL,
        PRIMARY KEY (source, id)
    )""",
    """CREATE TABLE snapshots (
        projection text NOT NULL,
        projection_version integer NOT NULL,
        task_id text NOT NULL,
        version bigint NOT NULL,
        from_us bigint NOT NULL,
        until_us bigint NOT NULL,
        least_us bigint NOT NULL,
        state bytea NOT NULL,
        PRIMARY KEY (projection, projection_version, task_id, version, until_us)
    )""",
)
VECTORS = """CREATE TABLE IF NOT EXISTS vectors (
    embedder text NOT NULL,
    text_hash bytea NOT NULL,
    vector bytea NOT NULL,
    PRIMARY KEY (embedder, text_hash)
)"""
BUNDLES = (
    """CREATE TABLE IF NOT EXISTS bundles (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        base bigint,
        size bigint NOT NULL,
        packed bytea NOT NULL
    )""",
    """CREATE TABLE IF NOT EXISTS bundled (
        key bigint PRIMARY KEY,
        bundle bigint NOT NULL
    )""",
)

_QUOTED = re.compile('"[^"]*"?')
_PLACE = re.compile(r" at character \d+$")
"Of a statement that is ours, not the user's."
_PORTS = re.compile(r"[\d,]*")


class _Cursor:
    """A psycopg cursor that takes `?` for parameters."""

    def __init__(self, cursor: psycopg.Cursor[Any]) -> None:
        self._cursor = cursor
        self.fetchone, self.fetchall = cursor.fetchone, cursor.fetchall

    def execute(self, sql: str, parameters: Sequence[Any] = (), /) -> None:
        self._cursor.execute(_translated(sql), parameters, prepare=True)

    def executemany(self, sql: str, rows: Iterable[Sequence[Any]], /) -> None:
        self._cursor.executemany(_translated(sql), rows)


class PostgresRecorder(LibraryContract, PostgresApplicationRecorder):
    """A store in a PostgreSQL database."""

    @classmethod
    def open(cls, url: str, *, fsync: str = "full", create: bool = True) -> Self:
        """Connect to a database by its URL, in any form that libpq takes."""
        try:
            said = conninfo_to_dict(url)
        except psycopg.Error as error:
            reason = _QUOTED.sub("...", _line(error))  # it repeats what may be of a password
            raise InputError(f"store: needed postgresql://USER@HOST/NAME: {reason}") from None
        host, port, name = (said.pop(key, "") for key in ("host", "port", "dbname"))
        if not name and "service" not in said:  # libpq would take one of the user's name
            raise InputError(
                "store: needed postgresql://USER@HOST/NAME, found no NAME of a database"
            )
        if not _PORTS.fullmatch(str(port)) or ("@" in f"{host}{name}" and "%40" not in url):
            raise InputError(
                "store: needed postgresql://USER:PASSWORD@HOST:PORT/NAME with the signs @ : / # of"
                " a password as %40 %3A %2F %23, found another"
            )
        named = said.pop("user", "")
        said.pop("password", "")
        shown = _shown(str(named), str(host), str(name))
        try:  # the pool would wait, and not say why
            with psycopg.connect(url, connect_timeout=5) as connection:
                found = connection.info
                # What the environment, a service or a file of passwords states was found by libpq;
                # an empty password that is passed on would hide it.
                host, port, name = found.host, found.port, found.dbname
                user, password = found.user, found.password
        except psycopg.Error as error:
            raise UnavailableError(f"{shown}: {_line(error)}") from None
        datastore = PostgresDatastore(
            dbname=name,
            host=host,
            port=str(port),
            user=user,
            password=password,
            pool_size=1,
            max_overflow=8,
            connect_timeout=5,
            originator_id_type="text",
        )
        assert isinstance(datastore.pool.kwargs, dict)
        datastore.pool.kwargs.update(said)
        try:
            recorder = cls(datastore, events_table_name="events")
        except (psycopg.Error, EventSourcingError) as error:
            datastore.close()
            raise UnavailableError(f"{shown}: {_line(error)}") from None
        recorder.shown = shown
        recorder.synchronous_commit = "on" if fsync == "full" else "off"
        try:
            recorder.prepare(create=create)
        except BaseException:
            recorder.close()
            raise
        return recorder

    shown = ""
    changes_nothing = "UPDATE backcast SET schema_version=schema_version"
    make_vectors = VECTORS
    has_vectors = (
        "SELECT 1 FROM pg_class"
        " WHERE relname='vectors' AND relnamespace=current_schema()::regnamespace"
    )
    make_bundles = BUNDLES
    find_bundles = has_vectors.replace("vectors", "bundles")
    # Only the owner of a table may index it; for others the failure would end the transaction.
    lacks_across = (
        "SELECT 1 FROM pg_class WHERE relname='events'"
        " AND relnamespace=current_schema()::regnamespace AND pg_has_role(relowner, 'MEMBER')"
        " AND NOT EXISTS (SELECT 1 FROM pg_class WHERE relname='events_across'"
        " AND relnamespace=current_schema()::regnamespace)"
    )
    synchronous_commit = "on"
    lock_timeout: float = 60
    "Seconds that a writer waits for another one."

    def prepare(self, *, create: bool = True) -> None:
        """Make the tables in a database that has none; refuse a newer one."""
        if self.one(_IS_STORE) is None:
            if not create:
                raise UnavailableError(f"{self.shown}: no store in it; 'backcast import' makes one")
            self.create_table()
        row = self.one("SELECT schema_version FROM backcast")
        if row[0] > SCHEMA_VERSION:
            raise UnavailableError(
                f"{self.shown}: written by a newer version (tables {row[0]}, this one knows"
                f" {SCHEMA_VERSION}): upgrade backcast"
            )

    def create_table(self) -> None:
        """Make the tables, unless another process has just done so."""
        with self.transact(write=False) as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(7237126)")
            cursor.execute(_IS_STORE)
            if cursor.fetchone() is None:
                for statement in TABLES:
                    cursor.execute(statement)

    @contextmanager
    def transact(self, *, write: bool, forced: bool = True) -> Iterator[Cursor]:
        """Open one transaction. A writer locks the table against other writers until its commit, so
        positions become visible in their order and a reader that follows misses none."""
        try:
            with (
                self.datastore.get_connection() as connection,
                connection.transaction(),
                connection.cursor(row_factory=tuple_row) as raw,
            ):
                if write:
                    raw.execute(
                        SQL("SET LOCAL lock_timeout = {}").format(int(self.lock_timeout * 1000))
                    )
                    waits = self.synchronous_commit if forced else "off"
                    raw.execute(SQL("SET LOCAL synchronous_commit = {}").format(waits))
                    raw.execute("LOCK TABLE events IN EXCLUSIVE MODE")
                yield _Cursor(raw)
        except (psycopg.IntegrityError, persistence.IntegrityError) as error:
            raise persistence.IntegrityError(error) from error
        except UnicodeEncodeError as error:
            raise not_text(error) from None
        except (psycopg.DataError, persistence.DataError) as error:
            raise InputError(_line(error)) from error
        except (psycopg.Error, EventSourcingError) as error:
            if isinstance(error.__context__, psycopg.OperationalError):
                self.datastore.pool.check()  # others may be lost too, and are made anew
            raise UnavailableError(f"{self.shown}: {self._hint(error)}") from None

    def _hint(self, error: Exception) -> str:
        """Return what an error of PostgreSQL means, and what to do next."""
        if self._closed:
            return CLOSED
        if "lock timeout" in str(error):
            return f"locked by another process for {self.lock_timeout:g} s: try again"
        line = _line(error)
        if "permission denied" in line or "no schema has been selected" in line:
            return f"{line}: 'backcast help postgresql' tells which rights a user needs"
        if "server closed" in line or "get a connection" in line:
            return f"{line}: is the server gone? What was written is kept, try again"
        return line

    def problems(self) -> Iterator[str]:
        """Yield nothing: PostgreSQL checks its pages when it reads them."""
        return iter(())

    def close(self) -> None:
        """Close the connections."""
        self.datastore.close()
        self._closed = True

    _closed = False


# The table itself is asked: what to_regclass remembers can be older than a lock just taken.
_IS_STORE = (
    "SELECT 1 FROM pg_class"
    " WHERE relname='backcast' AND relnamespace=current_schema()::regnamespace"
)


def _shown(user: str, host: str, name: str) -> str:
    """Return the address of a database, without a password and what else it states."""
    login = f"{user}@" if user else ""
    if host.startswith("/"):  # the folder of a socket
        return f"postgresql://{login}/{name}?host={host}"
    return f"postgresql://{login}{host}/{name}"


def _line(error: Exception) -> str:
    return _PLACE.sub("", (str(error) or type(error).__name__).splitlines()[0])


def _translated(sql: str) -> Any:
    return sql.replace("%", "%%").replace("?", "%s")
