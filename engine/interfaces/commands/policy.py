"""`backcast policy`: print the settings by which a context is chosen."""

import json
from collections.abc import Mapping
from typing import Any

import click

from backcast.domain.json_text import json_text
from backcast.engine.interfaces.options import json_option
from backcast.engine.interfaces.profiles import policy_by, policy_option
from backcast.engine.interfaces.terminal import SPEAKS, say

LABELS = {
    "name": "What reports call it.",
    "version": "A label for changes of yours: it is in the digest, and chooses nothing; another"
    " number brings no older settings back.",
}
"What a policy has that is no setting."


@click.command(name="policy")
@click.argument("named", required=False, metavar="[NAME_OR_FILE]")
@policy_option()
@click.option("--list", "listed", is_flag=True, help="The named policies, a line each.")
@json_option
def command(named: str | None, policy_name: str | None, listed: bool, as_json: bool) -> None:
    """Print the settings by which contexts are chosen, as a file that gives the same policy.

    Each stands below what it is; 'backcast help weights' tells of the keys of its tables.

    \b
    backcast policy --list
    backcast policy
    backcast policy coverage                  # or --policy coverage
    backcast policy mine.toml --json
    """
    from backcast.domain.policy import DEFAULT, Policy
    from backcast.engine.context.policies import BASE, base_of
    from backcast.engine.interfaces.setting_words import words_of

    if named and policy_name:
        raise click.UsageError("--policy: needed one policy, found another as the argument")
    policy_name = named or policy_name
    if listed:
        if policy_name:
            raise click.UsageError("--list names all policies: needed no --policy beside it")
        _list(as_json)
        return
    found = policy_by(policy_name)
    if as_json:
        say(json_text({"digest": found.digest, "settings": found.model_dump(mode="json")}))
        return
    say(f"# digest {found.digest}")
    # A file's tables are laid over those of its base, so without this one some would have more.
    say(f"{BASE} = {_toml(base_of(policy_name or DEFAULT.name))}")
    words = LABELS | words_of(Policy)
    for line in toml_lines(found.model_dump(mode="json"), words=words):
        say(line)


def _list(as_json: bool) -> None:
    from backcast.engine.context import message_policies, strategies

    about = {**strategies.ABOUT, **message_policies.ABOUT}
    known = {**strategies.STRATEGIES, **message_policies.MESSAGE_POLICIES}
    width = max(map(len, about))
    for name, line in about.items():
        if as_json:
            say(json_text({"name": name, "digest": known[name].digest, "about": line}))
        else:
            say(f"{name:{width}}  {line}")
    if not as_json:
        say(message_policies.FAMILIES)


def toml_lines(
    settings: dict[str, Any], table: str = "", words: Mapping[str, str] | None = None
) -> list[str]:
    """Return settings as TOML, plain ones first, each below what `words` say of its place."""
    lines = [f"[{table}]", *_said(words, table)] if table else []
    tables = {name: value for name, value in settings.items() if isinstance(value, dict)}
    for name, value in settings.items():
        if name not in tables and value is not None:  # in a file, no entry stands for None
            lines += _said(words, f"{table}.{name}" if table else name)
            lines.append(f"{_toml_key(name)} = {_toml(value)}")
    for name, value in tables.items():
        place = f"{table}.{_toml_key(name)}" if table else _toml_key(name)
        lines += ["", *toml_lines(value, place, words)]
    return lines


def _said(words: Mapping[str, str] | None, place: str) -> list[str]:
    from backcast.engine.interfaces.setting_words import comments

    return comments(words[place]) if words and place in words else []


def _toml_key(name: str) -> str:
    return name if name.isascii() and name.isidentifier() else _toml(name)


def _toml(value: Any) -> str:
    # TOML has no pairs of surrogates, and escapes more than JSON; what a terminal obeys, always.
    text = json.dumps(value, ensure_ascii=False)
    return SPEAKS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
