"""A node without user namespaces: refused by default, and what is closed in the weak level.

Each attack is tried under each version of Landlock, and once without confinement: there it works.
"""

import contextlib
import ctypes
import os
import platform
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from without_namespaces import AS_ROOT, run_script, run_without_namespaces

from toolkit.sandbox import landlock
from toolkit.sandbox.watcher import Watcher

on_x86 = pytest.mark.skipif(platform.machine() != "x86_64", reason="the numbers are x86-64's")

CALLS = """
import ctypes, fcntl, os, posix, signal, socket, struct
libc = ctypes.CDLL(None, use_errno=True)
def call(function, *arguments):
    if function(*arguments) == -1:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
def raw(*arguments):
    call(libc.syscall, *(ctypes.c_long(a) if isinstance(a, int) else a for a in arguments))
path, place, readable, pid = "@PLACE@/file", "@PLACE@", "@PLACE@/readable", @PID@
"""
FILES = {
    "chmod": "posix.chmod(path, 0o666)",
    "chmod of a directory": "posix.chmod(place, 0o777)",
    "fchmod": "os.fchmod(posix.open(readable, os.O_RDONLY), 0o666)",
    "chmod by /proc": "os.chmod(f'/proc/self/fd/{posix.open(path, os.O_PATH)}', 0o666)",
    "fchmodat": "os.chmod('file', 0o666, dir_fd=posix.open(place, os.O_PATH))",
    "fchmodat2": "raw(452, -100, path.encode(), 0o666, 0)",
    "chown": "posix.chown(path, os.getuid(), os.getgid())",
    "fchown": "os.fchown(posix.open(readable, os.O_RDONLY), os.getuid(), os.getgid())",
    "utime": "posix.utime(path, (1, 1))",
    "utime now": "posix.utime(path)",
    "utime of a descriptor": "posix.utime(posix.open(readable, os.O_RDONLY), (1, 1))",
    "utime of the old call": "raw(132, path.encode(), None)",
    "truncate": "posix.truncate(path, 0)",
    "truncate by O_TRUNC": "posix.open(readable, os.O_RDONLY | os.O_TRUNC)",
    "truncate without reading": "posix.open(readable, 3 | os.O_TRUNC)",
    "open for nothing": "posix.open(path, 3)",
    "openat2": "raw(437, -100, readable.encode(), (ctypes.c_uint64 * 3)(os.O_TRUNC), 24)",
    "setxattr": "posix.setxattr(path, 'user.a', b'x')",
    "getxattr": "posix.getxattr(path, 'user.had')",
    "removexattr": "posix.removexattr(path, 'user.had')",
    "append": "open(path, 'a').write('x')",
    "write": "open(readable, 'r+').write('x')",
    "read": "open(path).read()",
    "list": "posix.listdir(place)",
    "link": "posix.link(path, f'{place}/linked')",
    "link into the scratch directory": "posix.link(path, 'stolen')",
    "link of what is readable": "posix.link(readable, 'stolen2')",
    "symlink": "posix.symlink('x', f'{place}/symlink')",
    "mkdir": "posix.mkdir(f'{place}/new')",
    "mkfifo": "posix.mkfifo(f'{place}/fifo')",
    "create": "posix.close(posix.open(f'{place}/new2', os.O_CREAT | os.O_WRONLY))",
    "anonymous file": "posix.open(place, os.O_TMPFILE | os.O_WRONLY)",
    "rename": "posix.rename(f'{place}/other', f'{place}/renamed')",
    "unlink": "posix.unlink(f'{place}/third')",
    "rmdir": "posix.rmdir(f'{place}/empty')",
    "chattr": "fcntl.ioctl(posix.open(readable, os.O_RDONLY), 0x40086602, struct.pack('l', 0x80))",
    "lease": "fcntl.fcntl(posix.open(readable, os.O_RDONLY), 1024, fcntl.F_RDLCK)",
    "watch": "call(libc.inotify_add_watch, libc.inotify_init(), place.encode(), 0xFFF)",
    "environment of another process": "open(f'/proc/{pid}/environ').read()",
    "directory of another process": "posix.readlink(f'/proc/{pid}/cwd')",
}
PROCESSES = {
    "kill": "posix.kill(pid, signal.SIGUSR1)",
    "kill nothing": "posix.kill(pid, 0)",
    "kill the parent": "posix.kill(posix.getppid(), 0)",
    "kill the group": "posix.kill(0, 0)",
    "kill all": "posix.kill(-1, 0)",
    "tgkill": "raw(234, pid, pid, signal.SIGUSR1)",
    "tkill": "raw(200, pid, signal.SIGUSR1)",
    "sigqueue": "call(libc.sigqueue, pid, signal.SIGUSR1, ctypes.c_void_p(0))",
    "rt_tgsigqueueinfo": "raw(297, pid, pid, 10, (ctypes.c_int * 32)(10, 0, -1))",
    "pidfd": "signal.pidfd_send_signal(os.pidfd_open(pid), signal.SIGUSR1)",
    "setpriority": "posix.setpriority(os.PRIO_PROCESS, pid, 19)",
    "affinity": "posix.sched_setaffinity(pid, [0])",
    "scheduler": "posix.sched_setscheduler(pid, os.SCHED_BATCH, os.sched_param(0))",
    "ioprio": "raw(251, 1, pid, 3 << 13)",
    "prlimit": "import resource; resource.prlimit(pid, resource.RLIMIT_CORE, (0, 0))",
    "ptrace": "call(libc.ptrace, 16, pid, 0, 0)",
    "fork": "posix.fork() or os._exit(0)",
    "vfork": "posix.posix_spawn('/bin/true', ['true'], {})",
    "clone": "raw(56, 17, 0, 0, 0, 0) if libc.getpid() else None",
    "SIGIO by ioctl": "fcntl.ioctl(socket.socketpair()[0], 0x8901, struct.pack('i', pid))",
    "SIGIO by SIOCSPGRP": "fcntl.ioctl(socket.socketpair()[0], 0x8902, struct.pack('i', pid))",
    "SIGIO by F_SETOWN": "fcntl.fcntl(posix.pipe()[0], fcntl.F_SETOWN, pid)",
    "SIGIO by F_SETOWN_EX": "fcntl.fcntl(posix.pipe()[0], 15, struct.pack('ii', 1, pid))",
    "F_SETSIG": "fcntl.fcntl(posix.pipe()[0], 10, signal.SIGUSR1)",
    "survive the worker": "call(libc.prctl, 1, 0, 0, 0, 0)",
    "hide from the watcher": "call(libc.prctl, 4, 0, 0, 0, 0)",
}
OTHERS = {
    "datagrams": "socket.socketpair(type=socket.SOCK_DGRAM)[0].sendto(b'x', f'{place}/socket')",
    "bind": "socket.socketpair()[0].bind('\\0hostile')",
    "message with an address": "a, b = socket.socketpair(); a.sendmsg([b'x'])",
    "socket": "socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b'x', f'{place}/socket')",
    "internet": "socket.create_server(('127.0.0.1', 0))",
    "shared memory": "libc.shmat.restype = ctypes.c_long\n"
    "at = libc.shmat(@SHM@, None, 0)\n"
    "if at == -1: raise OSError(ctypes.get_errno(), 'shmat')\n"
    "ctypes.memmove(at, b'hostile', 7)",
    "removed shared memory": "call(libc.shmctl, @SHM@, 0, None)",
    "asynchronous contexts": "raw(206, 1, ctypes.byref(ctypes.c_ulong()))",
    "memory without a path": "os.memfd_create('x')",
    "unshare": "call(libc.unshare, 0x10000000 | 0x00020000)",
}
NOT_EVERYWHERE = {"ptrace", "kill all", "unshare", "openat2", "fchmodat2", "chattr"}
"""Attacks that also fail, or end the attacker, on some machine that confines nothing."""
READING = {"read", "list"}
"""What cannot be refused without Landlock."""
READING_OF_PROCESSES = {"environment of another process", "directory of another process"}
"""The same, where the other process is not in another user namespace, as it is here."""
HONEST = {
    "files": "import os\nos.mkdir('d'); open('d/f', 'w').write('x'); os.rename('d/f', 'g')\n"
    "os.link('g', 'h'); os.symlink('g', 's'); assert open('s').read() == 'x'; os.unlink('h')",
    "temporary file": "import tempfile\n"
    "with tempfile.NamedTemporaryFile() as file: file.write(b'x')",
    "threads": "import threading\nt = threading.Thread(target=print); t.start(); t.join()",
    "asyncio": "import asyncio\nasyncio.run(asyncio.sleep(0))",
    "pair": "import socket\na, b = socket.socketpair(); a.send(b'x'); assert b.recv(1) == b'x'",
    "own signal": "import signal, os\nsignal.signal(10, lambda *a: None); os.kill(os.getpid(), 10)",
    "anonymous mapping": "import mmap\nmmap.mmap(-1, 1 << 20)[5] = 1",
    "the system's files": "open('/usr/bin/env', 'rb').read(1)",
}


