r"""What becomes of an answer: the file that is taken, or the words in which it is refused."""

import ast
from collections.abc import Mapping, Sequence
from textwrap import indent
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backcast.domain.budget import MISTRAL_7B_8K
from backcast.domain.context_events import ContextBuilt
from backcast.domain.events import AnswerRefused
from backcast.engine.context.recorded import messages
from backcast.engine.log import EventStore
from backcast.engine.models import NOTHING, Call, Completion, Limits, Message
from backcast.engine.workflow.code_answers import code_of
from backcast.engine.workflow.contracts import plan_of
from backcast.engine.workflow.fences import quote_after
from backcast.engine.workflow.loop import start, work
from backcast.engine.workflow.refusals import RefusedError
from backcast.engine.workflow.runtime import Runtime
from backcast.engine.workflow.said import said
from backcast.engine.workflow.sandbox.run import Outcome, SandboxLimits
from backcast.engine.workflow.spec import RunLimits, Spec, SpecModule, Test

F = "```"
DOC = (
    f'"""Renders.\n\nUse it so:\n\n{F}\nrender("x")\n{F}\n"""\n\n\n'
    "def render(text):\n    return text\n"
)
"A file with a block of Markdown in its docstring."
CODE = "def f(x):\n    return x > 1\n"


def block(body: str = CODE, label: str = "python a.py", fence: str = F, end: str = "") -> str:
    return f"{fence}{label}\n{body}{end or fence}\n"


def taken(text: str) -> str:
    return code_of(said(text).text, "a.py", 4).files["a.py"]


ODD = (
    f'HEAD = "{F}"\n\n\ndef fenced(t):\n    return f"{F}\\n{{t}}\\n{F}"\n\n\n'
    f'LAST = """\n{F}python\n"""\n'
)
SINGLE = DOC.replace('"""', "'''")
DRAFT = block("x = 1\n", "python")
LABELLED = DOC.replace(f"{F}\nrender", f"{F}python\nrender")
INDENTED = f'def f():\n    """So:\n\n    {F}\n    f()\n    {F}\n    """\n    return 1\n'
TICKS = f"# {F}\n# a comment with a block\n# {F}\nx = 1\n"
RAW = f"x = r'''\n{F}\n\\'''\n{F}\n'''\n"
ENTITIES = 'from html import escape\n\nSIGNS = {"<": "&lt;", ">": "&gt;"}\n'
READ = "# The rest of the file is read here.\nx = 1\n"
TOKENS = 'ENDS = ("<|im_end|>", "</s>", "<think>", "</think>")\n'

