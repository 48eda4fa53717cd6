"""A fixture for the prompts of agents: recorded or imported ones, under a policy of messages."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

if TYPE_CHECKING:
    from backcast.domain.action_evidence import ActionEvidence
    from backcast.domain.policy import Policy
    from backcast.engine.log.open_logs import Log


class PromptUnderPolicy(NamedTuple):
    """A prompt of an agent under a policy, and what the answer used of it."""

    text: str
    "All that it shows, part by part."
    tokens: int
    used: int
    "Things of the recorded prompt that the answer used: paths, symbols, errors, lines."
    lost: "tuple[ActionEvidence, ...]"
    "Those of them that the prompt does not show."

    def __str__(self) -> str:
        """Return what a failure says of it."""
        return f"{self.tokens:,} tokens, lost {', '.join(map(str, self.lost)) or 'nothing'}"


@pytest.fixture
def history_at(
    event_log: "Callable[..., Log]", policy: "Policy | None"
) -> Callable[..., PromptUnderPolicy]:
    """Form one prompt of an agent's run under the policy under test: `--backcast-policy mask-3`.
        prompt = history_at("logs/agent.jsonl", 9)
        assert not prompt.lost
        assert "till.py" in prompt.text

    It is named by its event number, or "last"; 'backcast help histories' tells of policies.
    """
    from backcast.domain.message_parts import total
    from backcast.domain.message_settings import MessageSettings
    from backcast.engine.interfaces.profiles import DEFAULT_PROFILE, profile_by
    from backcast.engine.models.tokenizers import tokenizer_of
    from backcast.engine.replay.history_prompt import prompt_under
    from backcast.engine.replay.history_trial import next_use

    under_test = policy

    def history_at(
        log: "Log | str | Path", step: int | str, policy: "Policy | None" = None
    ) -> PromptUnderPolicy:
        __tracebackhide__ = True
        found = event_log(log) if isinstance(log, str | Path) else log
        count = tokenizer_of(profile_by(DEFAULT_PROFILE, None, None).tokenizer).count
        chosen = policy or under_test
        settings = chosen.messages if chosen else MessageSettings()
        prompt = prompt_under(found.store, found.tasks[0], str(step), settings, count)
        use = next_use(prompt.recorded, prompt.shown, count)
        text = "\n".join(part.text for part in prompt.shown)
        return PromptUnderPolicy(text, total(prompt.shown), use.used + use.last_used, use.lost)

    return history_at