class Outside:
    """What an attack may reach: files of this user, a process, shared memory, a socket."""

    def __init__(self, place: Path, process: str = "exec sleep 1000") -> None:
        self.place = place
        for name in ("file", "readable", "other", "third"):
            (place / name).write_text("precious")
            (place / name).chmod(0o600)
        (place / "empty").mkdir()
        os.setxattr(place / "file", "user.had", b"1")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(place / "socket"))
        self.socket.setblocking(False)
        self.process = subprocess.Popen(["sh", "-c", process])
        libc = ctypes.CDLL(None)
        libc.shmat.restype = ctypes.c_void_p
        self.memory = libc.shmget(0, 4096, 0o1600)
        self._address = libc.shmat(self.memory, None, 0)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self.socket.close()
        ctypes.CDLL(None).shmctl(self.memory, 0, None)

    def filled_in(self, attacks: dict[str, str]) -> dict[str, str]:
        texts = {}
        for name, text in attacks.items():
            whole = CALLS + text
            for mark, value in (
                ("@PLACE@", self.place),
                ("@PID@", self.process.pid),
                ("@SHM@", self.memory),
            ):
                whole = whole.replace(mark, str(value))
            texts[name] = whole
        return texts

    def state(self) -> dict[str, Any]:
        """All that must stay as it is."""
        found: dict[str, Any] = {}
        for path in [self.place, *sorted(self.place.iterdir())]:
            status = path.lstat()
            found[path.name] = (status.st_mode, status.st_uid, status.st_mtime_ns, status.st_ctime)
            found[path.name] += (status.st_nlink, status.st_size)
            if path.is_file():
                found[path.name] += (path.read_text(), os.listxattr(path))
        pid = self.process.pid
        found["ended"] = self.process.poll()
        found["nice"] = os.getpriority(os.PRIO_PROCESS, pid)
        found["cores"] = os.sched_getaffinity(pid)
        found["scheduler"] = os.sched_getscheduler(pid)
        found["memory"] = ctypes.string_at(self._address, 8)
        try:
            found["received"] = self.socket.recv(10)
        except BlockingIOError:
            found["received"] = b""
        return found


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Outside]:
    place = tmp_path / "place"
    place.mkdir()
    with contextlib.closing(Outside(place)) as found:
        yield found


