"""The order of spans: by where they began, each behind the one that it is a part of."""

from collections.abc import Iterator, Mapping

from backcast.engine.log.importers import Report
from backcast.engine.log.importers.otlp_spans import SpanPlace

Trace = list[tuple[SpanPlace, str]]
"The spans of a trace in order, each with its conversation."


def traces_in_order(
    traces: Mapping[str, Mapping[str, SpanPlace]], report: Report, recent: int
) -> Iterator[Trace]:
    """Yield the traces in which a model is called, the earliest first.

    One that ended after `recent`, and whose first span is missing, is left for a later import.
    """
    asked = {name: spans for name, spans in traces.items()
             if any(span.of_model for span in spans.values())}  # fmt: skip
    if others := len(traces) - len(asked):
        count = sum(len(spans) for name, spans in traces.items() if name not in asked)
        left_out = f"{counted(others, 'trace')} ({counted(count, 'span')})"
        report.notes.append(f"left out, as no model is called there: {left_out}")
    waiting = cycles = orphans = 0
    begins = {name: min(span.start for span in spans.values()) for name, spans in asked.items()}
    for name in sorted(asked, key=lambda name: (begins[name], name)):
        spans = asked[name]
        lost = sum(bool(span.parent) and span.parent not in spans for span in spans.values())
        ends = max(max(span.start, span.end) for span in spans.values())
        if lost and ends > recent:
            waiting += 1
            continue
        orphans += lost
        ordered, circular = in_order(spans)
        cycles += circular
        yield with_conversations(ordered, spans, name)
    if waiting:
        report.notes.append(
            f"left for a later import: {counted(waiting, 'trace')} without the first span, which"
            f" is written when it ends"
        )
    if orphans:
        report.notes.append(f"not in the log: the span that {counted(orphans, 'span')} stood in")
    if cycles:
        report.notes.append(
            f"{counted(cycles, 'span')} in a circle of parents: the first of them leads"
        )


def counted(count: int, noun: str) -> str:
    """Return a number of things in words.

    >>> counted(1, "span"), counted(2000, "span")
    ('1 span', '2,000 spans')
    """
    return f"{count:,} {noun}{'s' * (count != 1)}"


def in_order(spans: Mapping[str, SpanPlace]) -> tuple[list[SpanPlace], int]:
    """Return spans in order, and how many of them are parts of themselves."""
    below: dict[str, list[SpanPlace]] = {}
    for span in spans.values():
        parent = span.parent if span.parent in spans and span.parent != span.span else ""
        below.setdefault(parent, []).append(span)
    for found in below.values():
        found.sort(key=lambda span: (span.start, span.span), reverse=True)
    seen: dict[str, SpanPlace] = {}
    _walk(below.get("", []), below, seen)
    circular = len(spans) - len(seen)
    for span in sorted(spans.values(), key=lambda span: (span.start, span.span)):
        if span.span not in seen:
            _walk([span], below, seen)
    return list(seen.values()), circular


def _walk(
    first: list[SpanPlace], below: Mapping[str, list[SpanPlace]], seen: dict[str, SpanPlace]
) -> None:
    stack = list(first)
    while stack:
        span = stack.pop()
        if span.span not in seen:
            seen[span.span] = span
            stack.extend(below.get(span.span, ()))


def with_conversations(
    ordered: list[SpanPlace], spans: Mapping[str, SpanPlace], trace: str
) -> Trace:
    """Return spans with their conversations: their own, the nearest above, the trace's only one."""
    named = {span.conversation for span in spans.values()} - {""}
    only = named.pop() if len(named) == 1 else trace
    found: dict[str, str] = {}
    for span in ordered:
        above = found.get(span.parent, "")
        found[span.span] = span.conversation or above or only
    return [(span, found[span.span]) for span in ordered]
