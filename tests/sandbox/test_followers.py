"""Errands that follow upon another in its child: what is saved, and what no program gains by it."""

import ast
import json
import time
from collections.abc import Iterator

import pytest
from marks_in_memory import MARKS

from toolkit.sandbox import errand_worker, protocol
from toolkit.sandbox.runner import Errand, Result, Runner

TOLD = "import glob, os, socket, stat\nends = [n for n in range(3, 64) if os.path.exists(f'/proc/self/fd/{n}') and stat.S_ISSOCK(os.fstat(n).st_mode)]\n"
"""Finds the socket over which a child tells that it waits."""
WHO = "import os\nprint(os.getpid(), input())"


@pytest.fixture(scope="module")
def runner() -> Iterator[Runner]:
    with Runner("toolkit.sandbox.main_program:run", workers=1) as ready:
        yield ready


def first(program: str, given: str = "0", timeout: float = 5.0) -> Errand:
    payload = json.dumps({"program": program}).encode()
    return Errand("first", payload, timeout, given.encode(), more=True)


def following(
    program: str, *inputs: str, timeout: float = 5.0, more: bool = True, key: object = "next"
) -> Errand:
    payload = json.dumps({"program": program, "inputs": inputs}).encode()
    return Errand(key, payload, timeout, more=more, follows=True)


def chain(runner: Runner, *errands: Errand, pause: float = 0.0) -> list[Result]:
    """The results of errands each of which follows upon the one before."""
    left, results = list(errands[1:]), []

    def then(result: Result) -> Errand | None:
        results.append(result)
        time.sleep(pause)
        return left.pop(0) if left else None

    list(runner.run([errands[0]], then))
    return results


def said(result: Result) -> list[list[str]]:
    """The words of each output."""
    assert result.end == "done", result
    outputs = [result.output] if result.key == "first" else protocol.parts(result.output)
    return [output.decode().split() for output in outputs]


def processes(runner: Runner, *errands: Errand) -> set[str]:
    """The processes that do these errands, each with the program WHO.

    Tried a few times: on a crowded machine a child may have waited too short.
    """
    found: set[str] = set()
    for _ in range(20):
        words = [words for result in chain(runner, *errands) for words in said(result)]
        assert [given for _, given in words] == [str(n) for n in range(len(words))]
        found = {pid for pid, _ in words}
        if len(found) == 1:
            break
    return found


def test_a_quick_child_does_what_follows(runner: Runner) -> None:
    more = [following(WHO, "1", "2"), following(WHO, "3"), following(WHO, "4", "5", "6")]
    assert len(processes(runner, first(WHO), *more)) == 1


def test_another_program_may_follow(runner: Runner) -> None:
    results = chain(runner, first(WHO), following("print(input() * 2)", "ab"))
    assert said(results[1]) == [["abab"]]


@pytest.mark.parametrize(
    "case", ["it was slow", "its program ends its process", "it is late", "too long a payload"]
)
def test_where_no_child_waits_a_fresh_one_does_it(runner: Runner, case: str) -> None:
    program = {
        "it was slow": f"{WHO}\nimport time\ntime.sleep({2 * errand_worker._MOST_SECONDS})",
        "its program ends its process": f"{WHO}\nimport sys\nsys.stdout.flush()\nos._exit(0)",
    }.get(case, WHO)
    pause = 20 * errand_worker._WAIT_SECONDS if case == "it is late" else 0.0
    more = f"{WHO}\n{'#' * 400_000 if case == 'too long a payload' else ''}"
    results = chain(runner, first(program), following(more, "1"), pause=pause)
    (((one, _),), ((other, given),)) = map(said, results)
    assert given == "1"
    assert one != other


def test_each_execution_finds_the_same_random_numbers(runner: Runner) -> None:
    program = "import random\nprint(random.random(), random.gauss(0, 1))"
    results = chain(runner, first(program), following(program, "", "", ""))
    assert len({tuple(words) for result in results for words in said(result)}) == 1


def test_a_fresh_child_finds_nothing_of_one_that_waits(
    runner: Runner,
) -> None:
    leave = (
        "import os, threading, time\nopen('/tmp/left', 'w').write('x'); open('left', 'w')\n"
        "threading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n"
        "if os.fork() == 0:\n    os.setsid()\n    time.sleep(60)\nprint(input(), os.getpid())"
    )
    look = (
        "import os\nprint([os.listdir('.'), os.path.exists('/tmp/left'), "
        "[int(p) for p in os.listdir('/proc') if p.isdigit()], os.getpid()])"
    )
    results = chain(runner, first(leave), first(look))
    here, left, processes, itself = ast.literal_eval(results[1].output.decode())
    assert said(results[0])[0][1] != str(itself)
    assert (here, left, sorted(processes)) == ([], False, [1, itself])


