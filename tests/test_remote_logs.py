"""Logs that lie elsewhere are read as files are: from a web server and an S3, both real, here."""

import gzip
import json
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest

from backcast.domain.errors import InputError
from backcast.engine.log import remote
from backcast.engine.log.open_logs import opened
from backcast.engine.log.places import places_of
from backcast.engine.log.remote import copied, copies_kept
from backcast.engine.replay.corpus import ReplayRun
from backcast.engine.replay.kept_scores import ScoreBook
from tests.extras import needs_llama

pytest.importorskip("fsspec", reason="needs backcast[remote]")
pytest.importorskip("aiohttp", reason="needs backcast[remote]")

LOGS = Path(__file__).parents[1] / "fixtures/logs"
TILL = LOGS / "till.jsonl"
ASKED: Counter[tuple[str, str]] = Counter()
"Methods and paths that the web server was asked for."
Ran = tuple[str, str, int]


class Page(SimpleHTTPRequestHandler):
    """A request of a web server: of a file, or of what should not be."""

    def send_head(self) -> Any:
        """Answer as the path says."""
        ASKED[self.command, self.path] += 1
        match self.path:
            case "/cut.jsonl":
                self.send_response(200)
                self.send_header("Content-Length", str(TILL.stat().st_size))
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(TILL.read_bytes()[:50_000])
            case "/file.jsonl":
                self.send_response(302)
                self.send_header("Location", TILL.as_uri())
                self.end_headers()
            case "/denied.jsonl":
                self.send_error(403)
            case "/broken.jsonl":
                self.send_error(503)
            case "/key.jsonl?key=secret":
                self.path = "/till.jsonl"
                return super().send_head()
            case _:
                return super().send_head()
        return None

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def web(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a web server with some logs."""
    folder = tmp_path / "site"
    (folder / "runs/deep").mkdir(parents=True)
    for name in ("till", "runs/validators", "runs/deep/palindrome"):
        source = LOGS / f"{name.rpartition('/')[2]}.jsonl"
        (folder / f"{name}.jsonl").write_bytes(source.read_bytes())
    (folder / "runs/shop.jsonl.gz").write_bytes(gzip.compress((LOGS / "shop.jsonl").read_bytes()))
    (folder / "runs/notes.txt").write_text("no log\n")
    (folder / "none").mkdir()
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    ASKED.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Page, directory=folder)) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """The address of an S3 with a bucket."""
    pytest.importorskip("s3fs", reason="needs backcast[remote]")
    server = pytest.importorskip("moto.server", reason="needs moto, flask and flask-cors")
    boto3 = pytest.importorskip("boto3")
    served = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    served.start()
    host, port = served.get_host_and_port()
    client = boto3.client(
        "s3", endpoint_url=f"http://{host}:{port}", region_name="us-east-1",
        aws_access_key_id="me", aws_secret_access_key="secret",
    )  # fmt: skip
    client.create_bucket(Bucket="bucket")
    for name in ("validators", "deep/palindrome"):
        source = LOGS / f"{name.rpartition('/')[2]}.jsonl"
        client.put_object(Bucket="bucket", Key=f"runs/{name}.jsonl", Body=source.read_bytes())
    for key in ("runs/notes.txt", "other/notes.txt"):
        client.put_object(Bucket="bucket", Key=key, Body=b"no log")
    yield f"http://{host}:{port}"
    client.close()
    served.stop()


@pytest.fixture
def s3(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings by which the S3 is found, as anybody sets them."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "me")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


class Bucket(BaseHTTPRequestHandler):
    """A request of a Google Cloud Storage, as far as it is asked here."""

    def do_GET(self) -> None:
        """Answer with a list, with what is known of an object, or with its body."""
        parts = urlsplit(self.path)
        asked = dict(parse_qsl(parts.query))
        key = unquote(parts.path.partition("/b/bucket/o")[2]).removeprefix("/")
        source = LOGS / f"{PurePosixPath(key).stem}.jsonl"
        objects = [{"name": name, "bucket": "bucket", "size": "1", "etag": "e"}
                   for name in ("runs/palindrome.jsonl", "runs/validators.jsonl", "runs/notes.txt")
                   if name.startswith(asked.get("prefix", ""))]  # fmt: skip
        if not key:
            self.say(200, json.dumps({"items": objects}).encode())
        elif not source.is_file():
            self.say(404, b"{}")
        elif asked.get("alt") == "media":
            self.say(200, source.read_bytes())
        else:
            about = {"name": key, "bucket": "bucket", "size": source.stat().st_size, "etag": "e"}
            self.say(200, json.dumps(about).encode())

    def say(self, status: int, body: bytes) -> None:
        """Send an answer."""
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def test_logs_in_a_google_cloud_storage_are_verified(
    backcast: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("gcsfs", reason="needs backcast[gcs]")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with ThreadingHTTPServer(("127.0.0.1", 0), Bucket) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{server.server_port}")
        out, err, code = backcast("verify", "gs://bucket/runs/")
        gone = backcast("verify", "gs://bucket/runs/gone.jsonl")
        server.shutdown()
        thread.join()
    assert (out.count("rebuilt: same; derived: same"), code) == (6, 0)
    assert err.splitlines() == [
        "backcast: note: gs://bucket/runs/: left out 1 file not named as logs:"
        " gs://bucket/runs/notes.txt",
        "6 prompts, 0 failed",
    ]
    assert gone[1].startswith("backcast: gs://bucket/runs/gone.jsonl: needed a log that can be")


def test_a_log_on_a_web_server_is_that_of_the_file(web: str) -> None:
    with opened(f"{web}/till.jsonl") as log, opened(str(TILL)) as here:
        assert log.name == f"{web}/till.jsonl"
        assert (log.tasks, log.problems) == (here.tasks, here.problems)
        events = [event._replace(recorded_at=event.timestamp) for event in log.store.read("till")]
        assert events == [
            event._replace(recorded_at=event.timestamp) for event in here.store.read("till")
        ]


def test_names_on_a_web_server_are_those_on_its_index_page(web: str) -> None:
    names = (f"{web}/runs/shop.jsonl.gz", f"{web}/runs/validators.jsonl")
    assert places_of(f"{web}/runs/") == (names, (f"{web}/runs/notes.txt",))
    assert places_of(f"{web}/*/*.jsonl").names == names[1:]
    assert places_of(f"{web}/runs/validators.jsonl?v=*").names == (
        f"{web}/runs/validators.jsonl?v=*",
    )


def test_names_in_an_s3(s3: None) -> None:
    deep, flat = "s3://bucket/runs/deep/palindrome.jsonl", "s3://bucket/runs/validators.jsonl"
    assert places_of("s3://bucket/runs").names == (deep, flat)
    assert places_of("s3://bucket/runs/") == ((deep, flat), ("s3://bucket/runs/notes.txt",))
    assert places_of("s3://bucket/runs/*.jsonl").names == (flat,)
    assert places_of("s3://bucket/**/*.jsonl").names == (deep, flat)


@needs_llama
def test_logs_are_verified_wherever_they_lie(
    backcast: Callable[..., Ran], web: str, s3: None
) -> None:
    out, err, code = backcast(
        "verify", f"{web}/runs/", "s3://bucket/runs/**/*.jsonl", str(TILL), f"{web}/till.jsonl#till"
    )
    assert Counter(line.split("@")[0] for line in out.splitlines()) == {
        "validators": 10, "palindrome": 1, "till": 68
    }  # fmt: skip
    assert err.splitlines()[-1] == "79 prompts, 0 failed"
    assert code == 0


def test_regress_gives_the_same_by_workers_who_fetch_nothing_again(
    backcast: Callable[..., Ran], web: str
) -> None:
    command = ("--policy", "hierarchical", "--processes", 2, "--report")
    code = backcast("regress", f"{web}/till.jsonl", *command, "there.json")[2]
    asked = dict(ASKED)
    assert backcast("regress", str(TILL), *command, "here.json")[2] == code == 0
    assert asked["GET", "/till.jsonl"] == 1
    there, here = (
        Path(f"{place}.json").read_text().replace(name, "LOG")
        for place, name in (("there", f"{web}/till.jsonl"), ("here", str(TILL)))
    )
    assert there == here


def test_events_are_imported_from_an_s3(backcast: Callable[..., Ran], s3: None) -> None:
    out, _, code = backcast("import", "events", "s3://bucket/runs/")
    assert out.splitlines() == [
        "s3://bucket/runs/deep/palindrome.jsonl: added 19 events (19 to task palindrome), 0 known"
        " already, 0 skipped",
        "s3://bucket/runs/validators.jsonl: added 42 events (42 to task validators), 0 known"
        " already, 0 skipped",
        "2 of 2 logs imported: added 61 events, 0 known already, 0 skipped",
    ]
    assert code == 0
    out, _, code = backcast("import", "swe-agent", "s3://bucket/runs/validators.jsonl")
    assert (out, code) == ("", 2)


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("gone.jsonl", "needed a log that can be read, found none there: is the name right?"),
        ("gone/", "needed a log that can be read, found none there: is the name right?"),
        ("denied.jsonl", "needed a log that can be read, found that it may not be read: are there"
         " credentials for it, and are they the right ones?"),
        ("broken.jsonl", "needed a log that can be read, found the answer HTTP 503"),
        ("none/", "needed a folder with logs (.jsonl, .jsonl.gz, .jsonl.zst), found none"),
        ("runs/*.none", "needed a pattern that matches a log (.jsonl, .jsonl.gz, .jsonl.zst), found"
         " none"),
        ("**/*.jsonl", "needed a pattern without ** for a web server, found one"),
        ("runs/notes.txt", "needed a log that 'backcast export' wrote, found line 1: "),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_one_line_and_the_rest_goes_on(
    backcast: Callable[..., Ran], web: str, path: str, line: str
) -> None:
    out, err, code = backcast("verify", f"{web}/{path}", f"{web}/runs/validators.jsonl")
    first, last = err.splitlines()
    assert first.startswith(f"backcast: {web}/{path}: {line}")
    assert (len(out.splitlines()), last, code) == (5, "5 prompts, 0 failed", 2)


@pytest.mark.parametrize(
    ("url", "line"),
    [
        ("s3://bucket/gone.jsonl", "found none there: is the name right?"),
        ("s3://nobucket/gone.jsonl", "found none there: is the name right?"),
        ("s3://bucket/gone/", "needed a folder with logs (.jsonl, .jsonl.gz, .jsonl.zst), found"
         " none"),
        ("s3://bucket/other/", "found none among 1, such as s3://bucket/other/notes.txt"),
        ("http://127.0.0.1:1/a.jsonl", "needed a log that can be read, found ClientConnectorError"),
        ("http://me:secret@127.0.0.1:1/a.jsonl", "http://...@127.0.0.1:1/a.jsonl: needed"),
        ("ftp://me:secret@host/a.jsonl", "ftp://...@host/a.jsonl: needed a path, or a URL of"
         " sqlite://, postgresql://, https://, http://, s3:// or gs://, found ftp://"),
        ("file:///etc/passwd", "needed a path, or a URL of"),
        ("simplecache::s3://bucket/a.jsonl", "needed a path, or a URL of"),
    ],
)  # fmt: skip
def test_a_place_that_is_none_is_one_line(s3: None, url: str, line: str) -> None:
    with pytest.raises(InputError) as refused, opened(places_of(url).names[0]):
        pass
    assert line in str(refused.value)
    assert "secret" not in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_server_cannot_lead_to_a_file_of_this_machine(web: str) -> None:
    with (
        pytest.raises(InputError, match="needed a log that can be read"),
        opened(f"{web}/file.jsonl"),
    ):
        pass


def test_a_log_that_is_cut_on_its_way_is_read_so_far_and_named(
    backcast: Callable[..., Ran], web: str
) -> None:
    out, err, code = backcast("verify", f"{web}/cut.jsonl")
    assert 0 < len(out.splitlines()) < 34
    torn, cut, _ = err.splitlines()
    assert torn.startswith(f"backcast: skipped {web}/cut.jsonl: line ")
    size = TILL.stat().st_size
    assert cut.startswith(
        f"backcast: skipped {web}/cut.jsonl: needed all {size:,} bytes, found 50,000: cut while it"
        " was read ("
    )
    assert code == 1


def test_a_key_in_an_address_is_never_shown(backcast: Callable[..., Ran], web: str) -> None:
    url = f"{web.replace('//', '//me:hidden@')}/key.jsonl?key=secret"
    out, err, code = backcast(
        "regress", url, "--policy", "hierarchical", "--report", "r.json", "--report", "r.md"
    )
    written = Path("r.json").read_text() + Path("r.md").read_text()
    assert code == 0
    for secret in ("secret", "hidden"):
        assert secret not in out + err + written
    # And such a report is a baseline of the same log.
    ran = backcast("regress", url, "--policy", "recorded", "--baseline", "r.json")
    assert (ran[2], "lacks" in ran[1]) == (0, False)
    shown = f"{web.replace('//', '//...@')}/key.jsonl?..."
    assert ReplayRun(url, "till", 34).name == f"{shown}: till"


def test_a_copy_is_kept_while_the_log_stays_the_same(web: str, tmp_path: Path) -> None:
    url, file = f"{web}/runs/validators.jsonl", tmp_path / "site/runs/validators.jsonl"
    with copied(url) as copy:
        assert copy.path.read_bytes() == file.read_bytes()
    assert not copy.path.exists()
    ASKED.clear()
    with copies_kept():
        for _ in range(3):
            with copied(url) as copy:
                assert copy.path.name == "validators.jsonl"
        assert ASKED["GET", "/runs/validators.jsonl"] == 1
        file.write_bytes(TILL.read_bytes())
        with copied(url) as copy:
            assert copy.path.read_bytes() == TILL.read_bytes()
    assert not copy.path.exists()


def test_a_log_that_has_no_end_is_given_up(web: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "LARGEST", 100_000)
    with pytest.raises(InputError) as refused, opened(f"{web}/till.jsonl"):
        pass
    size = TILL.stat().st_size
    assert str(refused.value) == f"{web}/till.jsonl: needed at most 100,000 bytes, found {size:,}"


def test_scores_of_a_log_elsewhere_need_a_file(web: str) -> None:
    with opened(f"{web}/runs/validators.jsonl") as log:
        assert ScoreBook.beside(log.store, log.name).unkept == (
            f"{web}/runs/validators.jsonl lies elsewhere: needed --scores FILE"
        )


@pytest.mark.parametrize(
    ("library", "url", "extra"),
    [("aiohttp", "https://host/a.jsonl", "remote"), ("s3fs", "s3://bucket/a.jsonl", "remote"),
     ("gcsfs", "gs://bucket/a.jsonl", "gcs"), ("fsspec", "s3://bucket/a.jsonl", "remote")],
)  # fmt: skip
def test_what_is_not_installed_is_named(library: str, url: str, extra: str) -> None:
    program = (
        f"import sys; sys.modules[{library!r}] = None;"
        "from backcast.engine.interfaces.cli import main; main()"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program, "verify", url], capture_output=True, text=True, check=False
    )
    scheme = url.partition(":")[0]
    needs = f"needs the extra '{extra}': pip install 'backcast[{extra}]'"
    least = {"remote": "light", "gcs": "all"}[extra]  # which brings it into a clone
    line = f"backcast: {scheme}:// {needs}, or in a clone scripts/install {least}\n"
    assert (ran.returncode, ran.stdout, ran.stderr) == (2, "", line)
