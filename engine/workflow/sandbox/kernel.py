"""Calls of the Linux kernel that Python lacks: namespaces, mounts, Landlock, seccomp.

Every function raises `OSError` where the system does not know or does not allow the call.
"""

import ctypes
import errno
import os
from collections.abc import Sequence

NEW_MOUNTS, NEW_IPC, NEW_USER = 0x00020000, 0x08000000, 0x10000000
NEW_PIDS, NEW_NETWORK = 0x20000000, 0x40000000
READ_ONLY, NO_SUID, NO_DEVICES, REMOUNT, BIND = 1, 2, 4, 32, 4096
ALL_BELOW, PRIVATE, DETACH = 16384, 1 << 18, 2
DIE_WITH_PARENT, SECCOMP, DROP_CAPABILITY, SUBREAPER, NO_NEW_PRIVILEGES = 1, 22, 24, 36, 38

_LANDLOCK_CREATE, _LANDLOCK_ADD, _LANDLOCK_RESTRICT = 444, 445, 446
_READ_FILE_RIGHTS, _READ_RIGHTS = 0x5, 0xD  # execute, read a file; and list a directory
_FILE_RIGHTS = 0xC007  # the rights that apply to files, not only to directories
_SOCKET_CALL = {"x86_64": (0xC000003E, 41), "aarch64": (0xC00000B7, 198)}
_IO_URING_SETUP, _X32 = 425, 0x40000000


def call(name: str, *arguments: object) -> int:
    """Call a function of the C library by name; raise its error where it returns -1."""
    try:
        function = getattr(ctypes.CDLL(None, use_errno=True), name)
    except (AttributeError, OSError, TypeError):
        raise OSError(errno.ENOSYS, f"{name}: not on this system") from None
    function.restype = ctypes.c_long
    result: int = function(*arguments)
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
    return result


def prctl(option: int, value: object = 1) -> None:
    """Change one attribute of this process."""
    value = ctypes.c_ulong(value) if isinstance(value, int) else value
    call("prctl", option, value, *[ctypes.c_ulong(0)] * 3)


def mount(source: str, target: str, kind: str | None, flags: int, options: str = "") -> None:
    """Mount a file system, or change the options of a mount."""
    encoded = kind.encode() if kind else None
    call("mount", os.fsencode(source), os.fsencode(target), encoded,
         ctypes.c_ulong(flags), options.encode() or None)  # fmt: skip


def drop_capabilities() -> None:
    """Give up root's privileges, for this process and all that it starts."""
    for number in range(64):
        try:
            prctl(DROP_CAPABILITY, number)
        except OSError as error:
            if error.errno != errno.EINVAL:  # beyond the last capability of this kernel
                raise


class _Rule(ctypes.Structure):
    _pack_ = 1
    _layout_ = "ms"  # implied by packing; later Pythons require it
    _fields_ = (("rights", ctypes.c_uint64), ("descriptor", ctypes.c_int32))


def landlock(readable: Sequence[str], writable: Sequence[str]) -> None:
    """Restrict this process to files below these paths; paths that do not exist are skipped."""
    version = call("syscall", _LANDLOCK_CREATE, None, ctypes.c_size_t(0), ctypes.c_uint32(1))
    rights = (1 << 13) - 1
    rights |= (version >= 2) << 13 | (version >= 3) << 14 | (version >= 5) << 15
    # Three words: files; TCP ports (left to another layer); signals and sockets.
    ruleset = (ctypes.c_uint64 * 3)(rights, 0, 3)
    size = ctypes.c_size_t(24 if version >= 6 else 8)
    rules = call("syscall", _LANDLOCK_CREATE, ruleset, size, ctypes.c_uint32(0))
    for path in readable:
        _allow(rules, path, _READ_RIGHTS & rights)
    for path in writable:
        _allow(rules, path, rights)
    call("syscall", _LANDLOCK_RESTRICT, rules, ctypes.c_uint32(0))
    os.close(rules)


def _allow(rules: int, path: str, rights: int) -> None:
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    if not os.path.isdir(path):
        rights &= _FILE_RIGHTS
    rule = ctypes.byref(_Rule(rights, descriptor))
    call("syscall", _LANDLOCK_ADD, rules, 1, rule, ctypes.c_uint32(0))
    os.close(descriptor)


class _Filter(ctypes.Structure):
    _fields_ = (("length", ctypes.c_uint16), ("code", ctypes.c_void_p))


def refuse_sockets() -> None:
    """Refuse this process every new socket, except pairs between its own processes."""
    try:
        machine, socket = _SOCKET_CALL[os.uname().machine]
    except KeyError:
        raise OSError(errno.ENOSYS, "seccomp: no filter for this machine") from None
    program = [
        (0x20, 0, 0, 4),  # load the machine
        (0x15, 1, 0, machine),  # another machine has other numbers: refuse
        (0x06, 0, 0, 0x00050000 | errno.EACCES),
        (0x20, 0, 0, 0),  # load the call's number
        (0x35, 3, 0, _X32),
        (0x15, 2, 0, socket),
        (0x15, 1, 0, _IO_URING_SETUP),
        (0x06, 0, 0, 0x7FFF0000),  # allow
        (0x06, 0, 0, 0x00050000 | errno.EACCES),
    ]
    packed = b"".join(
        code.to_bytes(2, "little") + bytes((yes, no)) + value.to_bytes(4, "little")
        for code, yes, no, value in program
    )
    body = ctypes.create_string_buffer(packed, len(packed))
    held = _Filter(len(program), ctypes.cast(body, ctypes.c_void_p))
    call("prctl", SECCOMP, ctypes.c_ulong(2), ctypes.byref(held))
