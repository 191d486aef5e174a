"""Confinement by namespaces: an own user, mount table, process table, network and IPC.

A user namespace makes this work without privileges. A process with CAP_SYS_ADMIN makes the other
namespaces first and becomes an unprivileged user afterwards. So root's programs are not root, and
the process limit binds them, which the kernel waives for root.
"""

import contextlib
import fcntl
import os
import re
import socket
import struct
from collections.abc import Collection, Sequence
from os import chdir  # the guard of the programs takes it out of `os`
from pathlib import Path
from typing import Final

from toolkit.sandbox import linux

NOBODY: Final = 65534
WORK: Final = "/tmp/work"
"""The working directory of a program."""
_KEPT: Final = "/.kept"
"""Where the new root keeps what lies below /tmp, which the private /tmp hides."""
_STAGE: Final = "/tmp"
"""Where the new root is built. Any directory will do: what is mounted on it leaves with the old
root."""
SYSTEM: Final = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
SYSTEM_FILES: Final = tuple(
    f"/etc/{name}"
    for name in """
        ld.so.cache localtime timezone mime.types services protocols os-release
    """.split()
)
_HOST: Final = "jail"
"""The name of the node that programs see."""
_DEVICES: Final = ("null", "zero", "full", "random", "urandom")
_MADE_FILES: Final = {
    "/etc/passwd": "nobody:x:{uid}:{gid}::/tmp:/bin/false\n",
    "/etc/group": "nobody:x:{gid}:\n",
    "/etc/hosts": f"127.0.0.1 localhost {_HOST}\n",
    "/etc/hostname": f"{_HOST}\n",
    "/etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
}
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1
_OPTION_FLAGS: Final = {
    "ro": linux.MS_RDONLY,
    "nosuid": linux.MS_NOSUID,
    "nodev": linux.MS_NODEV,
    "noexec": linux.MS_NOEXEC,
    "noatime": linux.MS_NOATIME,
    "nodiratime": linux.MS_NODIRATIME,
    "relatime": linux.MS_RELATIME,
}

SEPARATE: Final = {
    "mount": linux.CLONE_NEWNS,
    "pid": linux.CLONE_NEWPID,
    "net": linux.CLONE_NEWNET,
    "ipc": linux.CLONE_NEWIPC,
    "uts": linux.CLONE_NEWUTS,
}
"""The namespaces beside the user namespace, each of which may be missing on its own."""


def is_privileged() -> bool:
    """Whether this process can make namespaces and become nobody without a user namespace."""
    return linux.has_capability(linux.CAP_SYS_ADMIN) and can_become_nobody()


def can_become_nobody() -> bool:
    """Whether this process may change its user, and `NOBODY` exists where it is."""
    return (
        linux.has_capability(linux.CAP_SETUID)
        and linux.has_capability(linux.CAP_SETGID)
        and all(_is_mapped(f"/proc/self/{name}", NOBODY) for name in ("uid_map", "gid_map"))
        and Path("/proc/self/setgroups").read_text().strip() == "allow"
    )


def is_root_of_others() -> bool:
    """Whether this process is root among other users, and not the one user of its namespace."""
    return os.geteuid() == 0 and _is_mapped("/proc/self/uid_map", 1)


def _is_mapped(table: str, number: int) -> bool:
    """Whether a user or group of this number exists in this user namespace."""
    with open(table, encoding="ascii") as lines:
        ranges = [[int(word) for word in line.split()] for line in lines]
    return any(first <= number < first + count for first, _, count in ranges)


def enter_user_namespace(extra: int = 0) -> None:
    """A new user namespace in which this user is itself, or nobody if it is root; nobody else
    exists.
    """
    uid, gid = os.geteuid(), os.getegid()
    # A process that changed its user is not "dumpable", and then its /proc files belong to root.
    linux.prctl(linux.PR_SET_DUMPABLE, 1)
    linux.unshare(linux.CLONE_NEWUSER | extra)
    Path("/proc/self/uid_map").write_text(f"{uid or NOBODY} {uid} 1")
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/gid_map").write_text(f"{gid or NOBODY} {gid} 1")


