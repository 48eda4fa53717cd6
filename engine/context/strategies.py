"""Policies with a name: the strategies between which the seeds' trade-off matrix chooses.

Each is what its name says and no more, as settings of a policy, so that they can be compared on
the same logs. None is recommended but the default. Those of the matrix differ from `coverage` by
what their names say, and nothing that the default learns changes them.
"""

from collections.abc import Mapping

from backcast.domain.policy import COVERAGE, DEFAULT, PRIORITY, READER, WEIGHTS, Details, Policy

WHOLE = {"name": 0.0, "signature": 0.0, "summary": 0.0, "full": 1.8}
"Things are shown in full or not at all."
ALL = 10_000
_MANY = Details(
    module_tokens=ALL, function_tokens=ALL, iterations=ALL, tests="full", errors="full",
    patterns=ALL,
)  # fmt: skip
_PLAIN = Details(iterations=0, tests="full", errors="full", patterns=0)
_HAND = Details(iterations=3, tests="full", errors="full", patterns=0)


def _weights(*names: str, **more: float) -> dict[str, float]:
    """Return the coverage policy's weights of some evidence, and none of all other."""
    return {name: WEIGHTS[name] for name in ("always", *names)} | more


STRATEGIES: Mapping[str, Policy] = {
    policy.name: policy
    for policy in (
        READER,
        COVERAGE,
        # Texts as they are, found by the words of the request; nothing is remembered.
        Policy(
            name="no-cache", keep=False, errors=1, worth=WHOLE, small=_PLAIN, large=_PLAIN,
            weights=_weights("signature words", "body words", "named", always=-3.0),
        ),
        # What the running task has in hand: its module, what that needs, failures, iterations.
        Policy(
            name="online-only", small=_HAND, large=_HAND,
            weights=_weights("needed", "own file", "own class", "namespace", always=-4.0),
        ),
        # Summaries of modules and functions along the graph, texts last.
        Policy(
            name="hierarchical", summarised=0.0,
            worth={"name": 0.05, "signature": 0.5, "summary": 1.6, "full": 1.65},
            weights=_weights(
                "needed", "own file", "own class", "namespace", "imported file", "siblings", "used",
                always=-4.5,
            ),
        ),
        # Coverage, with PageRank and with nearness in meaning.
        Policy(
            name="graph-semantic",
            weights=dict(WEIGHTS) | {"rank": 0.8, "meaning": 1.5, "always": -6.2},
        ),
        # Everything that happened, the latest first, until the window is full.
        Policy(
            name="full-replay", keep=False, errors=ALL, worth=WHOLE, small=_MANY, large=_MANY,
            priorities=dict(PRIORITY) | {"recent errors": "HIGH", "current module": "HIGH"},
            weights={"always": -3.0, "lately": 3.0, "together": 0.5},
        ),
    )
} | {"default": DEFAULT}  # fmt: skip
"By name; the default by two."

ABOUT: Mapping[str, str] = {
    "reader": "the default: bodies that are like what will be written, and what that needs",
    "coverage": "the default before: what is likely needed, as its tokens are worth",
    "no-cache": "texts in full, found by the words of the request; nothing is remembered",
    "online-only": "what the running task has in hand: its module, what that needs, failures",
    "hierarchical": "summaries along the graph first, texts last",
    "graph-semantic": "coverage with PageRank and nearness in meaning; needs the extra 'semantic'",
    "full-replay": "all that happened, the latest first, until the window is full",
}
"What each shows, in a line."
