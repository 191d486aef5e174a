"""`make bench`: all benchmarks. Results: Markdown tables on stdout, and a JSON file (--out)."""

import argparse
import json
import os
import platform
import time
from pathlib import Path

import adaptive
import alongside
import browse
import calls
import comparing
import coverage
import execution
import inference
import large
import math_answers
import nodes
import planner
import prefixes
import roof
import sampling
import scale
import stdin
import unchanged
import verdict
import weak_tests

BENCHES = {
    "execution": execution.bench,
    "sampling": sampling.bench,
    "nodes": nodes.bench,
    "roof": roof.bench,
    "prefixes": prefixes.bench,
    "sharing": prefixes.sharing,
    "scale": scale.bench,
    "scale16": scale.bench16,
    "large": large.bench,
    "inference": inference.bench,
    "status": unchanged.bench,
    "adaptive": adaptive.bench,
    "alongside": alongside.bench,
    "coverage": coverage.bench,
    "planner": planner.bench,
    "verdict": verdict.bench,
    "math": math_answers.bench,
    "stdin": stdin.bench,
    "weak_tests": weak_tests.bench,
    "comparing": comparing.bench,
    "browse": browse.bench,
    "calls": calls.bench,
}


def main() -> None:
    """Run the benchmarks named on the command line, or all of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"any of {', '.join(BENCHES)} [all]"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("bench.json"), help="JSON file to write [bench.json]"
    )
    flags = parser.parse_args()
    if unknown := set(flags.names) - BENCHES.keys():
        parser.error(f"unknown benchmark {min(unknown)}; valid: {', '.join(BENCHES)}")
    cores = sorted(os.sched_getaffinity(0))[: execution.WORKERS]
    os.sched_setaffinity(0, cores)
    where = f"{time.strftime('%Y-%m-%d')}, {len(cores)} cores, Python {platform.python_version()}"
    print(where, flush=True)
    rows: list[dict[str, object]] = []
    for name in flags.names or BENCHES:
        heading: list[str] = []
        for row in BENCHES[name]():
            rows.append({"benchmark": name} | row)
            if list(row) != heading:
                heading = list(row)
                print(f"\n| {' | '.join(heading)} |\n|{'---|' * len(heading)}")
            print(f"| {' | '.join(map(str, row.values()))} |", flush=True)
    flags.out.write_text(json.dumps({"where": where, "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