def try_attacks(
    outside: Outside, attacks: dict[str, str], version: int | None, scratch: Path
) -> dict[str, str]:
    request = {
        "attacks": outside.filled_in(attacks),
        "readable": [str(outside.place / "readable")],
        "landlock": version,
        "scratch": str(scratch),
    }
    if version is None:
        return run_script([], request)
    return run_without_namespaces(request)


@pytest.mark.slow
@on_x86
@pytest.mark.parametrize("version", [0, 1, 2, 3, 4, 5, 6, 7])
def test_every_attack_is_refused_and_nothing_changes(
    outside: Outside, tmp_path: Path, version: int
) -> None:
    if version > landlock.version():
        pytest.skip(f"this kernel has version {landlock.version()} of Landlock")
    before = outside.state()
    got = try_attacks(outside, FILES | PROCESSES | OTHERS, version, tmp_path)
    came_through = {name for name, said in got.items() if "Error: " not in said}
    if version == 0:
        came_through -= READING_OF_PROCESSES
    assert came_through == (READING if version == 0 else set())
    assert outside.state() == before
    assert not list(tmp_path.glob("jail-*"))


@on_x86
def test_each_attack_works_where_nothing_confines_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    place = tmp_path / "place"
    place.mkdir()
    attacks = FILES | PROCESSES | OTHERS
    attacks = {name: text for name, text in attacks.items() if name not in NOT_EVERYWHERE}
    with contextlib.closing(Outside(place, "trap '' USR1 IO; exec sleep 1000")) as found:
        assert try_attacks(found, attacks, None, tmp_path) == dict.fromkeys(attacks, "")


