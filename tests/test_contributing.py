"""Each register that a new thing has to stand in names all that the others name."""

import re
from collections.abc import Iterable
from pathlib import Path

from backcast.engine.interfaces.commands.import_ import command as importing
from backcast.engine.interfaces.commands.show import SHOWN
from backcast.engine.interfaces.empty import FILLED_BY
from backcast.engine.interfaces.found_logs import FOLDERS
from backcast.engine.interfaces.views import VIEWS
from backcast.engine.log.importers.recognised import NAMES
from backcast.engine.log.importers.same_session import LOGS
from backcast.engine.log.importers.versions import MODULES, OWN
from tests.test_importers import FORMATS

ROOT = Path(__file__).parent.parent
OTHERWISE = {"git", OWN, "raw-bodies", "opencode"}
"Formats that are no single file of foreign lines, and have tests of their own."
NOT_OF_AGENTS = {"git", OWN, "raw-bodies", "otlp"}
"Formats that the README names elsewhere, or by another name."


def lacks(place: str, needed: Iterable[str], found: Iterable[str]) -> str:
    """What a place lacks, or names and should not; empty where it is as needed."""
    missing, odd = sorted({*needed} - {*found}), sorted({*found} - {*needed})
    parts = [f"lacks {', '.join(missing)}"] if missing else []
    parts += [f"has no use for {', '.join(odd)}"] if odd else []
    return f"{place} {' and '.join(parts)}" if parts else ""


def test_each_format_is_a_word_of_import_and_known_by_its_files() -> None:
    of_files = set(MODULES) - {"git"}
    assert not lacks("engine/interfaces/commands/import_.py", MODULES, importing.commands)
    assert not lacks("NAMES of engine/log/importers/recognised.py", of_files, NAMES)


def test_each_format_has_a_row_of_help() -> None:
    page = (ROOT / "engine/interfaces/help/importing.md").read_text()
    rows = re.findall(r"^\| (`.+?) \|", page, re.M)
    named = {name for row in rows for name in re.findall(r"`([a-z-]+)`", row)}
    assert not lacks("The table of engine/interfaces/help/importing.md", MODULES, named)


def test_each_format_is_tried_with_odd_lines() -> None:
    needed, found = set(MODULES) - OTHERWISE, {format.FORMAT for format in FORMATS}
    assert not lacks("FORMATS of tests/test_importers.py", needed, found)


def test_each_format_is_named_by_the_readme() -> None:
    text = " ".join((ROOT / "README.md").read_text().split())
    [agents] = re.findall(r"Agents' files are those of (.*?)\(`backcast help importing`\)", text)
    words = agents.lower().replace(" code", "-code")
    found = {name for name in MODULES if re.search(rf"\b{name}\b", words)}
    assert not lacks("README.md ('Agents' files are')", set(MODULES) - NOT_OF_AGENTS, found)


def test_each_agent_whose_logs_are_found_is_known_where_a_proxy_recorded_it_too() -> None:
    assert not lacks("LOGS of engine/log/importers/same_session.py", FOLDERS, LOGS)
    page = (ROOT / "engine/interfaces/help/agents.md").read_text()
    found = {name for name in FOLDERS if re.search(rf"^\|.*`{name}`", page, re.M)}
    assert not lacks("engine/interfaces/help/agents.md", FOLDERS, found)


def test_each_projection_that_is_shown_has_a_view_and_tells_why_it_is_empty() -> None:
    views, reasons = set(VIEWS) & set(SHOWN), set(FILLED_BY) & set(SHOWN)
    assert not lacks("VIEWS of engine/interfaces/views.py", SHOWN, views)
    assert not lacks("FILLED_BY of engine/interfaces/empty.py", SHOWN, reasons)
