"""Each register that a new thing has to stand in names all that the others name."""

import re
from pathlib import Path

from backcast.engine.interfaces.commands.import_ import command as importing
from backcast.engine.interfaces.commands.show import PROJECTIONS
from backcast.engine.interfaces.empty import FILLED_BY
from backcast.engine.interfaces.views import VIEWS
from backcast.engine.log.importers.recognised import NAMES
from backcast.engine.log.importers.versions import MODULES, OWN
from tests.test_importers import FORMATS

ROOT = Path(__file__).parent.parent
OTHERWISE = {"git", OWN, "raw-bodies", "opencode"}
"Formats that are no single file of foreign lines, and have tests of their own."


def test_each_format_is_a_word_of_import_and_known_by_its_files() -> None:
    assert set(importing.commands) == set(MODULES)
    assert set(NAMES) == set(MODULES) - {"git"}


def test_each_format_stands_in_its_help_and_is_tried_with_odd_lines() -> None:
    page = (ROOT / "engine/interfaces/help/importing.md").read_text()
    rows = {name for row in re.findall(r"^\| (`.+?) \|", page, re.M) for name in row.split("`")}
    assert set(MODULES) <= rows
    assert {format.FORMAT for format in FORMATS} == set(MODULES) - OTHERWISE


def test_each_projection_that_is_shown_has_a_view_and_tells_why_it_is_empty() -> None:
    assert set(PROJECTIONS) <= set(VIEWS)
    assert set(PROJECTIONS) <= set(FILLED_BY)
