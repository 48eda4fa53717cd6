"""What agents' actions used of long results alone: how much of it is left in shorter forms?

Each form of a result has the tokens of our own, so that only the choice of lines is compared.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from backcast.domain.action_evidence import shown_in
from backcast.domain.compression_settings import CompressionSettings
from backcast.engine.log.store import EventStore
from backcast.engine.replay.agent_prompts import has_messages
from backcast.engine.replay.long_results import long_results
from scripts.benches.figures import Bound, Figure

Count = Callable[[str], int]
GROUP = "what agents' actions used of long results"
SIZES = (1_000, 2_000)


def head_and_tail(text: str, tokens: int, count: Count) -> str:
    """Return the first and the last characters of a text, half each: as many as the tokens hold."""
    least, most, middle = 0, len(text) // 2, 2 * tokens
    while least < most:
        middle = min(max(middle, least + 1), most)
        size = count(_ends(text, middle))
        if size <= tokens:
            least = middle
        else:
            most = middle - 1
        if size == tokens:
            break
        # Characters per token hardly change from here on.
        middle = round(middle * tokens / size)
    return _ends(text, least)


def _ends(text: str, characters: int) -> str:
    return f"{text[:characters]}\n[…]\n{text[len(text) - characters :]}"


def recall_rows(stores: Sequence[Path], count: Count) -> list[Figure]:
    """Return a row for each size of a form and each store of runs."""
    found = list[Figure]()
    for place in stores:
        with EventStore.open(f"sqlite:///{place}") as store:
            runs = [task for task in store.tasks() if has_messages(store, task)]
            results = [one for task in runs for one in long_results(store, task, SIZES[0], count)]
        for size in SIZES:
            settings = CompressionSettings(target=size, over=size)
            used = ours = plain = before = after = 0
            for result in results:
                if result.tokens <= size:
                    continue
                short = result.short(settings, count)
                form = shown_in(short.text)
                other = shown_in(head_and_tail(result.text, short.tokens, count))
                used += len(result.used)
                ours += sum(form.shows(thing) for thing in result.used)
                plain += sum(other.shows(thing) for thing in result.used)
                before, after = before + result.tokens, after + short.tokens
            if used:
                found.append(
                    Figure(
                        GROUP,
                        f"{place.stem}, {len(runs)} runs: evidence recall, over {size:,}",
                        [100 * ours / used],
                        "%",
                        f"{ours:,} of {used:,}, {before / after:.1f} x fewer",
                        f"head and tail of the same size {100 * plain / used:.1f} %",
                        must=Bound(">=", 100 * plain / used),
                    )
                )
    return found
