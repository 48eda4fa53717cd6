"""`backcast view` in a real browser: what one sees, moves and finds, and that no log does harm."""

import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from backcast.engine.interfaces.cli import main
from backcast.engine.interfaces.view.file import RunNames, whole_page
from backcast.engine.log import EventStore
from backcast.engine.memory.import_log import run
from tests.browsers import ROOT, Browser, browser, viewed

TILL = "fixtures/logs/till.jsonl"
AGENT = "fixtures/recorded/agent.jsonl"
FORGOTTEN = "fixtures/recorded/forgotten.jsonl"


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("chromium")) as found:
        yield found


@pytest.fixture(scope="module")
def till(chromium: Browser) -> Iterator[str]:
    with viewed(TILL) as address:
        yield address


def written(folder: Path, *arguments: str) -> str:
    """Write a run as a file by the command, and return its address."""
    file = folder / "run.html"
    command = [str(Path(sys.executable).with_name("backcast")), "view", *arguments]
    subprocess.run([*command, "--html", str(file)], cwd=ROOT, check=True, capture_output=True)
    return file.as_uri()


@pytest.fixture(params=["live", "file"])
def address(request: pytest.FixtureRequest, till: str, tmp_path: Path) -> str:
    """The till run as a page that is served, and as a file."""
    return till if request.param == "live" else written(tmp_path, TILL)


def test_one_told_to_find_why_a_step_failed_finds_it(chromium: Browser, address: str) -> None:
    chromium.open(f"{address}#e=73")
    chromium.go(73)
    assert "Step 13 of 36: code orders.py #1" in chromium.text("#step h2")
    assert "checks failed" in chromium.text("#step h2 .mark")
    assert "test_a_name_may_have_several_words" in chromium.text("#step .why")
    assert "found '2 x Green Tea 3.20'" in chromium.text("#step .why")
    assert chromium.text("#prompt .badge.same") == "rebuilt: same bytes"
    shown = chromium.text("#prompt .said")
    assert "1,026 of 5,692 tokens used, 4,666 free, 2,500 kept for the answer" in shown
    assert "used, and not shown" not in chromium.text("details.out")


def test_what_the_prompt_of_a_failed_step_lacked_stands_beside_the_failure(
    chromium: Browser, tmp_path: Path
) -> None:
    with viewed(FORGOTTEN) as live:
        for address in (live, written(tmp_path, FORGOTTEN)):
            chromium.open(address)
            chromium.press("/")
            chromium.press("step 12")
            chromium.press("\ue007")
            chromium.until("document.querySelector('#step h2')?.textContent.includes('Step 12')")
            assert "cannot import name 'format_cents'" in chromium.text("#step .why")
            assert chromium.text("#step .lacked") == (
                "Its prompt did not show what the accepted code of step 13 then used:"
                " function:money.py::to_text (over budget)"
            )
            assert "from money import format_cents" in chromium.text("#step td .sub")
            chromium.js("(document.querySelector('#step .lacked [data-item]').click(), 1)")
            chromium.until("document.querySelector('details.out .item.on')")
            row = "document.querySelector('details.out .item.on').closest('tr')"
            assert "the room for what is known of the code was full" in chromium.js(
                f"{row}.textContent"
            )
            top, nav = chromium.js(
                f"[{row}, document.querySelector('nav')].map(e => e.getBoundingClientRect())"
                ".map((r, at) => at ? r.bottom : r.top)"
            )
            assert nav <= top <= 900
            said = "What is known of the code may take 500 of them, whatever else is free, and took"
            assert f"{said} 417 and about 73 for its headings" in chromium.text("#prompt .budget")
            assert "Its tokens went to function:orders.py::read_line" in chromium.text(
                "#step .note"
            )
            assert "yet it stands in the text of another item" in chromium.text("details.out")
            chromium.go(90)
            assert "Used, and shown by the bare name alone: failure:87.1" in chromium.text(
                "details.out .bad"
            )
            assert "never offered" not in chromium.text("details.out").casefold()


def test_what_fell_out_says_whether_the_accepted_code_used_it(
    chromium: Browser, address: str
) -> None:
    chromium.open(address)
    chromium.go(124)
    assert "What fell out" in chromium.text("details.out summary")
    rows = chromium.count("details.out tbody tr")
    assert rows > 0
    assert chromium.js("[...document.querySelectorAll('details.out tbody tr')].every("
                       "row => row.cells.length >= 3 && row.cells[2].textContent)")  # fmt: skip


