"""Patches of agents in the repository: opened as trees, and kept as commits of a branch."""

from datetime import datetime

from backcast.domain.errors import InputError
from backcast.engine.log.importers.git_repository import GitRepository
from backcast.engine.workflow.dispatch.folders import held_folder
from backcast.engine.workflow.dispatch.work_tree import APPLIED, git

AUTHOR = {
    f"GIT_{role}_{part}": value
    for role in ("AUTHOR", "COMMITTER")
    for part, value in (("NAME", "backcast dispatch"), ("EMAIL", "dispatch@backcast.invalid"))
}


def commit_patch(
    repository: GitRepository, commit: str, patch: bytes, branch: str, message: str,
    when: datetime, *, merged: bool = False,
) -> str:  # fmt: skip
    """Commit a patch onto a branch of the repository, and return the commit.

    A patch that was made upon another commit is `merged`. The same arguments give the same
    commit, so that a process that was killed makes it again. Neither its work tree nor the branch
    that is checked out is touched, and no hook runs.
    `InputError` where somebody else moved the branch.
    """
    with held_folder(f"{repository.git_dir} {branch} index") as place:
        named = {
            "GIT_DIR": str(repository.git_dir),
            "GIT_INDEX_FILE": f"{place}/index",
            **AUTHOR,
            "GIT_AUTHOR_DATE": when.isoformat(),
            "GIT_COMMITTER_DATE": when.isoformat(),
        }
        git(place, named, "read-tree", commit)
        if patch:
            git(place, named, "apply", "--cached", *APPLIED, *(["--3way"] if merged else []),
                asked=patch)  # fmt: skip
        tree = git(place, named, "write-tree").decode().strip()
        made = git(place, named, "commit-tree", tree, "-p", commit, "-F", "-",
                   asked=message.encode()).decode().strip()  # fmt: skip
        ref = f"refs/heads/{branch}"
        known = tip(repository, branch)
        if known == made:
            return made
        if known is not None and known != commit:
            raise InputError(
                f"branch {branch}: needed its tip at {commit[:12]}, found {known[:12]}: somebody"
                " else moved it; rename it to go on"
            )
        git(place, named, "update-ref", ref, made, known or "0" * len(commit))
    return made


def tip(repository: GitRepository, branch: str) -> str | None:
    """Return the commit of a branch; None where there is no such branch."""
    return repository.refs().get(f"refs/heads/{branch}")
