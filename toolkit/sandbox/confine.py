"""Confine a worker process by everything this node offers, and report what was missing.

`confine` runs once in a fresh process with one thread. It tries each mechanism that is not
disabled. If the node refuses one, `MechanismFailed` is raised, and the supervisor starts a fresh
worker with this one disabled: no worker goes on half confined. Standard library and ctypes only.
"""

import functools
import os
import platform
import resource
import signal
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, TypeVar

from toolkit.sandbox import landlock, linux, namespaces, remedies, seccomp
from toolkit.sandbox.scratch import ScratchDirectory
from toolkit.sandbox.watcher import Watcher

IsolationLevel = Literal["strongest", "weak", "limits-only"]
"""What is enough. Every level takes all that the node offers; the isolation report says what that
is. "strongest" refuses less than its minimum, "weak" takes anything, "limits-only" is its old name.
"""
ON: Final = "on"
"""In the isolation report, of a mechanism in force; more may follow. Of the others it says "off"
and why.
"""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one program may use. Sizes in bytes, times in seconds."""

    timeout: float = 3.0
    """By the program's own clock: CPU time and time asleep, not time waiting for a core."""
    wall_seconds: float = 60.0
    """By the wall clock, for a program whose own clock stands still."""
    memory_bytes: int = 4 << 30
    """Address space of each process."""
    stack_bytes: int = 8 << 20
    """Of a main thread; a program may ask for more, within its address space."""
    tree_bytes: int = 4 << 30
    """Resident memory of all processes of a program together, or less: the worker's share of the
    job's memory.
    """
    processes: int = 64
    """Processes and threads together, the worker's own included."""
    file_bytes: int = 32 << 20
    open_files: int = 256
    tmp_bytes: int = 64 << 20
    """Everything in /tmp, /dev/shm and the working directory together."""
    tmp_files: int = 4096


T = TypeVar("T")
_HIDDEN_BY_MOUNT: Final = "the own file tree hides more"
MECHANISMS: Final = {
    "user": "an own user namespace: no capability, nobody else's files",
    "mount": "an own file tree: read-only system and Python, private /tmp, no home",
    "pid": "an own process table: a program's processes end with it",
    "net": "no network but an own loopback interface",
    "ipc": "no shared memory with other programs",
    "uts": "the node's name is hidden",
    "no_new_privs": "set-user-id programs give nothing",
    "seccomp": "no ptrace, namespaces, keys, devices of the kernel; without the namespaces also no "
    "processes, sockets, modes and times of files",
    "landlock": "files outside Python and the scratch directory are refused",
    "limits": "memory, processes, file size, open files",
}


class MechanismFailed(Exception):
    """The node refuses one mechanism: its name in MECHANISMS, and why."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(f"{name}: {why}")
        self.name = name
        self.why = why


@dataclass(slots=True)
class Confinement:
    """The confinement of a worker: what is in force, and what is left to do."""

    report: dict[str, str]
    """The isolation report: mechanism -> `ON` and its version or extent, or "off" and why."""
    scratch: namespaces.PrivateTmp | ScratchDirectory
    """The one place that programs can write to."""
    proc: int
    """A descriptor of the /proc in which the children's process numbers are valid."""
    pid_namespace: bool
    """Whether a pid namespace holds the children: one signal ends all processes in it."""
    child_steps: list[Callable[[], None]] = field(default_factory=list)
    """What is left to do in each child, in this order."""


def confine(
    limits: Limits,
    disabled: Mapping[str, str],
    scratch_root: str,
    landlock_version: int | None = None,
    readable: Sequence[str] = (),
) -> Confinement:
    """Confine this process by all mechanisms but the disabled ones (name -> why).

    Returns in the worker. The worker is a child of the caller, which stays outside and exits as the
    worker does. Where no pid namespace is made, the caller goes on as its watcher
    (`toolkit.sandbox.watcher`). `scratch_root` is the directory for scratch files where no private
    /tmp can be mounted. `landlock_version` is the one to use at most. `readable`: what programs may
    read beside the system and this Python. Raises `MechanismFailed`.
    """
    readable = [*python_paths(), *readable]
    report = {name: f"off: {disabled[name]}" if name in disabled else ON for name in MECHANISMS}
    privileged = namespaces.is_privileged()
    if not privileged and "user" not in disabled:
        _attempt("user", namespaces.enter_user_namespace)
    _separate(disabled)
    host_proc = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    if "pid" not in disabled:
        _continue_as_first_process()
    scratch = _confine_files(limits, disabled, scratch_root, readable, privileged=privileged)
    proc = host_proc
    if "pid" not in disabled:
        os.close(host_proc)
        proc = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    else:
        _continue_watched(limits, scratch, host_proc)
        linux.prctl(linux.PR_SET_CHILD_SUBREAPER, 1)
    confinement = Confinement(report, scratch, proc, pid_namespace="pid" not in disabled)
    confinement.child_steps.append(linux.CapabilityDrop())
    if not confinement.pid_namespace:
        confinement.child_steps.append(functools.partial(_be_one_of_many, limits.processes))
    _confine_calls(confinement, disabled, readable, landlock_version)
    report["limits"] = _limit_resources(limits, disabled)
    # It ends with its parent. That was said when it was forked, and a change of user undoes it.
    linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGKILL)
    # Nothing of this process may be read or traced by the programs, which run as the same user.
    linux.prctl(linux.PR_SET_DUMPABLE, 0)
    return confinement


