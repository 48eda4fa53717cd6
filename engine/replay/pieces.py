"""Pieces of work as they are sent to workers and come back: JSON, and nothing else.

A worker does a piece only where its code, its libraries and its log are those of the sender, so
that it gives what the sender would have given.
"""

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from platform import node
from threading import Lock
from traceback import format_exc
from typing import Any

from backcast.domain.budget import ModelProfile
from backcast.domain.errors import BackcastError
from backcast.domain.policy import Policy
from backcast.engine.context.recorded import profile_of
from backcast.engine.history.collecting import rarely_collecting
from backcast.engine.history.state_json import builder
from backcast.engine.log.code import code_digest, different_code
from backcast.engine.log.open_logs import Log
from backcast.engine.log.spread import broken, done, failed, refused
from backcast.engine.replay.bisect import with_event
from backcast.engine.replay.conditions import conditions, unmet
from backcast.engine.replay.corpus import ReplayRun, Setting, Tried
from backcast.engine.replay.influence_run import (
    InfluenceAnswer,
    InfluenceQuestion,
    answered_there,
)
from backcast.engine.replay.log_worker import LogWorker, OtherLogError
from backcast.engine.replay.readers import OtherModelError, SentReader
from backcast.engine.replay.score_jobs import ScoreJob
from backcast.engine.replay.score_stretch import ScoredStretch, read_prompts, scored_stretch
from backcast.engine.replay.verify import Verdict, verified

SQLITE = "sqlite:///"

_WORKER = LogWorker(ExitStack())
"The worker of this process, which takes one piece after another."
_TURN = Lock()
"An engine may have several threads in a process."


def place_of(log: str) -> str:
    """Return the name by which a log is found from any folder."""
    if log.startswith(SQLITE):
        return SQLITE + os.path.abspath(log.removeprefix(SQLITE))
    return log if "://" in log else os.path.abspath(log)


def _piece(work: str, log: str, stamps: Mapping[str, str], arguments: object) -> str:
    return json.dumps({
        "code": code_digest(), "conditions": dict(conditions()), "work": work, "log": log,
        "place": place_of(log), "stamps": stamps, "arguments": arguments,
    })  # fmt: skip


def runs_piece(
    runs: Sequence[ReplayRun], settings: Iterable[Setting], profile: ModelProfile | None
) -> str:
    """Return the piece that measures some runs of one log under every setting."""
    stamps = {run.task: run.stamp for run in runs if run.stamp}
    window = profile and profile._asdict() | {"rows": dict(profile.rows)}
    return _piece("tried", runs[0].log, stamps, [runs, _bodies(settings), window])


def _bodies(settings: Iterable[Setting]) -> list[tuple[str, Any]]:
    return [(name, policy and policy.model_dump(mode="json")) for name, policy in settings]


def _settings(bodies: Iterable[tuple[str, Any]]) -> list[Setting]:
    return [Setting(name, body and Policy.model_validate(body)) for name, body in bodies]


def tried_of(result: Any) -> list[Tried]:
    """Return what came of a piece of runs."""
    found: list[Tried] = list(_TRIED(result))
    return found


def verify_piece(log: str, task: str, stamp: str, *, bisect: bool) -> str:
    """Return the piece that verifies the prompts of a task."""
    return _piece("verified", log, {task: stamp}, [task, bisect])


def score_piece(
    log: str,
    task: str,
    stamp: str,
    versions: Sequence[int],
    settings: Iterable[Setting],
    reader: SentReader,
    known: Sequence[Any],
) -> str:
    """Return the piece that scores the steps of a task at some versions.

    `known` are the scores of them, as they are stored, that nobody has to ask for again.
    """
    arguments = [task, versions, _bodies(settings), reader, known]
    return _piece("scored", log, {task: stamp}, arguments)


def influence_piece(
    log: str, task: str, stamp: str, version: int, question: InfluenceQuestion,
    reader: SentReader, known: Sequence[Any],
) -> str:  # fmt: skip
    """Return the piece that answers of the step at a version; `known` are scores of it."""
    setting, *more = question
    arguments = [task, version, _bodies([setting]), more, reader, known]
    return _piece("influences", log, {task: stamp}, arguments)


