"""Confine a worker process with everything this node offers, and say what was missing.

`confine` runs once in a fresh, single-threaded process. It tries each mechanism it is not told to
leave out; one that the node refuses raises `MechanismFailed`, and the supervisor starts a fresh
worker without it, so that no worker goes on half confined. Standard library and ctypes only.
"""

import functools
import os
import platform
import resource
import signal
import sys
import tempfile
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from os import chdir, chmod, rmdir, unlink  # the guard of the programs takes them out of `os`
from pathlib import Path
from typing import Final, Literal, TypeVar

from toolkit.sandbox import landlock, linux, namespaces, seccomp

IsolationLevel = Literal["strongest", "limits-only"]
ON: Final = "on"


@dataclass(frozen=True, slots=True)
class Limits:
    """What one program may use. Sizes in bytes, times in seconds."""

    timeout: float = 3.0
    """Of the program's own clock: CPU time and time asleep, not time waiting for a core."""
    wall_seconds: float = 60.0
    """The backstop by the wall clock, for a program whose own clock stands still."""
    memory_bytes: int = 4 << 30
    """Address space of each process."""
    processes: int = 64
    """Processes and threads together, the worker's own included."""
    file_bytes: int = 32 << 20
    open_files: int = 256
    tmp_bytes: int = 64 << 20
    """Everything in /tmp, /dev/shm and the working directory together."""
    tmp_files: int = 4096


