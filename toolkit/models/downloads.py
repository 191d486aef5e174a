"""Several files of the hub at the same time: watched while they come, checked when they are there.

A download is given up when no byte has come for a while, whatever its library waits for. What is
whole is kept, so that the next attempt fetches the rest only.
"""

import atexit
import contextlib
import hashlib
import logging
import os
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from toolkit.errors import ToolkitError
from toolkit.progress_bar import ProgressBar, progress_bar, time_left

log = logging.getLogger(__name__)

WORKERS = 4
"""Files fetched at the same time. More would each be cut in more pieces by a broken connection."""
STALL_SECONDS = 60.0
"""Without a new byte for so long, a download is given up."""
LOG_SECONDS = 30.0
"""Between two lines of progress where there is no terminal for a bar."""
MB = 1_000_000
BAR_BYTES = 64 * MB
"""What is smaller comes without a word."""
STALE_SECONDS = 24 * 3600
"""A file in the making that has not grown for so long belongs to a process that was killed."""


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file of a model.

    size: in bytes; -1 if the hub does not say. digest: its SHA-256, or the SHA-1 that git gives it;
    "" if the hub does not say.
    """

    name: str
    size: int
    digest: str


@dataclass(slots=True)
class Download:
    """Fetches files of one commit into a cache.

    fetch: `hf_hub_download` of huggingface_hub. It leaves a file whole in the cache, or not at all.
    """

    fetch: Callable[..., str]
    name: str
    commit: str
    cache: Path
    hashed: int = field(default=0, init=False)

    @property
    def folder(self) -> Path:
        """The model's folder in the cache."""
        return self.cache / f"models--{self.name.replace('/', '--')}"

    @property
    def snapshot(self) -> Path:
        """The directory of the commit."""
        return self.folder / "snapshots" / self.commit

    def has(self, file: HubFile) -> bool:
        """Whether the cache has the file, in its full size."""
        path = self.snapshot / file.name
        return path.is_file() and file.size in (-1, path.stat().st_size)

    def bytes_here(self) -> int:
        """The bytes of the model in the cache, with those of files in the making."""
        total = 0
        with contextlib.suppress(OSError):
            for entry in os.scandir(self.folder / "blobs"):
                with contextlib.suppress(OSError):
                    total += entry.stat().st_size
        return total

    def get(self, file: HubFile) -> None:
        """Fetch one file and compare it with the hub's digest. Wrong content is removed.

        Raises the library's errors, `OSError`, or `ToolkitError` for wrong content.
        """
        if self.has(file):
            return
        self._remove(file)  # a link to nothing, or a file that was cut
        self.fetch(
            self.name,
            file.name,
            revision=self.commit,
            cache_dir=self.cache,
            library_name="inference-scaling-toolkit",
        )
        if not self.has(file) or self._digest(file) not in (file.digest, ""):
            self._remove(file)
            raise ToolkitError(
                f"{self.name}: {file.name} came with other content than the hub names, and was "
                "removed; launch again to fetch it anew"
            )

    def _digest(self, file: HubFile) -> str:
        """In the kind of the hub's digest; "" for a kind that is not known."""
        path = self.snapshot / file.name
        match len(file.digest):
            case 64:
                digest = hashlib.sha256()
            case 40:
                head = b"blob %d\0" % path.stat().st_size
                digest = hashlib.sha1(head, usedforsecurity=False)
            case _:
                return ""
        with path.open("rb") as content:
            while chunk := content.read(1 << 22):
                digest.update(chunk)
                self.hashed += len(chunk)
        return digest.hexdigest()

    def _remove(self, file: HubFile) -> None:
        """The file, the blob that it links to, and what that may link to."""
        path = self.snapshot / file.name
        if path.is_symlink():
            blob = path.parent / path.readlink()
            path.resolve().unlink(missing_ok=True)
            blob.unlink(missing_ok=True)
        path.unlink(missing_ok=True)

    def remove_unfinished(self, *, older: float = 0.0, own: bool = False) -> None:
        """Remove files in the making: those that have not grown for `older` seconds, or our own."""
        for path in self._open_files() if own else (self.folder / "blobs").glob("*.incomplete"):
            with contextlib.suppress(OSError):
                if own or time.time() - path.stat().st_mtime > older:
                    path.unlink()

    def _open_files(self) -> list[Path]:
        """Files in the making that this process has open. Its threads may end before them."""
        found = []
        for entry in Path("/proc/self/fd").iterdir():
            with contextlib.suppress(OSError):
                path = entry.readlink()
                if path.suffix == ".incomplete" and path.is_relative_to(self.folder.resolve()):
                    found.append(path)
        return found


def download(
    get: Download, files: Sequence[HubFile], alive: Callable[[], None] = lambda: None
) -> None:
    """Fetch the files that the cache lacks, with progress; the first error ends it.

    alive: called several times a second meanwhile.

    Raises what `Download.get` raises, and `TimeoutError` if no byte comes for `STALL_SECONDS`.
    """
    todo = deque(f for f in files if not get.has(f))
    if not todo:
        return
    get.remove_unfinished(older=STALE_SECONDS)
    ended: queue.SimpleQueue[Exception | None] = queue.SimpleQueue()

    def work() -> None:
        while True:
            try:
                file = todo.popleft()
            except IndexError:  # nothing left
                return ended.put(None)
            try:
                get.get(file)
            except Exception as error:
                return ended.put(error)

    total = sum(max(0, f.size) for f in todo)
    workers = min(WORKERS, len(todo))
    for _ in range(workers):
        # A daemon: waiting for a silent hub does not keep the process from ending.
        threading.Thread(target=work, daemon=True).start()
    try:
        _watch(get, ended, workers, total, alive)
    except BaseException:
        todo.clear()
        get.remove_unfinished(own=True)
        # A thread may just begin one more file.
        atexit.register(get.remove_unfinished, own=True)
        raise


def _watch(
    get: Download,
    ended: "queue.SimpleQueue[Exception | None]",
    workers: int,
    total: int,
    alive: Callable[[], None],
) -> None:
    """Show the progress until all workers have ended, or raise the first error."""
    began, before = time.monotonic(), get.bytes_here()
    seen, since, said = (-1, -1), began, began
    with _bar(get, total) as bar:
        while workers:
            with contextlib.suppress(queue.Empty):
                if error := ended.get(timeout=0.2):
                    raise error
                workers -= 1
            alive()
            now, state = time.monotonic(), (get.bytes_here(), get.hashed)
            if state != seen:
                seen, since = state, now
            elif now - since > STALL_SECONDS:
                raise TimeoutError(f"no byte has come for {STALL_SECONDS:.0f} s")
            came = min(max(0, state[0] - before), total)
            rate = came / (now - began)
            note = f"{rate / MB:.0f} MB/s {time_left((total - came) / rate if rate else None)}"
            bar.show(came // MB, note)
            if not bar.shown and now - said > LOG_SECONDS:
                said = now
                log.info("fetched %d of %d MB, %s", came // MB, total // MB, note)


def _bar(get: Download, total: int) -> contextlib.AbstractContextManager[ProgressBar]:
    if total < BAR_BYTES:
        return contextlib.nullcontext(ProgressBar())
    log.info("fetching %s (%.1f GB) into %s", get.name, total / 1e9, get.cache)
    return progress_bar("fetched", total // MB, "MB")
