"""By which settings a context is chosen: read from a file, checked, printed, recorded."""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, create_model

from backcast.domain.compression_settings import CompressionSettings, KeepRule
from backcast.domain.errors import InputError
from backcast.domain.message_settings import MessageSettings
from backcast.domain.policy import (
    CONSTANTS,
    COVERAGE,
    DEFAULT,
    LIKENESS,
    WEIGHTS,
    Details,
    Lookup,
    MapSettings,
    Policy,
    Thinking,
)
from backcast.domain.policy_body import written
from backcast.engine.context.policies import policy_at, policy_of
from backcast.engine.context.strategies import STRATEGIES
from backcast.engine.interfaces.commands.policy import toml_lines
from backcast.engine.interfaces.setting_words import words_of
from backcast.engine.log.open_logs import opened
from backcast.engine.replay.verify import verified

EVERY_SETTING = Path(__file__).parents[1] / "fixtures/logs/every-setting.jsonl"
"Two tasks that share a map, recorded at commit 2677833 under a policy that sets all there was."
UNSET = {
    "map.cartographer": "asks a model",
    "map.distiller": "asks a model",
    "map.merge": "asks an embedder",
    "weights.meaning": "asks an embedder",
}
"What the policy of that log leaves as it was by default, and why."
SINCE = ("likeness", "pattern", "longer", "opening")
"How settings begin that came later; the log could not set them."


@pytest.fixture
def read(tmp_path: Path) -> Callable[[str], Policy]:
    """The policy of a file with some text."""

    def policy(text: str) -> Policy:
        path = tmp_path / "mine.toml"
        path.write_text(text, encoding="utf-8")
        return policy_at(path)

    return policy


def told(settings: Mapping[str, Any]) -> str:
    return "\n".join(toml_lines(dict(settings)))


# Read


def test_a_file_may_leave_out_the_table_for_questions(read: Callable[[str], Policy]) -> None:
    assert DEFAULT.lookup is not None
    assert read("lookup = false").lookup is None
    with pytest.raises(InputError, match=r"lookup: needed .*found True"):
        read("lookup = true")


def test_a_file_is_laid_over_the_default_table_by_table(read: Callable[[str], Policy]) -> None:
    found = read('errors = 2\n[weights]\n"own file" = 3\n[large]\ntests = "name"\n')
    assert found == DEFAULT.model_copy(
        update={
            "errors": 2,
            "weights": {**WEIGHTS, "own file": 3.0},
            "large": DEFAULT.large.model_copy(update={"tests": "name"}),
        }
    )


def test_a_file_that_sets_nothing_is_the_default(read: Callable[[str], Policy]) -> None:
    assert read("# nothing\n[weights]\n").digest == DEFAULT.digest


@pytest.mark.parametrize("base", sorted(STRATEGIES))
def test_a_file_may_name_what_it_is_laid_over(read: Callable[[str], Policy], base: str) -> None:
    found = read(f'base = "{base}"\nerrors = 3\n[weights]\nneeded = 2\n')
    expected = STRATEGIES[base]
    weights = {**expected.weights, "needed": 2.0}
    assert found == expected.model_copy(update={"errors": 3, "weights": weights})


def test_the_default_has_two_names_and_the_one_before_it_still_has_its_settings() -> None:
    assert STRATEGIES["default"] is STRATEGIES["reader"] is DEFAULT
    assert STRATEGIES["coverage"] == Policy(name="coverage") != DEFAULT


