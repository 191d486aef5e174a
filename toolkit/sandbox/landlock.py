"""Landlock: what a process may read and write, where no mount namespace can hide the rest."""

import os
import struct
from collections.abc import Sequence
from typing import Final

from toolkit.sandbox import linux

_VERSION_FLAG: Final = 1
_RULE_PATH_BENEATH: Final = 1
_EXECUTE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 2, 1 << 3
_READ: Final = _EXECUTE | _READ_FILE | _READ_DIR
_WRITE_FILE, _TRUNCATE, _IOCTL_DEV = 1 << 1, 1 << 14, 1 << 15
_FILE_RIGHTS: Final = _EXECUTE | _READ_FILE | _WRITE_FILE | _TRUNCATE | _IOCTL_DEV
_FS_RIGHTS: Final = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
"""Version -> how many rights of files it knows, as the lowest bits; later ones know no more."""
_NET_RIGHTS: Final = 0b11  # bind and connect of TCP, since version 4
_SCOPES: Final = 0b11  # abstract UNIX sockets and signals, since version 6


def version() -> int:
    """The version of Landlock's interface that this kernel has switched on; `OSError` if none."""
    return linux.syscall(linux.LANDLOCK_CREATE_RULESET, 0, 0, _VERSION_FLAG)


def ruleset(readable: Sequence[str], writable: Sequence[str], level: int) -> int:
    """A descriptor of the rules that only these paths, and what lies below, may be used.

    `level` is the version to use, at most that of this kernel. What they refuse besides: truncation
    of other files since 3, TCP since 4, ioctl of devices since 5. Since 6 also signals and abstract
    UNIX sockets to processes that are not under them. What is writable cannot be executed. Raises
    `OSError`.
    """
    rights = (1 << _FS_RIGHTS[min(level, max(_FS_RIGHTS))]) - 1
    attributes = struct.pack("=Q", rights)
    if level >= 4:
        attributes += struct.pack("=Q", _NET_RIGHTS)
    if level >= 6:
        attributes += struct.pack("=Q", _SCOPES)
    rules = linux.syscall(linux.LANDLOCK_CREATE_RULESET, attributes, len(attributes), 0)
    os.set_inheritable(rules, False)
    for path in readable:
        _allow(rules, path, _READ & rights)
    for path in writable:
        _allow(rules, path, rights & ~_EXECUTE)
    return rules


def enforce(rules: int) -> None:
    """Bind this thread and what it starts to the rules, for good (`no_new_privs` is set)."""
    linux.syscall(linux.LANDLOCK_RESTRICT_SELF, rules, 0)
    os.close(rules)


def _allow(rules: int, path: str, rights: int) -> None:
    try:
        beneath = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return  # a path that is not there needs no rule
    try:
        if not os.path.isdir(path):
            rights &= _FILE_RIGHTS
        # struct landlock_path_beneath_attr is packed: __u64 allowed_access; __s32 parent_fd.
        rule = struct.pack("=Qi", rights, beneath)
        linux.syscall(linux.LANDLOCK_ADD_RULE, rules, _RULE_PATH_BENEATH, rule, 0)
    finally:
        os.close(beneath)
