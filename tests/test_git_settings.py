"""No configuration and no environment changes an imported history, and none of it is run."""

import random
import shutil
from pathlib import Path

import pytest

from backcast.domain.errors import InputError
from backcast.domain.events import Committed, RefsRead
from backcast.engine.history.moments import moment_at
from backcast.engine.history.snapshots import state_at
from backcast.engine.log import EventStore
from backcast.engine.memory.import_log import counted, run
from backcast.projections import versions
from tests.oracle import git_says, log_says
from tests.test_git import Repository, odd_history, text

SETTINGS = 40
"Random settings that are tried."
EMPTY_TREE = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"


def whole_history(repository: Repository) -> None:
    """Add what the odd history lacks: evil merges, names that are options, other encodings."""
    odd_history(repository)
    repository.write("Case.py", text("case"))
    repository.write("-n", "x = 1\n")
    repository.write(":(glob)*.py", "y = 2\n")
    repository.write('tab\tand"quote\\.py', "z = 3\n")
    repository.write(".gitattributes", "*.py diff=trap filter=trap\n*.bin -text\n")
    repository.commit("names that git quotes")
    repository.git("mv", "Case.py", "case.py")
    repository.commit("a rename in case only")
    repository.git("checkout", "--quiet", "-b", "evil", "HEAD~1")
    repository.write("evil.py", text("evil"))
    repository.write("case2.py", text("case") + "more\n")
    repository.commit("aside", author="Bob")
    repository.git("checkout", "--quiet", "main")
    repository.git("merge", "--quiet", "--no-commit", "--no-ff", "evil")
    repository.write("evil.py", text("good"))
    repository.write("only-in-the-merge.py", "m = 1\n")
    repository.commit("an evil merge")
    latin = ("-c", "i18n.commitEncoding=ISO-8859-1", "commit", "--quiet", "--allow-empty", "-F")
    message = repository.path.parent / "message"
    message.write_bytes("Größe geändert".encode("latin-1"))
    repository.git(*latin, str(message))
    repository.git("update-index", "--add", "--cacheinfo", f"160000,{'1' * 40},vendored")
    repository.git("commit", "--quiet", "-m", "a submodule")
    repository.git("tag", "-am", "first", "v1")
    repository.git("tag", "of-a-blob", "HEAD:case.py")
    repository.git("update-ref", "refs/tags/line\u2028separator", "HEAD")


def facts(store: EventStore, task_id: str = "repo") -> list[object]:
    """The facts of a task with their times, writers and causes."""
    return [(e.fact, e.timestamp, e.writer, e.because) for e in store.read(task_id)]


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    repository = Repository(tmp_path_factory.mktemp("history") / "repo")
    whole_history(repository)
    return repository


@pytest.fixture(scope="module")
def expected(history: Repository) -> list[object]:
    store = EventStore.open("sqlite://")
    report = run(store, "git", history.path, outlines=False)
    assert (report.skipped, report.notes) == ([], [])
    return facts(store)


def test_at_every_commit_of_it_the_log_says_what_git_says(history: Repository) -> None:
    store = EventStore.open("sqlite://")
    run(store, "git", history.path, outlines=False)
    shas = history.git("rev-list", "--first-parent", "HEAD").split()
    assert len(shas) == 17
    for sha in shas:
        state = state_at(store, versions, "repo", moment_at(store, "repo", f"commit:{sha}"))
        assert log_says(store, state) == git_says(history.path, sha)
    messages = [e.fact.message for e in store.read("repo") if isinstance(e.fact, Committed)]
    assert "Größe geändert" in messages
    [refs] = [e.fact.refs for e in store.read("repo") if isinstance(e.fact, RefsRead)]
    assert {"HEAD", "main", "side", "evil", "v1", "of-a-blob", "line\u2028separator"} == set(refs)
    assert refs["v1"] == refs["HEAD"] == shas[0]


# Settings. A text may name the {other} repository, a {trap} to run, an {empty} folder, and {here}.

