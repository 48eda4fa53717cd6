"""The prompt of a dispatch: its parts from the repository and the log, within an agent's window."""

from collections.abc import Iterator
from typing import NamedTuple

from backcast.domain.dispatch_events import BuiltParts, DispatchPart
from backcast.domain.dispatch_prompt import (
    LEDGER,
    VERSION,
    PromptParts,
    sections_of,
    stable_end,
)
from backcast.domain.errors import InputError
from backcast.domain.prompt_sections import WHOLE, compacted, joined
from backcast.domain.task_list import ListedTask
from backcast.engine.history.ledgers import ledger_of, ledger_states
from backcast.engine.log.blobs import Blob
from backcast.engine.models.tokenizers import tokenizer_of
from backcast.engine.workflow.dispatch.agents import AgentForm
from backcast.engine.workflow.dispatch.assignments import Assignment
from backcast.engine.workflow.dispatch.dispatch_run import DispatchRun
from backcast.engine.workflow.dispatch.work_tree import git

GUIDES = ("AGENTS.md", "CLAUDE.md")
"Files of a project's own rules; the first that is there is shown."


class DispatchPrompt(NamedTuple):
    """A prompt with what it was built of."""

    text: str
    tokens: int
    body: Blob
    built: BuiltParts
    blobs: tuple[Blob, ...]

    def __str__(self) -> str:
        built = self.built
        ledger = next((part.tokens for part in built.parts if part.name == LEDGER), 0)
        words = [f"{self.tokens:,} tokens"]
        if built.in_its_place is not None and built.in_its_place > ledger:
            words.append(f"its ledger {ledger:,} in place of {built.in_its_place:,}")
        if built.stage != WHOLE:
            words.append(f"lowered to {built.stage}, as {built.room:,} fit")
        return ", ".join(words)


def prompt_of(run: DispatchRun, item: ListedTask, asked: Assignment) -> DispatchPrompt:
    """Build the prompt of a dispatch; `InputError` where its rules do not fit the window."""
    form = asked.form
    paths, guides = _project(run, asked.commit, form)
    stood_at = run.version
    states = ledger_states(run.store, run.task, last=stood_at)
    parts = PromptParts(
        role=asked.role, task_id=item.id, title=item.title, details=item.details, guides=guides,
        paths=paths, ledger=ledger_of(run.task, states), attempt=asked.attempt,
        held=bool(form.schema_arguments), of=run.settings.attempts, **asked.parts,
    )  # fmt: skip
    sections = sections_of(parts)
    counter = tokenizer_of(form.tokenizer)
    room = int(form.window * form.fill)
    found = compacted(sections, room, counter.count)
    if found.lacks:
        raise InputError(
            f"{item.id}: prompt of {form.name!r}: {found.lacks}: shorten them, or name the window"
            f" of its model, {form.window:,} now, by --window"
        )
    body = Blob(found.text.encode(errors="surrogatepass"))
    end = stable_end(sections)
    stable = joined(sections[:end], found.levels[:end]).rstrip("\n")
    prefix = Blob(stable.encode(errors="surrogatepass"))
    texts = [[Blob(text.encode(errors="surrogatepass")) for text in one.texts] for one in sections]
    built = BuiltParts(
        parts=tuple(
            DispatchPart(name=section.name, group=section.group, level=level,
                       levels=tuple(blob.ref for blob in blobs),
                       tokens=counter.count(section.texts[level]))
            for section, blobs, level in zip(sections, texts, found.levels, strict=True)
        ),
        stage=found.stage, room=room, window=form.window, tokenizer=counter.id, prefix=prefix.ref,
        prefix_tokens=counter.count(stable), stood_at=stood_at, version=VERSION,
        in_its_place=sum(map(counter.count, _instead(run))),
    )  # fmt: skip
    blobs = (prefix, *(blob for row in texts for blob in row))
    return DispatchPrompt(found.text, found.tokens, body, built, blobs)


def _instead(run: DispatchRun) -> Iterator[str]:
    """Yield the texts that a ledger stands for: the list, and what agents and tests said."""
    yield run.tasks.text
    for version in sorted(run.state.dispatches):
        found = run.state.dispatches[version]
        for ref in (found.ended and found.ended.answer, found.checked and found.checked.output):
            if ref:
                yield run.store.get(ref).decode(errors="replace")


def _project(
    run: DispatchRun, commit: str, form: AgentForm
) -> tuple[tuple[str, ...], list[tuple[str, str]]]:
    """Return the paths of a commit, and the rules of the project that the agent does not read."""
    if commit not in run.listed:
        named = {"GIT_DIR": str(run.source.repository.git_dir)}
        listed = git(run.source.top, named, "ls-tree", "-r", "-z", "--name-only", commit)
        names = listed.decode(errors="replace").split("\0")
        guide = next((name for name in GUIDES if name in names), "")
        body = git(run.source.top, named, "show", f"{commit}:{guide}") if guide else b""
        run.listed[commit] = tuple(filter(None, names)), (guide, body.decode(errors="replace"))
    paths, (guide, text) = run.listed[commit]
    return paths, [(guide, text)] if text.strip() and guide not in form.reads else []
