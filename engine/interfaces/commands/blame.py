"""`backcast blame`: why is a thing in a prompt, or out of it?"""

import click

from backcast.domain.errors import InputError
from backcast.domain.json_text import json_text
from backcast.engine.history.address import Address
from backcast.engine.interfaces.addresses import address_argument, task_at
from backcast.engine.interfaces.options import json_option, store_option
from backcast.engine.interfaces.profiles import RECORDED, policy_by, policy_option
from backcast.engine.interfaces.terminal import say


@click.command(name="blame")
@address_argument()
@click.argument("node")
@store_option
@policy_option()
@json_option
def command(address: Address, node: str, url: str, policy_name: str | None, as_json: bool) -> None:
    """Tell which events put a thing into a prompt, or pushed it out.

    \b
    backcast blame fixtures/logs/till.jsonl@164 money.py::share
    backcast blame till failure:162.1 --json          # in the last prompt of a task
    backcast blame till@164 money.py::share --policy mine.toml   # in the prompt that this builds

    Of a function it names the evidence behind its chance; of one that is out, also which of some
    settings, each changed alone, would show it: 'backcast help weights'.

    NODE is a node of the graph, a path, PATH::NAME, or a name that one node alone has. In a prompt
    of another program it is a text that the prompt holds, or what --anatomy calls a part.
    """
    from backcast.engine.history.state_json import plain
    from backcast.engine.interfaces.blamed import blame_lines, blamed
    from backcast.engine.interfaces.foreign_prompts import is_foreign, print_origins
    from backcast.engine.interfaces.formed_prompts import is_formed, print_formed_origins
    from backcast.engine.interfaces.step_prompts import at_prompt

    with task_at(address, url) as place:
        place = at_prompt(place)
        policy = policy_by(policy_name) if policy_name and policy_name != RECORDED else None
        if policy and (is_foreign(place) or is_formed(place)):
            raise InputError(
                "--policy: needed a prompt that Backcast built: 'backcast context' shows an agent's"
                " prompt under another policy"
            )
        if is_foreign(place):
            print_origins(place, node, as_json=as_json)
            return
        if is_formed(place):
            print_formed_origins(place, node, as_json)
            return
        found = blamed(place.store, place.task, place.when, node, policy)
    if as_json:
        events = list(found.events)
        more = {"prompt": found.version, "events": events, "behind": plain(found.behind)}
        say(json_text(plain(found.blame) | more))
        return
    for line in blame_lines(found):
        say(line)