VARIABLES: tuple[dict[str, str], ...] = (
    {"GIT_DIR": "{other}/.git"},
    {"GIT_DIR": "{other}/.git", "GIT_WORK_TREE": "{other}", "GIT_INDEX_FILE": ".git/index"},
    {"GIT_DIR": "{empty}"},
    {"GIT_WORK_TREE": "{empty}"},
    {"GIT_COMMON_DIR": "{other}/.git"},
    {"GIT_INDEX_FILE": "{other}/.git/index"},
    {"GIT_OBJECT_DIRECTORY": "{other}/.git/objects"},
    {"GIT_ALTERNATE_OBJECT_DIRECTORIES": "{other}/.git/objects"},
    {"GIT_QUARANTINE_PATH": "{empty}"},
    {"GIT_NAMESPACE": "other"},
    {"GIT_CEILING_DIRECTORIES": "{here}/.."},
    {"GIT_DISCOVERY_ACROSS_FILESYSTEM": "1"},
    {"GIT_PREFIX": "dir/"},
    {"GIT_LITERAL_PATHSPECS": "1"},
    {"GIT_ICASE_PATHSPECS": "1"},
    {"GIT_DEFAULT_HASH": "sha256"},
    {"GIT_DEFAULT_REF_FORMAT": "reftable"},
    {"GIT_TRACE": "1"},
    {"GIT_TRACE": "{here}/../trace", "GIT_TRACE_SETUP": "2", "GIT_TRACE_PACKET": "1"},
    {"GIT_TRACE2": "1"},
    {"GIT_TRACE2_EVENT": "{here}/../trace2"},
    {"GIT_REDIRECT_STDOUT": "off", "GIT_REDIRECT_STDERR": "off"},
    {"GIT_EXTERNAL_DIFF": "{trap}"},
    {"GIT_DIFF_OPTS": "--unified=0"},
    {"GIT_PAGER": "{trap}", "PAGER": "{trap}", "GIT_EDITOR": "{trap}"},
    {"GIT_SSH_COMMAND": "{trap}", "GIT_ASKPASS": "{trap}"},
    {"GIT_EXEC_PATH": "{empty}"},
    {"GIT_CONFIG_PARAMETERS": "'log.diffMerges=combined' 'diff.renames=false'"},
    {"GIT_CONFIG_PARAMETERS": "no quotes"},
    {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "core.fsmonitor", "GIT_CONFIG_VALUE_0": "{trap}"},
    {"GIT_CONFIG_COUNT": "many"},
    {"GIT_CONFIG": "{empty}/config"},
    {"GIT_CONFIG_GLOBAL": "{hostile}"},
    {"GIT_CONFIG_SYSTEM": "{hostile}"},
    {"HOME": "{home}"},
    {"XDG_CONFIG_HOME": "{home}/.config"},
    {"GIT_GRAFT_FILE": "{grafts}"},
    {"GIT_SHALLOW_FILE": "{grafts}"},
    {"GIT_REPLACE_REF_BASE": "refs/heads/"},
    {"GIT_NO_REPLACE_OBJECTS": "0"},
    {"GIT_ATTR_SOURCE": "HEAD"},
    {"GIT_NOTES_REF": "refs/heads/main"},
    {"GIT_TEST_ASSUME_DIFFERENT_OWNER": "1"},
    {"GIT_OPTIONAL_LOCKS": "1", "GIT_FLUSH": "0"},
    {"GIT_IMPLICIT_WORK_TREE": "0"},
    {"LC_ALL": "de_DE.UTF-8", "LANGUAGE": "de", "LANG": "de_DE.UTF-8"},
    {"LC_ALL": "C.ISO-8859-1"},
    {"TZ": "Asia/Tokyo"},
    {"GCONV_PATH": "{empty}"},
    {"COLUMNS": "10", "TERM": "dumb", "CLICOLOR_FORCE": "1"},
)
KEYS: tuple[tuple[str, str], ...] = (
    ("log.diffMerges", "combined"), ("log.diffMerges", "dense-combined"),
    ("log.diffMerges", "off"), ("log.diffMerges", "remerge"), ("log.diffMerges", "separate"),
    ("log.diffMerges", "no such format"), ("log.showSignature", "true"), ("log.follow", "true"),
    ("log.date", "raw"), ("log.showRoot", "false"), ("log.decorate", "full"),
    ("log.mailmap", "true"), ("log.abbrevCommit", "true"), ("log.excludeDecoration", "*"),
    ("log.initialDecorationSet", "all"), ("log.graphColors", "red"), ("format.pretty", "fuller"),
    ("format.notes", "*"), ("notes.displayRef", "*"), ("core.notesRef", "refs/heads/main"),
    ("diff.renames", "false"), ("diff.renames", "copies"), ("diff.renameLimit", "1"),
    ("diff.noprefix", "true"), ("diff.mnemonicPrefix", "true"), ("diff.orderFile", "{orders}"),
    ("diff.algorithm", "patience"), ("diff.ignoreSubmodules", "all"), ("diff.submodule", "log"),
    ("diff.external", "{trap}"), ("diff.trap.textconv", "{trap}"), ("diff.trap.command", "{trap}"),
    ("diff.relative", "true"), ("diff.context", "0"), ("diff.statGraphWidth", "1"),
    ("diff.suppressBlankEmpty", "true"), ("diff.colorMoved", "zebra"),
    ("diff.wsErrorHighlight", "all"), ("filter.trap.smudge", "{trap}"),
    ("filter.trap.clean", "{trap}"), ("filter.trap.process", "{trap}"), ("core.quotePath", "true"),
    ("core.abbrev", "4"), ("core.worktree", "{empty}"), ("core.bare", "true"),
    ("core.ignoreCase", "true"), ("core.precomposeUnicode", "true"),
    ("core.attributesFile", "{attributes}"), ("core.hooksPath", "{empty}"),
    ("core.fsmonitor", "{trap}"), ("core.sshCommand", "{trap}"), ("core.pager", "{trap}"),
    ("pager.log", "{trap}"), ("core.alternateRefsCommand", "{trap}"),
    ("core.useReplaceRefs", "true"), ("core.commitGraph", "true"), ("core.multiPackIndex", "true"),
    ("core.splitIndex", "true"), ("core.bigFileThreshold", "1"), ("core.autocrlf", "true"),
    ("core.eol", "crlf"), ("core.packedGitLimit", "1"), ("core.deltaBaseCacheLimit", "1"),
    ("core.preferSymlinkRefs", "true"), ("core.warnAmbiguousRefs", "true"),
    ("core.logAllRefUpdates", "always"), ("core.symlinks", "false"),
    ("i18n.logOutputEncoding", "ISO-8859-1"), ("i18n.logOutputEncoding", "UTF-16"),
    ("i18n.commitEncoding", "EUC-JP"), ("color.ui", "always"), ("color.diff", "always"),
    ("gc.auto", "1"), ("maintenance.auto", "true"), ("alias.log", "!{trap}"),
    ("alias.x", "!{trap}"), ("include.path", "{hostile}"),
    ("includeIf.gitdir:**.path", "{hostile}"), ("include.path", "{empty}/none"),
    ("tag.sort", "-version:refname"), ("branch.sort", "-committerdate"),
    ("transfer.hideRefs", "refs/heads"), ("uploadpack.packObjectsHook", "{trap}"),
    ("mailmap.file", "{mailmap}"), ("mailmap.blob", "HEAD:case.py"),
    ("safe.bareRepository", "explicit"), ("safe.directory", ""),
    ("trace2.normalTarget", "{here}/../trace"), ("remote.origin.promisor", "true"),
    ("remote.origin.url", "ext::{trap}"), ("protocol.ext.allow", "always"),
    ("submodule.recurse", "true"), ("status.submoduleSummary", "true"), ("merge.renames", "false"),
    ("advice.graftFileDeprecated", "true"), ("extensions.partialClone", "origin"),
    ("extensions.worktreeConfig", "true"), ("core.repositoryFormatVersion", "1"),
)  # fmt: skip
FILES = (
    ("info/attributes", "* -diff binary diff=trap filter=trap working-tree-encoding=UTF-16\n"),
    ("info/grafts", "{head}\n"),
    ("info/exclude", "*\n"),
    ("objects/info/commit-graph", "CGPH\x01\x01 not a graph"),
    ("objects/pack/multi-pack-index", "MIDX\x01\x01 not an index"),
    ("index", "DIRC not an index"),
    ("refs/replace/{head}", "{first}\n"),
    ("refs/heads/broken", "not a name\n"),
    ("../.gitattributes", "* -diff binary diff=trap\n"),
    ("../.mailmap", "Zoe <zoe@example.org> <ann@example.org>\n"),
    ("hooks/post-checkout", "#!/bin/sh\n{trap}\n"),
)
"Files in the git folder, and what is written there."


