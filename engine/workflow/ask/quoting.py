"""Checks the quotes of an answer against what they are of."""

from backcast.domain.question_events import AnswerQuote
from backcast.engine.workflow.ask.actions import AnswerAction
from backcast.engine.workflow.ask.proof import NOT_BORNE_OUT, NOT_OF_IT, shows_nothing, unproven
from backcast.engine.workflow.ask.subject import Subject


def quotes_of(subject: Subject, question: str, action: AnswerAction) -> list[AnswerQuote]:
    """Return the quotes of an answer, each checked, and once."""
    found = dict[tuple[str, str], AnswerQuote]()
    for quote in action.quotes:
        checked = _quoted(subject, quote.node, quote.text, question)
        found.setdefault((checked.node, " ".join(quote.text.split())), checked)
    return list(found.values())


def doubt(subject: Subject, question: str, action: AnswerAction) -> str:
    """Return why an answer is to be given again, with lines that may prove it: nothing shows it.

    Empty where a quote is proven, in whatever words it says what the answer does. What was quoted
    wrongly is not said again: small models repeat what they have read.
    """
    quotes = quotes_of(subject, question, action)
    why = unproven(question, action.text, quotes)
    if why in ("", NOT_BORNE_OUT, NOT_OF_IT):
        return ""
    wrong = next((quote for quote in quotes if not quote.proven and quote.digest), None)
    lines = subject.best_lines(wrong.node, f"{question} {wrong.text}") if wrong else ""
    if wrong and lines:
        return f"{wrong.node} does not show that; it has\n\n{lines}"
    return f"{why}: quote a line that shows the answer"


def _quoted(subject: Subject, named: str, text: str, question: str) -> AnswerQuote:
    """Return a quote, checked: its node is there and holds it, and it says more than is asked."""
    found, why = subject.quoted(named, text)
    if found is None:
        return AnswerQuote(node=named, text=text, reason=why)
    known = {"version": found.version, "digest": found.digest}
    if why := why or shows_nothing(text, question):
        return AnswerQuote(node=found.node, text=text, reason=why, **known)
    return AnswerQuote(node=found.node, text=text, proven=True, **known)