TAKEN = {
    "a block in a docstring": (block(DOC), DOC),
    "a block with a language in a docstring": (block(LABELLED), LABELLED),
    "a block in the docstring of a function": (block(INDENTED), INDENTED),
    "a block in a docstring of single quotes": (block(SINGLE), SINGLE),
    "a file that writes Markdown": (block(ODD), ODD),
    "backticks in comments": (block(TICKS), TICKS),
    "escaped quotes around backticks": (block(RAW), RAW),
    "a longer fence around shorter ones": (block(DOC, fence=F + "`"), DOC),
    "tildes around backticks": (block(DOC, fence="~~~"), DOC),
    "tildes within backticks": (block(DOC.replace(F, "~~~")), DOC.replace(F, "~~~")),
    "a longer fence that is closed by a shorter one": (block(DOC, fence=F + "`", end=F), DOC),
    "a fence that is closed by a longer one": (block(DOC, end=F + "`"), DOC),
    "no path on the fence": (block(DOC, "python"), DOC),
    "no label on the fence": (block(DOC, ""), DOC),
    "a title on the fence": (block(DOC, 'python title="x"'), DOC),
    "a path as an attribute": (block(DOC, '{.python filename="a.py"}'), DOC),
    "blanks behind the last fence": (block(DOC, end=F + "  \t"), DOC),
    "text behind the last fence": (block(DOC, end=f"{F} That is all."), DOC),
    "text after the block": (block(DOC) + "\nThat is all, see `render`.\n", DOC),
    "a fence glued to the code": (block(DOC.rstrip("\n"), end=F), DOC),
    "a fence glued to a docstring": (block('"""x"""', end=F), '"""x"""\n'),
    "lines that end as on Windows": (block(DOC).replace("\n", "\r\n"), DOC),
    "an indented block": ("1. So:\n\n" + indent(block(DOC), "    ", lambda line: True), DOC),
    "how it is used, after it": (block(DOC) + block("a.render('')\n", "python"), DOC),
    "how it is used, with a docstring": (block(DOC) + block(f'"""\n{F}\n"""\n', "python"), DOC),
    "what is to be installed, before it": (block("pip install a\n", "bash") + block(DOC), DOC),
    "two blocks, the second by its heading": (
        block("f()\n", "python") + "\n**a.py**\n\n" + block(DOC, "python"), DOC,
    ),
    "two blocks, the second by its first comment": (
        block("f()\n", "python") + block("# a.py\n" + DOC, "python"), "# a.py\n" + DOC,
    ),
    "a broken file without other fences": (block('x = """\n'), 'x = """\n'),
    "a broken file with a block in a docstring": (block(DOC + "def\n"), DOC + "def\n"),
    "a token of the template at the end": (block(DOC) + "<|im_end|>", DOC),
    "tokens of templates at the end": (block(DOC) + "</s>\n<|endoftext|>\n", DOC),
    "a token glued to the last fence": (block(DOC).rstrip() + "<|im_end|>", DOC),
    "tokens of templates in the code": (block(TOKENS), TOKENS),
    "a turn's beginning": ("<|im_start|>assistant\n" + block(DOC), DOC),
    "a thought before it": (f"<think>\nFirst {F}python\nx{F}\n</think>\n\n{block(DOC)}", DOC),
    "a thought that the template opened": (f"Hm.\n{DRAFT}</think>\n\n{block(DOC)}", DOC),
    "a word about thoughts behind it": (
        f"{block(DOC)}It leaves out </think> tags.\n{block('f()' + chr(10), 'bash')}", DOC,
    ),
    "a thought in a channel": (
        f"<|channel|>analysis<|message|>Hm, {block('x')}<|end|><|start|>assistant<|channel|>final"
        f"<|message|>{block(DOC)}<|return|>", DOC,
    ),
    "a block that is indented as a whole": (block("    x = 1\n\n    y = 2\n"), "x = 1\n\ny = 2\n"),
    "signs as in HTML": (block("def f(x):\n    return x &gt; 1\n"), CODE),
    "quotes as in HTML": (block("x = [a for a in (1, 2) if a &lt; 2]\ny = &quot;&amp;&quot;\n"),
                          'x = [a for a in (1, 2) if a < 2]\ny = "&"\n'),
    "signs as in HTML in strings": (block(ENTITIES), ENTITIES),
    "an ellipsis that is code": (block("class A(Protocol):\n    def f(self): ...\n"),
                                 "class A(Protocol):\n    def f(self): ...\n"),
    "a comment that goes on": (block(f"# ... and so on\n{READ}"), f"# ... and so on\n{READ}"),
}  # fmt: skip


@pytest.mark.parametrize("name", TAKEN)
def test_the_whole_file_is_taken(name: str) -> None:
    text, file = TAKEN[name]
    assert taken(text) == file


