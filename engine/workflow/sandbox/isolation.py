"""Isolates a run of foreign code from everything else; a process of its own.

    sandbox.py -> keeper -> first process of a new pid namespace -> the interpreter with the tests

The keeper outlives the run and ends all of it: when the sandbox closes its standard input, when
the tests end, or when the sandbox itself is gone. It uses every layer that the machine allows, and
reports the layers in one line before any foreign code runs:

- namespaces (network, pids, mounts, IPC): no network, no foreign process to signal, and a root
  directory in which only Python, the system's libraries and the run's own directory exist;
- another user than root, or a user namespace, so that the limit on processes holds;
- Landlock: the same view of the files by other means, for machines that do not allow mounts;
- seccomp, where there is no network namespace: no sockets at all;
- resource limits, no new privileges, no capabilities.

With fewer layers, less is guaranteed. Landlock ignores modes, owners and times: without a root
directory of its own, a run of the same user can change these. Another user alone can read all files
that are open to everybody. Without a pid namespace and Landlock's sixth version, a run of the same
user can kill that user's processes, the keeper among them. Where only `guard.py` holds files or the
network, the run may not start other programs, which the guard would not see.
"""

import json
import os
import re
import resource
import select
import signal
import sys
from typing import Any, NamedTuple, NoReturn

from backcast.engine.workflow.sandbox import kernel, processes

SPARE_USERS = 2_000_000_000
"Unused user ids lie just below this number, or below the machine's last one."
DEVICES = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom", "/dev/full")


class Orders(NamedTuple):
    """The keeper's orders, passed as JSON."""

    box: str
    "The run's directory, in which everything may be written."
    command: list[str]
    "The command; its last two arguments will be the layers as JSON and the report's descriptor."
    readable: list[str]
    "Files and directories beside the box that may be read."
    limits: dict[str, int]
    "cpu_seconds, memory, processes, file_bytes; see `SandboxLimits`."
    skip: list[str]
    "Layers not to try: namespaces, root (of its own), user, landlock, seccomp."
    report: int
    "The descriptor for reports."


def main() -> NoReturn:
    """Run a command in isolation, and end with its exit status."""
    orders = Orders(**json.loads(sys.argv[1]))
    woken = processes.wakes()
    for option in (kernel.DIE_WITH_PARENT, kernel.SUBREAPER):
        _attempt(kernel.prctl, option, signal.SIGKILL)
    held = _leave_namespaces(orders)
    ended, open_end = os.pipe()  # it ends with this process, which holds its other end alone
    keeper, first = os.getpid(), os.fork()
    if first == 0:
        os.close(open_end)
        _enter(orders, held, keeper, ended)
    processes.release_output()
    # Nothing else limits root; the keeper and the first process count too.
    crowd = None if os.geteuid() else orders.limits["processes"] + 2
    status, crowded = processes.watch_over(first, woken, crowd)
    processes.end_descendants(first)
    if crowded:
        os.write(orders.report, b'"processes"\n')
    os._exit(status)


def _leave_namespaces(orders: Orders) -> dict[str, str]:
    """Leave the shared namespaces, and return the layers so far."""
    user = os.geteuid()
    held = {"network": "guard", "files": "", "processes": "subreaper"}
    held["user"] = "own" if user else "root"
    flags = kernel.NEW_MOUNTS | kernel.NEW_IPC | kernel.NEW_PIDS | kernel.NEW_NETWORK
    if "namespaces" in orders.skip:
        return held
    if user == 0 and _attempt(kernel.call, "unshare", flags):
        return held | {"network": "namespace", "processes": "namespace"}
    group = os.getegid()
    if _attempt(kernel.call, "unshare", flags | kernel.NEW_USER):
        # Root is another user inside, so that starting a program leaves no capabilities.
        _write("/proc/self/setgroups", "deny")
        _write("/proc/self/uid_map", f"{user or 1000} {user} 1")
        _write("/proc/self/gid_map", f"{group or 1000} {group} 1")
        return held | {"network": "namespace", "processes": "namespace", "user": "namespace"}
    return held


def _enter(orders: Orders, held: dict[str, str], keeper: int, ended: int) -> NoReturn:
    """Apply the remaining layers, and become the command.

    `ended` is a descriptor that can be read once the keeper has ended.
    """
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    signal.set_wakeup_fd(-1)
    files, outside = [], _tasks_counted(held)
    spare = _spare_user(keeper) if held["user"] == "root" and "user" not in orders.skip else None
    if held["user"] == "root":  # without capabilities, root cannot write files of others
        spare = _give_box(spare or 0, orders.box)
    changed = held["processes"] == "namespace" and "root" not in orders.skip
    if changed := changed and _attempt(_change_root, orders):
        files.append("namespace")
    _attempt(kernel.drop_capabilities)
    if spare and _attempt(_become, spare):
        held["user"], outside = "spare", 0
        files.append("user")
    _attempt(kernel.prctl, kernel.DIE_WITH_PARENT, signal.SIGKILL)
    if select.select([ended], [], [], 0)[0]:  # it had ended before: nobody would end this one
        os._exit(1)
    os.close(ended)
    if held["processes"] == "namespace":
        processes.stay_as_first_process()
    os.setsid()
    os.chdir(f"{orders.box}/files")
    _limit(orders.limits, outside)
    if _attempt(kernel.prctl, kernel.NO_NEW_PRIVILEGES):
        if "landlock" not in orders.skip and _attempt(_landlock, orders, changed):
            files.append("landlock")
        # Among foreign files in sight there may be sockets that lead out.
        if not changed and "seccomp" not in orders.skip and _attempt(kernel.refuse_sockets):
            held["network"] = "seccomp" if held["network"] == "guard" else held["network"]
    layers = json.dumps(held | {"files": ", ".join(sorted(files)) or "guard"})
    os.write(orders.report, layers.encode() + b"\n")
    command = [*orders.command, layers, str(orders.report)]
    os.execve(command[0], command, dict(os.environ))


