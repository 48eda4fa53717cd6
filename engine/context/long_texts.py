"""Long texts among the candidates of a prompt: each is offered as its extracts in place of all.

What a request touches, and what lies near its target by imports, decides what of a text stays. The
whole is kept as a blob of the log, which the extracts name.
"""

from collections.abc import Sequence

from backcast.domain.compression import CompressedText, compressed
from backcast.domain.compression_settings import share_of
from backcast.domain.context import Candidate, LongText
from backcast.domain.message_parts import REF
from backcast.domain.text_request import HOPS, TextRequest, request_of
from backcast.engine.context.request_scope import RequestScope
from backcast.engine.context.symbols import Symbols
from backcast.engine.log.blobs import ref_of

SECTIONS = ("recent errors",)
"The sections whose texts are outputs."


def shortened(
    scope: RequestScope, candidates: Sequence[Candidate]
) -> tuple[list[Candidate], list[LongText]]:
    """Return the candidates with each long text as its extracts, and what these leave out."""
    over, found, texts = scope.policy.compression.over, list[Candidate](), list[LongText]()
    for candidate in candidates:
        full = candidate.levels[0] if candidate.levels else None
        if candidate.section in SECTIONS and full and full.name == "full" and full.tokens > over:
            short = _short(scope, full.text)
            if short.state:
                rest = [(level.name, level.text) for level in candidate.levels[1:]]
                levels = scope.levels([("part", short.text), *rest], candidate.score)
                candidate = candidate._replace(levels=levels)
                texts.append(LongText(candidate.node, full.text, short))
        found.append(candidate)
    return found, texts


def _short(scope: RequestScope, text: str) -> CompressedText:
    name = ref_of(text.encode(errors="surrogatepass"))[:REF]
    return compressed(
        text, _request(scope), scope.policy.compression, scope.counting.count,
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
