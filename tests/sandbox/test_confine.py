"""Full isolation as programs see it, and what is said where it cannot be had."""

import os
import platform
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from without_namespaces import run_script

from toolkit.problems.humaneval import python_problem
from toolkit.records import Answer, Verdict, answer_digest
from toolkit.sandbox import confine, namespaces, remedies
from toolkit.sandbox.confine import MECHANISMS, ON, MechanismFailed
from toolkit.sandbox.executor import Executor
from toolkit.sandbox.usage import LEAST_SHARE, _of_control_groups, memory_share, usage
from toolkit.verifiers.python_tests import endings

PROBLEM = python_problem("t/0", "", "def check(candidate):\n    assert candidate() == 1\n", "f")


@pytest.fixture(scope="module")
def engine() -> Iterator[Executor]:
    with Executor(endings([PROBLEM]), workers=1) as executor:
        yield executor


def one(executor: Executor, body: str) -> Verdict:
    """The verdict of a function with this body, which has to return 1."""
    lines = ["import os", *body.splitlines()]
    text = "def f():\n" + "".join(f"    {line}\n" for line in lines)
    (verdict,) = executor.run([Answer("t/0", answer_digest(text), text)])
    return verdict


SERVER_AND_CLIENT = """
import socket, threading
server = socket.socket()
server.bind(("127.0.0.1", 8123))
server.listen()
def serve():
    connection, _ = server.accept()
    connection.sendall(b"x")
    connection.close()
thread = threading.Thread(target=serve)
thread.start()
with socket.create_connection(("127.0.0.1", 8123)) as client:
    got = client.recv(1)
thread.join()
return len(got)
"""


def test_a_server_and_a_client_meet_on_the_loopback_interface(engine: Executor) -> None:
    # Again and again: no program finds the port that another one used in any other state.
    for _ in range(5):
        verdict = one(engine, SERVER_AND_CLIENT)
        assert (verdict.outcome, verdict.detail) == ("passed", "")


@pytest.mark.parametrize("family", ["AF_INET", "AF_INET6"])
def test_no_other_address_is_reached(engine: Executor, family: str) -> None:
    addresses = {"AF_INET": ["192.0.2.1", "8.8.8.8"], "AF_INET6": ["2001:db8::1"]}[family]
    visitors = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=lambda: visitors.append(server.accept()), daemon=True)
        thread.start()
        port = server.getsockname()[1]
        places = [(address, 53) for address in addresses] + [("127.0.0.1", port)]
        body = (
            f"import socket\nfor place in {places}:\n"
            "    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM)[:1 + (place[1] == 53)]:\n"
            f"        try: socket.socket(socket.{family}, kind).connect(place); return 2\n"
            "        except OSError: pass\n"
            "return 1"
        )
        verdict = one(engine, body)
        assert (verdict.outcome, visitors) == ("passed", [])


def test_the_interpreter_exists_and_cannot_be_changed(engine: Executor) -> None:
    body = (
        "import sys\nassert os.path.exists(sys.executable) and os.access(sys.executable, os.X_OK)\n"
        "assert sys.executable == {!r}\n"
        "try: open(sys.executable, 'ab')\nexcept OSError: return 1"
    )
    verdict = one(engine, body.format(sys.executable))
    assert (verdict.outcome, verdict.detail) == ("passed", "")


def test_no_program_executes_a_file_that_it_wrote(engine: Executor) -> None:
    body = (
        "import posix\ndata = open('/bin/true', 'rb').read()\n"
        "open('mine', 'wb').write(data)\nposix.chmod('mine', 0o755)\nposix.execv('mine', ['mine'])"
    )
    verdict = one(engine, body)
    assert "Permission denied" in verdict.detail


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the number is x86-64's")
@pytest.mark.parametrize("flag", [0x10000000, 0x20000, 0x20000000])
def test_clone_makes_no_namespace(engine: Executor, flag: int) -> None:
    body = (
        "import ctypes\nlibc = ctypes.CDLL(None, use_errno=True)\n"
        f"child = libc.syscall(56, ctypes.c_long({flag | 17}), 0, 0, 0, 0)\n"
        "if child == 0: os._exit(0)\n"
        "return 1 if (child, ctypes.get_errno()) == (-1, 1) else 2"
    )
    assert one(engine, body).outcome == "passed"


