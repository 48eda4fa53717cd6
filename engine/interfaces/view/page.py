"""The page: the run as a list and a strip, a slider, and room for the panels."""

import re
from collections.abc import Sequence
from importlib.resources import files

from backcast.engine.interfaces.installed import VERSION
from backcast.engine.interfaces.view.markup import Markup, joined, plain, tag
from backcast.engine.interfaces.view.moment_panel import moment_panel
from backcast.engine.interfaces.view.page_words import KEYS, WORDS
from backcast.engine.interfaces.view.panels import PanelMaker
from backcast.engine.interfaces.view.run_step import GLYPHS, NAMES, RunStep
from backcast.engine.interfaces.view.step_panel import step_panel
from backcast.engine.interfaces.views import UNTIMED

HEIGHTS = {"failed": 20, "checks": 20, "refused": 15, "begin": 4}
"How high an outcome stands on the strip, for those who cannot tell its colour; others 10."


PLURALS = {"plan": "plans", "commit": "commits", "summary": "summaries", "tool": "tool calls",
           "reply": "answers"}  # fmt: skip
SHORTER = {"checks": "failed"}
"Words on outcomes for which a narrow list has no room."


def asset(name: str) -> str:
    """Return a file of the page; its script is made of two."""
    folder = files(__package__).joinpath("assets")
    names = ("compare.js", name) if name == "view.js" else (name,)
    return "".join(folder.joinpath(each).read_text(encoding="utf-8") for each in names)


_KIND = re.compile(r"\b(?:module|function|method|class|test|attribute):(?=\S)")
"What an item's name begins with, for which a narrow list has no room."


_FOLDERS = re.compile(r"(?<![\w:.])/(?:[^\s/]+/)+(?=[^\s/])")
"The folders before the name of a file: the name tells more."


def step_row(maker: PanelMaker, step: RunStep) -> Markup:
    """Return a step as a row of the list."""
    when = step.at.strftime("%H:%M:%S") if step.at else ""
    return tag(
        "li",
        tag(
            "a", tag("b", GLYPHS[step.outcome], class_=f"mark of-{step.outcome}"),
            tag("span", step.number or "", class_="number"), tag("time", when, class_="clock"),
            tag("span", _FOLDERS.sub("…/", _KIND.sub("", step.title)), class_="name"),
            tag("small", SHORTER.get(step.outcome, step.label), class_="label"),
            href=maker.href(step.event), data_e=step.event,
            title=f"{step.title}{': ' * bool(step.label)}{step.label}\n{step.why}".strip(),
        ),
        data_first=step.first, data_last=step.last, data_o=step.outcome,
        data_p=step.asked or None,
    )  # fmt: skip


def strip(steps: Sequence[RunStep], last: int, first: int = 1) -> Markup:
    """Return the run from an event on as a strip of its steps, one beside the other, as wide as
    their events."""
    bars = [
        tag("rect", x=step.first - 1, y=20 - HEIGHTS.get(step.outcome, 10),
            width=step.last - step.first + 1, height=HEIGHTS.get(step.outcome, 10),
            class_=f"of-{step.outcome}")
        for step in steps
    ]  # fmt: skip
    return tag("svg", *bars, viewBox=f"{first - 1} 0 {max(last - first + 1, 1)} 20",
               preserveAspectRatio="none", class_="strip", aria_hidden="true")  # fmt: skip


def counts(steps: Sequence[RunStep]) -> Markup:
    """Return how many steps ended in which way."""
    found: dict[str, list[RunStep]] = {}
    for step in steps:
        found.setdefault(step.outcome, []).append(step)
    return joined(
        tag("span", tag("b", GLYPHS[name], class_=f"mark of-{name}"),
            f" {_counted(name, len(found[name]))} ")
        for name in GLYPHS
        if name in found and found[name][0].label
    )  # fmt: skip


def span_of(steps: Sequence[RunStep]) -> str:
    """Return the day on which steps began, and the last: a day, its hours, or two days."""
    times = [step.at for step in steps if step.at]
    if not times or times[0].year == UNTIMED:
        return ""
    first, last = times[0], max(times)
    if first.date() == last.date():
        return f"{first:%Y-%m-%d} {first:%H:%M} to {last:%H:%M}"
    return f"{first:%Y-%m-%d} to {last:%Y-%m-%d}"


