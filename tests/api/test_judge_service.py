"""The service: a verdict for each line, back-pressure, and every way in which it may end."""

import contextlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import threading

import pytest
from run_here import here
from run_jobs import ROOT, heed_signals

import toolkit
from toolkit.api import service
from toolkit.problems.load import load_problems

FEW = load_problems(limit=6)
ENDLESS = "    while True:\n        pass\n"


def rows():
    """A right program and a wrong one of each problem, with an id."""
    for problem in FEW:
        for right, text in ((True, problem.solution), (False, "    return object\n")):
            yield {"task_id": problem.task_id, "completion": text, "id": [right, problem.task_id]}


def lines(given):
    return "".join(json.dumps(row) + "\n" for row in given).encode()


@pytest.fixture(scope="module")
def judge():
    with toolkit.Judge(FEW, workers=2, timeout=1.0) as found:
        yield found


def served(judge, data, in_flight=100, **settings):
    """The answers to these bytes, and what `serve` says of them."""
    read, write = os.pipe()
    threading.Thread(target=lambda: (os.write(write, data), os.close(write))).start()
    out = io.BytesIO()
    found = service.serve(judge, read, out.write, out.flush, in_flight=in_flight, **settings)
    os.close(read)
    return [json.loads(line) for line in out.getvalue().splitlines()], found


@pytest.mark.parametrize("in_flight", [1, 100])
def test_each_line_has_an_answer_with_its_own_fields(judge, in_flight):
    answers, found = served(judge, lines(rows()), in_flight)
    assert (found.judged, found.refused, found.undecided) == (12, 0, 0)
    assert sorted(a["line"] for a in answers) == list(range(1, 13))
    for answer in answers:
        right, task_id = answer["id"]
        assert answer["passed"] is right
        assert answer["task_id"] == task_id
        assert set(answer) == {
            *("task_id", "id", "line", "passed", "outcome", "kind", "detail", "suspect"),
            *("seconds", "canonical"),
        }


def test_answers_come_as_they_are_reached_or_in_order(judge):
    slow = {"task_id": FEW[0].task_id, "completion": ENDLESS, "id": [False, "slow"]}
    answers, _ = served(judge, lines([slow, *rows()]))
    assert answers[-1]["line"] == 1
    assert answers[-1]["outcome"] == "timed_out"
    ordered, _ = served(judge, lines(list(rows()) * 4), ordered=True)
    assert [a["line"] for a in ordered] == list(range(1, 49))


def test_a_line_that_cannot_be_judged_is_answered_with_its_number(judge, monkeypatch):
    monkeypatch.setattr(service, "MOST_LINE_BYTES", 1 << 18)
    good = lines([next(rows())])
    data = b"".join(
        [
            *(good, b"{bad\n", b"\n", b"[1]\n", b"\xff\n", b"[" * 100_000 + b"\n"),
            lines([{"task_id": "x", "completion": "", "id": 7}, {"task_id": FEW[0].task_id}]),
            lines([{"completion": "x"}, {"task_id": FEW[0].task_id, "completion": "\ud800"}]),
            b'"' + b"x" * (1 << 18) + b'"\n',
            good.rstrip(b"\n"),
        ]
    )
    answers, found = served(judge, data)
    assert (found.judged, found.refused) == (2, 9)
    wrong = {a["line"]: a["error"] for a in answers if "error" in a}
    assert found.first == f"line 2: {wrong[2]}"
    for line, says in {
        2: "not JSON: ",
        4: "not a JSON object",
        5: "not JSON: ",
        6: "not JSON: ",
        7: "'x' is not one of the 6 problems",
        8: "field 'completion' is missing",
        9: "field 'task_id' is missing",
        10: "half of a surrogate pair",
        11: "longer than 0 MiB",
    }.items():
        assert says in wrong[line], line
    assert next(a for a in answers if a["line"] == 7)["id"] == 7
    assert {a["line"] for a in answers if a.get("passed")} == {1, 12}


def test_who_reads_no_verdicts_is_read_no_more_lines(judge):
    """At most `in_flight` lines are taken beyond those whose answers were written."""
    taken, may_write = [], threading.Event()
    submit = judge.submit

    class Counting:
        def submit(self, **fields):
            taken.append(fields)
            return submit(**fields)

    def write(line):
        may_write.wait(60)
        return len(line)

    read, end = os.pipe()
    os.write(end, lines(list(rows()) * 4))
    os.close(end)
    found = []
    thread = threading.Thread(
        target=lambda: found.append(
            service.serve(Counting(), read, write, lambda: None, in_flight=5)
        )
    )
    thread.start()
    thread.join(1.0)
    assert thread.is_alive()
    assert len(taken) == 5
    may_write.set()
    thread.join(60)
    assert found[0].judged == len(taken) == 48
    os.close(read)


def test_the_error_of_a_source_is_raised(judge):
    folder = os.open("/", os.O_RDONLY)
    with pytest.raises(IsADirectoryError):
        service.serve(judge, folder, io.BytesIO().write, lambda: None, in_flight=1)
    os.close(folder)


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (("--problems", "none.jsonl"), "none.jsonl"),
        (("--run", "nowhere"), "no run here"),
        (("--run", "a", "--task", "gsm8k"), "--run: its own problems are judged"),
        (("--in-flight", "0"), "--in-flight 0: must be 1 or more"),
    ],
)
def test_flags_that_cannot_be_are_refused(flags, says):
    done = here("judge", *flags)
    assert (done.code, done.out, len(done.errors)) == (2, "", 1)
    assert says in done.errors[0]


@pytest.fixture
def started():
    """The job as a process, with pipes; killed at the end."""
    process = subprocess.Popen(
        [sys.executable, ROOT / "jobs" / "judge.py", "--workers", "1"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=heed_signals,
    )
    process.stdin.write(lines([next(rows())]))
    process.stdin.flush()
    assert json.loads(process.stdout.readline())["passed"]
    yield process
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout, process.stderr):
        with contextlib.suppress(BrokenPipeError):
            pipe.close()


@pytest.mark.slow
def test_it_answers_at_once_and_ends_with_its_input(started):
    started.stdin.write(b"{\n")
    out, err = started.communicate(timeout=60)
    assert json.loads(out)["line"] == 2
    assert started.returncode == 1
    assert err.decode().startswith("judge.py: lines that cannot be judged: 1; the first: line 2: ")
    assert err.count(b"\n") == 1


@pytest.mark.slow
def test_an_interrupt_is_one_line(started):
    started.send_signal(signal.SIGINT)
    assert started.wait(60) == 1
    said = started.stderr.read().decode()
    assert said == ("judge.py: interrupted after 1 line: send the lines without an answer again\n")


@pytest.mark.slow
def test_it_ends_quietly_when_nobody_reads(started):
    started.stdout.close()
    started.stdin.write(lines(rows()))
    started.stdin.flush()
    assert started.wait(60) == 1
    assert started.stderr.read() == b""


@pytest.mark.slow
def test_the_page_shows_the_example_and_it_finds_an_expression():
    script = ROOT / "analysis" / "search.py"
    page = (ROOT / "docs" / "judge-service.md").read_text()
    (shown,) = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert script.read_text().endswith(shown)
    assert shown.count("\n") <= 45
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"\((x \+ y|y \+ x)\) passes; .*: \d+\n", done.stdout)
