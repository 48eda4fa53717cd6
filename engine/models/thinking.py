"""What a model thought before it answered, kept apart from the answer."""

START, END = "<think>", "</think>"


def split_thinking(text: str) -> tuple[str, str]:
    r"""What was thought, and the answer; a block that is not closed has no answer behind it.

    >>> split_thinking("<think>\nTwo.\n</think>\n\ndef two(): ...\n")
    ('Two.', 'def two(): ...\n')
    >>> split_thinking("<think>Two, or")
    ('Two, or', '')
    >>> split_thinking("It writes </think> where a <think> was.")
    ('', 'It writes </think> where a <think> was.')
    """
    opened = text.lstrip()
    if not opened.startswith(START):
        return "", text
    thought, _, answer = opened.removeprefix(START).partition(END)
    return thought.strip(), answer.lstrip("\n")
