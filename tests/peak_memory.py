"""Judge mathematical answers in a fresh process, and say how much memory the largest child took.

Standard input: JSON {rows: [[gold, answer], ...], workers, timeout}. Standard output: JSON
{verdicts: [[outcome, canonical], ...], peak_bytes}.
"""

import json
import resource
import sys

from graded import judge_all

from toolkit.verifiers.math_answer import MathAnswer

if __name__ == "__main__":
    given = json.load(sys.stdin)
    verdicts = judge_all(
        MathAnswer,
        "math",
        [(gold, answer) for gold, answer in given["rows"]],
        "whole",
        workers=given["workers"],
        timeout=given["timeout"],
    )
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    found = [[v.outcome, v.canonical] for v in verdicts if v]
    print(json.dumps({"verdicts": found, "peak_bytes": peak}))
