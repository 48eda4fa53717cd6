"""What the layers that a run of checks had do not hold, in words."""

from collections.abc import Mapping


def missing_layers(isolation: Mapping[str, str]) -> list[str]:
    """Return the layers that a run lacked, by what is recorded of it; none where nothing is.

    >>> missing_layers({"network": "seccomp", "files": "landlock, user", "processes": "subreaper"})
    ['a root directory of their own', 'process ids of their own']
    >>> missing_layers({"network": "guard", "files": "guard", "user": "root"})
    ['a closed network', 'closed files', 'a user of their own']
    """
    files = isolation.get("files", "namespace").split(", ")
    lacking = {
        "a closed network": isolation.get("network") == "guard",
        "closed files": not {"namespace", "landlock"} & {*files},
        "a root directory of their own": "namespace" not in files and "landlock" in files,
        "process ids of their own": isolation.get("processes") == "subreaper",
        "a user of their own": isolation.get("user") == "root",
    }
    return [name for name, lacks in lacking.items() if lacks]


def without_layers(isolation: Mapping[str, str]) -> str:
    """Return a line about what a run lacked; empty where it lacked nothing.

    >>> without_layers({"files": "landlock, namespace", "user": "root"})
    "checks run without a user of their own ('backcast help limits')"
    """
    missing = missing_layers(isolation)
    if not missing:
        return ""
    return f"checks run without {', '.join(missing)} ('backcast help limits')"