def _give_box(user: int, box: str) -> int | None:
    """Give the box to a user and return the user; None where this fails."""
    for folder, _, names in os.walk(box):
        for path in (folder, *(os.path.join(folder, name) for name in names)):
            if not _attempt(os.chown, path, user, user):
                return None
    return user


def _change_root(orders: Orders) -> None:
    """Make a root directory with only the permitted paths, and leave the old one for good."""
    root = f"{orders.box}/root"
    os.chdir("/")
    kernel.mount("none", "/", None, kernel.PRIVATE | kernel.ALL_BELOW)
    kernel.mount("tmpfs", root, "tmpfs", kernel.NO_SUID | kernel.NO_DEVICES, "mode=755,size=1m")
    for path in (*orders.readable, *DEVICES, orders.box):
        if path.rstrip("/") and os.path.exists(path):
            _bind(path, root, writable=path == orders.box or path in DEVICES)
    os.makedirs(f"{root}/proc", exist_ok=True)
    _attempt(kernel.mount, "proc", f"{root}/proc", "proc", kernel.NO_SUID | kernel.NO_DEVICES)
    os.makedirs(f"{root}/dev/shm", exist_ok=True)
    kernel.mount(f"{orders.box}/tmp", f"{root}/dev/shm", None, kernel.BIND)
    os.makedirs(f"{root}/tmp", exist_ok=True)
    kernel.mount("none", root, None, kernel.REMOUNT | kernel.READ_ONLY | kernel.BIND)
    os.chdir(root)
    kernel.call("pivot_root", b".", b".")
    kernel.call("umount2", b".", kernel.DETACH)


def _bind(path: str, root: str, writable: bool) -> None:
    target = root + path
    if not writable and os.path.exists(target) and os.path.samefile(path, target):
        return  # a path above it is bound already
    if os.path.isdir(path):
        os.makedirs(target, exist_ok=True)
    elif not os.path.exists(target):
        os.makedirs(os.path.dirname(target), exist_ok=True)
        os.close(os.open(target, os.O_CREAT | os.O_WRONLY))
    # Not recursive: only the uppermost mount would become read-only.
    kernel.mount(path, target, None, kernel.BIND)
    if not writable:
        flags = _mounted_with(target) | kernel.READ_ONLY | kernel.NO_SUID
        kernel.mount("none", target, None, kernel.REMOUNT | kernel.BIND | flags)


def _mounted_with(path: str) -> int:
    """Return a mount's flags (as statvfs numbers them) that a user namespace may not remove."""
    return os.statvfs(path).f_flag & (1 | 2 | 4 | 8)


def _landlock(orders: Orders, changed: bool) -> None:
    # A root of its own shows only permitted files, and its /dev/shm lies in the box.
    if changed:
        kernel.landlock(["/"], [orders.box, *DEVICES, "/dev/shm"])
    else:
        kernel.landlock(orders.readable, [orders.box, *DEVICES])


def _spare_user(keeper: int) -> int | None:
    """Return a user id that nobody else has, no other run either; None where there is none."""
    users = _spare_users()
    return users[keeper % len(users)] if users else None


def _spare_users() -> range:
    with open("/proc/self/uid_map", "rb") as lines:
        end = max(int(line.split()[0]) + int(line.split()[2]) for line in lines)
    first = min(end, SPARE_USERS) - 10_000
    return range(first, first + 8_000) if end > 20_000 else range(0)


def is_spare(user: int) -> bool:
    """Return whether a user id is one of those that only runs have."""
    try:
        return user in _spare_users()
    except (OSError, ValueError):
        return False


def _become(user: int) -> None:
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)


def _tasks_counted(held: dict[str, str]) -> int:
    """Return the number of tasks that the limit counts beside the run's: all tasks of the user,
    except in user namespaces of new kernels, which count for themselves."""
    own, count = os.geteuid(), 0
    release = [int(part) for part in re.findall(r"\d+", os.uname().release)[:2]]
    if (held["user"] == "namespace" and release >= [5, 14]) or not os.path.isdir("/proc"):
        return 0
    for name in filter(str.isdecimal, os.listdir("/proc")):
        try:
            if os.stat(f"/proc/{name}").st_uid == own:
                count += len(os.listdir(f"/proc/{name}/task"))
        except OSError:
            continue
    return count


def _limit(limits: dict[str, int], outside: int) -> None:
    # The first process counts too, and so does the keeper in a user namespace.
    for name, soft, hard in (
        ("RLIMIT_CPU", limits["cpu_seconds"], limits["cpu_seconds"] + 1),
        ("RLIMIT_AS", limits["memory"], limits["memory"]),
        ("RLIMIT_FSIZE", limits["file_bytes"], limits["file_bytes"]),
        ("RLIMIT_NPROC", limits["processes"] + outside + 2, limits["processes"] + outside + 2),
        ("RLIMIT_NOFILE", 256, 256),
        ("RLIMIT_CORE", 0, 0),
        ("RLIMIT_MEMLOCK", 0, 0),
    ):
        number = getattr(resource, name, None)
        if number is not None:
            _attempt(resource.setrlimit, number, (soft, hard))


def _write(path: str, text: str) -> None:
    with open(path, "w") as out:
        out.write(text)


def _attempt(function: Any, *arguments: Any) -> bool:
    """Call a function, and return whether the system knows and allows it."""
    try:
        function(*arguments)
    except (OSError, ValueError):
        return False
    return True
