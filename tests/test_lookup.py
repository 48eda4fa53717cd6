"""Requests that name no place: what is asked about is shown, in whole bodies, tests apart."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backcast.domain.budget import MISTRAL_7B_8K
from backcast.domain.context import Context
from backcast.domain.events import TaskStarted
from backcast.domain.moment import NOW
from backcast.domain.policy import CONSTANTS, COVERAGE, DEFAULT, LIKENESS, Lookup, Policy
from backcast.engine.context.recorded import context_at, record_context
from backcast.engine.context.request import Request
from backcast.engine.context.search import Document
from backcast.engine.context.search.code_words import SearchWords
from backcast.engine.context.search.current_words import CurrentWords
from backcast.engine.context.search.questions import found_by_words, looked_for, own
from backcast.engine.context.search.word_counts import WordCounts
from backcast.engine.context.search.words import FORM
from backcast.engine.interfaces.blamed import blame_lines, blamed
from tests.sources import Task

BOUND = MISTRAL_7B_8K._replace(tokenizer="upper-bound")
AS_FOR_A_PLACE = DEFAULT.model_copy(update={"lookup": None})
VERSIONS = '''
class Version:
    """A version of a release."""

    def __init__(self, text):
        self.text = text

    def key(self):
        """Build the key by which a version is compared, its local segment last."""
        public, _, local = self.text.partition("+")
        release = tuple(int(part) for part in public.split("."))
        segments = tuple((part.isdigit(), part) for part in local.split("."))
        return release, segments


def newest(found):
    """Return the newest version of those that were found."""
    return max(found, key=Version.key)
'''
ERRORS = "".join(
    f'class {name}(ValueError):\n    """A {word} that cannot be read."""\n\n\n'
    for name, word in (
        ("BadVersion", "version"),
        ("BadMarker", "marker"),
        ("BadSegment", "segment"),
        ("BadLocal", "local name"),
        ("BadUrl", "address"),
    )
)
TESTS = '''
from versions import Version, newest


class TestLocalSegmentsOfVersions:
    """Compare two versions with local segments: versions compare segment by segment."""

    def test_local_segments_of_versions_are_compared(self):
        assert Version("1.0+a.1").key() < Version("1.0+a.2").key()

    def test_newest(self):
        assert newest([Version("1"), Version("2")]).text == "2"
'''
EXAMPLES = '''
def compare_versions_with_local_segments():
    """Compare two versions with local segments, as an example of comparing versions."""
    print("compare two versions with local segments")
'''
FILLING = "\n\n".join(
    f'def load_{word}(path):\n    """Load the {word} of a project."""\n    return open(path).read()'
    for word in ("readme", "licence", "tags", "groups", "metadata", "index", "wheels", "sources")
)
KEY = "def key(self):"


def project() -> Task:
    task = Task()
    task.happened(TaskStarted(goal="packages"))
    task.wrote("versions.py", VERSIONS)
    task.wrote("errors.py", ERRORS)
    task.wrote("loading.py", FILLING)
    task.wrote("tests/test_versions.py", TESTS)
    task.wrote("examples/compare.py", EXAMPLES)
    task.outlined()
    return task


def answered(question: str, policy: Policy = DEFAULT, tokens: int = 900) -> dict[str, str]:
    """Return the level of each node that is shown to a question."""
    task = project()
    profile = BOUND.with_context(tokens, 12_000)
    built = context_at(task.store, task.id, NOW, Request("", question), profile, policy)
    return levels_of(built)


def levels_of(context: Context) -> dict[str, str]:
    return {item.node: item.level for item in context.items}


@pytest.mark.parametrize(
    "question",
    [
        "compare two versions with local segments",
        "By what is a version compared?",
        "where do the keys of versions come from",
    ],
)
def test_what_a_question_asks_about_is_shown_whole(question: str) -> None:
    shown = answered(question)
    assert shown.get("method:versions.py::Version.key") == "full" \
        or shown.get("class:versions.py::Version") == "full"  # fmt: skip


@pytest.mark.parametrize("tokens", [900, 1_200, 1_600])
def test_no_test_and_no_list_of_bare_lines_takes_the_room(tokens: int) -> None:
    shown = answered("compare two versions with local segments", tokens=tokens)
    assert not [node for node in shown if "test" in node]
    code = [level for node, level in shown.items() if not node.startswith("task:")]
    assert code.count("full") > code.count("signature")


def test_the_line_of_a_class_is_shown_for_its_own_worth_alone() -> None:
    task = Task()
    task.happened(TaskStarted(goal="engines"))
    lines = [f"        gear_{number} = self.turn(gear_{number - 1})" for number in range(1, 200)]
    method = ["    def start_engine(self, gear_0):", *lines]
    task.wrote("work.py", "\n".join(["class Clock:", *method]))
    loading = FILLING.replace("(path)", "(engine)").replace("a project", "an engine, gear by gear")
    task.wrote("loading.py", loading)
    task.outlined()
    asked, levels = Request("", "How is the engine started, gear by gear?"), []
    assert DEFAULT.lookup
    for heads in (0.9, DEFAULT.lookup.heads):
        lookup = DEFAULT.lookup.model_copy(update={"heads": heads})
        policy = DEFAULT.model_copy(update={"lookup": lookup})
        profile = BOUND.with_context(300, 12_000)
        shown = levels_of(context_at(task.store, task.id, NOW, asked, profile, policy))
        levels.append(shown.get("class:work.py::Clock"))
    assert levels == ["signature", None]


def test_who_asks_for_tests_gets_them() -> None:
    shown = answered("which tests compare the local segments of versions")
    assert shown["class:tests/test_versions.py::TestLocalSegmentsOfVersions"] == "full"


def worked_on(path: str, question: str, tokens: int, policy: Policy = DEFAULT) -> dict[str, str]:
    """Return the level of each node that is shown to who works on a module."""
    task = project()
    profile = BOUND.with_context(tokens, 12_000)
    asked = Request(f"module:{path}", question)
    built = context_at(task.store, task.id, NOW, asked, profile, policy)
    if levels_of(built).get(f"module:{path}") == "full":
        assert VERSIONS.strip() in built.text
    return levels_of(built)


def test_a_module_that_is_worked_on_is_shown_whole_where_it_is_small() -> None:
    for tokens, whole in ((3_000, True), (900, False)):
        shown = worked_on("versions.py", "compare versions by their local segments", tokens)
        assert (shown["module:versions.py"] == "full") is whole
    before = worked_on("versions.py", "compare versions", 3_000, AS_FOR_A_PLACE)
    assert before["module:versions.py"] != "full"


def test_of_a_large_module_the_functions_are_shown_that_are_asked_about() -> None:
    shown = worked_on("loading.py", "read the licence of a project in one encoding", 500)
    assert shown["function:loading.py::load_licence"] == "full"
    assert not [node for node, level in shown.items() if level == "name"]


def test_policies_of_before_choose_as_they_did() -> None:
    """The digests are those that logs hold."""
    assert COVERAGE.lookup is None
    likeness = {name: DEFAULT.likeness[name] for name in LIKENESS}
    before = AS_FOR_A_PLACE.model_copy(update={
        "version": 8, "once": False, "used_imports": False, "heads": 0.9, "likeness": likeness,
        "constants": dict(CONSTANTS),
    })  # fmt: skip
    assert before.digest.startswith("24451198")


def test_the_forms_of_words_are_looked_for_and_empty_words_are_not() -> None:
    words = looked_for("Where are the dependencies of boxes passed to parse_it, and HTTPError?")
    assert [set(word.split(FORM)) for word in words.split()] == [
        {"dependencies", "dependency"}, {"boxes", "box"},
        {"passed", "passeds", "pass", "passe"}, {"parse_it"}, {"HTTPError"},
    ]  # fmt: skip
    assert looked_for("what is this") == "what is this"


WORDS = st.lists(st.sampled_from(["box", "boxes", "lid", "key", "a_box"]), max_size=8)


@given(st.lists(WORDS, min_size=1, max_size=6))
def test_the_forms_of_a_word_count_as_one_word(texts: list[list[str]]) -> None:
    """As if each text had the one form in place of the other."""
    counts, same = WordCounts(), WordCounts()
    known = np.array([counts.number(" ".join(text)) for text in texts])
    alike = [" ".join("box" if word == "boxes" else word for word in text) for text in texts]
    # `a_box` counts as a box already, as it does in both.
    found = CurrentWords(counts, known).scores(f"boxes{FORM}box lid")[known]
    wanted = CurrentWords(same, places := np.array([same.number(text) for text in alike]))
    np.testing.assert_allclose(found, wanted.scores("box lid")[places])
    for text in texts:
        part = CurrentWords(counts, known).score(f"boxes{FORM}box lid", " ".join(text))
        assert part == pytest.approx(
            wanted.score("box lid", " ".join(text).replace("boxes", "box"))
        )


def test_a_search_passes_over_tests_unless_they_are_asked_for() -> None:
    code = Document("function:versions.py::newest", "newest version of those found")
    test = Document("class:tests/test_versions.py::TestVersions", "versions compare: test")
    every = [code, test, Document("other\0module:tests/helpers.py", "versions for tests")]
    question = "Which versions are the newest?"
    assert own(every, question) == [code]
    assert [hit.id for hit in found_by_words(every, question, 3, SearchWords(WordCounts()))] == [
        code.id
    ]
    assert own(every, "tests of versions") == every
    assert own(every[1:], question) == every[1:]


def test_blame_tells_of_a_question_by_the_weights_that_chose() -> None:
    task = project()
    profile = BOUND.with_context(900, 12_000)
    question = Request("", "compare two versions with local segments")
    record_context(task.store, task.id, NOW, question, profile, DEFAULT)
    lines = list(blame_lines(blamed(task.store, task.id, "last", "load_wheels")))
    assert lines[1] == "function:loading.py::load_wheels is out"
    [likeness] = [line for line in lines if line.startswith("evidence, [lookup.likeness]:")]
    always = DEFAULT.lookup.likeness["always"] if DEFAULT.lookup else 0
    assert likeness.endswith(f"always 1 x {always:g}")
    assert not [line for line in lines if "[weights]" in line or "[likeness]" in line]


def test_a_question_compares_no_meanings() -> None:
    with pytest.raises(ValueError, match="found 'meaning'"):
        Lookup(weights={"meaning": 2.0})
