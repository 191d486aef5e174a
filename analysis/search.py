"""A search with `jobs/judge.py` as its judge: random expressions until one passes all tests.

python analysis/search.py

docs/judge-service.md explains it.
"""

import json
import random
import subprocess
import sys
from pathlib import Path

TASK = "HumanEval/53"  # def add(x: int, y: int)
JUDGE = [sys.executable, str(Path(__file__).parents[1] / "jobs" / "judge.py")]
# with an installed package: JUDGE = ["inference-scaling", "judge"]
AT_ONCE = 8


def expression(depth: int) -> str:
    """A random expression in x, y and small numbers."""
    if depth == 0:
        return random.choice(["x", "y", "1", "2"])
    operator = random.choice(["+", "-", "*", "//", "**"])
    return f"({expression(depth - 1)} {operator} {expression(random.randrange(depth))})"


def candidate() -> str:
    """A line for the judge. Fields that it does not know come back with the verdict."""
    text = expression(random.choice([1, 1, 2]))
    row = {"task_id": TASK, "completion": f"    return {text}\n", "expression": text}
    return json.dumps(row) + "\n"


random.seed(0)
pipe = subprocess.PIPE
with subprocess.Popen(JUDGE, stdin=pipe, stdout=pipe, text=True, bufsize=1) as judge:
    judge.stdin.writelines(candidate() for _ in range(AT_ONCE))
    for count, line in enumerate(judge.stdout, start=1):
        verdict = json.loads(line)
        if verdict.get("passed"):
            print(f"{verdict['expression']} passes; candidates judged until then: {count}")
            judge.terminate()
            break
        judge.stdin.write(candidate())  # each verdict makes room for another candidate