def test_a_policy_recorded_before_a_setting_existed_is_read_as_it_was() -> None:
    settings = Policy().model_dump(mode="json")
    older = {name: value for name, value in settings.items() if not name.startswith(SINCE)}
    found = policy_of(json.dumps(older).encode())
    assert found == COVERAGE.model_copy(update={"name": "default"})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("base = 'nobody'", "base: needed one of reader, coverage, .*, found 'nobody'"),
        ("base = 3", "base: needed one of reader, coverage, .*, found 3"),
        ("base = ['reader']", r"base: needed one of reader, .*, found \['reader'\]"),
        ("colour = 1", "needed one of name, version, system, .*, found 'colour'"),
        ("[lunch]\na = 1", "needed one of name, .*, found 'lunch'"),
        ("[map]\nlunch = 1", "map: needed one of distiller, .*, found 'lunch'"),
        ("[map]\nsize = -1", "map.size: needed greater than or equal to 0, found -1"),
        ("[map]\ncore = ['LUNCH']", "map.core: needed one of CONTEXT ROADMAP, .*, found 'LUNCH'"),
        ("[map.sections]\nLUNCH = 1", "map.sections: needed one of CONTEXT .*, found 'LUNCH'"),
        ("[map.tags]\ngood = 1", "map.tags: needed one of helpful, .*, found 'good'"),
        ("[map.lines]\nnew = 1", "map.lines: needed one of used, needed, near, found 'new'"),
        ("[weights]\nlunch = 1", "weights: needed one of needed, own file, .*, found 'lunch'"),
        (
            "[weights]\nneded = 1",
            "weights: needed a setting .*, found 'neded'; did you mean needed",
        ),
        ("[map.tags]\nhelpfull = 1", "map.tags: needed a .*, found 'helpfull'; did you mean helpf"),
        ("[texts]\nmedn = ''", "texts: needed a setting that there is, .*; did you mean mend?"),
        ("base = 'covrage'", "base: .*, found 'covrage'; did you mean coverage?"),
        ("[small]\nlunch = 1", "small: needed one of module_tokens, .*, found 'lunch'"),
        ("[shares]\nlunch = 1", "shares: needed one of current module, .*, found 'lunch'"),
        ("[priorities]\nadded = 'TOP'", "priorities: needed one of CRITICAL, .*, found 'TOP'"),
        ("order = ['added']", r"order: needed each of related modules, .* once, found \['added'\]"),
        ("errors = -1", "errors: needed greater than or equal to 0, found -1"),
        ("[shares]\ndependencies = -1", "shares.dependencies: needed greater .* 0, found -1"),
        ("[worth]\nfull = -0.5", "worth.full: needed greater than or equal to 0, found -0.5"),
        ("[constants]\nnamed = 2", "constants.named: needed less than or equal to 1, found 2"),
        ("offered = 0", "offered: needed greater than 0, found 0"),
        ("errors = 'many'", "errors: needed a valid integer, found 'many'"),
        ("errors = '5'", "errors: needed a valid integer, found '5'"),
        ("errors = true", "errors: needed a valid integer, found True"),
        ("errors = 1.5", "errors: needed a valid integer, found 1.5"),
        ("errors = 2026-11-20", "errors: needed a valid integer, found '2026-11-20'"),
        ("keep = 'yes'", "keep: needed a valid boolean, found 'yes'"),
        ("weights = 3", "weights: needed a table, found 3"),
        ("small = 3", "small: needed a table, found 3"),
        ("[weights]\nneeded = nan", "weights.needed: needed a finite number, found nan"),
        ("[weights]\nneeded = inf", "weights.needed: needed a finite number, found inf"),
        ("[small]\ntests = 'bold'", "small.tests: needed 'name', 'signature' or 'full', found 'b"),
        ("system = 3", "system: needed a valid string, found 3"),
        ("errors = = 1", "needed TOML: Invalid value"),
    ],
)
def test_a_bad_setting_is_named_with_what_was_needed_and_found(
    read: Callable[[str], Policy], text: str, message: str
) -> None:
    with pytest.raises(InputError, match=rf"^\S+mine.toml: {message}") as error:
        read(text)
    assert "\n" not in str(error.value)


def test_what_is_no_file_or_no_text_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="needed a policy file: No such file"):
        policy_at(tmp_path / "none.toml")
    with pytest.raises(InputError, match="needed a policy file: Is a directory"):
        policy_at(tmp_path)
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="needed TOML: 'utf-8' codec can't decode"):
        policy_at(tmp_path / "bytes.toml")


# Its digest


