"""The panel of a prompt that is formed of an imported run's messages, as it holds no requests."""

from backcast.domain.message_parts import MessagePart, total
from backcast.engine.interfaces.anatomy_text import group_of
from backcast.engine.interfaces.profiles import message_counter
from backcast.engine.interfaces.view.markup import Markup, cut, folded, joined, table, tag
from backcast.engine.interfaces.view.panels import PanelMaker, bar, in_chunks, ruler, shade
from backcast.engine.interfaces.view.reading import RunReader
from backcast.engine.interfaces.view.whatif_form import whatif_asked
from backcast.engine.replay.agent_prompt import AgentPrompt
from backcast.engine.replay.agent_prompts import agent_prompts, has_messages, has_requests

ROWS = 200
"Parts of a difference that get a row each."
UNKNOWN = (
    "This log holds no requests: the prompt is formed of the messages, calls and results before the"
    " answer. Tools, pictures, and instructions that no log tells are missing."
)


def formed_prompts(reader: RunReader) -> dict[int, AgentPrompt]:
    """Return the prompts of a run without requests by the events of their answers."""

    def formed() -> dict[int, AgentPrompt]:
        store, task = reader.store, reader.task
        if not any(step.asked and not step.prompt for step in reader.sequence.steps):
            return {}  # soon told of our own runs, of which all prompts would be read
        if has_requests(store, task) or not has_messages(store, task):
            return {}
        found = agent_prompts(store, task, message_counter().count)
        return {prompt.version: prompt for prompt in found}

    return reader.held(("formed", reader.sequence.version), formed)


def formed_panel(maker: PanelMaker, version: int) -> Markup | None:
    """Return the panel of the prompt before an answer; None where none can be formed."""
    prompt = formed_prompts(maker.reader).get(version)
    if prompt is None:
        return None
    shown = formed_prompts(maker.shown)[version]
    badge = tag("span", "formed of its messages", class_="badge untold", title=UNKNOWN)
    said = (f"{total(prompt.parts):,} tokens in {len(prompt.parts):,} parts")  # fmt: skip
    if prompt.thread:
        said += f"; a side chain, {maker.mask(prompt.thread)}"
    return tag(
        "section", tag("h2", "What the model saw ", badge),
        tag("p", f"{said}.", class_="said", title=f"counted by {message_counter().id}"),
        _budget(prompt), tag("p", UNKNOWN, class_="note"), whatif_asked(maker, version),
        _bodies(maker, prompt, shown), id="prompt",
    )  # fmt: skip


def formed_difference(maker: PanelMaker, before: int, after: int) -> Markup | None:
    """Return how two formed prompts differ, by their parts; None where they are none."""
    prompts = formed_prompts(maker.reader)
    if before not in prompts or after not in prompts:
        return None
    old, new = (list(prompts[version].parts) for version in (before, after))
    same = 0
    while same < min(len(old), len(new)) and _key(old[same]) == _key(new[same]):
        same += 1
    kept, again = total(new[:same]), total(new[same:])
    said = f"The prefix holds: the later goes on from the earlier, {again:,} tokens are new."
    if same < len(old):
        first = maker.mask(old[same].title)
        said = f"The {first} is the first that differs: {again:,} tokens must be read again."
    lines: list[object] = [ruler(kept, again), tag("p", said, class_="said")]
    for sign, title, parts in (("-", "gone", old[same:]), ("+", "new", new[same:])):
        rows = [(sign, f"{part.tokens:,}", _opening(maker, part)) for part in parts[:ROWS]]
        if rows:
            lines += [tag("h3", f"{len(parts)} {title}"), table(("", "tokens", "part"), rows)]
    return joined(lines)


def _opening(maker: PanelMaker, part: MessagePart) -> Markup:
    body = maker.keep(tag("pre", *cut(maker.mask(part.text)), class_="text"))
    return folded(maker.mask(part.title), body)


def _key(part: MessagePart) -> tuple[str, ...]:
    return part.role, part.kind, part.tool, part.text


def _budget(prompt: AgentPrompt) -> Markup:
    groups: dict[str, int] = {}
    for part in prompt.parts:
        name = group_of(part.kind, part.role)
        groups[name] = groups.get(name, 0) + part.tokens
    rows = [(name, tokens, shade(name)) for name, tokens in groups.items()]
    whole = [(tokens, kind, f"{name}: {tokens:,} tokens") for name, tokens, kind in rows]
    cells = [(tag("span", name, class_=f"key {kind}"), f"{tokens:,}",
              f"{100 * tokens / max(total(prompt.parts), 1):.1f} %")
             for name, tokens, kind in rows]  # fmt: skip
    return tag("div", bar(whole, total(prompt.parts)), folded("by kind", table(
               ("kind", "tokens", "share"), cells), is_open=True), class_="budget")  # fmt: skip


def _bodies(maker: PanelMaker, prompt: AgentPrompt, shown: AgentPrompt) -> Markup:
    found = []
    for part, text in zip(prompt.parts, shown.parts, strict=True):
        kind = shade(group_of(part.kind, part.role))
        head = tag("span", maker.mask(part.title), f" · {part.tokens:,} tokens",
                   class_=f"key {kind}")  # fmt: skip
        body = tag("pre", maker.keep(joined(cut(text.text))), class_="text")
        found.append(tag("div", folded(head, body, is_open=True, class_="part"),
                         data_i=part.title))  # fmt: skip
    return folded("The parts, in their order", in_chunks(maker, found), is_open=True,
                  class_="seen")  # fmt: skip
