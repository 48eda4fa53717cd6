"""Recorded runs are run again from their answers, and come to the same in each step."""

import json

from domain.budget import QWEN3_8B_32K
from domain.events import PolicyUsed
from domain.policy import DEFAULT
from engine.log import EventStore
from engine.log.blobs import Blob
from engine.workflow.served import used_before


def test_how_a_task_was_run_is_known_though_its_policy_is_of_another_version() -> None:
    policy = Blob(b'{"setting": "of another version"}')
    profile = Blob(json.dumps(QWEN3_8B_32K._asdict()).encode())
    used = PolicyUsed(policy=policy.ref, profile=profile.ref, model="recorded:a", out="out")
    with EventStore.open("sqlite://") as store:
        store.append("t", [used], after=0, blobs=[policy, profile])
        assert used_before(store, "t") == ("recorded:a", QWEN3_8B_32K, DEFAULT, "out")