T = TypeVar("T")
MECHANISMS: Final = {
    "user": "an own user namespace: no capability, nobody else's files",
    "mount": "an own file tree: read-only system and Python, private /tmp, no home",
    "pid": "an own process table: a program's processes end with it",
    "net": "no network",
    "ipc": "no shared memory with other programs",
    "uts": "the node's name is hidden",
    "no_new_privs": "set-user-id programs give nothing",
    "seccomp": "no ptrace, namespaces, keys, devices of the kernel",
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
class Jail:
    """The worker's side of its confinement."""

    report: dict[str, str]
    tmp: "namespaces.PrivateTmp | ScratchDirectory"
    proc: int
    """A descriptor of the /proc in which the programs' process numbers are valid."""
    own_processes: bool
    """Whether a pid namespace holds the programs: all of them can be ended at one stroke."""
    enter: list[Callable[[], None]] = field(default_factory=list)
    """What is left to do in the process of each program, in this order."""


class ScratchDirectory:
    """Where there is no mount namespace: a directory on the disk, emptied after each program."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._work = f"{path}/work"
        self.renew()

    def renew(self) -> None:
        """Make the working directory new and stand in it, whatever a program did to it."""
        chdir("/")
        self._empty(self.path)
        os.mkdir(self._work, 0o700)
        chdir(self._work)

    def remove(self) -> None:
        """Leave nothing behind."""
        chdir("/")
        self._empty(self.path)
        rmdir(self.path)

    def _empty(self, top: str) -> None:
        """Delete all below `top`, without recursion: a program may nest directories deeply."""
        directories = [top]
        for path in directories:
            chmod(path, 0o700)
            with os.scandir(path) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        directories.append(entry.path)
                    else:
                        unlink(entry.path)
        for path in reversed(directories[1:]):
            rmdir(path)


def confine(limits: Limits, without: Mapping[str, str], scratch_root: str) -> Jail:
    """Confine this process by all mechanisms but those in `without` (name: why not).

    Returns in the worker, which may be a child of the caller: where a pid namespace is made, the
    calling process stays outside of it, waits for the worker and exits as it does. `scratch_root`
    is the directory for scratch files where no private /tmp can be mounted.
    """
    report = {name: f"off: {without[name]}" if name in without else ON for name in MECHANISMS}
    privileged = namespaces.is_privileged()
    if not privileged and "user" not in without:
        _attempt("user", namespaces.enter_user_namespace)
    for name, flag in namespaces.SEPARATE.items():
        if name not in without:
            _attempt(name, functools.partial(linux.unshare, flag))
    if "uts" not in without:
        _attempt("uts", namespaces.name_host)
    host_proc = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    if "pid" not in without:
        _continue_as_first_process()
    tmp = _confine_files(limits, without, scratch_root, privileged=privileged)
    proc = host_proc
    if "pid" not in without:
        os.close(host_proc)
        proc = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    else:
        linux.prctl(linux.PR_SET_CHILD_SUBREAPER, 1)
    jail = Jail(report, tmp, proc, own_processes="pid" not in without)
    jail.enter.append(linux.CapabilityDrop())
    _confine_calls(jail, without)
    report["limits"] = _limit_resources(limits, without)
    # Nothing of this process may be read or traced by the programs, which run as the same user.
    linux.prctl(linux.PR_SET_DUMPABLE, 0)
    return jail


def below_minimum(report: Mapping[str, str]) -> str | None:
    """Why this confinement is too weak for untrusted programs, or None.

    Enough is either all of an own user, file tree, process table and network, or a seccomp filter
    and Landlock together, which refuse processes, network and files instead of hiding them.
    """

    def off(*names: str) -> list[str]:
        return [f"{name} ({report[name]})" for name in names if report[name] != ON]

    missing = off("user", "mount", "pid", "net", "no_new_privs")
    if not missing or not off("seccomp", "landlock", "no_new_privs"):
        return None
    return "missing: " + ", ".join(missing)


def python_paths() -> list[str]:
    """What a program needs to read besides the system: this Python, its packages, its libraries."""
    prefixes = {sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix}
    libraries = [f"{prefix}/{name}" for prefix in prefixes for name in ("lib", "lib64")]
    return [*libraries, *namespaces.mapped_files()]


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


def _confine_files(
    limits: Limits, without: Mapping[str, str], scratch_root: str, *, privileged: bool
) -> namespaces.PrivateTmp | ScratchDirectory:
    shown: list[str] = []
    if "mount" not in without:
        private_proc = "pid" not in without
        shown = _attempt(
            "mount", lambda: namespaces.build_root(python_paths(), private_proc=private_proc)
        )
    if privileged and ("mount" not in without or _open_to_all(python_paths())):
        namespaces.become_nobody()
        if "user" not in without:
            own_mounts = 0 if "mount" in without else linux.CLONE_NEWNS
            _attempt("user", lambda: namespaces.enter_user_namespace(own_mounts))
    if "mount" in without:
        return ScratchDirectory(tempfile.mkdtemp(prefix="jail-", dir=scratch_root))
    tmp = namespaces.PrivateTmp(
        size=limits.tmp_bytes,
        files=limits.tmp_files,
        uid=os.geteuid(),
        gid=os.getegid(),
        shown=shown,
    )
    _attempt("mount", tmp.mount)
    return tmp


def _confine_calls(jail: Jail, without: Mapping[str, str]) -> None:
    if "no_new_privs" not in without:
        _attempt("no_new_privs", lambda: linux.prctl(linux.PR_SET_NO_NEW_PRIVS, 1))
    if "landlock" not in without:
        _attempt("landlock", lambda: _restrict_files(jail))
    if "seccomp" in without:
        return
    code = seccomp.jail_filter(
        processes_confined=jail.own_processes, network_confined="net" not in without
    )
    _attempt("seccomp", lambda: seccomp.install(code))
    if not jail.own_processes:
        jail.enter.append(lambda: seccomp.install(seccomp.lone_process_filter(os.getpid())))


def _open_to_all(paths: Collection[str]) -> bool:
    """Whether an unprivileged user could still read this Python where it lies (not below /root)."""
    parents = {parent for path in paths for parent in Path(os.path.realpath(path)).parents}
    return all(parent.stat().st_mode & 0o001 for parent in parents if parent.exists())


def _restrict_files(jail: Jail) -> None:
    """Landlock for each program; the worker itself still has to read /proc."""
    scratch = jail.tmp.path if isinstance(jail.tmp, ScratchDirectory) else "/tmp"
    readable = [*python_paths(), *namespaces.SYSTEM, *namespaces.SYSTEM_FILES, "/dev/urandom"]
    rules = landlock.ruleset(readable, [scratch, "/dev/null"])
    jail.enter.append(functools.partial(landlock.enforce, rules))


def _limit_resources(limits: Limits, without: Mapping[str, str]) -> str:
    bounds = {
        resource.RLIMIT_AS: limits.memory_bytes,
        resource.RLIMIT_FSIZE: limits.file_bytes,
        resource.RLIMIT_NOFILE: limits.open_files,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_STACK: 8 << 20,
    }
    release = tuple(int(part) for part in platform.release().split("-")[0].split(".")[:2])
    counted_apart = release >= (5, 14) and "user" not in without
    if counted_apart:
        bounds[resource.RLIMIT_NPROC] = limits.processes
    for limit, value in bounds.items():
        hard = resource.getrlimit(limit)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(limit, (value, value))
    if counted_apart:
        return ON
    return f"{ON}, but for processes: this kernel counts those of the whole node"


def wanted(level: IsolationLevel, known: Collection[str] = MECHANISMS) -> dict[str, str]:
    """The mechanisms left out from the start: Landlock stands in where there is no mount namespace
    (a process under it can mount nothing), and "limits-only" makes no namespace.
    """
    if level == "limits-only":
        why = "limits-only was asked for"
        return {name: why for name in known if name in {"user", *namespaces.SEPARATE}}
    return {"landlock": "the own file tree hides more"}


def without_also(without: Mapping[str, str], name: str, why: str) -> dict[str, str]:
    """`without`, one refused mechanism more, and what hangs on it."""
    more = {**without, name: why}
    if name == "user" and not namespaces.is_privileged():
        more |= dict.fromkeys(namespaces.SEPARATE, "needs the user namespace")
    if "mount" in more:
        more.setdefault("pid", "needs the own file tree, for its /proc")
        if name != "landlock" and without.get("landlock") == "the own file tree hides more":
            del more["landlock"]
    return more
