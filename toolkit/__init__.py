"""Inference scaling on Slurm: sample a model many times, judge the answers, fit fail@k.

In a notebook: `from toolkit import open_run, count_outcomes`. A public name is loaded when it is
first used. So importing the package costs almost nothing.
"""

import importlib

__version__ = "0.2.0.dev0"

_PUBLIC = {
    "Executor": "toolkit.sandbox.executor",
    "count_outcomes": "toolkit.runs.outcomes",
    "fail_at_k": "toolkit.stats.passk",
    "judge_of_run": "toolkit.verifiers.judges",
    "load_problems": "toolkit.problems.load",
    "open_run": "toolkit.runs.run",
    "pass_at_k": "toolkit.stats.passk",
    "sample_outcomes": "toolkit.runs.outcomes",
}

__all__ = sorted([*_PUBLIC, "__version__"])


def __getattr__(name: str) -> object:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return list(__all__)
