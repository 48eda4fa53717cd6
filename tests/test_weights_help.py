"""The help tells of each key of a policy's tables, and `backcast policy` points at it."""

import re
from pathlib import Path

import pytest

from backcast.engine.context.policies import KEYS
from backcast.engine.interfaces.cli import main
from backcast.engine.interfaces.commands.help import FOLDER

TABLES = ("weights", "likeness", "recall", "worth", "constants", "map.lines", "map.tags",
          "map.sections", "lookup.weights", "lookup.likeness")  # fmt: skip


@pytest.mark.parametrize("table", TABLES)
def test_each_key_of_a_table_has_its_line(table: str) -> None:
    text = (FOLDER / "weights.md").read_text()
    assert f"[{table}]" in text
    named = {" ".join(found.split()) for found in re.findall(r"`([^`]+)`", text)}
    assert set(KEYS[table]) <= named


def test_a_policy_says_of_its_version_that_it_chooses_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labelled = tmp_path / "labelled.toml"
    labelled.write_text("version = 3\n")
    with pytest.raises(SystemExit):
        main(["policy", "--policy", str(labelled)])
    out = capsys.readouterr().out
    said, version = re.findall(r"((?:^# .*\n)+)(version = .*)\n", out, re.MULTILINE)[0]
    assert version == "version = 3"
    assert "it is in the digest, and chooses nothing" in said.replace("\n# ", " ")
    with pytest.raises(SystemExit):
        main(["policy", "--help"])
    assert "'backcast help weights'" in capsys.readouterr().out