def others(value: Any) -> Iterator[Any]:
    """Values of a setting's shape, each of which differs from it in one setting."""
    match value:
        case dict():
            for name in value:
                yield from ({**value, name: other} for other in others(value[name]))
        case bool():
            yield not value
        case int() | float():
            yield value / 2 if isinstance(value, float) and value else value + 1
        case "CRITICAL" | "HIGH" | "MEDIUM" | "LOW":
            yield "LOW" if value != "LOW" else "HIGH"
        case "signature" | "full":
            yield "name"
        case "shown":
            yield "withheld"
        case "off" | "example":
            yield "use"
        case "events" | "rules":
            yield "model"
        case str():
            yield f"{value}!"
        case list():
            yield value[::-1] if len(value) > 1 else []


def test_the_digest_changes_with_every_setting() -> None:
    settings = {**DEFAULT.model_dump(mode="json"), "shares": {"dependencies": 1}}
    settings["map"]["core"] = ["CONTEXT ROADMAP"]
    settings["compression"]["guideline"] = [{"kind": "error"}]
    policies = [settings, *others(settings)]
    assert len({Policy.model_validate(one).digest for one in policies}) == len(policies) > 50


def test_the_policies_of_recorded_logs_keep_their_digests() -> None:
    texts = {name: text for name, text in DEFAULT.texts.items() if name != "new"}
    assert DEFAULT.lookup
    lookup = DEFAULT.lookup.model_copy(update={"heads": 0.9})
    likeness = {name: DEFAULT.likeness[name] for name in LIKENESS}
    eleventh = {"version": 11, "once": False}
    tenth = eleventh | {
        "version": 10,
        "heads": 0.9,
        "likeness": likeness,
        "constants": dict(CONSTANTS),
    }
    ninth = tenth | {"version": 9, "lookup": lookup, "used_imports": False}
    eighth = ninth | {"version": 8, "lookup": None}
    seventh = eighth | {"version": 7, "tests_beside": 0, "first": 0.0}
    third = {"version": 3, "outputs": False, "in_order": False, "beside": 0.0, "texts": texts}
    digests = {
        "coverage": COVERAGE.digest,
        "reader": DEFAULT.digest,
        "reader 11": DEFAULT.model_copy(update=eleventh).digest,
        "reader 10": DEFAULT.model_copy(update=tenth).digest,
        "reader 9": DEFAULT.model_copy(update=ninth).digest,
        "reader 8": DEFAULT.model_copy(update=eighth).digest,
        "reader 7": DEFAULT.model_copy(update=seventh).digest,
        "reader 3": DEFAULT.model_copy(update=seventh | third).digest,
    }
    assert {name: digest[:8] for name, digest in digests.items()} == {
        "coverage": "8479b2de", "reader": "80830c0c", "reader 11": "8d93edbe",
        "reader 10": "79c29475",
        "reader 9": "e4d65f87", "reader 8": "24451198",
        "reader 7": "93158892", "reader 3": "98fce85f",
    }, (
        "logs recorded these digests. The default of a setting never changes, and nothing is added"
        " to _ALWAYS of domain/policy_body.py. Only READER may change: then its version grows, its"
        " new digest stands here, and the one before stays as another row"
    )  # fmt: skip


@pytest.mark.parametrize(
    "table",
    [
        Policy,
        Details,
        Thinking,
        MapSettings,
        Lookup,
        MessageSettings,
        CompressionSettings,
        KeepRule,
    ],
)
def test_a_new_setting_changes_no_digest_while_it_has_its_default(table: type[BaseModel]) -> None:
    later = create_model(table.__name__, __base__=table, lunch=(int, 0))
    assert written(later()) == written(table())
    assert written(later.model_validate({"lunch": 1})) == {**written(table()), "lunch": 1}


