"""What the tasks of a user share on a node's own disk: directories that appear whole or not at all.

They outlive the tasks, and are the next one's to use. Whoever makes or removes one holds the lock;
Linux lets go of it when its process dies, however it does.
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
    """`inference-scaling-UID/name` under `where` (which may name variables), else under
    $SLURM_TMPDIR, $TMPDIR or /tmp; made if it is missing.

    Raises `UsageError` when it cannot be made, or when another user has made it.
    """
    slurm = os.environ.get("SLURM_TMPDIR", "")
    usual = slurm if Path(slurm or "/none").is_dir() else tempfile.gettempdir()
    own = Path(os.path.expandvars(where) or usual) / f"inference-scaling-{os.getuid()}"
    try:
        own.parent.mkdir(parents=True, exist_ok=True)
        own.mkdir(mode=0o700, exist_ok=True)
        found = own.lstat()
        if found.st_uid != os.getuid() or not stat.S_ISDIR(found.st_mode):
            raise UsageError(f"{own}: is not a directory of yours: name another by --stage-model")
        (own / name).mkdir(exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"{own}: cannot be made ({error.strerror}): name a directory of the node's own disk "
            "by --stage-model"
        ) from None
    return own / name


@contextlib.contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """The one process that changes `folder`; waits for another. What a killed one left goes."""
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for left in folder.glob(".*.partial"):
            shutil.rmtree(left, ignore_errors=True)
        yield


def publish_folder(target: Path, fill: Callable[[Path], object]) -> None:
    """Make the directory `target` (anew, if it exists), which `fill` fills before it has that
    name. To be called in `alone_in(target.parent)`.
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
