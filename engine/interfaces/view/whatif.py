"""What would another policy have shown? The difference, and the lines that pin it."""

from collections.abc import Iterator
from shlex import quote

from backcast.domain.errors import BackcastError, InputError
from backcast.engine.context.policies import changed
from backcast.engine.context.strategies import STRATEGIES
from backcast.engine.interfaces.view.difference_panel import difference_parts
from backcast.engine.interfaces.view.markup import Markup, folded, joined, long_text, tag
from backcast.engine.interfaces.view.panels import PanelMaker
from backcast.engine.replay.pairs import Side, compared

RECORDED = "recorded"
NAMES = tuple(name for name, one in STRATEGIES.items() if not one.weights.get("meaning"))
"Policies that can be asked about: those that need no model."


def whatif_choice(maker: PanelMaker, version: int) -> Markup:
    """Return the form that asks what another policy would have shown."""
    options = [tag("option", name, value=name) for name in NAMES]
    return tag(
        "form", tag("label", "What if the policy were ", tag("select", *options, name="policy")),
        " ", tag("button", "show the difference"),
        tag("input", type="hidden", name="w", value=version),
        tag("input", type="hidden", name="task", value=maker.reader.task),
        class_="whatif", data_w=version,
    )  # fmt: skip


def whatif_panel(maker: PanelMaker, version: int, policy: str) -> Markup:
    """Return what another named policy would have shown at the prompt of an event."""
    try:
        body = joined(_parts(maker, version, policy))
    except (BackcastError, ValueError) as error:
        body = tag("p", f"this cannot be told: {error}", class_="bad")
    return tag("section", tag("h2", f"What if: {policy[:80]}"), body, id="difference")


def _parts(maker: PanelMaker, version: int, policy: str) -> Iterator[object]:
    if policy not in NAMES:
        raise InputError(f"needed one of {', '.join(NAMES)}, found {policy[:80]!r}")
    reader = maker.reader
    step = reader.step(version)
    if step is None or step.built is None:
        raise InputError(f"needed the event of a prompt, found event {version}")
    chosen = STRATEGIES[policy]
    found = compared(reader.pool, step, Side(RECORDED), Side(policy, chosen))
    yield tag("p", maker.link(version, f"step {reader.sequence.at(version).number}"),
              f" as it was asked, and as {policy} would have asked it. What a model would have"
              " answered, nobody can tell.", class_="note")  # fmt: skip
    yield joined(difference_parts(maker, found, None))
    settings = changed(reader.pool.settings(step.built)[1], chosen)
    yield folded(f"{len(settings)} settings differ", long_text("\n".join(settings)))
    address = quote(f"{maker.address}@{version}")
    lines = (f"backcast diff {address} --policy recorded --policy {policy}\n"
             f"pytest --backcast-policy {policy}")  # fmt: skip
    yield tag("h3", "To pin it")
    yield tag("pre", lines, class_="text pin")