def test_the_slider_and_the_keys_move_every_panel(chromium: Browser, address: str) -> None:
    chromium.open(address)
    chromium.go(25)
    assert "None by then: modules, summaries, map." in chromium.text("#moment")
    chromium.js("(s => { s.value = 27; s.dispatchEvent(new Event('input')) })"
                "(document.getElementById('slider'))")  # fmt: skip
    chromium.until("document.querySelector('#moment h2 b').textContent === '27'")
    assert "Modules: 1" in chromium.text("#moment")
    chromium.press("j")
    chromium.until("document.querySelector('#step').dataset.first === '30'")
    assert "Step 4 of 36" in chromium.text("#step h2")
    chromium.press("n")
    chromium.until("document.querySelector('#step').dataset.first === '62'")
    assert chromium.text("#steps .on .number") == "11"
    assert "Modules: 2" in chromium.text("#moment")


def test_two_prompts_show_where_they_part(chromium: Browser, address: str) -> None:
    chromium.open(address)
    chromium.go(79)
    chromium.press("d")
    chromium.until("document.querySelector('#difference')")
    assert "708 tokens are the same" in chromium.text("#difference")
    assert "666 tokens must be read again" in chromium.text("#difference")
    assert chromium.text("#difference .is-in") == "+ came"
    assert chromium.js("location.hash") == "#d=73..79"
    chromium.press("\ue00c")  # Esc leads back to the step
    chromium.until("document.querySelector('#step')")


