"""Measure the time of lighteval's LiveCodeBench judge. Runs in lighteval's own environment.

stdin: {"samples": [{"input_output": text}, ...], "programs": [text, ...], "workers": w}, a program
for each sample. stdout: {"seconds": s, "passed": p}.

The module is loaded from its file: the package itself would import torch, which no judge needs.
"""

import importlib.util
import json
import sys
import time
from pathlib import Path

_FILE = "tasks/tasks/lcb/codegen_metrics.py"


def load():
    """lighteval's module with the judge."""
    folder = importlib.util.find_spec("lighteval").submodule_search_locations[0]
    spec = importlib.util.spec_from_file_location("codegen_metrics", Path(folder) / _FILE)
    module = importlib.util.module_from_spec(spec)
    sys.modules["codegen_metrics"] = module
    spec.loader.exec_module(module)
    return module


def main():
    """Measure `codegen_metrics`, with its import and one program before."""
    job = json.load(sys.stdin)
    judge = load().codegen_metrics
    generations = [[program] for program in job["programs"]]
    judge(job["samples"][:1], generations[:1], k_list=[1], num_process_evaluate=job["workers"])
    started = time.perf_counter()
    _, results = judge(job["samples"], generations, k_list=[1], num_process_evaluate=job["workers"])
    seconds = time.perf_counter() - started
    passed = sum(all(r is True or r == 1 for r in found[0]) for found in results.values())
    print(json.dumps({"seconds": seconds, "passed": passed}))


if __name__ == "__main__":
    main()