REFUSED = {
    "no text": ("", "the answer was empty"),
    "words": ("I am sorry, I cannot do that.", "the answer has only text"),
    "code without a fence": (CODE, "the answer has no fence; begin the answer with ```python a.py"),
    "a block that does not end": (block(CODE, end=" "), "one whose fence is never closed"),
    "a block in a docstring, cut off": (
        f'{F}python a.py\n"""\n{F}\nf()\n', "a line of three backticks",
    ),
    "a block that does not end before the next": (
        f"{F}python a.py\nx = 1\n{F}python b.py\ny = 1\n{F}\n", "one whose fence is never closed",
    ),
    "a string without end, and more blocks": (
        block(f'x = """\n{F}\ny\n') + block("f()\n"), "in a string that does not end",
    ),
    "the same without a label": (
        block('x = """\n', "") + "Text.\n", "in a string that does not end",
    ),
    "a block for each file": (block(DOC) + block(CODE, "python b.py"), "found one for 'b.py'"),
    "two blocks": (block(DOC, "python") + block(CODE, "python"), "of a.py, found 2"),
    "two blocks with the path": (block(DOC) + block(CODE), "of a.py, found 2"),
    "another language": (block("let x = 1\n", "js"), "found none: its blocks are js; begin"),
    "a change": (block("--- a/a.py\n+++ b/a.py\n@@ -1 +1 @@\n-x\n+y\n", "diff"),
                 "the answer is a change of a file"),
    "a change in a block of Python": (
        block("@@ -1,2 +1,2 @@\n x = 1\n-y\n+z\n"), "found a change of it",
    ),
    "an edit by search": (
        block("<<<<<<< SEARCH\nx\n=======\ny\n>>>>>>> REPLACE\n"), "found a change of it",
    ),
    "a gap": (block("def f():\n    return 1\n\n# ... rest of the code unchanged\n"),
              "found a gap at line 4: '# ... rest of the code unchanged'"),
    "a gap of another kind": (block("# existing code ...\nx = 1\n"), "found a gap at line 1"),
    "one more": (block("x = 1\n# The rest of the file is unchanged.\n"), "found a gap at line 2"),
    "and one": (block("x = 1\n# […] (other methods unchanged)\n"), "found a gap at line 2"),
    "JSON": ('{"path": "a.py", "code": "def f():\\n    return 1\\n"}', "the answer is JSON"),
    "lines joined by their signs": (
        block("def f():\\n    return 1\n"), "each line of a.py on a line of its own",
    ),
    "a call of a tool": (
        '<tool_call>{"name": "write", "arguments": {}}</tool_call>', "there are no tools",
    ),
    "another call": ('[TOOL_CALLS][{"name": "write"}]', "there are no tools"),
    "signs as in HTML that make no Python": (block("if x &lt; 1\n"), "signs written as in HTML"),
    "a fence within a line": (f"Here: {F}python a.py x = 1 {F}", "only on a line of its own"),
    "an empty block": (block(" \n"), "found an empty block"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_the_whole_file_is_refused_in_words(name: str) -> None:
    text, words = REFUSED[name]
    with pytest.raises(RefusedError) as caught:
        taken(text)
    assert words in str(caught.value)
    assert len(str(caught.value)) < 400
    assert "\n" not in str(caught.value)


PARTS = st.sampled_from(
    [f'"""\n{F}\nf()\n{F}\n"""', f"'''\n{F}python\n'''", "x = 1", f"# {F}", f"y = '{F}'",
     "z = (1,\n2)",
     f'def f():\n    """A.\n\n    {F}\n    """\n    return "\\""', "s = 'it''s'", f'w = """{F}"""',
     f"r = r'\\'\nq = f'{F} {{x}}'", "~~~x", "'\\\n" + f"{F}\n'", ""],
)  # fmt: skip


@given(st.lists(PARTS, min_size=1, max_size=6), st.sampled_from(["", "python", "python a.py"]))
def test_no_file_is_cut_wherever_its_backticks_stand(parts: Sequence[str], label: str) -> None:
    body = "\n".join(parts) + "\n"
    try:
        ast.parse(body)
    except SyntaxError:
        return
    for text in (block(body, label), f"So:\n\n{block(body, label)}\nThat is all.\n"):
        if body.strip():
            assert taken(text) == body


@given(st.text("a'\"\\#\n ", max_size=30))
def test_where_a_string_ends_is_as_python_has_it(text: str) -> None:
    quote = ""
    for line in text.split("\n"):
        quote = quote_after(line, quote)
    try:
        ast.parse(text)
    except SyntaxError as error:
        if "unterminated triple-quoted" in str(error):
            assert len(quote) == 3
    else:
        assert quote == ""


def test_many_fences_do_not_take_long() -> None:
    for text in ('```\n\\"""\n```\n' * 40_000, f"{F}`py\nx\n{F}\n" * 40_000, f"{F}py\n" * 40_000):
        with pytest.raises(RefusedError):
            taken(text)


# Plans


@pytest.mark.parametrize("label", ["json", ""])
def test_a_plan_may_stand_in_a_block(label: str) -> None:
    plan = '{"modules": [{"path": "a.py", "purpose": "p", "dependencies": [], "tests": []}]}\n'
    spec = Spec(task="t", goal="g", tests=(Test(path="test_a.py", source="import a"),))
    [module] = plan_of(f"Here it is.\n\n{block(plan, label)}", spec)
    assert module.path == "a.py"
    with pytest.raises(RefusedError, match="needed JSON alone, found text that begins 'Here it"):
        plan_of("Here it is.", spec)


# What the model is shown


class Double:
    """A model that gives answers in turn."""

    id = "double"

    def __init__(self, *answers: Completion) -> None:
        self.answers, self.asked = list(answers), list[str]()

    def complete(
        self,
        messages: Sequence[Message],
        limits: Limits,
        *,
        schema: Mapping[str, Any] | None = None,
        stop: Sequence[str] = (),
        call: Call = NOTHING,
    ) -> Completion:
        self.asked.append("\n".join(message.content for message in messages))
        return self.answers.pop(0)


def passing(files: Mapping[str, bytes], tests: Sequence[str], limits: SandboxLimits) -> Outcome:
    return Outcome(1, 0, 0, (), b"", 0.0, (), {}, {})


def told(*answers: Completion) -> tuple[list[str], list[str]]:
    """The reasons of refusals in a run with these answers, and the prompts."""
    spec = Spec(
        task="t", goal="g", tests=(Test(path="test_a.py", source="import a\n"),),
        modules=(SpecModule(path="a.py", purpose="p", tests=("test_a.py",)),),
        limits=RunLimits(repairs=3),
    )  # fmt: skip
    model = Double(*answers, Completion(block()))
    with EventStore.open("sqlite://") as store:
        start(store, spec)
        runtime = Runtime(model, "double", MISTRAL_7B_8K)
        assert work(store, "t", runtime, checks=passing).status == "complete"
        events = store.read("t", types=["ANSWER_REFUSED"])
        reasons = [e.fact.reason or "" for e in events if isinstance(e.fact, AnswerRefused)]
        for event in store.read("t", types=["CONTEXT_BUILT"]):
            assert isinstance(event.fact, ContextBuilt)
            assert messages(event.fact, store.get)
    return reasons, model.asked


THOUGHT = {
    "thinking alone": (
        Completion("", tokens=700, thinking="Hm, or so. " * 100),
        "it was empty but for thinking (700 tokens). Think less, and then write the fenced block",
    ),
    "thinking alone, in the text": (
        Completion("<think>\nHm, or so.", tokens=9),
        "it was empty but for thinking (9 tokens)",
    ),
    "thinking until the end": (
        Completion("", tokens=2_500, finish="length", thinking="Hm. " * 2_400),
        "it was cut off after 2500 tokens, and all of them were thinking: there is no answer."
        " Think little or not at all, and answer with the fenced block alone, in at most 1250",
    ),
    "much thinking": (
        Completion("```python a.py\nx", tokens=2_500, finish="length", thinking="Hm"),
        "it was cut off after 2500 tokens, about 2 of them for thinking. Think less, and answer",
    ),
    "no thinking": (
        Completion("```python a.py\nx", tokens=100, finish="length"),
        "it was cut off after 100 tokens. Answer without any explanation, in at most 50 tokens",
    ),
    "nothing": (Completion(" \n"), "it was empty. Answer with the fenced block"),
    "a token of the template alone": (Completion("</s>"), "it was empty. Answer with"),
    "a channel of thought alone": (
        Completion("<|channel|>analysis<|message|>Hm.<|end|>", tokens=12),
        "it was empty but for thinking (12 tokens)",
    ),
}


@pytest.mark.parametrize("name", THOUGHT)
def test_the_next_prompt_says_why_an_answer_was_not_used(name: str) -> None:
    answer, words = THOUGHT[name]
    [reason], [_, prompt] = told(answer)
    assert reason.startswith(f"Your last answer was not used: {words}")
    assert reason in prompt