def test_a_file_holds_every_two_prompts_of_a_run_and_names_a_command_for_what_it_lacks(
    chromium: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    chromium.open(f"{written(tmp_path, TILL)}#d=16..164")
    chromium.until("document.querySelector('#difference')")
    assert "Two prompts: #16 and #164" in chromium.text("#difference h2")
    monkeypatch.setattr("backcast.engine.interfaces.view.file.PAIRED", 0)
    url = f"sqlite:///{tmp_path}/it's here.db"
    with EventStore.open(url) as store:
        run(store, "events", ROOT / TILL)
        text, _ = whole_page(store, "till", 79, [], redact=False, names=RunNames("", url))
    (tmp_path / "few.html").write_text(text, encoding="utf-8")
    chromium.open(f"{(tmp_path / 'few.html').as_uri()}#d=16..164")
    chromium.until("document.querySelector('#middle').textContent.includes('does not hold')")
    lacked = "This file does not hold that difference: "
    command = chromium.text("#middle").removeprefix(lacked)
    assert command.startswith("backcast diff till@16 till@164 --store ")
    with pytest.raises(SystemExit) as end:
        main(shlex.split(command)[1:])
    assert end.value.code in (0, None), capfd.readouterr().err
    assert capfd.readouterr().out.startswith("till, from plan to code money.py")


def test_another_policy_is_asked_for_and_pinned(chromium: Browser, till: str) -> None:
    chromium.open(till)
    chromium.go(79)
    chromium.press("x")
    chromium.js(
        "(form => { form.policy.value = 'coverage'; form.toml.value = 'errors = 0';"
        " form.requestSubmit() })(document.querySelector('form.whatif'))"
    )
    chromium.until("document.querySelector('.whatif-panel pre.pin')")
    assert "Lost: failure:76.1" in chromium.text("#difference")
    assert "Over the run: 34 prompts" in chromium.text("#difference")
    assert chromium.text("pre.pin") == 'base = "coverage"\nerrors = 0'
    assert chromium.count("#difference .copy") == 3
    chromium.js("(document.querySelector('.copy').click(), 1)")
    chromium.until("document.querySelector('.copy').textContent !== 'copy'")
    chromium.js("(document.querySelector('form.whatif').toml.value = 'errors = [', 1)")
    chromium.js("(document.querySelector('form.whatif').requestSubmit(), 1)")
    chromium.until("document.querySelector('#difference .bad').textContent.includes('TOML')")
    assert "this cannot be told: the policy: needed TOML" in chromium.text("#difference .bad")
    assert chromium.js("document.querySelector('form.whatif').toml.value") == "errors = ["
    chromium.js("(document.activeElement.blur(), 1)")
    chromium.press("\ue00c")
    chromium.until("document.querySelector('#step')")


def test_what_if_has_an_address_and_begins_with_all_named_policies(
    chromium: Browser, till: str
) -> None:
    chromium.open(f"{till}#e=79")
    chromium.go(79)
    chromium.press("x")
    chromium.press("\ue007")
    chromium.js("(document.querySelector('form.whatif').requestSubmit(), 1)")
    chromium.until("document.querySelectorAll('.whatif-panel tbody tr').length === 7")
    assert chromium.js("decodeURIComponent(location.hash)") == "#w=79:all"
    chromium.js("([...document.querySelectorAll('.whatif-panel td a')].find(a =>"
                " a.textContent === 'no-cache').click(), 1)")  # fmt: skip
    chromium.until("document.querySelector('.whatif-panel pre.pin')")
    assert "What if: no-cache" in chromium.text("#difference h2")
    assert chromium.js("location.hash") == "#w=79:no-cache"
    chromium.driver.back()
    chromium.until("document.querySelectorAll('.whatif-panel tbody tr').length === 7")
    chromium.open(f"{till}?again#w=79:no-cache")
    chromium.until("document.querySelector('.whatif-panel pre.pin')")


def test_a_link_to_a_what_if_shows_no_other_step_while_it_is_worked_out(
    chromium: Browser, till: str
) -> None:
    chromium.open(f"{till}?slow#e=12")
    chromium.go(12)
    wait = "(url, more) => more ? new Promise(() => {}) : asIs(url)"
    chromium.js(f"(asIs = window.fetch, window.fetch = {wait}, location.hash = '#w=79:no-cache')")
    chromium.until("document.querySelector('#middle h2')?.textContent === 'What if: no-cache'")
    assert "computing" in chromium.text("#middle .computing")
    chromium.until("document.querySelector('#moment h2 b')?.textContent === '79'")
    chromium.driver.back()
    chromium.until("document.querySelector('#step h2')")
    chromium.js("(location.hash = '#e=9999', 1)")
    chromium.until("document.querySelector('#live').textContent.startsWith('not shown')")
    assert chromium.text("#live") == "not shown: 185 is the last event"


def test_a_click_on_the_strip_leads_to_its_step_and_the_words_are_explained(
    chromium: Browser, address: str
) -> None:
    chromium.open(address)
    chromium.js("(s => { const b = s.getBoundingClientRect(); s.dispatchEvent(new MouseEvent("
                "'click', { bubbles: true, clientX: b.left + b.width * 72.5 / 185 })) })"
                "(document.querySelector('.strip'))")  # fmt: skip
    chromium.until("document.querySelector('#step')?.dataset.first === '72'")
    chromium.press("?")
    assert chromium.js("document.getElementById('keys').open")
    assert "evidence recall" in chromium.text("#keys")
    chromium.press("\ue00c")


def test_a_file_shows_the_policies_that_were_asked_for(chromium: Browser, tmp_path: Path) -> None:
    chromium.open(written(tmp_path, TILL, "--what-if", "no-cache"))
    chromium.go(79)
    chromium.press("x")
    chromium.press("\ue007")
    chromium.until("document.querySelector('.whatif-panel')")
    assert chromium.js("location.hash") == "#w=79:no-cache"
    assert "evidence recall" in chromium.text("#difference")
    chromium.press("\ue00c")
    chromium.until("document.querySelector('#step')?.dataset.first === '78'")


def test_a_step_is_found_by_its_number_in_the_field_for_searching(
    chromium: Browser, address: str
) -> None:
    chromium.open(address)
    for words, first in (("step 13", "72"), ("#20", "19"), ("step 31", "162")):
        chromium.press("/")
        chromium.js("(document.getElementById('q').value = '', 1)")
        chromium.press(words)
        chromium.press("\ue007")
        chromium.until(f"document.querySelector('#step')?.dataset.first === '{first}'")
        row = "(r => r.on.top >= r.list.top && r.on.bottom <= r.list.bottom)"
        assert chromium.js(
            f"{row}({{ on: document.querySelector('#steps .on').getBoundingClientRect(),"
            " list: document.querySelector('#steps').getBoundingClientRect() })"
        )  # fmt: skip


def test_search_finds_what_was_there_and_leads_to_the_line(chromium: Browser, address: str) -> None:
    chromium.open(address)
    chromium.go(31)
    chromium.press("/")
    chromium.press("def share")
    chromium.press("\ue007")
    chromium.until("document.querySelector('#middle .found')")
    assert all(int(text) <= 31 for text in chromium.js(
        "[...document.querySelectorAll('.found b')].map(b => b.textContent.match(/#(\\d+)/)[1])"
    ))  # fmt: skip
    place = chromium.js(
        "[...document.querySelectorAll('.found')]"
        ".find(a => a.textContent.includes('prompt: ')).getAttribute('href')"
    )
    assert place.startswith("#e=31&i=")
    later = "[...document.querySelectorAll('#middle .note a')].map(a => a.textContent)"
    [event] = chromium.js(later)
    assert int(event.removeprefix("event ")) > 31
    assert chromium.js("[...document.querySelectorAll('.found mark')].every(m =>"
                       " m.textContent.toLowerCase() === 'def share')")  # fmt: skip
    chromium.js("(location.hash = arguments[0], 1)", place)
    chromium.until("document.querySelector('#middle .item.on mark')")
    assert "def share" in chromium.text("#middle .item.on mark")


def test_an_agents_requests_are_shown_by_part(chromium: Browser, tmp_path: Path) -> None:
    with viewed(AGENT) as live:
        for address in (live, written(tmp_path, AGENT)):
            chromium.open(address)
            chromium.go(9)
            assert chromium.text("#prompt .badge.same") == "rebuilt: same bytes"
            assert "213 tokens" in chromium.text("#prompt .said")
            assert "reminders: 23 tokens" in chromium.text("#prompt .budget")
            chromium.press("d")
            chromium.until("document.querySelector('#difference')")
            assert "The prefix holds" in chromium.text("#difference")
            chromium.press("\ue00c")
            chromium.until("document.querySelector('#step')")
            assert chromium.count("form.whatif") == (address == live)
        chromium.open(written(tmp_path, AGENT, "--what-if", "last-1"))
        chromium.go(9)
        chromium.js("(document.querySelector('.whatif a').click(), 1)")
        chromium.until("document.querySelector('.whatif-panel')")
        assert "183 → 138 tokens" in chromium.text("#difference")
        chromium.open(live)
        chromium.go(9)
        chromium.press("x")
        chromium.js("(form => { form.policy.value = 'last-1'; form.requestSubmit() })"
                    "(document.querySelector('form.whatif'))")  # fmt: skip
        chromium.until("document.querySelector('.whatif-panel pre.pin')")
        assert "183 → 138 tokens" in chromium.text("#difference")


def test_a_task_that_goes_on_shows_its_new_steps_and_nothing_else_moves(
    chromium: Browser, tmp_path: Path
) -> None:
    from backcast.domain.events import (
        Claim,
        ModelFailed,
        StepStarted,
        TaskStarted,
    )
    from backcast.engine.log.store import EventStore

    url = f"sqlite:///{tmp_path / 'run.db'}"
    with EventStore.open(url) as store:
        facts = TaskStarted(goal="go"), StepStarted(kind="plan")
        store.append("run", [Claim(fact, None, "loop", ()) for fact in facts], after=0)
        with viewed("run", "--store", url) as address:
            chromium.open(address)
            before = chromium.js("document.getElementById('middle').innerHTML")
            claims = [Claim(StepStarted(kind="code", module_name="a.py"), None, "loop", ()),
                      Claim(ModelFailed(reason="no server"), None, "loop", ())]  # fmt: skip
            store.append("run", claims, after=2)
            chromium.until("document.querySelectorAll('#steps li').length === 3")
            assert chromium.js("document.getElementById('middle').innerHTML") == before
            assert "2 new events" in chromium.text("#live")
            chromium.press("u")
            chromium.until("document.querySelector('#step .why')?.textContent === 'no server'")


def test_a_prompt_of_two_megabytes_is_shown_by_its_parts(chromium: Browser, tmp_path: Path) -> None:
    from backcast.domain.context_events import ContextBuilt, ContextItem
    from backcast.domain.events import Claim
    from backcast.engine.log.blobs import Blob
    from backcast.engine.log.store import EventStore

    bodies = [Blob((f"# part {n}\n" + f"line of part {n}\n" * 620).encode()) for n in range(200)]
    items = tuple(
        ContextItem(node=f"module:part_{n}.py", section="related modules", level="full",
                    text=blob.ref, tokens=3_000)
        for n, blob in enumerate(bodies)
    )  # fmt: skip
    assert sum(len(blob.body) for blob in bodies) > 2_000_000
    url = f"sqlite:///{tmp_path / 'large.db'}"
    with EventStore.open(url) as store:
        fact = ContextBuilt(items=items, tokens=600_000, sections={"related modules": 600_000})
        store.append("large", [Claim(fact, None, "loop", ())], after=0, blobs=bodies)
    with viewed("large", "--store", url) as address:
        chromium.open(address)
        assert chromium.count("#middle .item") == 200
        # The browser lays out what is in sight: no text outside of blocks is long.
        outside = chromium.js(
            "[...document.querySelectorAll('#middle .seen pre')].map(pre => {"
            " const walker = document.createTreeWalker(pre, NodeFilter.SHOW_TEXT); let sum = 0;"
            " for (let node; (node = walker.nextNode());)"
            " if (!node.parentElement.closest('.block')) sum += node.length;"
            " return sum })"
        )
        assert outside
        assert max(outside) < 20_000
        assert chromium.js(
            "[...document.querySelectorAll('#middle .block')].every(block =>"
            " getComputedStyle(block).contentVisibility === 'auto'"
            " && block.textContent.endsWith('\\n'))"
        )
        chromium.js("(location.hash = 'e=1&i=module:part_150.py&l=300', 1)")
        chromium.until("document.querySelector('#middle .item.on mark')")
        assert chromium.text("#middle .item.on mark") == "line of part 150"
        top = "document.querySelector('#middle mark').getBoundingClientRect().top"
        chromium.until(f"0 <= {top} && {top} <= 900")


@pytest.mark.parametrize("width", [1280, 400])
@pytest.mark.parametrize("dark", [False, True])
def test_the_page_fits_wide_and_narrow_and_is_readable_dark_and_light(
    tmp_path: Path, till: str, width: int, dark: bool
) -> None:
    with browser(tmp_path, width, 800, dark=dark) as found:
        found.open(till)
        for version in (16, 79, 164):
            found.go(version)
            assert found.js("document.documentElement.scrollWidth") <= width
        ground, ink = found.js(
            "(s => [s.backgroundColor, s.color].map(c => c.match(/\\d+/g).slice(0, 3)"
            ".reduce((sum, part) => sum + +part, 0)))(getComputedStyle(document.body))"
        )
        assert (ground < ink) == dark
        assert abs(ground - ink) > 500


def test_the_two_arrows_of_trouble_are_honest_and_moving_on_is_one_entry_of_the_history(
    chromium: Browser, till: str
) -> None:
    chromium.open(till)
    ends = "['trouble-before', 'trouble'].map(id => document.getElementById(id).disabled)"
    assert chromium.text("#troubles") == "6 of 6"
    assert chromium.js(ends) == [False, True]
    chromium.js("(document.getElementById('trouble-before').click(), 1)")
    chromium.until("document.getElementById('troubles').textContent === '5 of 6'")
    assert chromium.js(ends) == [False, False]
    chromium.go(30)
    for event in (31, 32, 33):
        chromium.press("\ue014")  # the arrow to the right
        chromium.until(f"location.hash === '#e={event}'")
    chromium.js("(history.back(), 1)")
    chromium.until("location.hash === '#e=30'")
    assert chromium.js("document.title").startswith("till · step 4")


def test_what_was_searched_stands_in_the_address(chromium: Browser, till: str) -> None:
    chromium.open(f"{till}#q=Decimal&e=164")
    chromium.until("document.querySelector('#middle .found')")
    assert chromium.js("document.getElementById('q').value") == "Decimal"
    chromium.js("(document.querySelector('#middle .found').click(), 1)")
    chromium.until("document.querySelector('#step')")
    chromium.js("(history.back(), 1)")
    chromium.until("document.querySelector('#middle .found')")


KEYS = {"down": "\ue015", "up": "\ue013", "home": "\ue011", "end": "\ue010", "page": "\ue00f",
        "enter": "\ue007", "tab": "\ue004", "escape": "\ue00c"}  # fmt: skip


def test_the_list_of_steps_is_one_stop_of_tab_and_is_moved_in_by_arrows(
    chromium: Browser, address: str
) -> None:
    chromium.open(address)
    chromium.go(73)
    assert chromium.count("#steps [role=option]") == chromium.count("#steps li")
    assert chromium.count("#steps [tabindex='0']") == 1
    chromium.js("(document.querySelector('#steps [tabindex=\"0\"]').focus(), 1)")
    focused = "document.activeElement.getAttribute('aria-label')"
    assert chromium.js(focused) == "step 13, code orders.py #1: checks failed"
    for key, said, first in (
        ("down", "step 14, code orders.py #2: checks passed", "78"),
        ("up", "step 13, code orders.py #1: checks failed", "72"),
        ("end", "step 36, checks of the whole task: checks passed", "182"),
        ("home", "before the first step", "1"),
    ):
        chromium.press(KEYS[key])
        chromium.until(f"document.querySelector('#step')?.dataset.first === '{first}'")
        assert chromium.js(focused) == said
        assert chromium.js("document.activeElement.getAttribute('aria-selected')") == "true"
        assert chromium.count("#steps [aria-selected=true]") == 1
    chromium.press(KEYS["page"])
    chromium.until("document.querySelector('#step')?.dataset.first > 40")
    chromium.press(KEYS["enter"])
    assert chromium.js("document.activeElement.tagName") == "H2"


def test_letters_can_be_turned_off_as_keys_and_stay_off(chromium: Browser, till: str) -> None:
    chromium.open(till)
    chromium.go(73)
    chromium.press("?")
    chromium.js("(document.getElementById('letters').click(), 1)")
    chromium.press(KEYS["escape"])
    chromium.until("!document.getElementById('keys').open")
    for again in (False, True):
        if again:
            chromium.open(f"{till}?again#e=73")
            chromium.go(73)
        chromium.press("j", "G", "/", "?")
        assert chromium.js("[location.hash, document.getElementById('keys').open]") == [
            "#e=73", False
        ]  # fmt: skip
    chromium.press("\ue014")
    chromium.until("location.hash === '#e=74'")
    chromium.js("(document.getElementById('letters').click(), 1)")
    chromium.press("j")
    chromium.until("document.querySelector('#step').dataset.first === '78'")


def test_two_moments_show_what_came_went_and_changed(chromium: Browser, address: str) -> None:
    chromium.open(address)
    chromium.go(150)
    chromium.press("m")
    chromium.go(166)
    chromium.press("c")
    chromium.until("document.querySelector('#moments')")
    assert chromium.js("location.hash") == "#c=150..166"
    assert "Two moments: #150 and #166" in chromium.text("#moments h2")
    assert "~ changed money.py" in chromium.text("#moments")
    assert '+def to_text(cents: int, mark: str = ".") -> str:\n' in chromium.text("#moments pre")
    assert "of discounts.py=1, money.py=1 now 2" in chromium.text("#moments")
    assert "+ came failure@162.1" in chromium.text("#moments")
    modules = chromium.text("#moments").partition("Modules: ")[2].partition("Summaries")[0]
    assert modules[0] == "2"
    chromium.press(KEYS["escape"])
    chromium.until("document.querySelector('#step')?.dataset.first === '163'")
    chromium.js("([...document.querySelectorAll('#step .links a')].find(a =>"
                " a.textContent === 'what it changed').click(), 1)")  # fmt: skip
    chromium.until("document.querySelector('#moments h2')?.textContent.includes('#162')")


def test_two_moments_of_a_history_tell_what_the_commits_between_them_changed(
    chromium: Browser, tmp_path: Path
) -> None:
    repository = tmp_path / "shop"
    git = ["git", "-C", str(repository), "-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run(["git", "init", "-q", str(repository)], check=True)
    for number in range(45):
        (repository / f"m{number:02}.py").write_text(f"def f{number}() -> int:\n    ...\n")
    for name in ("m44.py", "m01.py"):
        (repository / name).write_text(f"def g() -> int:\n    {name!r}\n")
        subprocess.run([*git, "add", "."], check=True)
        subprocess.run([*git, "commit", "-qm", name], check=True)
    url = f"sqlite:///{tmp_path}/shop.db"
    with EventStore.open(url) as store:
        run(store, "git", repository)
        last = store.version("shop")
    chromium.open(written(tmp_path, "shop", "--store", url))
    chromium.press("c")
    chromium.until("document.querySelector('#moments')")
    assert chromium.js("location.hash").endswith(f"..{last}")
    assert chromium.text("#moments h3") == "Modules: 1"
    assert chromium.text("#moments p") == "~ changed m01.py#1 #3#2 #94"
    assert "Functions" not in chromium.text("#moments")
