"""Policies with a name that show an agent's earlier messages otherwise, and nothing else.

Three families take any number: `mask-7` shows the results of the last seven turns.

>>> message_policy("mask-7").messages.mask_after, message_policy("mask-0") is None
(7, True)
"""

import re
from collections.abc import Mapping

from backcast.domain.compression_settings import CompressionSettings
from backcast.domain.message_settings import MessageSettings
from backcast.domain.policy import DEFAULT, Policy


def _named(name: str, **settings: int) -> Policy:
    fields: dict[str, object] = {"name": name, "messages": MessageSettings(**settings)}
    return DEFAULT.model_copy(update=fields)


def _compress(name: str, tokens: int) -> Policy:
    """Return a policy that brings results of more tokens to that number."""
    settings = CompressionSettings(target=tokens, over=tokens)
    fields: dict[str, object] = {"name": name, "messages": MessageSettings(compress=settings)}
    return DEFAULT.model_copy(update=fields)


MESSAGE_POLICIES: Mapping[str, Policy] = {
    policy.name: policy
    for policy in (
        *(_named(f"mask-{turns}", mask_after=turns) for turns in (1, 3, 10)),
        _named("mask-10-by-10", mask_after=10, mask_step=10),
        *(_named(f"offload-{over}", offload_over=over) for over in (2_000, 5_000, 20_000)),
        *(_compress(f"compress-{tokens}", tokens) for tokens in (1_000, 2_000)),
        _named("latest-reads", drop_superseded=True),
        *(_named(f"compact-{at}", compact_at=at) for at in (8_000, 32_000)),
        _named("last-1", last_turns=1),
    )
}
NAMES = tuple(MESSAGE_POLICIES)
ABOUT: Mapping[str, str] = {
    "mask-1": "an agent's messages: results of the last turn; of each earlier one a line",
    "mask-3": "results of the last 3 turns",
    "mask-10": "results of the last 10 turns",
    "mask-10-by-10": "the same, but masked 10 turns at once, so that a prompt's beginning holds",
    "offload-2000": "of a result over 2,000 tokens a preview, and the name of the blob that has it",
    "offload-5000": "over 5,000 tokens",
    "offload-20000": "over 20,000 tokens",
    "compress-1000": "of a result over 1,000 tokens its errors, traces and most relevant lines",
    "compress-2000": "over 2,000 tokens",
    "latest-reads": "of reads of a file only the latest, and none from before a change of it",
    "compact-8000": "of a prompt over 8,000 tokens all but the last 3 turns as a summary, no model",
    "compact-32000": "over 32,000 tokens",
    "last-1": "the first messages and the last turn alone: what every other should beat",
}
"What each shows, in a line."
FAMILIES = (
    "mask-N, offload-N, compress-N, compact-N and last-N take any number: 'backcast help histories'"
)
_FAMILY = re.compile(r"(mask|offload|compress|compact|last)-([1-9]\d{0,6})")
_SETTINGS = {"mask": "mask_after", "offload": "offload_over", "compact": "compact_at",
             "last": "last_turns"}  # fmt: skip


def message_policy(name: str) -> Policy | None:
    """Return the policy of a name; None where none has it. `ValueError` for a number too small."""
    if name in MESSAGE_POLICIES:
        return MESSAGE_POLICIES[name]
    family = _FAMILY.fullmatch(name)
    if family and family[1] == "compress":
        return _compress(name, int(family[2]))
    return _named(name, **{_SETTINGS[family[1]]: int(family[2])}) if family else None
