"""The form that asks what another policy would have shown, and the links to what a file holds."""

from collections.abc import Sequence

from backcast.engine.interfaces.view.markup import Markup, folded, tag
from backcast.engine.interfaces.view.panels import PanelMaker
from backcast.engine.replay.agent_prompts import has_messages
from backcast.engine.replay.what_if import MESSAGE_NAMES, NAMES

HINT = "errors = 2\n\n[weights]\nsiblings = 1.0"
MESSAGES_HINT = "[messages]\nmask_after = 5"


def whatif_choice(maker: PanelMaker, version: int, policy: str = "", text: str = "") -> Markup:
    """Return the form that asks what another policy would have shown."""
    of_messages = is_of_messages(maker, version)
    names = MESSAGE_NAMES if of_messages else NAMES
    options = [tag("option", name, value=name, selected=name == policy) for name in names]
    step = maker.reader.prompts().get(version)
    own = maker.reader.policy_name(step.fact) if step else ""
    asks = f"What if the policy were not {own} but " if own else "What if the policy were "
    hint = MESSAGES_HINT if of_messages else HINT
    return tag(
        "form", tag("label", asks, tag("select", *options, name="policy")),
        " ", tag("button", "show the difference"),
        folded("with other settings", tag("textarea", text, name="toml", rows=6, spellcheck="false",
               aria_label="settings as TOML", placeholder=hint),
               tag("p", "TOML, laid over the policy above; 'backcast policy' prints all settings.",
                   class_="note"), is_open=bool(text.strip())),
        tag("input", type="hidden", name="w", value=version),
        tag("input", type="hidden", name="task", value=maker.reader.task),
        class_="whatif", data_w=version, method="post", action="/",
    )  # fmt: skip


def whatif_asked(maker: PanelMaker, version: int) -> Markup | None:
    """Return how another policy is asked for at a prompt: a form, or links in a file."""
    if maker.live:
        return whatif_choice(maker, version)
    return whatif_links(version, maker.policies) if maker.policies else None


def whatif_links(version: int, names: Sequence[str]) -> Markup:
    """Return links to what a file holds of other policies at a prompt."""
    links = [tag("a", name, href=f"#w={version}:{name}") for name in names]
    parts: list[object] = ["What if the policy were ", links[0]]
    for link in links[1:]:
        parts += [", ", link]
    return tag("p", *parts, "?", class_="whatif")


def is_of_messages(maker: PanelMaker, version: int) -> bool:
    """Return whether a prompt is an agent's, which history policies are for."""
    reader = maker.reader
    return reader.prompts().get(version) is None and has_messages(reader.store, reader.task)
