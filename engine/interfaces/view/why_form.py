"""Why is something in a prompt, or out of it? Any node may be named, also one never offered."""

from itertools import islice
from shlex import quote

from backcast.domain.errors import BackcastError
from backcast.domain.outline import names_in
from backcast.engine.interfaces.blamed import blame_lines, blamed
from backcast.engine.interfaces.view.markup import Markup, long_text, tag
from backcast.engine.interfaces.view.panels import PanelMaker
from backcast.projections.dependency_graph import present

NAMED = 400
"Functions and classes known at the prompt that the field offers."


def why_asked(maker: PanelMaker, version: int) -> Markup:
    """Return the field that asks of one node; in a file the command that answers."""
    if not maker.live:
        log = quote(maker.mask(maker.log) or maker.shown.task)
        store = f" --store {quote(maker.mask(maker.store_url))}" * bool(maker.store_url)
        command = f"backcast blame {log}@{version} NODE{store * (not maker.log)}"
        return tag("p", "Why is something else in it, or not? ", tag("code", command),
                   class_="note")  # fmt: skip
    step = maker.reader.step(version)
    modules = present(step.known.states.graph) if step else {}
    known = (f"{path}::{name}" for path in modules for name in names_in(modules[path]))
    options = [tag("option", value=name) for name in islice(known, NAMED)]
    return tag(
        "form", tag("label", "Why is something in it, or not? ",
                    tag("input", name="i", list="known", placeholder="PATH::NAME",
                        autocomplete="off")),
        " ", tag("button", "tell"), tag("datalist", *options, id="known"),
        tag("output"), class_="why-asked", data_why=version,
    )  # fmt: skip


def why_answer(maker: PanelMaker, version: int, node: str) -> Markup:
    """Return why a node is in a prompt or out of it, as `backcast blame` tells it."""
    reader = maker.reader
    try:
        lines = list(blame_lines(blamed(reader.store, reader.task, str(version), node.strip())))
    except (BackcastError, ValueError) as error:
        return tag("p", str(error), class_="bad")
    return long_text("\n".join(lines[1:]))