class Places:
    """A copy of a history between hostile neighbours."""

    def __init__(self, history: Repository, folder: Path) -> None:
        shutil.copytree(history.path, folder / "repo", symlinks=True)
        self.path = folder / "repo"
        other = Repository(folder / "other")
        other.write("other.py", "other = 1\n")
        other.commit()
        (folder / "empty").mkdir()
        (folder / "home/.config/git").mkdir(parents=True)
        self.trapped = folder / "trapped"
        trap = folder / "trap"
        trap.write_text(f"#!/bin/sh\ntouch {self.trapped}\n")
        trap.chmod(0o755)
        shas = history.git("rev-list", "--first-parent", "HEAD").split()
        self.words = {
            "here": str(self.path),
            "trap": str(trap),
            "head": shas[0],
            "first": shas[-1],
            **{name: str(folder / name) for name in ("other", "empty", "home", "hostile")},
            **{name: str(folder / name) for name in ("grafts", "orders", "attributes", "mailmap")},
        }
        hostile = (
            f"[log]\n\tdiffMerges = off\n\tshowSignature = true\n[diff]\n\trenames = false\n"
            f"\texternal = {trap}\n[core]\n\tattributesFile = {folder}/attributes\n"
            f"\tfsmonitor = {trap}\n[i18n]\n\tlogOutputEncoding = UTF-16\n"
        )
        for name in ("hostile", "home/.gitconfig", "home/.config/git/config"):
            (folder / name).write_text(hostile)
        (folder / "grafts").write_text(f"{shas[0]}\n{shas[3]} {shas[-1]}\n")
        (folder / "orders").write_text("*z*\n*a*\n")
        (folder / "mailmap").write_text("Zoe <zoe@example.org> <ann@example.org>\n")
        for name in ("attributes", "home/.config/git/attributes"):
            (folder / name).write_text("* -diff binary diff=trap filter=trap\n")

    def configure(self, key: str, value: str) -> None:
        """Add a setting to the repository's own configuration, as text, whatever it is."""
        section, _, name = key.rpartition(".")
        section, _, part = section.partition(".")
        title = f'[{section} "{part}"]' if part else f"[{section}]"
        with (self.path / ".git/config").open("a") as file:
            file.write(f'{title}\n\t{name} = "{value.format(**self.words)}"\n')

    def write(self, name: str, content: str) -> None:
        """Write a file of the repository's git folder."""
        file = self.path / ".git" / name.format(**self.words)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content.format(**self.words))


