"""A prompt built for a task has the window of the task's run, unless another is named."""

import json
from pathlib import Path
from typing import Any

import pytest

import backcast
from backcast.engine.interfaces.cli import main


def built(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[Any, str]:
    with pytest.raises(SystemExit) as end:
        main(["context", *arguments, "--for", "module:slug.py", "--json"])
    out, err = capsys.readouterr()
    assert not end.value.code, err
    return json.loads(out), err


def test_a_prompt_has_the_window_of_the_run_unless_another_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"sqlite:///{tmp_path}/blog.db"
    with backcast.open(url) as store:
        for name, profile in {
            "small": backcast.profile(prompt_tokens=2000), "usual": backcast.profile(),
        }.items():  # fmt: skip
            pipeline = store.start(name, "Slugs of titles", model="none", profile=profile)
            pipeline.plan([{"path": "slug.py", "purpose": "make slugs"}])
            pipeline.ask("slug.py", "Write slug.py.")
    for options, room, said in (
        (("small",), 2000, "built for prompts of 2,000 tokens, as those of the task's last run"),
        (("small", "--prompt-tokens", "1500"), 1500, "built for prompts of 1,500 tokens"),
        (("small", "--profile", "mistral-7b-8k"), 5692, ""),
        (("usual",), 5692, ""),
    ):
        context, err = built(capsys, *options, "--store", url)
        assert context["window"] - context["reserve"] == room
        assert said in err
        assert ("built for" in err) is bool(said)
