"""The few Linux calls that the standard library does not offer, through ctypes.

Every function raises `OSError` with the kernel's errno. Constants carry the kernel's names.
"""

import ctypes
import functools
import os
import platform
from collections.abc import Callable
from typing import Final, NoReturn

MACHINE: Final = platform.machine()
EXIT_STATUS: Final = 1
"""Of a process that `call_and_exit` has ended."""

CLONE_NEWNS: Final = 0x00020000
CLONE_NEWUTS: Final = 0x04000000
CLONE_NEWIPC: Final = 0x08000000
CLONE_NEWUSER: Final = 0x10000000
CLONE_NEWPID: Final = 0x20000000
CLONE_NEWNET: Final = 0x40000000

MS_RDONLY: Final = 0x1
MS_NOSUID: Final = 0x2
MS_NODEV: Final = 0x4
MS_NOEXEC: Final = 0x8
MS_REMOUNT: Final = 0x20
MS_NOATIME: Final = 0x400
MS_NODIRATIME: Final = 0x800
MS_BIND: Final = 0x1000
MS_REC: Final = 0x4000
MS_PRIVATE: Final = 0x40000
MS_RELATIME: Final = 0x200000
MNT_DETACH: Final = 2

PR_SET_PDEATHSIG: Final = 1
PR_SET_DUMPABLE: Final = 4
PR_SET_CHILD_SUBREAPER: Final = 36
PR_SET_NO_NEW_PRIVS: Final = 38

CAP_SETGID: Final = 6
CAP_SETUID: Final = 7
CAP_SYS_ADMIN: Final = 21

_libc = ctypes.CDLL(None, use_errno=True)
_python_libc = ctypes.PyDLL(None, use_errno=True)  # calls without giving up the interpreter lock
_libc.syscall.restype = ctypes.c_long

# What `call_and_exit` needs is looked up here: a look-up is an audit event.
_keep = ctypes.pythonapi.Py_IncRef
_at_exit = _libc.__cxa_atexit
_call = ctypes.cast(ctypes.pythonapi.PyObject_CallNoArgs, ctypes.c_void_p)
_end = ctypes.cast(_libc._exit, ctypes.c_void_p)
_exit_with_handlers = _python_libc.exit

_SYSCALLS: Final = {
    "x86_64": {"pivot_root": 155, "ppoll": 271, "capset": 126, "seccomp": 317},
    "aarch64": {"pivot_root": 41, "ppoll": 73, "capset": 91, "seccomp": 277},
}
LANDLOCK_CREATE_RULESET: Final = 444  # one number on every architecture, as all since Linux 5.1
LANDLOCK_ADD_RULE: Final = 445
LANDLOCK_RESTRICT_SELF: Final = 446


def syscall(number: int, *arguments: object) -> int:
    """The raw system call; integers are passed as C longs."""
    converted = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    return _checked(_libc.syscall(ctypes.c_long(number), *converted))


def syscall_number(name: str) -> int:
    """The number of a call that differs between architectures; `OSError` on an unknown one."""
    try:
        return _SYSCALLS[MACHINE][name]
    except KeyError:
        raise OSError(38, f"{name} is not known on {MACHINE}") from None


def unshare(flags: int) -> None:
    """Leave the namespaces named by CLONE_NEW* flags for new ones."""
    _checked(_libc.unshare(ctypes.c_int(flags)))


def mount(source: str, target: str, kind: str = "", flags: int = 0, data: str = "") -> None:
    """mount(2); `kind` is the file system type."""
    arguments = [os.fsencode(text) if text else None for text in (source, target, kind)]
    _checked(_libc.mount(*arguments, ctypes.c_ulong(flags), os.fsencode(data) if data else None))


def unmount(target: str) -> None:
    """Detach a mount from the tree at once, whatever still uses it."""
    _checked(_libc.umount2(os.fsencode(target), MNT_DETACH))


def pivot_root(new_root: str, put_old: str) -> None:
    """Make `new_root` the root of the mount namespace; the old one hangs under `put_old`."""
    syscall(syscall_number("pivot_root"), os.fsencode(new_root), os.fsencode(put_old))


def prctl(option: int, value: int) -> None:
    """prctl(2) with one argument."""
    zero = ctypes.c_ulong(0)
    _checked(_libc.prctl(ctypes.c_int(option), ctypes.c_ulong(value), zero, zero, zero))


def has_capability(number: int) -> bool:
    """Whether this process may use a capability now."""
    return bool(capabilities() >> number & 1)


def capabilities() -> int:
    """The capabilities that this process may use now, one bit each."""
    with open("/proc/self/status", encoding="ascii", errors="replace") as status:
        for line in status:
            if line.startswith("CapEff:"):
                return int(line.split()[1], 16)
    return 0


def call_and_exit(function: Callable[[], object]) -> NoReturn:
    """Call `function`, whose C code does the work, and end the process with EXIT_STATUS.

    exit(3) of the C library makes the call, as a handler, and then calls _exit(2), whatever became
    of it: nothing below the handler on the stack goes on, and nobody looks at what it returned or
    raised. So no Python code runs after it. It is for a process with one thread.
    """
    _keep(ctypes.py_object(function))  # nobody can take it away during the call
    # Handlers are called in the reverse order: the call first, then the end, and no other.
    _checked(_at_exit(_end, ctypes.c_long(EXIT_STATUS), None))
    _checked(_at_exit(_call, ctypes.py_object(function), None))
    _exit_with_handlers(EXIT_STATUS)
    raise AssertionError("exit(3) has returned")


def bare_fork() -> int:
    """fork(2) without Python's own fork hooks: 0 in the child.

    For a process with one thread, whose child needs none of them: they cost a millisecond, mostly
    in pages that they touch.
    """
    return _checked(_python_libc.fork())


def endless_wait() -> Callable[[], object]:
    """A C-level callable that waits for a signal: ppoll(2) of nothing, without end."""
    null = ctypes.c_long(0)
    number = ctypes.c_long(syscall_number("ppoll"))
    return functools.partial(_libc.syscall, number, null, null, null, null, null)


class CapabilityDrop:
    """Gives up every capability of the caller; prepared once, so that a child pays one call."""

    def __init__(self) -> None:
        # _LINUX_CAPABILITY_VERSION_3, pid 0 (the caller); effective, permitted, inheritable twice.
        self._header = (ctypes.c_uint32 * 2)(0x20080522, 0)
        self._none = (ctypes.c_uint32 * 6)()
        self._number = ctypes.c_long(syscall_number("capset"))

    def __call__(self) -> None:
        """Drop them now, for good."""
        _checked(_libc.syscall(self._number, self._header, self._none))


def _checked(result: int) -> int:
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
