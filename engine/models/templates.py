"""Chat templates in Jinja that render what `engine/context/rendering.py` renders.

A model file brings its own; these are for files that bring none, or another than was counted.
"""

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
