"""What an agent read twice is told by its prompts: where, what became of it, and what it cost."""

from backcast.domain.message_parts import FileRead, MessagePart
from backcast.engine.replay.agent_prompt import AgentPrompt
from backcast.engine.replay.reads_again import CHANGED, OTHER, UNCHANGED, repeated_reads


def read(event: int, text: str, first: int | None = None, last: int | None = None) -> MessagePart:
    reads = FileRead("shop/till.py", first, last)
    return MessagePart("tool", "result", text, 10, tool="read", event=event, reads=reads)


def written(event: int) -> MessagePart:
    return MessagePart("tool", "result", "done", 2, tool="edit", event=event, writes="till.py")


def prompts(*parts: MessagePart) -> list[AgentPrompt]:
    """Return prompts that each hold a part more than the one before."""
    return [AgentPrompt("t", 100 + n, parts[:n], (), formed=True) for n in range(len(parts) + 1)]


def test_an_unchanged_file_that_is_read_again_costs_its_tokens_in_each_later_prompt() -> None:
    reads, [again] = repeated_reads(prompts(read(1, "a"), read(2, "a"), written(3)))
    assert (reads, again.since, again.before, again.at) == (2, UNCHANGED, 100, 101)
    assert again.carried == 2 * 10


def test_a_write_between_makes_the_earlier_read_the_one_that_is_carried_in_vain() -> None:
    _, [again] = repeated_reads(prompts(read(1, "a"), written(2), read(3, "b")))
    assert (again.since, again.carried) == (CHANGED, 10)


def test_other_lines_of_a_file_are_no_second_read_of_it() -> None:
    _, [again] = repeated_reads(prompts(read(1, "a", 1, 5), read(2, "b", 6, 9)))
    assert (again.since, again.carried) == (OTHER, 0)


def test_results_of_other_calls_count_where_they_come_word_for_word_again() -> None:
    told = [MessagePart("tool", "result", text, 30, tool="bash", arguments="ls", event=event)
            for event, text in ((1, "a b"), (2, "a b c"), (3, "a b"))]  # fmt: skip
    reads, [again] = repeated_reads(prompts(*told))
    assert (reads, again.subject, again.before, again.at) == (0, "bash ls", 100, 102)