@pytest.mark.parametrize("version", [2, 7])
def test_what_honest_programs_do_still_works(tmp_path: Path, version: int) -> None:
    if version > landlock.version():
        pytest.skip(f"this kernel has version {landlock.version()} of Landlock")
    request = {"attacks": HONEST, "readable": [], "landlock": version, "scratch": str(tmp_path)}
    assert run_without_namespaces(request) == dict.fromkeys(HONEST, "")


NEST = """
fd = posix.open(".", os.O_RDONLY)
for _ in range(40):
    posix.mkdir("d" * 200, @MODE@, dir_fd=fd)
    inner = posix.open("d" * 200, os.O_PATH, dir_fd=fd)
    posix.close(fd)
    fd = inner
"""
ENDLESS = "while True: pass"
"""After what is too much, so that only the watcher ends the program."""
TOO_MUCH = {
    "memory": "held = bytearray(400 << 20)",
    "bytes": "for i in range(12):\n    open(f'f{i}', 'wb').write(bytes(16 << 20))",
    "files": "for i in range(9000): open(f'e{i}', 'w').close()",
    "directories": "for i in range(9000): posix.mkdir(f'e{i}')",
    "bytes without a name": "kept = []\nfor i in range(12):\n    file = open('f', 'wb')\n"
    "    file.write(bytes(16 << 20)); posix.unlink('f'); kept.append(file)",
    "anonymous files": "kept = []\nfor i in range(12):\n"
    "    kept.append(posix.open('.', os.O_TMPFILE | os.O_RDWR))\n"
    "    posix.write(kept[-1], bytes(16 << 20))",
    "mapped bytes without a name": "import mmap\nkept = []\nfor i in range(12):\n"
    "    file = open('f', 'wb+'); file.write(bytes(16 << 20)); file.flush()\n"
    "    kept.append(mmap.mmap(file.fileno(), 0)); posix.unlink('f'); file.close()",
    "bytes out of sight": "posix.mkdir('d', 0o300)\nfor i in range(12):\n"
    "    open(f'd/f{i}', 'wb').write(bytes(16 << 20))",
    "bytes beside the working directory": "for i in range(12):\n"
    "    open(f'../f{i}', 'wb').write(bytes(16 << 20))",
    "a deep nest": "for i in range(150): posix.mkdir('d'); posix.chdir('d')",
    "threads": "import _thread, time\n_thread.stack_size(1 << 16)\n"
    "for i in range(300): _thread.start_new_thread(time.sleep, (9,))",
}


def judged_without_namespaces(
    programs: dict[str, str], level: str = "weak", command: list[str] | None = None, **limits: Any
) -> dict[str, Any]:
    texts = {name: f"import posix\n{text}" for name, text in programs.items()}
    request = {"programs": texts, "level": level, "limits": {"timeout": 10.0} | limits}
    return run_without_namespaces(request, command)


def test_the_default_level_refuses_and_says_what_would_help() -> None:
    refusal = judged_without_namespaces({"any": ""}, "strongest", AS_ROOT)["refused"]
    assert "too weak on this node, missing: user (off: No space left on device)" in refusal
    assert "user.max_user_namespaces" in refusal  # the setting that is in force there
    assert refusal.endswith("or accept it by --isolation weak")