def below_minimum(report: Mapping[str, str]) -> str | None:
    """Why this confinement is too weak for untrusted programs, and what would make it strong; None
    if it is enough.

    Enough is an own user, file tree, process table and network, and the filter of calls. Without
    them not everything can be closed: a program sees which files exist, and their size and times.
    """
    needed = ("user", "mount", "pid", "net", "no_new_privs", "seccomp")
    missing = [f"{name} ({report[name]})" for name in needed if report[name] != ON]
    if not missing:
        return None
    return f"missing: {', '.join(missing)}; {remedies.text()}"


def python_paths() -> list[str]:
    """What a program needs to read besides the system: this Python, its packages, its libraries."""
    prefixes = {sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix}
    libraries = [f"{prefix}/{name}" for prefix in prefixes for name in ("lib", "lib64")]
    executables = [sys.executable, os.path.realpath(sys.executable), f"{sys.prefix}/pyvenv.cfg"]
    found = os.environ.get("PYTHONPATH", "").split(":")  # where the judge's libraries are
    return [*libraries, *executables, *filter(None, found), *namespaces.mapped_files()]


def _attempt(name: str, action: Callable[[], T]) -> T:
    try:
        return action()
    except OSError as error:
        raise MechanismFailed(name, error.strerror or str(error)) from error


def _continue_as_first_process() -> None:
    """Fork: the child, process 1 of the new pid namespace, goes on; the parent waits for it."""
    child = os.fork()
    if child == 0:
        linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGKILL)
        os.setsid()
        return
    os.closerange(0, 256)  # the channel must close when the worker ends
    _, status = os.waitpid(child, 0)
    os._exit(os.waitstatus_to_exitcode(status) & 0xFF)


def _separate(disabled: Mapping[str, str]) -> None:
    """Make the namespaces beside the user namespace."""
    for name, flag in namespaces.SEPARATE.items():
        if name not in disabled:
            _attempt(name, functools.partial(linux.unshare, flag))
    if "uts" not in disabled:
        _attempt("uts", namespaces.name_host)
    if "net" not in disabled:
        _attempt("net", namespaces.start_loopback)


def _continue_watched(
    limits: Limits, scratch: namespaces.PrivateTmp | ScratchDirectory, proc: int
) -> None:
    """Fork: the child goes on as the worker, the parent watches it."""
    Watcher(
        scratch if isinstance(scratch, ScratchDirectory) else None,
        proc,
        memory=limits.tree_bytes,
        tasks=limits.processes,
        size=limits.tmp_bytes,
        files=limits.tmp_files,
    ).fork()


def _confine_files(
    limits: Limits,
    disabled: Mapping[str, str],
    scratch_root: str,
    readable: Sequence[str],
    *,
    privileged: bool,
) -> namespaces.PrivateTmp | ScratchDirectory:
    shown: list[str] = []
    if "mount" not in disabled:
        private_proc = "pid" not in disabled
        shown = _attempt(
            "mount", lambda: namespaces.build_root(readable, private_proc=private_proc)
        )
    if privileged and "mount" not in disabled:
        namespaces.become_nobody()
        if "user" not in disabled:
            # With an own mount namespace again: only so may this user mount.
            _attempt("user", lambda: namespaces.enter_user_namespace(linux.CLONE_NEWNS))
    if "mount" in disabled:
        _leave_root(disabled, readable)
        scratch = ScratchDirectory(scratch_root)
        os.environ["TMPDIR"] = scratch.path  # what `tempfile` makes has to lie in it
        return scratch
    private_tmp = namespaces.PrivateTmp(
        size=limits.tmp_bytes,
        files=limits.tmp_files,
        uid=os.geteuid(),
        gid=os.getegid(),
        shown=shown,
    )
    _attempt("mount", private_tmp.mount)
    return private_tmp


def _leave_root(disabled: Mapping[str, str], readable: Sequence[str]) -> None:
    """Become nobody if this is root: without an own file tree all files of the system are root's.

    Raises `MechanismFailed` if it cannot be done.
    """
    if os.geteuid() != 0:
        return
    why = f"without an own file tree ({disabled['mount']}) programs would run as root"
    if namespaces.can_become_nobody():
        if not _open_to_all(readable):
            raise MechanismFailed("root", f"{why}, as other users may not read this Python")
        namespaces.become_nobody()
        if "user" not in disabled:
            _attempt("user", namespaces.enter_user_namespace)
    elif namespaces.is_root_of_others() or linux.capabilities() or "landlock" in disabled:
        raise MechanismFailed("root", f"{why}: start this as an ordinary user")


