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
import tempfile
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from os import chdir, chmod, rmdir, unlink  # the guard of the programs takes them out of `os`
from pathlib import Path
from typing import Final, Literal, TypeVar

from toolkit.sandbox import landlock, linux, namespaces, seccomp

IsolationLevel = Literal["strongest", "limits-only"]
"""What was asked for; the isolation report says what was reached."""
ON: Final = "on"
"""In the isolation report, of a mechanism in force; of the others it says "off" and why."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one program may use. Sizes in bytes, times in seconds."""

    timeout: float = 3.0
    """By the program's own clock: CPU time and time asleep, not time waiting for a core."""
    wall_seconds: float = 60.0
    """By the wall clock, for a program whose own clock stands still."""
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
_HIDDEN_BY_MOUNT: Final = "the own file tree hides more"
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
class Confinement:
    """The confinement of a worker: what is in force, and what is left to do."""

    report: dict[str, str]
    """The isolation report: mechanism -> `ON`, or "off" and why."""
    scratch: "namespaces.PrivateTmp | ScratchDirectory"
    """The one place that programs can write to."""
    proc: int
    """A descriptor of the /proc in which the children's process numbers are valid."""
    pid_namespace: bool
    """Whether a pid namespace holds the children: one signal ends all processes in it."""
    child_steps: list[Callable[[], None]] = field(default_factory=list)
    """What is left to do in each child, in this order."""


class ScratchDirectory:
    """The scratch directory without a mount namespace: on the disk, emptied after each program."""

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
        """Delete it with all that is in it."""
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


def confine(limits: Limits, disabled: Mapping[str, str], scratch_root: str) -> Confinement:
    """Confine this process by all mechanisms but the disabled ones (name -> why).

    Returns in the worker. Where a pid namespace is made, the worker is a child of the caller, which
    stays outside, waits for the worker and exits as it does. `scratch_root` is the directory for
    scratch files where no private /tmp can be mounted. Raises `MechanismFailed`.
    """
    report = {name: f"off: {disabled[name]}" if name in disabled else ON for name in MECHANISMS}
    privileged = namespaces.is_privileged()
    if not privileged and "user" not in disabled:
        _attempt("user", namespaces.enter_user_namespace)
    for name, flag in namespaces.SEPARATE.items():
        if name not in disabled:
            _attempt(name, functools.partial(linux.unshare, flag))
    if "uts" not in disabled:
        _attempt("uts", namespaces.name_host)
    host_proc = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    if "pid" not in disabled:
        _continue_as_first_process()
    scratch = _confine_files(limits, disabled, scratch_root, privileged=privileged)
    proc = host_proc
    if "pid" not in disabled:
        os.close(host_proc)
        proc = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    else:
        linux.prctl(linux.PR_SET_CHILD_SUBREAPER, 1)
    confinement = Confinement(report, scratch, proc, pid_namespace="pid" not in disabled)
    confinement.child_steps.append(linux.CapabilityDrop())
    _confine_calls(confinement, disabled)
    report["limits"] = _limit_resources(limits, disabled)
    # Nothing of this process may be read or traced by the programs, which run as the same user.
    linux.prctl(linux.PR_SET_DUMPABLE, 0)
    return confinement


def below_minimum(report: Mapping[str, str]) -> str | None:
    """Why this confinement is too weak for untrusted programs, or None.

    Enough is an own user, file tree, process table and network. Enough is also a seccomp filter and
    Landlock together, which refuse processes, network and files instead of hiding them.

    Known not to hold: the second is weaker. Under it a program can change the mode and times of the
    user's files, and fill the scratch directory. Landlock before version 3 does not refuse to
    truncate files, and before version 6 a program can send SIGIO to other processes.
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
    limits: Limits, disabled: Mapping[str, str], scratch_root: str, *, privileged: bool
) -> namespaces.PrivateTmp | ScratchDirectory:
    shown: list[str] = []
    if "mount" not in disabled:
        private_proc = "pid" not in disabled
        shown = _attempt(
            "mount", lambda: namespaces.build_root(python_paths(), private_proc=private_proc)
        )
    if privileged and ("mount" not in disabled or _open_to_all(python_paths())):
        namespaces.become_nobody()
        if "user" not in disabled:
            own_mounts = 0 if "mount" in disabled else linux.CLONE_NEWNS
            _attempt("user", lambda: namespaces.enter_user_namespace(own_mounts))
    if "mount" in disabled:
        return ScratchDirectory(tempfile.mkdtemp(prefix="jail-", dir=scratch_root))
    private_tmp = namespaces.PrivateTmp(
        size=limits.tmp_bytes,
        files=limits.tmp_files,
        uid=os.geteuid(),
        gid=os.getegid(),
        shown=shown,
    )
    _attempt("mount", private_tmp.mount)
    return private_tmp


def _confine_calls(confinement: Confinement, disabled: Mapping[str, str]) -> None:
    if "no_new_privs" not in disabled:
        _attempt("no_new_privs", lambda: linux.prctl(linux.PR_SET_NO_NEW_PRIVS, 1))
    if "landlock" not in disabled:
        _attempt("landlock", lambda: _restrict_files(confinement))
    if "seccomp" in disabled:
        return
    code = seccomp.worker_filter(net_namespace="net" not in disabled)
    _attempt("seccomp", lambda: seccomp.install(code))
    if not confinement.pid_namespace:
        confinement.child_steps.append(
            lambda: seccomp.install(seccomp.lone_process_filter(os.getpid()))
        )


def _open_to_all(paths: Collection[str]) -> bool:
    """Whether an unprivileged user could still read this Python where it lies (not below /root)."""
    parents = {parent for path in paths for parent in Path(os.path.realpath(path)).parents}
    return all(parent.stat().st_mode & 0o001 for parent in parents if parent.exists())


def _restrict_files(confinement: Confinement) -> None:
    """Landlock for each child; the worker itself still has to read /proc."""
    place = confinement.scratch
    scratch = place.path if isinstance(place, ScratchDirectory) else "/tmp"
    readable = [*python_paths(), *namespaces.SYSTEM, *namespaces.SYSTEM_FILES, "/dev/urandom"]
    rules = landlock.ruleset(readable, [scratch, "/dev/null"])
    confinement.child_steps.append(functools.partial(landlock.enforce, rules))


def _limit_resources(limits: Limits, disabled: Mapping[str, str]) -> str:
    bounds = {
        resource.RLIMIT_AS: limits.memory_bytes,
        resource.RLIMIT_FSIZE: limits.file_bytes,
        resource.RLIMIT_NOFILE: limits.open_files,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_STACK: 8 << 20,
    }
    release = tuple(int(part) for part in platform.release().split("-")[0].split(".")[:2])
    counted_apart = release >= (5, 14) and "user" not in disabled
    if counted_apart:
        bounds[resource.RLIMIT_NPROC] = limits.processes
    for limit, value in bounds.items():
        hard = resource.getrlimit(limit)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(limit, (value, value))
    if counted_apart:
        return ON
    return f"{ON}, but for processes: this kernel counts those of the whole node"


def disabled_at_first(level: IsolationLevel) -> dict[str, str]:
    """The mechanisms disabled from the start: name -> why.

    Landlock is for nodes that refuse the mount namespace, because a process under it can mount
    nothing. "limits-only" makes no namespace.
    """
    if level == "limits-only":
        return dict.fromkeys(("user", *namespaces.SEPARATE), "limits-only was asked for")
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
