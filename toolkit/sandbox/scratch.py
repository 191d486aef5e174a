"""The scratch directory where no private /tmp can be mounted: on the disk, one for each worker."""

import contextlib
import os
import stat
import tempfile
from collections.abc import Iterator
from os import chdir, chmod, pwrite, rename, rmdir, unlink  # the guard takes them out of `os`
from typing import Final, Self

_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
BLOCK_BYTES: Final = 512
"""The unit of `st_blocks`."""
_DEEPEST: Final = 100
"""Directories nested deeper than this count as too many files."""


def unnamed_file(data: bytes | bytearray = b"") -> int:
    """A descriptor at the beginning of a file with these data, in the working directory.

    It has no name there. No copy of the data stays in memory.
    """
    try:
        descriptor = os.open(".", os.O_TMPFILE | os.O_RDWR | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError:  # a file system without such files; or the true reason comes now
        descriptor, name = tempfile.mkstemp(dir=".")
        unlink(name)
    written = 0
    with memoryview(data) as view:
        while written < len(view):
            written += pwrite(descriptor, view[written:], written)
    return descriptor


class ScratchDirectory:
    """A directory that programs can write to; what they leave is deleted after each of them.

    Programs may nest directories without end, with names of any length and modes of any kind. So
    nothing here uses a path into them, or recursion: a directory is moved up before it is deleted.
    """

    def __init__(self, root: str) -> None:
        self._base = tempfile.mkdtemp(prefix="jail-", dir=root)
        self.path = f"{self._base}/tmp"
        self._work = f"{self.path}/work"
        self._moved = 0
        os.mkdir(self.path, 0o700)
        self._make_work()

    def renew(self) -> None:
        """Make the working directory new if a program left any trace, and stand in it."""
        if self._fingerprint() != self._pristine:
            chdir("/")
            self._empty()
            self._make_work()

    def remove(self) -> None:
        """Delete it with all that is in it."""
        chdir("/")
        self._empty()
        rmdir(self.path)
        rmdir(self._base)

    def use(self, most_files: int) -> tuple[int, int]:
        """Bytes on the disk and number of files in it now, while a program goes on changing it.

        It counts no further than one above `most_files`, which stands for any number above.
        """
        blocks: dict[tuple[int, int], int] = {}
        files = 0
        with contextlib.suppress(OSError), _Walk(self.path) as walk:
            for status in walk.entries():
                files += 1
                if files > most_files:
                    break
                blocks[status.st_dev, status.st_ino] = status.st_blocks
            if walk.is_too_deep:
                files = most_files + 1
        return sum(blocks.values()) * BLOCK_BYTES, files

    def _make_work(self) -> None:
        os.mkdir(self._work, 0o700)
        chdir(self._work)
        self._pristine = self._fingerprint()

    def _fingerprint(self) -> tuple[object, ...]:
        """What every trace of a program changes; empty where it cannot be read."""
        try:
            places = os.stat(self.path), os.stat(self._work)
        except OSError:
            return ()
        return tuple((s.st_mode, s.st_ino, s.st_nlink, s.st_ctime_ns) for s in places)

    def _empty(self) -> None:
        """Delete all below `path`; no program runs."""
        base = os.open(self._base, _DIRECTORY)
        try:
            # Others than "tmp" are what a worker that died had not deleted yet.
            waiting = [n for n in os.listdir(base) if n != "tmp"]
            waiting += self._move_up("tmp", base)
            while waiting:
                name = waiting.pop()
                waiting += self._move_up(name, base)
                rmdir(name, dir_fd=base)
        finally:
            os.close(base)

    def _move_up(self, name: str, base: int) -> list[str]:
        """Delete the files of a directory in `base` and move its directories there: their names."""
        moved = []
        directory = os.open(name, _DIRECTORY, dir_fd=base)
        try:
            for entry in os.listdir(directory):
                status = os.stat(entry, dir_fd=directory, follow_symlinks=False)
                if not stat.S_ISDIR(status.st_mode):
                    unlink(entry, dir_fd=directory)
                    continue
                with contextlib.suppress(OSError):  # most are empty
                    rmdir(entry, dir_fd=directory)
                    continue
                chmod(entry, 0o700, dir_fd=directory)  # to move it, it must be writable
                self._moved += 1
                moved.append(f"{os.getpid()}-{self._moved}")
                rename(entry, moved[-1], src_dir_fd=directory, dst_dir_fd=base)
        finally:
            os.close(directory)
        return moved


class _Walk:
    """The entries below a directory that a program changes meanwhile, by descriptors only."""

    def __init__(self, top: str) -> None:
        self.is_too_deep = False
        self._open = [os.open(top, _DIRECTORY)]  # the directories from the top to here
        self._names = [self._listed()]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for directory in self._open:
            os.close(directory)

    def entries(self) -> Iterator[os.stat_result]:
        """The status of each entry; what vanishes is left out."""
        while self._open:
            if not self._names[-1]:
                os.close(self._open.pop())
                self._names.pop()
                continue
            name = self._names[-1].pop()
            with contextlib.suppress(OSError):
                status = os.stat(name, dir_fd=self._open[-1], follow_symlinks=False)
                yield status
                if stat.S_ISDIR(status.st_mode):
                    self._enter(name, status)

    def _enter(self, name: str, status: os.stat_result) -> None:
        if len(self._open) > _DEEPEST:
            self.is_too_deep = True
            return
        if status.st_mode & 0o700 != 0o700:
            # By its descriptor, as the program may put another file in its place.
            place = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self._open[-1])
            try:
                if stat.S_ISDIR(os.fstat(place).st_mode):
                    chmod(f"/proc/self/fd/{place}", 0o700)
            finally:
                os.close(place)
        self._open.append(os.open(name, _DIRECTORY, dir_fd=self._open[-1]))
        self._names.append(self._listed())

    def _listed(self) -> list[str]:
        return os.listdir(self._open[-1])