@pytest.mark.slow
@pytest.mark.parametrize("level", ["weak", "limits-only"])
def test_the_weak_level_has_two_names_and_reports_what_is_on(level: str) -> None:
    got = judged_without_namespaces({"right": "", "wrong": "raise KeyError(1)"}, level)
    assert [outcome for outcome, _ in got["verdicts"].values()] == ["passed", "failed"]
    off = {name for name, state in got["report"].items() if state.startswith("off")}
    assert off == {"user", "mount", "pid", "net", "ipc", "uts"}
    assert got["report"]["landlock"] == f"on, version {landlock.version()}"


@pytest.mark.slow
def test_whatever_is_left_in_the_scratch_directory_is_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    look = "raise KeyError(os.listdir('.'), os.listdir('..'))"
    programs = {
        "nest": NEST.replace("@MODE@", "0o700"),
        "after": look,
        "modes": "for mode in 0, 0o100, 0o200, 0o300: posix.mkdir(f'd{mode}', mode)\n"
        "posix.mkdir('d'); posix.mkdir('d/e', 0)",
        "after modes": look,
        "no working directory": "posix.rmdir('../work'); posix.symlink('/', '../work')",
        "after no working directory": look,
        "names": r"open(b'\xff\n', 'w'); posix.mkdir('-rf'); posix.mkfifo('fifo')",
        "after names": look,
        "beside": "posix.mkdir('../1'); posix.mkdir('../1/tmp'); open('../x', 'w')",
        "after beside": look,
    }
    got = judged_without_namespaces(programs)["verdicts"]
    for name, verdict in got.items():
        after = "failed", "KeyError: ([], ['work'])"
        assert tuple(verdict) == (after if name.startswith("after") else ("passed", "")), name
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_program_that_uses_too_much_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    programs = {name: f"{text}\n{ENDLESS}" for name, text in TOO_MUCH.items()}
    limits = {"tmp_files": 500, "tree_bytes": 300 << 20}
    got = judged_without_namespaces(programs | {"after": ""}, **limits)["verdicts"]
    assert got.pop("after")[0] == "passed"
    for name, (outcome, detail) in got.items():
        # The watcher kills it; on a busy machine whoever waits for the program may see it first.
        assert outcome == "failed", (name, outcome, detail)
        assert "SIGKILL" in detail or "MiB of memory" in detail, (name, outcome, detail)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_program_that_uses_less_is_not() -> None:
    programs = {
        "bytes": "for i in range(3): open(f'f{i}', 'wb').write(bytes(16 << 20))",
        "linked bytes": "open('f', 'wb').write(bytes(16 << 20))\n"
        "for i in range(20): posix.link('f', f'l{i}')",
        "mapped memory": "import mmap\nmmap.mmap(-1, 128 << 20).write(bytes(128 << 20))",
        "files": "for i in range(2000): open(f'e{i}', 'w').close()",
        "threads": "import _thread, time\n"
        "for i in range(40): _thread.start_new_thread(time.sleep, (.3,))",
    }
    looked_at = {name: f"{text}\nimport time; time.sleep(.3)" for name, text in programs.items()}
    got = judged_without_namespaces(looked_at)["verdicts"]
    assert {tuple(verdict) for verdict in got.values()} == {("passed", "")}, got


def test_the_one_user_of_a_namespace_may_have_the_number_of_root() -> None:
    got = judged_without_namespaces({"any": ""}, command=AS_ROOT)
    assert got["verdicts"] == {"any": ["passed", ""]}


def test_children_are_found_where_the_kernel_does_not_list_them() -> None:
    proc = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY)
    watcher = Watcher(None, proc, memory=0, tasks=0, size=0, files=0)
    with subprocess.Popen(["sleep", "60"]) as process:
        found = watcher._children_by_parent(os.getpid())
        assert str(process.pid) in found
        assert sorted(found) == sorted(watcher._children(os.getpid()))
        process.kill()
    os.close(proc)
