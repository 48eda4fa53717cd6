"""`backcast audit`: the life of a node."""

import click

from backcast.domain.json_text import json_text
from backcast.engine.history.address import Address
from backcast.engine.interfaces.addresses import address_argument, task_at
from backcast.engine.interfaces.options import json_option, store_option
from backcast.engine.interfaces.terminal import message, say


@click.command(name="audit")
@address_argument()
@click.argument("node")
@store_option
@json_option
def command(address: Address, node: str, url: str, as_json: bool) -> None:
    """Tell the life of a node: its versions, summaries and prompts.

    \b
    backcast audit fixtures/logs/addresses.jsonl function:validators.py::validate_email
    backcast audit fixtures/logs/addresses.jsonl@2026-11-20T10:31 validators.py::validate_email
    backcast audit fixtures/logs/till.jsonl money.py::to_cents --json

    NODE is module:PATH, function:PATH::NAME (or class, method, test, attribute), failure:V.N,
    iteration:PATH@N, task:ID, or a bare PATH or PATH::NAME.

    Each row names its event: 'backcast log TASK' shows what stands around it, and 'backcast context
    TASK@N' the prompt of a row that tells of one. A prompt that showed the full text of what the
    node stands in has it "within". The last line, or JSON object, counts. The prompts of another
    program name no nodes: the last line then tells how many hold the node's path or name.
    """
    from backcast.engine.history.commits import lacks_before
    from backcast.engine.history.state_json import plain
    from backcast.engine.interfaces.histories import is_agents_run
    from backcast.engine.interfaces.lives import agents_prompts, show, summed_up
    from backcast.engine.interfaces.named_nodes import need_outline, node_named, unknown_node
    from backcast.engine.interfaces.terminal import progress_bar
    from backcast.engine.interfaces.views import console
    from backcast.engine.replay.audit import life_of

    with task_at(address, url) as place:
        store, task, at = place.store, place.task, place.outlined()
        need_outline(store, task, node, at)
        resolved = node_named(store, task, node, at)
        with progress_bar("auditing", store.version_at(task, at)) as advance:
            life = life_of(store, task, resolved, at, advance)
        if not life.occurrences:
            raise unknown_node(store, task, node, at)
        if begins := lacks_before(store, task):
            message(f"note: the history {begins}: what was before is not in it")
        agents = agents_prompts(place, resolved, at) if is_agents_run(place) else ""
    if not as_json:
        show(life, console())
        say(f"\n{summed_up(life.standing, agents)}")
        return
    for occurrence in life.occurrences:
        usual = occurrence._field_defaults
        fields = {k: v for k, v in occurrence._asdict().items() if k not in usual or v != usual[k]}
        fields["timestamp"] = plain(occurrence.timestamp)
        say(json_text(fields))
    say(json_text(life.standing._asdict()))
