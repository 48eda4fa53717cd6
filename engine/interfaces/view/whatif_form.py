"""The form that asks what another policy would have shown, and the links to what a file holds."""

from collections.abc import Sequence

from backcast.domain.message_settings import MessageSettings
from backcast.domain.policy import Policy
from backcast.engine.context.message_policies import ABOUT as MESSAGE_ABOUT
from backcast.engine.context.strategies import ABOUT
from backcast.engine.interfaces.view.markup import Markup, folded, tag
from backcast.engine.interfaces.view.panels import PanelMaker
from backcast.engine.replay.agent_prompts import has_messages
from backcast.engine.replay.what_if import MESSAGE_NAMES, NAMES

ALL = "all"
"Asks about every named policy."
OWN_NAMES = tuple(name for name in NAMES if name != "default")
"Policies of our own prompts; the default is one of the others."
NOT_HERE = (
    "What another policy would have shown is not in it: 'backcast view TASK --html FILE"
    " --what-if POLICY' writes it; the page that is served asks for it"
)
HINT = "errors = 2\n\n[weights]\nsiblings = 1.0"
MESSAGES_HINT = "[messages]\nmask_after = 5"


def whatif_choice(maker: PanelMaker, version: int, policy: str = "", text: str = "") -> Markup:
    """Return the form that asks what another policy would have shown."""
    of_messages = is_of_messages(maker, version)
    step = maker.reader.prompts().get(version)
    own = maker.reader.policy_name(step.fact) if step else ""
    names, about = (MESSAGE_NAMES, MESSAGE_ABOUT) if of_messages else (OWN_NAMES, ABOUT)
    options = [tag("option", f"{name}, this prompt's own" if name == own else name, value=name,
                   selected=name == policy, title=about.get(name)) for name in names]  # fmt: skip
    options.insert(0, tag("option", "any of the named ones, side by side", value=ALL,
                          selected=policy == ALL))  # fmt: skip
    fields = MessageSettings if of_messages else Policy
    listed = ", ".join(sorted(set(fields.model_fields) - {"name", "version", "messages"}))
    asks = f"What if the policy were not {own}, this prompt's own, but " * bool(own)
    asks = asks or "What if the policy were "
    hint = MESSAGES_HINT if of_messages else HINT
    return tag(
        "form", tag("label", asks, tag("select", *options, name="policy")),
        " ", tag("button", "show the difference"),
        folded("with other settings", tag("textarea", text, name="toml", rows=6, spellcheck="false",
               aria_label="settings as TOML", placeholder=hint),
               tag("p", "TOML, laid over the policy above: 'backcast policy' prints all settings"
                   f" with their values, 'backcast help policies' tells of them. There are {listed}"
                   + (", in the table [messages]." if of_messages else "."),
                   class_="note"), is_open=bool(text.strip())),
        tag("p", "A policy is all the settings by which it is chosen what a prompt shows.",
            class_="note"),
        tag("input", type="hidden", name="w", value=version),
        tag("input", type="hidden", name="task", value=maker.reader.task),
        class_="whatif", data_w=version, method="post", action="/",
    )  # fmt: skip


def whatif_asked(maker: PanelMaker, version: int) -> Markup | None:
    """Return how another policy is asked for at a prompt: a form, or links in a file that holds
    them."""
    if maker.live:
        return whatif_choice(maker, version)
    return whatif_links(version, maker.policies) if maker.policies else None


def whatif_links(version: int, names: Sequence[str]) -> Markup:
    """Return links to what a file holds of other policies at a prompt."""
    links = [tag("a", name, href=f"#w={version}:{name}") for name in names]
    parts: list[object] = ["What if (key x) the policy were ", links[0]]
    for link in links[1:]:
        parts += [", ", link]
    return tag("p", *parts, "?", class_="whatif")


def is_of_messages(maker: PanelMaker, version: int) -> bool:
    """Return whether a prompt is an agent's, which history policies are for."""
    reader = maker.reader
    return reader.prompts().get(version) is None and has_messages(reader.store, reader.task)