@given(st.randoms(use_true_random=False))
def test_the_digest_does_not_change_with_the_order_of_settings(random: Any) -> None:
    settings = DEFAULT.model_dump(mode="json")
    names = random.sample(sorted(settings), len(settings))
    shuffled = {
        name: dict(random.sample(sorted(one.items()), len(one))) if isinstance(one, dict) else one
        for name, one in ((name, settings[name]) for name in names)
    }
    assert Policy.model_validate(shuffled).digest == DEFAULT.digest


def test_the_digest_does_not_change_with_how_a_number_is_written(
    read: Callable[[str], Policy],
) -> None:
    assert read("offered = 3").digest == read("offered = 3.0 # three").digest


# Recorded and printed

settings = st.fixed_dictionaries(
    {},
    optional={
        "name": st.text(max_size=9),
        "system": st.text(max_size=9) | st.sampled_from(['🌍 \\ """ \'', "\x7f\0\r\n\t\x85"]),
        "errors": st.integers(0, 100),
        "offered": st.floats(1e-300, 1e300),
        "keep": st.booleans(),
        "weights": st.fixed_dictionaries(
            {name: st.floats(allow_nan=False, allow_infinity=False) for name in WEIGHTS}
        ),
        "shares": st.dictionaries(
            st.sampled_from(["dependencies", "related modules"]), st.integers(0, 10**20)
        ),
    },
)


@given(settings)
def test_a_recorded_policy_is_read_back(told: dict[str, Any]) -> None:
    policy = Policy.model_validate(told)
    assert policy_of(policy.body) == policy
    assert policy_of(policy.body).body == policy.body


def test_what_is_no_recorded_policy_is_told() -> None:
    for body, message in ((b"nonsense", "Invalid JSON"), (b'{"lunch": 1}', "found 'lunch'")):
        with pytest.raises(InputError, match=f"needed a recorded policy, .*{message}"):
            policy_of(body)


@given(told=settings)
def test_settings_are_printed_as_toml_that_gives_the_same_digest(
    tmp_path_factory: pytest.TempPathFactory, told: dict[str, Any]
) -> None:
    policy = Policy.model_validate(told)
    path = tmp_path_factory.mktemp("policy") / "mine.toml"
    lines = ['base = "coverage"', *toml_lines(policy.model_dump(mode="json"))]
    path.write_bytes("\n".join(lines).encode())
    assert policy_at(path).digest == policy.digest


def test_tables_in_tables_are_printed_by_their_whole_name() -> None:
    assert told({"a b": {"c": {"é": 1}}}).split("\n") == [
        "", '["a b"]', "", '["a b".c]', '"é" = 1',
    ]  # fmt: skip


def leaves(settings: Mapping[str, Any], table: str = "") -> Iterator[tuple[str, Any]]:
    """Every setting by its whole name."""
    for name, value in settings.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{table}{name}.")
        else:
            yield f"{table}{name}", value


def test_prompts_under_a_policy_that_sets_everything_are_derived_as_they_were() -> None:
    with opened(str(EVERY_SETTING)) as log:
        [used] = {event.fact.data["policy"] for event in log.store.read(types=["POLICY_USED"])}
        body = log.store.get(used)
        policy = policy_of(body)
        verdicts = [one for task in log.tasks for one in verified(log.store, task)]
    recorded = dict(leaves(policy.model_dump(mode="json")))
    default = dict(leaves(COVERAGE.model_dump(mode="json")))
    # Settings that came later are as they were before there were such.
    known = dict(leaves(json.loads(body)))
    same = {name for name in known if name in default and recorded[name] == default[name]}
    assert same == set(UNSET)
    assert policy.shares
    assert [one.holds for one in verdicts] == [True] * 10


def test_each_setting_is_printed_below_what_it_is_and_read_again_as_the_same(
    read: Callable[[str], Policy],
) -> None:
    printed = toml_lines(DEFAULT.model_dump(mode="json"), words=words_of(Policy))
    assert set(Policy.model_fields) - set(words_of(Policy)) == {"name", "version"}
    at = printed.index("around = 0.35")
    assert printed[at - 1].startswith("# The share of the context for the lines of its module")
    assert read("\n".join(printed)).digest == DEFAULT.digest
