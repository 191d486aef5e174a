"""Keep what an engine compiles at its start for later engines on the same node.

Each engine writes into a cache directory of its own. Two engines that start at the same time would
damage a shared one, because vLLM rewrites its index of compiled graphs in place. So an engine
starts with a copy of a complete cache. The first engine of a kind, once it is up, leaves such a
copy. A kept copy is never changed.

vLLM finds each compiled graph by a digest of code, versions and configuration, under a path
relative to the cache. So a copy is used only for what it was compiled for.
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
"""How many caches a node keeps for a user, one for each kind of engine: those used last."""


class CompileCache:
    """The kept cache of one kind of engine. `kind`: all that tells engines apart, as JSON values.

    No method raises. If the node has no room, or a cache is damaged, the engine compiles again.
    """

    def __init__(self, *kind: object, where: str = "") -> None:
        self._name = hashlib.sha256(json.dumps(kind).encode()).hexdigest()[:16]
        self._where = where

    def copy_to(self, own: Path) -> bool:
        """Copy the kept cache to `own`, which must not exist yet. True if there was one."""
        try:
            folder = node_folder("compiled", self._where)
            with alone_in(folder):
                if own.exists() or not (folder / self._name).is_dir():
                    return False
                shutil.copytree(folder / self._name, own)
                os.utime(folder / self._name)
        except (OSError, ToolkitError) as error:
            shutil.rmtree(own, ignore_errors=True)
            log.warning("the cache of compiled code cannot be copied, compiling again: %s", error)
            return False
        return True

    def keep(self, own: Path) -> None:
        """Keep a copy of `own` for later engines, unless one of this kind is kept already."""
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
            log.warning("the compiled code of this engine cannot be kept: %s", error)
