"""What an engine compiles at its start, handed on from task to task of a node.

An engine writes into a cache directory of its own: two that start at once would spoil a shared one
(vLLM rewrites its index of compiled graphs in place). So each begins with a copy of a whole cache,
and the first of a kind, once it is up, leaves a copy of its own. A kept one is never changed. vLLM
looks each graph up by a digest of code, versions and configuration, in paths relative to the
cache: a copy holds for what it was compiled for, and for nothing else.
"""

import hashlib
import json
import logging
import os
import shutil
from pathlib import Path

from toolkit.errors import ToolkitError
from toolkit.models.node_disk import alone_in, node_folder, publish_folder

log = logging.getLogger(__name__)

KEPT = 4
"""Kinds of engines of a user whose caches a node keeps: the ones used last."""


class CompileCache:
    """The kept cache of one kind of engine; `kind` is whatever tells engines apart, as JSON.

    A node without room, or a broken cache, costs the time to compile and nothing else: no method
    raises.
    """

    def __init__(self, *kind: object, where: str = "") -> None:
        self._name = hashlib.sha256(json.dumps(kind).encode()).hexdigest()[:16]
        self._where = where

    def copy_to(self, own: Path) -> bool:
        """Fill the directory `own`, which is not there yet; whether there was a cache to copy."""
        try:
            folder = node_folder("compiled", self._where)
            with alone_in(folder):
                if own.exists() or not (folder / self._name).is_dir():
                    return False
                shutil.copytree(folder / self._name, own)
                os.utime(folder / self._name)
        except (OSError, ToolkitError) as error:
            shutil.rmtree(own, ignore_errors=True)
            log.warning("compiled before, but not to be had: %s", error)
            return False
        return True

    def keep(self, own: Path) -> None:
        """Keep a copy of `own` for other tasks, unless one of its kind is kept already."""
        try:
            folder = node_folder("compiled", self._where)
            with alone_in(folder):
                if (folder / self._name).is_dir() or not own.is_dir():
                    return
                publish_folder(
                    folder / self._name,
                    lambda new: shutil.copytree(own, new, dirs_exist_ok=True),
                )
                os.utime(folder / self._name)
                kept = sorted(folder.glob("[!.]*"), key=lambda p: p.stat().st_mtime)
                for old in kept[:-KEPT]:
                    shutil.rmtree(old, ignore_errors=True)
        except (OSError, ToolkitError) as error:
            log.warning("what this engine compiled is not kept: %s", error)
