"""What clients saw finished is in the log, whatever was killed: a short `bench record`."""

from pathlib import Path

import pytest

pytest.importorskip("httpx", reason="needs the extra 'record'")
pytest.importorskip("uvicorn", reason="needs the extra 'record'")


def test_each_call_that_its_client_saw_finished_is_in_the_log_once(tmp_path: Path) -> None:
    from scripts.benches.record_chaos import chaos

    found = chaos(tmp_path, 160, lives=3)
    assert found.begun == 160
    assert found.kills == 3
    assert found.finished > 60
    assert found.lost == []
    assert found.twice == 0
    assert found.damage == []
    assert found.unlike == 0
    # All that can go wrong did.
    assert {"replied", "refused", "cut", "left"} <= found.recorded.keys()
    assert not (tmp_path / "chaos.db-recording").exists()
