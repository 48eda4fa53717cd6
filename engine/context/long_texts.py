"""Long texts among the candidates of a prompt: each is offered as its extracts in place of all.

What a request touches, and what lies near its target by imports, decides what of a text stays. The
whole is kept as a blob of the log, which the extracts name.
"""

from collections.abc import Collection, Sequence
from contextlib import suppress

from backcast.domain.compression import CompressedText, compressed
from backcast.domain.compression_settings import CompressionSettings, share_of
from backcast.domain.context import Candidate, LongText
from backcast.domain.errors import InputError, StoreError
from backcast.domain.message_parts import REF
from backcast.domain.text_request import HOPS, TextRequest, request_of
from backcast.engine.context.request_scope import RequestScope
from backcast.engine.context.symbols import Symbols
from backcast.engine.log.blobs import ref_of

SECTIONS = ("recent errors",)
"The sections whose texts are outputs."
SMALLER = 4
"How many times fewer tokens the smaller extracts of an output have, for a small window."


def shortened(
    scope: RequestScope, candidates: Sequence[Candidate]
) -> tuple[list[Candidate], list[LongText]]:
    """Return the candidates with each long text as its extracts, and what these leave out."""
    over, found, texts = scope.policy.compression.over, list[Candidate](), list[LongText]()
    for candidate in candidates:
        full = candidate.levels[0] if candidate.levels else None
        if candidate.section in SECTIONS and full and full.name == "full" and full.tokens > over:
            short = _short(scope, full.text, scope.policy.compression)
            if short.state:
                rest = [(level.name, level.text) for level in candidate.levels[1:]]
                levels = scope.levels([("part", short.text), *rest], candidate.score)
                candidate = candidate._replace(levels=levels)
                texts.append(LongText(candidate.node, full.text, short))
        found.append(candidate)
    return found, texts


def printed_output(
    scope: RequestScope, beside: Collection[str] = ()
) -> tuple[list[Candidate], list[LongText]]:
    """Return what the last failed run of checks printed, as extracts of two sizes, where it is
    long; a shorter output says hardly more than its failures do.

    `beside` are modules that are worked on at the same time: their checks are their concern.
    """
    policy, settings = scope.policy, scope.policy.compression
    failed = scope.states.online.failures if policy.outputs and policy.errors else ()
    own = (one for one in failed if not one.over and one.kind == "checks" and one.at not in beside)
    last = next(own, None)
    if last is None or last.text is None:
        return [], []
    with suppress(InputError, StoreError):
        whole = scope.cache.lines.whole(last.text)
        found = list[LongText]()
        node = f"output:{last.version}"
        for target in (settings.target, settings.target // SMALLER):
            smaller = settings.model_copy(update={"target": target})
            short = _short(scope, whole, smaller, last.text)
            if short.state:
                found.append(LongText(node, whole, short, last.text))
        texts = [("part", text.short.text) for text in found]
        levels = scope.levels(texts, 1.0)
        priority = policy.priority("recent errors")
        made = Candidate(node, "recent errors", priority, levels, 1.0, (last.version,))
        return [made], found
    return [], []


def _short(
    scope: RequestScope, text: str, settings: CompressionSettings, ref: str = ""
) -> CompressedText:
    name = (ref or ref_of(text.encode(errors="surrogatepass")))[:REF]
    return compressed(
        text, _request(scope), settings, scope.counting.count,
        share=share_of(scope.profile.template), name=name,
    )  # fmt: skip


def _request(scope: RequestScope) -> TextRequest:
    words = (scope.request.query, scope.path, scope.name, *scope.wanted)
    return request_of("\n".join(words), distances(scope.symbols, scope.path))


def distances(symbols: Symbols, path: str) -> dict[str, int]:
    """Return the paths that are up to `HOPS` imports away from one, in either direction."""
    found, border = {path: 0}, [path]
    users: dict[str, list[str]] = {}
    for other in sorted(symbols.parts):
        for needed in sorted(symbols.parts[other].imports):
            users.setdefault(needed, []).append(other)
    for hops in range(1, HOPS + 1):
        further = list[str]()
        for known in border:
            part = symbols.parts.get(known)
            for other in (*(sorted(part.imports) if part else ()), *users.get(known, ())):
                if other not in found:
                    found[other] = hops
                    further.append(other)
        border = further
    return {other: hops for other, hops in found.items() if hops}