def become_nobody() -> None:
    """Turn from a privileged user into an unprivileged one, for good."""
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)


def start_loopback() -> None:
    """Start the one interface of a new network namespace, for a server and client of a program.

    A closed connection keeps its port for no time, where /proc/sys can be written: so a program
    finds the ports as they were before any other program.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("16sh14x", b"lo", 0)
        flags = struct.unpack("16sh14x", fcntl.ioctl(any_socket, _SIOCGIFFLAGS, request))[1]
        request = struct.pack("16sh14x", b"lo", flags | _IFF_UP)
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, request)
    with contextlib.suppress(OSError):
        Path("/proc/sys/net/ipv4/tcp_max_tw_buckets").write_text("0")


def name_host() -> None:
    """Hide the node's name, in an own UTS namespace."""
    socket.sethostname(_HOST)


class PrivateTmp:
    """The one place that programs can write to: /tmp, and in it the working directory.

    `shown`: the paths below it that stay readable (a virtual environment in /tmp, say), as
    `build_root` returned them.
    """

    def __init__(self, *, size: int, files: int, uid: int, gid: int, shown: Sequence[str]) -> None:
        self._shown = shown
        self._options = f"size={size},nr_inodes={files},mode=1777,uid={uid},gid={gid}"
        self._pristine: tuple[object, ...] = ()

    def mount(self) -> None:
        """Mount it for the first time and stand in the working directory."""
        flags = linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC
        linux.mount("tmpfs", "/tmp", "tmpfs", flags, self._options)
        for number, path in enumerate(self._shown):
            _make_target(f"{_KEPT}/{number}", path)
            linux.mount(f"{_KEPT}/{number}", path, flags=linux.MS_BIND | linux.MS_REC)
        os.mkdir(WORK, 0o700)
        chdir(WORK)
        self._pristine = self._fingerprint()

    def renew(self) -> None:
        """Replace the whole file system if a program left any trace in it."""
        if self._fingerprint() != self._pristine:
            chdir("/")
            linux.unmount("/tmp")
            self.mount()

    def remove(self) -> None:
        """Nothing to do: it ends with its mount namespace."""

    def _fingerprint(self) -> tuple[object, ...]:
        """What every trace of a program changes; empty where it cannot be read."""
        try:
            use, top, work = os.statvfs("/tmp"), os.stat("/tmp"), os.stat(WORK)
        except OSError:
            return ()
        return (
            (use.f_ffree, use.f_bfree),
            *((s.st_mode, s.st_ino, s.st_size, s.st_nlink, s.st_ctime_ns) for s in (top, work)),
        )