def _be_one_of_many(processes: int) -> None:
    """In a child that no pid namespace holds: it ends with the worker, its watcher may look at it,
    and the threads that it may start are bounded.

    The kernel counts all of the user's threads, which cannot be more than the node has now.
    """
    linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGKILL)
    linux.prctl(linux.PR_SET_DUMPABLE, 1)
    with open("/proc/loadavg", encoding="ascii") as load:
        threads = int(load.read().split()[3].partition("/")[2]) + processes
    hard = resource.getrlimit(resource.RLIMIT_NPROC)[1]
    threads = threads if hard == resource.RLIM_INFINITY else min(threads, hard)
    resource.setrlimit(resource.RLIMIT_NPROC, (threads, threads))


def _confine_calls(
    confinement: Confinement,
    disabled: Mapping[str, str],
    readable: Sequence[str],
    landlock_version: int | None,
) -> None:
    if "no_new_privs" not in disabled:
        _attempt("no_new_privs", lambda: linux.prctl(linux.PR_SET_NO_NEW_PRIVS, 1))
    if "landlock" not in disabled:
        _attempt("landlock", lambda: _restrict_files(confinement, readable, landlock_version))
    if "seccomp" in disabled:
        return
    code = seccomp.worker_filter(net_namespace="net" not in disabled)
    _attempt("seccomp", lambda: seccomp.install(code))
    if confinement.pid_namespace:
        return
    rules = seccomp.ChildFilter(
        processes=True,
        files="mount" in disabled,
        write="landlock" not in disabled,
        ipc="ipc" in disabled,
        net="net" in disabled,
    )
    confinement.child_steps.append(lambda: seccomp.install(rules.code(os.getpid())))


def _open_to_all(paths: Collection[str]) -> bool:
    """Whether an unprivileged user could still read this Python where it lies (not below /root)."""
    parents = {parent for path in paths for parent in Path(os.path.realpath(path)).parents}
    return all(parent.stat().st_mode & 0o001 for parent in parents if parent.exists())


def _restrict_files(confinement: Confinement, shown: Sequence[str], most: int | None) -> None:
    """Landlock for each child; the worker itself still has to read /proc."""
    version = landlock.version() if most is None else min(most, landlock.version())
    place = confinement.scratch
    scratch = place.path if isinstance(place, ScratchDirectory) else "/tmp"
    readable = [*shown, *namespaces.SYSTEM, *namespaces.SYSTEM_FILES, "/dev/urandom"]
    rules = landlock.ruleset(readable, [scratch, "/dev/null"], version)
    confinement.child_steps.append(functools.partial(landlock.enforce, rules))
    confinement.report["landlock"] = f"{ON}, version {version}"


def _limit_resources(limits: Limits, disabled: Mapping[str, str]) -> str:
    bounds = {
        resource.RLIMIT_AS: limits.memory_bytes,
        resource.RLIMIT_FSIZE: limits.file_bytes,
        resource.RLIMIT_NOFILE: limits.open_files,
        resource.RLIMIT_CORE: 0,
    }
    release = tuple(int(part) for part in platform.release().split("-")[0].split(".")[:2])
    counted_apart = release >= (5, 14) and "user" not in disabled
    if counted_apart:
        bounds[resource.RLIMIT_NPROC] = limits.processes
    for limit, value in bounds.items():
        hard = resource.getrlimit(limit)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(limit, (value, value))
    hard = resource.getrlimit(resource.RLIMIT_STACK)[1]
    stack = limits.stack_bytes if hard == resource.RLIM_INFINITY else min(limits.stack_bytes, hard)
    resource.setrlimit(resource.RLIMIT_STACK, (stack, hard))
    if counted_apart:
        return ON
    return f"{ON}; threads: looked at fifty times a second, the kernel counts all of the user's"


def disabled_at_first() -> dict[str, str]:
    """The mechanisms disabled from the start: name -> why.

    Landlock is for nodes that refuse the mount namespace, because a process under it can mount
    nothing.
    """
    return {"landlock": _HIDDEN_BY_MOUNT}


def disable_also(disabled: Mapping[str, str], name: str, why: str) -> dict[str, str]:
    """`disabled`, one refused mechanism more, and those that need it."""
    more = {**disabled, name: why}
    if name == "user" and not namespaces.is_privileged():
        more |= dict.fromkeys(namespaces.SEPARATE, "needs the user namespace")
    if "mount" in more:
        more.setdefault("pid", "needs the own file tree, for its /proc")
        if name != "landlock" and disabled.get("landlock") == _HIDDEN_BY_MOUNT:
            del more["landlock"]
    return more