def imported(places: Places) -> list[object]:
    """Import the history and return its facts."""
    store = EventStore.open("sqlite://")
    assert counted("git", places.path) == 17
    run(store, "git", places.path, outlines=False)
    return facts(store)


@pytest.mark.parametrize("seed", range(SETTINGS))
def test_under_random_settings_the_history_is_the_same(
    seed: int,
    history: Repository,
    expected: list[object],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    draw = random.Random(seed)
    places = Places(history, tmp_path)
    keys, files, variables = draw.sample(KEYS, 8), draw.sample(FILES, 2), draw.sample(VARIABLES, 5)
    for key, value in keys:
        places.configure(key, value)
    for name, content in files:
        places.write(name, content)
    for setting in variables:
        for name, value in setting.items():
            monkeypatch.setenv(name, value.format(**places.words))
    assert imported(places) == expected, (keys, files, variables)
    assert not places.trapped.exists(), (keys, files, variables)


@pytest.mark.parametrize("setting", VARIABLES, ids=str)
def test_no_variable_changes_a_history(
    setting: dict[str, str],
    history: Repository,
    expected: list[object],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    places = Places(history, tmp_path)
    for name, value in setting.items():
        monkeypatch.setenv(name, value.format(**places.words))
    assert imported(places) == expected
    assert not places.trapped.exists()


@pytest.mark.parametrize("start", range(12))
def test_no_setting_of_the_repository_changes_its_history(
    start: int, history: Repository, expected: list[object], tmp_path: Path
) -> None:
    places = Places(history, tmp_path)
    for key, value in KEYS[start::12]:
        places.configure(key, value)
    assert imported(places) == expected
    assert not places.trapped.exists()


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ([("core.repositoryFormatVersion", "9")], "Expected git repo version <= 1, found 9"),
        (
            [("core.repositoryFormatVersion", "1"), ("extensions.unknown", "true")],
            "unknown repository extension found: unknown",
        ),
        ([("core.bare", "neither")], "bad boolean config value 'neither' for 'core.bare'"),
    ],
)
def test_what_git_itself_does_not_open_is_told_in_a_line(
    settings: list[tuple[str, str]], reason: str, history: Repository, tmp_path: Path
) -> None:
    places = Places(history, tmp_path)
    for key, value in settings:
        places.configure(key, value)
    with pytest.raises(InputError) as refused:
        imported(places)
    assert str(refused.value) == f"{places.path}: git: {reason}"


@pytest.mark.parametrize("file", FILES, ids=str)
def test_no_file_beside_the_objects_changes_a_history(
    file: tuple[str, str], history: Repository, expected: list[object], tmp_path: Path
) -> None:
    places = Places(history, tmp_path)
    places.write(*file)
    assert imported(places) == expected
    assert not places.trapped.exists()
