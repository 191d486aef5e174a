"""Directories on a node's own disk that all array tasks of a user share.

They appear complete or not at all. They stay when an array task ends, so that the next one can use
them. A process that makes or removes one holds a lock. Linux releases the lock when the process
dies, for whatever reason.
"""

import contextlib
import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from toolkit.errors import UsageError


def node_folder(name: str, where: str = "") -> Path:
    """The directory `inference-scaling-UID/name` under `where`. It is made if it is missing.

    where: may contain environment variables. If empty: $SLURM_TMPDIR, else $TMPDIR, else /tmp.
    Raises `UsageError` if the directory cannot be made or belongs to another user.
    """
    slurm = os.environ.get("SLURM_TMPDIR", "")
    usual = slurm if Path(slurm or "/none").is_dir() else tempfile.gettempdir()
    own = Path(os.path.expandvars(where) or usual) / f"inference-scaling-{os.getuid()}"
    try:
        own.parent.mkdir(parents=True, exist_ok=True)
        own.mkdir(mode=0o700, exist_ok=True)
        found = own.lstat()
        if found.st_uid != os.getuid() or not stat.S_ISDIR(found.st_mode):
            raise UsageError(
                f"{own}: is not a directory of yours; name another place with --stage-model"
            )
        (own / name).mkdir(exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"{own}: cannot be made ({error.strerror}); name a directory on the node's own disk "
            "with --stage-model"
        ) from None
    return own / name


@contextlib.contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Within this context, no other process changes `folder`. Waits until that is so.

    Removes what a killed process has left unfinished.
    """
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for left in folder.glob(".*.partial"):
            shutil.rmtree(left, ignore_errors=True)
        yield


def publish_folder(target: Path, fill: Callable[[Path], object]) -> None:
    """Make the directory `target`, replacing an old one. `fill` fills it under a temporary name.

    Call it within `alone_in(target.parent)`.
    """
    partial = target.with_name(f".{target.name}.partial")
    try:
        partial.mkdir()
        fill(partial)
        if target.exists():
            shutil.rmtree(target)
        partial.rename(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
