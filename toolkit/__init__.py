"""Inference scaling on Slurm: sample a model many times, judge the answers, fit fail@k.

In a notebook: `import toolkit`, then `toolkit.open_run("runs/latest").counts()`. docs/api.md has
all public names. Each is loaded when it is first used, so importing the package costs almost
nothing. Their types stand in `__init__.pyi`.
"""

import importlib

__version__ = "0.2.0.dev0"

_PUBLIC = {
    "Executor": "toolkit.sandbox.executor",
    "Judge": "toolkit.api.judging",
    "count_outcomes": "toolkit.runs.outcomes",
    "fail_at_k": "toolkit.stats.passk",
    "fit": "toolkit.api.fits",
    "forecast": "toolkit.api.fits",
    "judge": "toolkit.api.judging",
    "judge_of_run": "toolkit.verifiers.judges",
    "load_problems": "toolkit.problems.load",
    "open_run": "toolkit.api.run",
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