def test_no_data_of_errands_stay_in_the_worker(runner: Runner) -> None:
    """A child is a copy of it: the look is at all memory of a fresh one."""
    program = "x = input()\nprint(x.replace('zz1', 'zz2'))\n# zz300000"
    look = MARKS + "print(sorted(found))"
    results = chain(
        runner,
        first(program, "zz100001"),
        following(program, *(f"zz1{i:05}" for i in range(2, 9))),
        first(look, timeout=20.0),
    )
    assert said(results[1])[0] == ["zz200002"]
    assert results[2].output == b"[]\n"


FORGERS = {
    "and goes on": "os.write(1, b'7')\nos.write(ends[0], {waits!r})\nwhile True: pass",
    "and says more": "os.write(1, b'7')\nos.write(ends[0], {waits!r})\nimport time\ntime.sleep(0.3)\nprint('more')",
    "again and again": "os.write(1, b'7')\nos.write(ends[0], {waits!r} * 100)\nprint('more')",
    "and sends a descriptor": "os.write(1, b'7')\nsocket.send_fds(socket.socket(fileno=ends[0]), [{waits!r}], [1])\nwhile True: pass",
    "and reads what comes": "os.write(1, b'7')\nos.write(ends[0], {waits!r})\nos.read(ends[0], 1 << 20)\nos.read(ends[0], 1)",
    "from another process": "os.write(1, b'7')\nif os.fork() == 0: os.write(ends[0], {waits!r})\nelse:\n    while True: pass",
}


@pytest.mark.parametrize("how", FORGERS)
def test_who_only_says_that_it_waits_gains_nothing(runner: Runner, how: str) -> None:
    """What it has written by then is its output, and it is gone before the next errand."""
    forger = TOLD + FORGERS[how].format(waits=protocol.WAITS)
    honest = first("import os\nprint([int(p) for p in os.listdir('/proc') if p.isdigit()])")
    results = chain(
        runner, first(forger, timeout=1.0), following(WHO, "1", "2", timeout=1.0), honest
    )
    assert results[0].output[:1] == b"7"
    assert results[0].seconds < 1.0
    # It may do what follows, badly or as anybody would: its outputs are compared elsewhere.
    assert results[1].end in ("done", "failed", "timed_out")
    assert len(ast.literal_eval(results[2].output.decode())) == 2


def test_where_nothing_may_follow_nobody_is_believed_to_wait(runner: Runner) -> None:
    forger = TOLD + FORGERS["and says more"].format(waits=protocol.WAITS)
    alone = Errand("alone", json.dumps({"program": forger}).encode(), 5.0)
    (result,) = runner.run([alone])
    assert (result.end, result.output) == ("done", b"7more\n")


def test_noise_on_the_socket_does_not_hide_that_a_child_waits(runner: Runner) -> None:
    noisy = f"{TOLD}{WHO}\nos.write(ends[0], b'noise' * 1000)"
    assert len(processes(runner, first(noisy), following(WHO, "1"))) == 1


def test_what_follows_has_a_clock_of_its_own(runner: Runner) -> None:
    program = "import time\nn = int(input())\nwhile n: pass\nprint(n)"
    results = chain(runner, first(program, timeout=0.4), following(program, "0", "1", timeout=0.4))
    assert [r.end for r in results] == ["done", "timed_out"]
    assert results[0].seconds < 0.4 <= results[1].seconds
    assert not results[1].output


SABOTEURS = {
    "its own socket": "{told}for n in ends: os.close(n)",
    "every descriptor": "import os\nos.closerange(0, 64)",
    "the standard library": "import os, json, socket\nos.dup = json.loads = socket.socket = socket.SOCK_STREAM = None",
    "the recursion limit": "import sys\nsys.setrecursionlimit(40)",
    "a timer": "import signal\nsignal.setitimer(signal.ITIMER_REAL, 0.02)",
    "an audit hook": "import sys\ndef no(name, _):\n    if name == 'compile' or name == 'exec': raise ValueError\nsys.addaudithook(no)",
    "its own end": "import threading, os, time\ndef end():\n    time.sleep(0.02)\n    os._exit(3)\nthreading.Thread(target=end, daemon=True).start()",
    "a killer": "import os, time\np = os.getpid()\nif os.fork() == 0:\n    while not os.path.exists('again'): time.sleep(0.001)\n    os.kill(p, 9)",
    "all processes": "import os, time\ntry:\n    while os.fork(): pass\n    time.sleep(60)\nexcept OSError: pass",
    "a full disk": "try:\n    for n in range(9): open(str(n), 'wb').write(bytes(30 << 20))\nexcept OSError: pass",
}


@pytest.mark.slow
@pytest.mark.parametrize("what", SABOTEURS)
def test_who_harms_its_process_harms_no_other_errand(runner: Runner, what: str) -> None:
    again = "import os, time\nopen('again', 'w')\ntime.sleep(0.1)\nprint(os.getpid(), input())"
    results = chain(
        runner,
        first(SABOTEURS[what].format(told=TOLD)),
        following(again, "1", timeout=1.0),
        first(again, "2"),
    )
    assert results[0].end == "done"
    assert said(results[2])[0][1] == "2"
