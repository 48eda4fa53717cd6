r"""What a model said, without what its server or template left around it.

>>> said("<think>Hm, or</think>\n\nYes.<|im_end|>")
Said(text='Yes.', thought='Hm, or')
"""

import re
from typing import NamedTuple

from backcast.engine.models.reply import CLOSE, OPEN, split_thinking

ENDS = (
    "<|im_end|>", "<|endoftext|>", "<|eot_id|>", "<|eom_id|>", "<|end|>", "<|return|>", "<|call|>",
    "<|end_of_text|>", "<|end_of_turn|>", "<end_of_turn>", "<eos>", "</s>", "[/INST]", "[INST]",
    "<|file_sep|>", "<|fim_pad|>", "<\uff5cend\u2581of\u2581sentence\uff5c>", "<|eos|>",
    "<|END_OF_TURN_TOKEN|>",
)  # fmt: skip
"Tokens at the end of an answer that belong to templates."
BEGINS = ("<s>", "<|begin_of_text|>", "<bos>", "<|im_start|>assistant", "[/INST]", "<|assistant|>",
          "<|start_header_id|>assistant<|end_header_id|>", "<start_of_turn>model")  # fmt: skip
_END = re.compile(rf"(?:\s*(?:{'|'.join(map(re.escape, ENDS))}))+\s*\Z")
_BEGIN = re.compile(rf"\A(?:\s*(?:{'|'.join(map(re.escape, BEGINS))}))+\n?")
_CHANNELS = re.compile(r"\A\s*(?:<\|start\|>assistant)?<\|channel\|>")
_FINAL = "<|channel|>final"
_MESSAGE = "<|message|>"


class Said(NamedTuple):
    """An answer and the thought before it."""

    text: str
    thought: str = ""


def said(text: str) -> Said:
    """Return what a model said; what lies inside the answer stays, whatever it looks like."""
    text = _END.sub("", text[-400:]).join([text[:-400], ""]) if _END.search(text[-400:]) else text
    text = _BEGIN.sub("", text, count=1)
    if _CHANNELS.match(text):
        return _of_channels(text)
    thought, answer = split_thinking(text)
    if thought or answer != text:
        return Said(answer, thought)
    before, closed, after = text.partition(CLOSE)
    # A template may have opened the thought already. Behind an answer the tag is only a word.
    alone = not after.partition("\n")[0].strip()
    if closed and alone and OPEN not in before and "```" in after and before.count("```") % 2 == 0:
        return Said(after.lstrip("\n"), before.strip())
    return Said(text)


def _of_channels(text: str) -> Said:
    """Return the last channel of an answer; the others are thoughts."""
    thought, _, final = text.rpartition(_FINAL)
    if not thought and _FINAL not in text:
        return Said("", text)
    answer = final.partition(_MESSAGE)[2]
    return Said(_END.sub("", answer), thought)