def read_piece(jobs: Iterable[tuple[Sequence[str], ScoreJob]], reader: SentReader) -> str:
    """Return the piece that reads prompts of some steps, named by their policies; it has no log."""
    return _piece("read", "", {}, [list(jobs), reader])


def verdicts_of(result: Any) -> list[Verdict]:
    """Return what came of a piece that verifies."""
    found: list[Verdict] = list(_VERDICTS(result))
    return found


def _builder(kind: object) -> Callable[[Any], Any]:
    build = builder(kind)
    assert build is not None
    return build


_RUNS, _TRIED = _builder(tuple[ReplayRun, ...]), _builder(tuple[Tried, ...])
_VERDICTS, _JOB = _builder(tuple[Verdict, ...]), _builder(ScoreJob)


def work(text: str) -> str:
    """Do a piece, and return what came of it, for `spread`."""
    piece = json.loads(text)
    try:
        if piece["code"] != code_digest():
            reason = different_code(piece["code"], code_digest())
            return refused(_own_name(), reason, whole=True)
        if reason := unmet(piece["conditions"]):
            return refused(_own_name(), reason, whole=True)
        with _TURN, rarely_collecting():
            try:
                if piece["log"]:
                    _WORKER.take(piece["log"], piece["place"], piece["stamps"])
            except OtherLogError as error:
                return refused(_own_name(), str(error), whole=False)
            return done(list(_WORKS[piece["work"]](piece)))
    except OtherModelError as error:
        return refused(_own_name(), str(error), whole=True)
    except (BackcastError, OSError) as error:
        return failed(str(error))
    except MemoryError:
        return failed("needed more memory than there was")
    except Exception:
        return broken(format_exc())


def _own_name() -> str:
    """Return the name by which the engine knows this worker."""
    if engine := sys.modules.get("distributed"):
        try:
            return str(engine.get_worker().address)
        except ValueError:
            pass  # it is imported, and this process is none of its workers
    return f"{node()}:{os.getpid()}"


def _tried(piece: dict[str, Any]) -> Iterator[Tried]:
    runs, policies, window = piece["arguments"]
    settings = _settings(policies)
    profile = profile_of(json.dumps(window).encode()) if window else None
    for run in _RUNS(runs):
        yield _WORKER.tried(run, settings, profile)


def _verified(piece: dict[str, Any]) -> Iterator[Verdict]:
    task, bisect = piece["arguments"]
    store = _WORKER.take(piece["log"], piece["place"], piece["stamps"])
    for verdict in verified(store, task):
        yield with_event(store, verdict) if bisect else verdict


def _scored(piece: dict[str, Any]) -> Iterator[ScoredStretch]:
    task, versions, policies, reader, known = piece["arguments"]
    store = _WORKER.take(piece["log"], piece["place"], piece["stamps"])
    log = Log(piece["log"], store, (task,))
    yield scored_stretch(log, versions, _settings(policies), SentReader(*reader), known)


def _influences(piece: dict[str, Any]) -> Iterator[InfluenceAnswer]:
    task, version, policies, more, reader, known = piece["arguments"]
    store = _WORKER.take(piece["log"], piece["place"], piece["stamps"])
    [setting] = _settings(policies)
    question = InfluenceQuestion(setting, *more)
    log = Log(piece["log"], store, (task,))
    yield answered_there(log, version, question, SentReader(*reader), known)


def _read(piece: dict[str, Any]) -> Iterator[list[dict[str, Any]]]:
    jobs, reader = piece["arguments"]
    for names, job in jobs:
        yield read_prompts(_JOB(job), names, SentReader(*reader))


_WORKS: Mapping[str, Callable[[dict[str, Any]], Iterator[Any]]] = {
    "tried": _tried, "verified": _verified, "scored": _scored, "influences": _influences,
    "read": _read,
}  # fmt: skip
