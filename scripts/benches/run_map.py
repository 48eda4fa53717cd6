"""The share of a run's time that its map takes where the policy keeps it inline.

The same project is run in turn with its map and without. A run's time is the engine's and, for each
step, the fastest answer of the smallest model with real weights on this machine; its checks come on
top, and would make the share smaller. Time of processors is counted, so that what else the machine
does matters less.
"""

from pathlib import Path
from statistics import median
from time import process_time

from backcast.domain.budget import MISTRAL_7B_8K
from backcast.domain.errors import ModelError
from backcast.domain.policy import DEFAULT
from backcast.engine.log.store import EventStore
from backcast.engine.models.llama import LlamaModel
from backcast.engine.models.places import model_file
from backcast.engine.workflow.loop import start, work
from backcast.engine.workflow.runtime import Runtime
from scripts.benches.figures import Bench, Bound, Figure
from scripts.benches.run_parts import Parts
from scripts.benches.run_share import WINDOW, fastest
from scripts.benches.run_steps import Outside
from scripts.benches.run_workload import Project
from tests.models import SMOLLM2

ROUNDS = 5
PROJECTS = (Project(2, 3), Project(10, 10))
SHARE = Bound("<=", 2)


def measure(bench: Bench) -> list[Figure]:
    """Return the rows of the table."""
    group = f"a map that is kept inline, of a run whose answers are {SMOLLM2}'s fastest"
    try:
        model = LlamaModel(model_file(SMOLLM2), WINDOW, threads=1)
    except (ImportError, OSError, ModelError) as error:
        return [Figure(group, "of a run", why=f"needed a model: {error}")]
    answer = fastest(model, process_time)
    _seconds(bench.folder / "warm", PROJECTS[0], inline=True)
    return [_share(bench, group, project, answer) for project in PROJECTS]


def _share(bench: Bench, group: str, project: Project, answer: float) -> Figure:
    """Return the share of a project's map."""
    with_map, without = list[float](), list[float]()
    for number in range(ROUNDS):
        bench.say(f"{project.steps} steps, round {number + 1} of {ROUNDS}")
        folder = bench.folder / f"map-{project.steps}-{number}"
        with_map.append(_seconds(folder / "with", project, inline=True))
        without.append(_seconds(folder / "without", project, inline=False))
    run = median(without) + project.steps * answer
    extra = [100 * (one - other) / run for one, other in zip(with_map, without, strict=True)]
    name = f"of a run of {project.steps} steps, {project.modules} modules"
    took = f"{1000 * (median(with_map) - median(without)):.0f} ms"
    control = f"{run:.1f} s without a map, {1000 * answer:.0f} ms an answer"
    return Figure(group, name, extra, "%", took, control, must=SHARE)


def _seconds(folder: Path, project: Project, *, inline: bool) -> float:
    """Return the processor's seconds of a whole run but the model's and the checks'."""
    folder.mkdir(parents=True)
    settings = DEFAULT.map.model_copy(update={"inline": inline})
    policy = DEFAULT.model_copy(update={"map": settings})
    with EventStore.open(f"sqlite:///{folder}/run.db") as store:
        start(store, project.spec())
        double = Outside(Parts(), project.checks)
        begin = process_time()
        used = Runtime(double, "double", MISTRAL_7B_8K, policy)
        state = work(store, "project", used, checks=double.checks)
        taken = process_time() - begin
    if state.status != "complete":
        raise AssertionError(f"the run ended as {state.status}: {state.reason}")
    return taken
