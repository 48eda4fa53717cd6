"""Chat templates in Jinja that render what `backcast.engine.context.rendering` renders.

A model file brings its own; these are for files that bring none, or another than was counted.
"""

from collections.abc import Sequence

from backcast.engine.models import Message

MISTRAL = """\
{{ bos_token }}{% set first = namespace(text='') -%}
{% for message in messages if message.role == 'system' -%}
{% set first.text = first.text + message.content + '\\n\\n' -%}
{% endfor -%}
{% for message in messages -%}
{% if message.role == 'user' -%}
[INST]{{ first.text + message.content }}[/INST]{% set first.text = '' -%}
{% elif message.role == 'assistant' -%}
{{ message.content + eos_token }}{% endif -%}
{% endfor -%}
"""
"It takes no system role: that text goes into the first user turn."

CHATML = """\
{% for message in messages -%}
<|im_start|>{{ message.role + '\\n' + message.content }}<|im_end|>{{ '\\n' -}}
{% endfor -%}
{% if add_generation_prompt -%}
<|im_start|>assistant{{ '\\n' -}}
{% if enable_thinking is defined and not enable_thinking -%}
<think>{{ '\\n\\n' }}</think>{{ '\\n\\n' -}}
{% endif -%}
{% endif -%}
"""
"With the empty thought by which Qwen3 is told not to think."

TEMPLATES = {"mistral": MISTRAL, "chatml": CHATML, "qwen3": CHATML}
"By the names that profiles have for them; whether a model thinks is asked anew each time."


def merged(messages: Sequence[Message]) -> list[Message]:
    r"""The same without a system: its text begins the first user turn.

    >>> merged([Message("system", "Be brief."), Message("user", "Why?")])
    [Message(role='user', content='Be brief.\n\nWhy?')]
    """
    system = "".join(f"{text}\n\n" for role, text in messages if role == "system")
    found = [Message(role, text) for role, text in messages if role != "system"]
    for place, (role, text) in enumerate(found):
        if role == "user":
            found[place] = Message(role, system + text)
            return found
    return [Message("user", system.rstrip()), *found] if system else found
