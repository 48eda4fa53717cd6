"""aider's RepoMap, as a process that answers a question a line.

Runs in .venv-peers, with aider's ranking and rendering unchanged. `maps` returns the largest map
that fits each number of tokens: aider's own search ends within 15 % of that number, over or under,
so its ranked tags are cut here instead. `timed` asks for one map as aider itself does.
"""

import json
import os
import re
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # aider's own output is no answer

from aider.repomap import RepoMap  # noqa: E402
from mistral_common.tokens.tokenizers.mistral import MistralTokenizer  # noqa: E402

PIECES = MistralTokenizer.v3().instruct_tokenizer.tokenizer


class Model:
    """Counts tokens."""

    def token_count(self, text: str) -> int:
        return len(PIECES.encode(text, bos=False, eos=False))


class Files:
    """Reads files and says nothing."""

    def read_text(self, path: str) -> str:
        return Path(path).read_text(errors="replace")

    def tool_output(self, *_: object) -> None: ...

    tool_warning = tool_error = tool_output


def count(text: str) -> int:
    """Count a text's tokens; those of this tokenizer never span a line's end."""
    return sum(line_count(line) for line in text.split("\n")) if text else 0


def line_count(line: str) -> int:
    if line not in LINES:
        LINES[line] = len(PIECES.encode(f"\n{line}", bos=False, eos=False)) - 1
    return LINES[line]


LINES: dict[str, int] = {}


class Asked:
    """The questions."""

    def open(self, root: str) -> dict[str, str]:
        self.root = root
        self.map = RepoMap(map_tokens=1024, root=root, main_model=Model(), io=Files())
        return {"version": f"aider-chat {version('aider-chat')}"}

    def maps(
        self, paths: list[str], chat: list[str], request: str, budgets: list[int]
    ) -> dict[str, Any]:
        chat_files, others, names, words = self._files(paths, chat, request)
        tags = self.map.get_ranked_tags(chat_files, others, names, words)
        self.map.tree_cache = {}
        return {"maps": [self._largest(tags, set(chat), budget) for budget in budgets]}

    def timed(self, paths: list[str], chat: list[str], request: str, tokens: int) -> dict[str, Any]:
        chat_files, others, names, words = self._files(paths, chat, request)
        self.map.max_map_tokens = tokens
        begin = time.perf_counter()
        text = self.map.get_repo_map(chat_files, others, names, words, force_refresh=True)
        taken = time.perf_counter() - begin
        return {"seconds": taken, "tokens": Model().token_count(text or "")}

    def _files(
        self, paths: list[str], chat: list[str], request: str
    ) -> tuple[set[str], list[str], set[str], set[str]]:
        """Return files and the names that the request mentions, found as aider's coder does."""
        words = set(re.split(r"\W+", request))
        stems: dict[str, set[str]] = {}
        for path in paths:
            stem = Path(path).stem.lower()
            if len(stem) >= 5:
                stems.setdefault(stem, set()).add(path)
        names = {path for path in paths if path in request}
        for word in words:
            names |= stems.get(word.lower(), set())
        present = [os.path.join(self.root, path) for path in paths]
        inside = {os.path.join(self.root, path) for path in chat}
        return inside, [path for path in present if path not in inside], names, words

    def _largest(self, tags: list[Any], chat: set[str], budget: int) -> str:
        """Return the largest map of the first ranked tags that fits, by halving."""
        low, high, best = 0, len(tags), ""
        middle = min(budget // 25, high)
        while low <= high:
            text = self.map.to_tree(tags[:middle], chat)
            if count(text) <= budget - 2:
                best, low = text, middle + 1
            else:
                high = middle - 1
            middle = (low + high) // 2
        return best


asked = Asked()
for line in sys.stdin:
    question = json.loads(line)
    try:
        answer = getattr(asked, question.pop("ask"))(**question)
    except Exception as error:
        answer = {"error": f"{type(error).__name__}: {error}"[:300]}
    answers.write(json.dumps(answer) + "\n")
    answers.flush()
