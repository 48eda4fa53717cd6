"""How much of its prompts a model need not read again, since they begin as those before them did.

A run's prompts are given to a real llama.cpp, in their order, with a model of random weights and a
real vocabulary; it tells what it had in its cache. The control is the same items with the sections
the other way round: what changes most first. What was predicted when a prompt was built is
compared with what llama.cpp says, in process and behind its own server.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from statistics import median

import pytest

from backcast.domain.budget import MISTRAL_7B_8K, MISTRAL_7B_32K
from backcast.domain.policy import DEFAULT
from backcast.engine.models.llama import LlamaModel
from backcast.engine.models.server import ServerModel
from scripts.benches.figures import Bench, Bound, Figure
from scripts.benches.log import ROOT
from scripts.benches.run_prompts import TINY, Asked, Prompt, Told, foretold, of_log, prompts, told
from scripts.benches.run_workload import Project
from tests.servers import llama_server

ITERATIONS = 5
"Of each module: as many as are tried where a specification does not say."
FULL = 0.9
"Of the longest prompt: from so many tokens on a prompt is called full."
LOG = ROOT / "fixtures/logs/validators.jsonl"
MUST = Bound(">=", 100)
REVERSED = "the sections the other way round"


def measure(bench: Bench, steps: int) -> list[Figure]:
    """The rows of the table."""
    project = Project(-(-max(steps, 1) // ITERATIONS), ITERATIONS)
    bench.say(f"a run of {project.steps} prompts")
    asked = prompts(bench.folder / "prompts.db", project)
    bench.say("its prompts for llama.cpp, as they are and the other way round")
    ours = _in_process([one.prompt for one in asked])
    naive = _in_process([one.naive for one in asked])
    group = f"tokens that llama.cpp had in its cache, {len(asked)} prompts"
    return [
        *_shares(group, asked, ours, naive),
        *_others(bench, group, project),
        *_parted(asked, ours),
        *_predicted(bench, asked, ours),
    ]


def _in_process(asked: Sequence[Prompt]) -> list[Told]:
    return told(LlamaModel(TINY, MISTRAL_7B_8K.window, template="mistral"), asked)


def _again(asked: Sequence[Asked], again: bool = True) -> list[int]:
    """The prompts about the same module as the one before, or those that are not."""
    later = range(1, len(asked))
    return [n for n in later if (asked[n].target == asked[n - 1].target) == again]


def _share(found: Sequence[Told]) -> float:
    """The percentage of all tokens that were in the cache."""
    return 100 * sum(one.cached for one in found) / sum(one.tokens for one in found)


def _middle(found: Sequence[Told]) -> float:
    return median(100 * one.cached / one.tokens for one in found)


def _shares(
    group: str, asked: Sequence[Asked], ours: Sequence[Told], naive: Sequence[Told]
) -> Iterator[Figure]:
    """What was in the cache, of all prompts and of some of them."""
    again, other = _again(asked), _again(asked, again=False)
    most = max(one.tokens for one in asked)
    for what, numbers, aim in (
        ("all but the first", sorted(again + other), None),
        ("about the module of the one before", again, Bound(">=", 80)),
        ("the same, full ones", [n for n in again if asked[n].tokens >= FULL * most], None),
        ("about another module", other, None),
    ):
        mine, theirs = ([which[n] for n in numbers] for which in (ours, naive))
        sizes = f"{len(mine)} prompts of {median(one.tokens for one in mine):,.0f} tokens"
        reverse = f"{REVERSED} {_share(theirs):.1f} %"
        yield Figure(group, f"{what}, pooled", [_share(mine)], "%", sizes, reverse, None, aim)
        reverse = f"{REVERSED} {_middle(theirs):.1f} %"
        yield Figure(group, f"{what}, median", [_middle(mine)], "%", "", reverse)
    rest = [Told(asked[n].tokens - asked[n].changes, asked[n].tokens) for n in again]
    what = "what is neither the module itself, nor errors or the request"
    yield Figure(group, what, [_share(rest)], "%", "of those about the module of the one before")


def _others(bench: Bench, group: str, project: Project) -> Iterator[Figure]:
    """The same run under other settings, by what was predicted."""
    loose = DEFAULT.model_copy(update={"keep": False})
    for number, (name, policy, profile) in enumerate((
        ("each prompt chosen anew (keep = false)", loose, MISTRAL_7B_8K),
        ("a window of 32,768", DEFAULT, MISTRAL_7B_32K),
    )):  # fmt: skip
        bench.say(f"the same run, {name}")
        asked = prompts(bench.folder / f"other-{number}.db", project, policy, profile)
        found = foretold(asked)
        again = [found[n] for n in _again(asked)]
        sizes = f"{len(again)} prompts of {median(one.tokens for one in again):,.0f} tokens"
        told = f"{sizes}, as predicted; all but the first {_share(found[1:]):.1f} %"
        what = "about the module of the one before, pooled"
        yield Figure(group, f"{what}: {name}", [_share(again)], "%", told)


def _parted(asked: Sequence[Asked], ours: Sequence[Told]) -> Iterator[Figure]:
    """In which section prompts differ first from the one before."""
    whole = sum(one.tokens - one.cached for one in ours[1:])
    for again in (True, False):
        numbers = _again(asked, again)
        group = f"the section where a prompt about {'the same' if again else 'another'} module"
        group += " parts from the one before"
        for section, count in Counter(asked[n].parted for n in numbers).most_common():
            of = [n for n in numbers if asked[n].parted == section]
            lost = sum(ours[n].tokens - ours[n].cached for n in of)
            told = f"{100 * lost / whole:.0f} % of all tokens that were read again"
            control = f"of {len(numbers)}"
            yield Figure(group, section or "nowhere", [count], "prompts", told, control)


def _predicted(bench: Bench, asked: Sequence[Asked], ours: Sequence[Told]) -> Iterator[Figure]:
    """How often the prediction is what llama.cpp found."""
    group = "the predicted prefix, of what llama.cpp had in its cache"
    recorded = of_log(LOG)
    yield _equal(group, "in process", asked, ours, MUST)
    found = _in_process([one.prompt for one in recorded])
    yield _equal(group, f"in process, {LOG.name}", recorded, found, MUST)
    yield from _served(bench, group, asked, recorded)


def _served(
    bench: Bench, group: str, asked: Sequence[Asked], recorded: Sequence[Asked]
) -> Iterator[Figure]:
    """The same of llama.cpp's own server."""
    bench.say("the same prompts for llama-server")
    for name, options, must in (
        ("llama-server that keeps the last prompt alone", ("--cache-ram", "0"), MUST),
        ("llama-server as it is, which keeps earlier ones too", (), None),
    ):
        try:
            with llama_server("mistral", bench.folder, *options) as url:
                found, short = (
                    told(ServerModel(f"{url}/v1", slot=slot), [one.prompt for one in which])
                    for slot, which in enumerate((asked, recorded))
                )
        except pytest.skip.Exception as error:
            yield Figure(group, name, why=str(error))
            continue
        yield _equal(group, name, asked, found, must)
        yield _equal(group, f"the same, {LOG.name}", recorded, short, must)


def _equal(
    group: str, what: str, asked: Sequence[Asked], found: Sequence[Told], must: Bound | None
) -> Figure:
    """A prompt that is the one before, whole, has one token less: its last is read again."""
    pairs = [
        (min(one.predicted, one.tokens - 1), now.cached, one.tokens == now.tokens)
        for one, now in zip(asked, found, strict=True)
        if one.predicted is not None
    ]
    same = sum(predicted == cached for predicted, cached, _ in pairs)
    less = sum(cached < predicted for predicted, cached, _ in pairs)
    told = f"equal in {same} of {len(pairs)}, less in {less}; pooled {_share(found[1:]):.1f} %"
    sizes = sum(equal for _, _, equal in pairs)
    control = f"whole prompts as long as counted: {sizes} of {len(pairs)}"
    return Figure(group, what, [100 * same / len(pairs)], "%", told, control, must)
