"""Write files that appear complete or not at all, even when two processes write or one dies.

What cannot be written is a `WriteFailure`: one line, with the system's reason and a remedy. No
temporary file stays behind, and the old file stays as it was.
"""

import contextlib
import ctypes
import errno
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from toolkit.errors import WriteFailure

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""The disk is full, a quota is used up, or a file may not be so large."""
NO_RIGHT = (errno.EACCES, errno.EPERM, errno.EROFS)
NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS)
"""What file systems without hard links, or without symbolic ones, answer."""
NO_SYNC_OF_DIRECTORIES = (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS, errno.EBADF)
RENAME_NOREPLACE = 1
AT_FDCWD = -100


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn an `OSError` in this context into the `WriteFailure` that names `path`."""
    try:
        yield
    except OSError as error:
        raise write_failure(path, error) from None


def write_failure(path: Path | str, error: OSError) -> WriteFailure:
    """The system's reason why `path` cannot be written, and what to do about it, in one line."""
    mend = "mend that"
    if error.errno in NO_ROOM:
        mend = "make room or have the limit raised"
    elif error.errno in NO_RIGHT:
        mend = "mend the permissions"
    reason = error.strerror or str(error)
    return WriteFailure(
        f"{path}: cannot be written: {reason}; {mend}, then run the same command again"
    )


@contextlib.contextmanager
def replacing(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """Yield a temporary name beside `path`. Success renames it to `path`, failure removes it.

    The content is on disk before the rename, and the rename before the end. So a crash leaves the
    old file, or the new one. If the directory of `path` is missing, it is made.

    durable: False for a cache whose reader notices damage. Nothing is forced to the disk then, and
    a crash of the machine may leave a part of the file.

    Raises `WriteFailure`, also for an `OSError` of what writes the temporary file.
    """
    with writing(path), _temporary(path) as temporary:
        yield temporary
        if durable:
            _sync_file(temporary)
        temporary.replace(path)
        if durable:
            sync_directory(path.parent)


def replace_file(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Write `data` to `path`, whole or not at all. durable: see `replacing`.

    Raises `WriteFailure`.
    """
    with replacing(path, durable=durable) as temporary:
        temporary.write_bytes(data)


def publish_once(path: Path, data: bytes) -> bool:
    """Create `path` with `data`. If it exists already, change nothing and return False.

    Raises `WriteFailure`.
    """
    with writing(path), _temporary(path) as temporary:
        temporary.write_bytes(data)
        _sync_file(temporary)
        if not _link_once(temporary, path):
            return False
        sync_directory(path.parent)
    return True


def make_directory(path: Path) -> None:
    """Make a directory and those above it, unless they exist. Raises `WriteFailure`."""
    with writing(path):
        path.mkdir(parents=True, exist_ok=True)


def sync_directory(folder: Path) -> None:
    """Bring a directory's entries to the disk: a rename in it then survives a power failure.

    Some file systems and permissions do not allow that for directories. That is no error.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except PermissionError:
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in NO_SYNC_OF_DIRECTORIES:
            raise
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _temporary(path: Path) -> Iterator[Path]:
    """A name beside `path` that globs do not find. The file of this name is removed at the end."""
    if not path.parent.is_dir():
        path.parent.mkdir(exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}")
    try:
        yield temporary
    finally:
        # Where even removing fails, the reason of the first failure is the one to tell.
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def _sync_file(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _link_once(temporary: Path, path: Path) -> bool:
    """Give the file the name `path` too, or instead. False if that name is taken."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        # On NFS the answer to a link that was made may get lost: it is then tried again.
        return temporary.stat().st_nlink > 1
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        return _rename_once(temporary, path)
    return True


def _rename_once(temporary: Path, path: Path) -> bool:
    """The same for file systems without hard links. Python has no function for this rename."""
    names = os.fsencode(temporary), os.fsencode(path)
    rename = ctypes.CDLL(None, use_errno=True).renameat2
    if rename(AT_FDCWD, names[0], AT_FDCWD, names[1], RENAME_NOREPLACE) == 0:
        return True
    number = ctypes.get_errno()
    if number == errno.EEXIST:
        return False
    reason = os.strerror(number)
    if number in (errno.EINVAL, errno.ENOSYS):
        reason = "this file system has no hard links, so put runs on another one (--runs)"
    raise OSError(number, reason)
