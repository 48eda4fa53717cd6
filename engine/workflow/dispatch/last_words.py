r"""The last words of an agent that failed: why, as far as it says.

>>> last_words("all is well\n", "Error:\n  \x1b[31mno such \x07model\x1b[0m\n\n")
'no such model'
>>> last_words("key hunter2-hunter2 refused\n", "", secrets=["hunter2-hunter2"])
'key MASKED_secret_1 refused'
"""

from collections.abc import Iterable

from backcast.domain.context_map import plain
from backcast.domain.dispatch_results import END, without_ansi
from backcast.engine.log.redaction.masks import Masks

LONGEST = 200
"Characters of a line that are shown."
READ = 16 * 1024
"Characters at the end of a stream in which a whole line is looked for."


def last_words(stdout: str, stderr: str, secrets: Iterable[str] = ()) -> str:
    """Return the last line of stderr, else of stdout, without controls and secrets.

    The end of a result is no reason to fail, so it is left out.
    """
    masks = Masks()
    for secret in secrets:
        masks.learn(secret, "api_key")
    for stream in (stderr, stdout):
        whole = stream if len(stream) <= READ else stream[-READ:].partition("\n")[2]
        text = without_ansi(whole)
        masks.learn(text)
        lines = (plain(masks.mask(line), LONGEST) for line in reversed(text.splitlines()))
        if line := next(filter(None, lines), ""):
            return "" if END in line else line
    return ""