def test_the_root_of_a_container_without_other_users_is_nobody() -> None:
    if subprocess.run(["unshare", "-U", "--map-root-user", "true"], check=False).returncode:
        pytest.skip("no user namespace can be made here")
    who = "import posix\nassert posix.getuid() == posix.getgid() == 65534"
    request = {"programs": {"who": who}, "level": "strongest"}
    got = run_script(["unshare", "-U", "--map-root-user"], request)
    assert got["verdicts"] == {"who": ["passed", ""]}


def test_root_runs_no_program_without_an_own_file_tree_unless_as_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    disabled = {"mount": "refused", "user": "refused"}
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(namespaces, "can_become_nobody", lambda: False)
    for root_of_others, landlock in ((True, True), (False, False)):
        monkeypatch.setattr(namespaces, "is_root_of_others", lambda r=root_of_others: r)
        monkeypatch.setattr("toolkit.sandbox.linux.capabilities", lambda: 0)
        more = {} if landlock else {"landlock": "not there"}
        with pytest.raises(MechanismFailed, match=r"root: .*\(refused\).* run as root"):
            confine._leave_root(disabled | more, [])
    confine._leave_root(disabled, [])  # the one user of its namespace, held by Landlock


@pytest.mark.parametrize("missing", ["user", "mount", "pid", "net", "no_new_privs", "seccomp"])
def test_without_one_of_these_isolation_is_not_enough(missing: str) -> None:
    report = dict.fromkeys(MECHANISMS, ON) | {missing: "off: not here"}
    assert f"missing: {missing} (off: not here); " in (confine.below_minimum(report) or "")
    assert confine.below_minimum(dict.fromkeys(MECHANISMS, ON)) is None


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("kernel/apparmor_restrict_unprivileged_userns", "1", "AppArmor profile"),
        ("kernel/unprivileged_userns_clone", "0", "kernel.unprivileged_userns_clone=1"),
        ("user/max_user_namespaces", "0", "user.max_user_namespaces="),
    ],
)
def test_the_setting_that_refuses_user_namespaces_is_named(
    tmp_path: Path, name: str, value: str, said: str
) -> None:
    file = tmp_path / name
    file.parent.mkdir()
    file.write_text(f"{value}\n")
    (remedy,) = remedies.found_in(tmp_path)
    assert said in remedy
    assert remedies.text(tmp_path) == f"as root: {remedy}"
    file.write_text({"1": "0", "0": "1"}[value])
    assert remedies.found_in(tmp_path) == []
    assert "no setting of this kernel" in remedies.text(tmp_path)


def test_usage_counts_the_memory_and_the_threads_of_processes() -> None:
    script = (
        "import threading, time; held = bytearray(64 << 20)\n"
        "for _ in range(3): threading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n"
        "print(flush=True); time.sleep(60)"
    )
    proc = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY)
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        both = usage(proc, [str(process.pid), str(os.getpid()), "0"])
        mine = usage(proc, [str(os.getpid())])
        process.kill()
    os.close(proc)
    assert both.tasks - mine.tasks == 4
    assert 64 << 20 < both.memory_bytes - mine.memory_bytes < 128 << 20


def test_a_share_of_the_memory_follows_slurm_and_the_control_groups(tmp_path: Path) -> None:
    whole = memory_share(1, {})
    assert LEAST_SHARE <= memory_share(2, {}) <= whole
    slurm = {"SLURM_MEM_PER_NODE": "2000"}
    assert memory_share(2, slurm) == int((2000 << 20) * 0.9) // 2
    slurm = {"SLURM_MEM_PER_CPU": "500", "SLURM_CPUS_ON_NODE": "4"}
    assert memory_share(2, slurm) == int((2000 << 20) * 0.9) // 2
    assert memory_share(1000, slurm) == LEAST_SHARE


@pytest.mark.parametrize("version", [1, 2])
def test_a_control_group_leaves_its_limit_but_not_what_it_holds(
    tmp_path: Path, version: int
) -> None:
    table = tmp_path / "table"
    if version == 2:
        table.write_text("0::/job/step\n")
        names, cache, top = ("memory.max", "memory.current"), "file", tmp_path
    else:
        table.write_text("3:cpu:/\n4:memory:/job/step\n")
        names, cache = ("memory.limit_in_bytes", "memory.usage_in_bytes"), "total_cache"
        top = tmp_path / "memory"
    step = top / "job/step"
    step.mkdir(parents=True)
    for folder, values in ((step, ("max", "400")), (step.parent, ("1000", "700"))):
        for name, value in zip(names, values, strict=True):
            (folder / name).write_text(f"{value}\n")
    (step.parent / "memory.stat").write_text(f"anon 600\n{cache} 100\n")
    assert _of_control_groups(table, tmp_path) == [400]