def _counted(outcome: str, count: int) -> str:
    """Return how many steps have an outcome, in words.

    >>> _counted("checks", 1), _counted("reply", 1), _counted("reply", 2)
    ('1 x checks failed', '1 answer', '2 answers')
    """
    if outcome in ("checks", "passed"):  # one step may have many checks
        return f"{count} x {NAMES[outcome]}"
    return f"{count} {PLURALS.get(outcome, NAMES[outcome]) if count > 1 else NAMES[outcome]}"


def main_parts(maker: PanelMaker, version: int) -> tuple[Markup, Markup]:
    """Return the panel of the step that holds an event, and of its moment."""
    step = maker.shown.sequence.at(version)
    return step_panel(maker, step), moment_panel(maker, version)


def _listed(pairs: Sequence[tuple[str, str]]) -> Markup:
    return tag("dl", *(tag("div", tag("dt", name), tag("dd", words)) for name, words in pairs))


_LETTERS = tag(
    "p", tag("label", tag("input", type="checkbox", id="letters", checked=True),
             " Single letters and signs are keys. Without that only arrows, Enter and Esc are;"
             " this browser remembers it."),
)  # fmt: skip
"The switch for who speaks to the computer, or whose hand may slip."


def page(
    maker: PanelMaker, version: int, middle: Markup | None, head: Sequence[object],
    foot: Sequence[object] = (), notes: Sequence[str] = (), said: str = "", first: int = 1,
) -> str:  # fmt: skip
    """Return the whole page, as it stands at an event; `middle` instead of the event's step.
    `notes` stand above it, what is `said` of it below. It begins with event `first`, of a step."""
    sequence = maker.shown.sequence
    last = sequence.version
    steps = [step for step in sequence.steps if step.first >= first]
    step, moment = main_parts(maker, version)
    task = maker.shown.task
    body = tag(
        "body",
        tag("a", "skip to the step", href="#middle", class_="skip", data_skip=True),
        tag(
            "header", tag("h1", tag("a", task, href="." if maker.live else "#")),
            tag("a", "all tasks", href="/?tasks=1", class_="all") if maker.live else None,
            tag("p", sequence.subject[:200], class_="goal", title=sequence.subject[:2000]),
            tag("p", "" if sequence.commits else span_of(steps), class_="when"),
            tag("p", counts(steps), class_="counts"),
            tag("form", tag("input", type="search", id="q", name="q", autocomplete="off",
                placeholder="search prompts, answers, code", aria_label="search"),
                id="search", role="search"),
            tag("button", "?", id="help", type="button", title="keys and words",
                aria_label="keys and words"),
        ),
        *(tag("p", note, class_="banner") for note in notes),
        tag(
            "nav", strip(steps, last, first),
            tag("input", type="range", id="slider", min=first, max=last, value=version, step=1,
                aria_label="event"),
            tag("output", f"event {version} of {last}", id="where"),
            tag("a", "the moment ↓", href="#moment", class_="narrow"),
            tag("span",
                tag("button", "← trouble", type="button", id="trouble-before",
                    title="the step before that failed or was refused (p)"),
                tag("output", id="troubles"),
                tag("button", "trouble →", type="button", id="trouble",
                    title="next step that failed or was refused (n)"), class_="troubles"),
            tag("span", id="live", class_="note", role="status"), id="time", aria_label="events",
        ),
        tag(
            "main",
            tag("ol", *(step_row(maker, one) for one in steps), id="steps", aria_label="steps"),
            tag("div", middle or step, id="middle", tabindex=-1),
            tag("aside", moment, id="moment", aria_label="the moment"),
        ),
        tag("dialog", tag("h2", "Keys"), _listed(KEYS), _LETTERS, tag("h2", "Words"),
            _listed(WORDS), id="keys"),
        tag("noscript", tag("p", "Without JavaScript the panels stay as they are; links lead to"
            " other steps where the page is served.", class_="banner")),
        tag("footer", said) if said else None,
        *foot,
        data_task=task, data_first=first, data_last=last, data_e=version,
        data_live="1" if maker.live else "", data_all=len(sequence.steps) if first > 1 else None,
        data_log=maker.mask(maker.log) or task,
        data_store=maker.mask(maker.store_url) if not maker.log else "",
    )  # fmt: skip
    top = tag(
        "head", tag("meta", charset="utf-8"), *head,
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("meta", name="generator", content=f"backcast {VERSION}"),
        tag("link", rel="icon", href="data:,"),
        tag("title", plain(task)),
    )  # fmt: skip
    return f"<!doctype html>\n{tag('html', top, body, lang='en')}\n"
