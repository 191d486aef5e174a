"""Imported first by every job: says in one line that the package is not installed."""

import importlib.util
import sys

if importlib.util.find_spec("toolkit") is None:
    sys.exit(
        f"{sys.argv[0]}: the package is not installed in {sys.executable}: "
        "run `make install` and use .venv/bin/python, or `pip install -e .` in the checkout"
    )
