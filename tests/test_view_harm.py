"""`backcast view` in a real browser: logs and sites that mean harm, and stores that are broken."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from backcast.domain.context_events import ContextBuilt, ContextItem
from backcast.domain.events import Claim, Fact, StepStarted
from backcast.engine.interfaces import cli
from backcast.engine.log.blobs import Blob
from backcast.engine.log.store import EventStore
from tests.browsers import Browser, browser, viewed
from tests.hostile_log import AGENTS, IMAGE, LINE, SCRIPT, write, write_agents
from tests.test_view_browser import written

TILL = "fixtures/logs/till.jsonl"
HARM = (
    "main script, main img, main iframe, main link, main svg [onload], header script,"
    " a[href^='javascript' i], dialog script"
)


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("chromium")) as found:
        yield found


def imported(folder: Path) -> str:
    """Import the till run, and return its store."""
    url = f"sqlite:///{folder / 'run.db'}"
    with pytest.raises(SystemExit):
        cli.main(["import", "events", TILL, "--store", url])
    return url


# Harm


@pytest.mark.parametrize("form", ["live", "file"])
def test_a_hostile_log_runs_nothing_and_fetches_nothing(
    chromium: Browser, tmp_path: Path, form: str
) -> None:
    task = write(tmp_path / "evil.db")
    store = f"sqlite:///{tmp_path / 'evil.db'}"
    if form == "file":
        _harmless(chromium, written(tmp_path, task, "--store", store))
        return
    with viewed(task, "--store", store) as address:
        _harmless(chromium, address)


def _harmless(chromium: Browser, address: str) -> None:
    chromium.driver.get("about:blank")
    chromium.asked()
    chromium.complaints()
    chromium.open(address)
    for version in range(1, 15):
        chromium.go(version)
        chromium.js("(document.querySelectorAll('details').forEach(d => { d.open = true }), 1)")
        assert chromium.count(HARM) == 0
        assert chromium.js(
            "[...document.querySelectorAll('*')].flatMap(e => [...e.attributes])"
            ".filter(a => a.name.startsWith('on')).map(a => a.name)"
        ) == []  # fmt: skip
    chromium.go(4)
    assert SCRIPT in chromium.text("#middle")
    assert IMAGE in chromium.text("#middle")
    assert "\\x1b[31mred" in chromium.text("#middle")
    assert "\\u202egnp.exe" in chromium.text("#middle")
    assert f"{LINE + len(SCRIPT) - 60_000:,} characters more" in chromium.text("#middle")
    assert chromium.js("window.hit ?? 0") == 0
    elsewhere = [url for url in chromium.asked() if not url.startswith((address, "data:"))]
    assert elsewhere == []
    assert chromium.complaints() == []


@pytest.mark.parametrize("form", ["live", "file"])
@pytest.mark.parametrize("task", AGENTS)
def test_a_hostile_agents_run_runs_nothing_and_fetches_nothing(
    chromium: Browser, tmp_path: Path, form: str, task: str
) -> None:
    write_agents(tmp_path / "evil.db")
    store = f"sqlite:///{tmp_path / 'evil.db'}"
    given = ["--what-if", "last-1"] if task == "messages" else []
    chromium.driver.get("about:blank")
    chromium.asked()
    chromium.complaints()
    if form == "file":
        _opened_at_each(chromium, written(tmp_path, task, "--store", store, *given))
        return
    with viewed(task, "--store", store) as address:
        _opened_at_each(chromium, address)
        if task == "messages":
            chromium.js("(location.hash = 'w=5:last-1', 1)")
            chromium.until("document.querySelector('.whatif-panel pre.pin')")
            assert chromium.count(HARM) == 0
            assert chromium.complaints() == []


def _opened_at_each(chromium: Browser, address: str) -> None:
    chromium.open(address)
    for version in range(1, 6):
        chromium.go(version)
        chromium.js("(document.querySelectorAll('details').forEach(d => { d.open = true }), 1)")
        assert chromium.count(HARM) == 0
        assert SCRIPT in chromium.text("#middle")
    assert chromium.js("window.hit ?? 0") == 0
    elsewhere = [url for url in chromium.asked() if not url.startswith((address, "data:"))]
    assert [url for url in elsewhere if url != "about:blank"] == []
    assert chromium.complaints() == []


def test_another_site_reaches_nothing_by_its_name_or_by_a_form(tmp_path: Path) -> None:
    rebound = "--host-resolver-rules=MAP evil.test 127.0.0.1"
    with viewed(TILL) as address, browser(tmp_path, more=(rebound,)) as found:
        port = address.rstrip("/").rpartition(":")[2]
        found.driver.get(f"http://evil.test:{port}/")
        page = found.driver.find_element("css selector", "body").text
        assert page == "needed the address that was printed, found another Host"
        site = tmp_path / "site.html"
        site.write_text(
            f"<form method=post action='{address}whatif'><input name=w value=79>"
            "<input name=policy value=no-cache></form>"
            f"<script>onload = () => fetch('{address}step?e=79').then(r => r.text())"
            ".then(t => document.title = t, e => document.title = 'kept away')</script>"
        )
        found.driver.get(site.as_uri())
        found.until("document.title !== '' && document.title !== 'site.html'")
        assert found.js("document.title") == "kept away"
        found.js("(document.forms[0].submit(), 1)")
        found.until("location.protocol === 'http:' && document.body !== null")
        page = found.driver.find_element("css selector", "body").text
        assert page.startswith("needed a request of the page itself, found")


# Stores that are broken


def test_a_damaged_event_is_named_on_the_page_and_the_rest_is_shown(
    chromium: Browser, tmp_path: Path
) -> None:
    url = imported(tmp_path)
    with closing(sqlite3.connect(tmp_path / "run.db")) as raw, raw:
        raw.execute("DROP TRIGGER events_are_not_rewritten")
        raw.execute("UPDATE events SET writer='bob' WHERE position=28")
    with viewed("till", "--store", url) as live:
        for address in (live, written(tmp_path, "till", "--store", url)):
            chromium.open(address)
            assert "event 28" in chromium.text(".banner")
            chromium.go(28)
            assert "which cannot be read" in chromium.text("#moment h2")
            chromium.press("j")
            chromium.until("document.querySelector('#step').dataset.first === '30'")
            assert chromium.text("#prompt .badge.same") == "rebuilt: same bytes"


def test_the_page_goes_on_while_another_process_writes(chromium: Browser, tmp_path: Path) -> None:
    """One that keeps all others out gets a line instead: the page is not opened at all then."""
    url = imported(tmp_path)
    with viewed("till", "--store", url) as address:
        chromium.open(address)
        with closing(sqlite3.connect(tmp_path / "run.db", isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            chromium.go(73)
            assert "Step 13 of 36" in chromium.text("#step h2")
            assert chromium.text("#prompt .badge.same") == "rebuilt: same bytes"
            other.execute("ROLLBACK")


def test_a_step_whose_texts_are_gone_says_so_in_their_place(
    chromium: Browser, tmp_path: Path
) -> None:
    url, kept = f"sqlite:///{tmp_path / 'gone.db'}", Blob(b"def here(): ...")
    items = (ContextItem(node="module:a.py", text=Blob(b"gone").ref, tokens=3),
             ContextItem(node="module:b.py", text=kept.ref, tokens=3))  # fmt: skip
    facts: list[Fact] = [StepStarted(kind="code"), ContextBuilt(items=items, tokens=9)]
    with EventStore.open(url) as store:
        claims = [Claim(fact, None, "loop", ()) for fact in facts]
        store.append("t", claims, after=0, blobs=[kept])
    with viewed("t", "--store", url) as live:
        for address in (live, written(tmp_path, "t", "--store", url)):
            chromium.open(address)
            assert "the messages cannot be put together" in chromium.text("#prompt")
            assert "[this text cannot be read: " in chromium.text("#prompt .item")
            assert "def here(): ..." in chromium.text("#prompt")


def test_a_page_without_javascript_still_shows_the_prompt(tmp_path: Path) -> None:
    file = written(tmp_path, f"{TILL}@164")
    with viewed(TILL) as till, browser(tmp_path, script=False) as plain:
        for address in (f"{till}?e=164", file):
            plain.driver.get(address)
            plain.driver.find_element("css selector", "details.seen > summary").click()
            page = plain.driver.find_element("css selector", "#middle").text
            assert "2,515 of 5,692 tokens used" in page
            assert "def subtotal(items: Iterable[Item]) -> int:" in page