def build_root(readable: Sequence[str], *, private_proc: bool) -> list[str]:
    """Make a new root of what `readable` names (directories and files, read-only), the system's
    libraries, and nothing else. /tmp, /dev/shm and /var/tmp are one empty place.

    Returns the readable paths below /tmp, for `PrivateTmp`. Needs an own mount namespace and the
    capability to mount. Raises `OSError`.
    """
    # Links are followed while the old tree is still in place: a home may lie behind one.
    shown = [(path, os.path.realpath(path)) for path in _outermost([*readable, *SYSTEM_FILES])]
    devices = [f"/dev/{name}" for name in _DEVICES if os.path.exists(f"/dev/{name}")]
    uid, gid = (NOBODY, NOBODY) if is_privileged() else (os.geteuid(), os.getegid())
    linux.mount("", "/", flags=linux.MS_REC | linux.MS_PRIVATE)
    linux.mount("tmpfs", _STAGE, "tmpfs", linux.MS_NOSUID | linux.MS_NODEV, "mode=755,size=1m")
    for name in ("old", "new"):
        os.mkdir(f"{_STAGE}/{name}")
    # From here on the old root is below /old, so that the stage hides nothing of it.
    linux.pivot_root(_STAGE, f"{_STAGE}/old")
    os.chdir("/")
    linux.mount("tmpfs", "/new", "tmpfs", linux.MS_NOSUID | linux.MS_NODEV, "mode=755,size=4m")
    for directory in SYSTEM:
        _show_system(directory)
    hidden = [path for path, _ in shown if path.startswith("/tmp/")]
    for path, real in shown:
        place = f"{_KEPT}/{hidden.index(path)}" if path in hidden else path
        _bind(real, place)
        _make_read_only(f"/new{place}")
    for device in devices:
        _bind(device, device)
    for path, text in _MADE_FILES.items():
        os.makedirs(os.path.dirname(f"/new{path}"), exist_ok=True)
        Path(f"/new{path}").write_text(text.format(uid=uid, gid=gid))
    for path in ("/tmp", "/proc", "/var"):
        os.makedirs(f"/new{path}", exist_ok=True)
    for path, target in {
        "/dev/shm": "/tmp",
        "/var/tmp": "/tmp",
        "/dev/fd": "/proc/self/fd",
        "/dev/stdin": "/proc/self/fd/0",
        "/dev/stdout": "/proc/self/fd/1",
        "/dev/stderr": "/proc/self/fd/2",
    }.items():
        if not os.path.lexists(f"/new{path}"):  # a Python may lie below it: then it is read-only
            os.symlink(target, f"/new{path}")
    if private_proc:
        flags = linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC
        linux.mount("proc", "/new/proc", "proc", flags)
    os.chdir("/new")
    linux.pivot_root(".", ".")  # stacks the old root upon the new one; the unmount takes it off
    linux.unmount(".")
    os.chdir("/")
    flags = linux.MS_REMOUNT | linux.MS_RDONLY | linux.MS_NOSUID | linux.MS_NODEV
    linux.mount("none", "/", flags=flags | linux.MS_BIND)
    return hidden


def mapped_files() -> list[str]:
    """Every file that this process has mapped: its libraries, wherever they lie."""
    files: set[str] = set()
    with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as maps:
        for line in maps:
            fields = line.rstrip("\n").split(maxsplit=5)
            if len(fields) == 6 and fields[5].startswith("/"):
                files.add(fields[5])
    return sorted(f for f in files if os.path.isfile(f))


def _outermost(paths: Collection[str]) -> list[str]:
    """Existing paths, without those that lie in another of them or in the system's."""
    kept: list[str] = []
    for path in sorted({os.path.normpath(p) for p in paths}):
        covered = any(path.startswith(f"{k}/") for k in (*SYSTEM, *kept))
        if os.path.exists(path) and not covered:
            kept.append(path)
    return kept


def _show_system(directory: str) -> None:
    """A directory of the system; where it is a link (/bin -> usr/bin), the link."""
    if os.path.islink(f"/old{directory}"):
        os.symlink(os.readlink(f"/old{directory}"), f"/new{directory}")
    elif os.path.isdir(f"/old{directory}"):
        _bind(directory, directory)
        _make_read_only(f"/new{directory}")


def _bind(source: str, path: str) -> None:
    """Show `source` of the old root as `path` of the new one."""
    target = f"/new{path}"
    _make_target(f"/old{source}", target)
    linux.mount(f"/old{source}", target, flags=linux.MS_BIND | linux.MS_REC)


def _make_target(source: str, target: str) -> None:
    """An empty directory or file at `target`, for `source` to be mounted on."""
    if os.path.isdir(source):
        os.makedirs(target, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        Path(target).touch()


def _make_read_only(top: str) -> None:
    """Make the mount at `top` and all below it read-only.

    The flags that a mount has must be given again: in a user namespace they are locked.
    """
    with open("/old/proc/self/mountinfo", encoding="utf-8") as table:
        mounts = [line.split() for line in table]
    for fields in mounts:
        path = re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), fields[4])
        if path == top or path.startswith(f"{top}/"):
            flags = linux.MS_REMOUNT | linux.MS_BIND | linux.MS_RDONLY
            flags |= linux.MS_NOSUID | linux.MS_NODEV
            for option in fields[5].split(","):
                flags |= _OPTION_FLAGS.get(option, 0)
            linux.mount("none", path, flags=flags)
