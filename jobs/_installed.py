"""Imported first by every job and analysis: says in one line that the package is not installed."""

import importlib.util
import sys

NEEDED = ("toolkit", "polars", "numpy", "scipy")
"""The package, and what it cannot do without."""

if missing := [name for name in NEEDED if importlib.util.find_spec(name) is None]:
    what = "the package" if "toolkit" in missing else f"what the package needs ({missing[0]})"
    sys.exit(
        f"{sys.argv[0]}: {what} is not installed in {sys.executable}: "
        "run `make install` and use .venv/bin/python, or `pip install -e .` in the checkout"
    )
