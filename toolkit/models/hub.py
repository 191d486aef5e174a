"""Ask the Hugging Face hub about a model, and fetch what an engine needs of it into the cache.

Only this module imports huggingface_hub, and only when the hub is asked. That library finds the
token (HF_TOKEN, HF_TOKEN_PATH or the stored login), downloads, and resumes what was cut. Here is
decided which files are wanted, whether they are whole, how long silence may last, and what a user
reads. The token is in no message.
"""

import json
import logging
import os
import queue
import tempfile
import threading
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, TypeVar, cast

from toolkit.errors import ToolkitError, UsageError
from toolkit.models.downloads import Download, HubFile, download
from toolkit.models.hub_cache import (
    COMMIT,
    HubModel,
    cache_folder,
    find_model,
    known_commit,
    model_folder,
    remember_commit,
    what_is_missing,
)
from toolkit.models.hub_errors import explain

Answer = TypeVar("Answer")

ANSWER_SECONDS = 30.0
"""How long one question to the hub may take, with name lookup and connection."""
WEIGHTS = ("model*.safetensors", "*.safetensors", "*.bin", "*.pt")
"""The kinds of weights that vLLM reads. The first kind that a model has is fetched."""
OTHERS = ("*.json", "*.txt", "*.model*", "*.jinja", "*.py", "*.tiktoken")
"""What an engine reads beside the weights: configuration, tokenizer, chat template."""
INDEX = "model.safetensors.index.json"


@dataclass(frozen=True, slots=True)
class Listing:
    """What the hub has of a model: the commit of a revision, and the files at its top."""

    name: str
    revision: str
    commit: str
    files: Mapping[str, HubFile]

    def others(self) -> list[HubFile]:
        """The small files, which are fetched before the weights."""
        return [f for f in self.files.values() if any(fnmatch(f.name, p) for p in OTHERS)]

    def weights(self, index: Mapping[str, Any] | None) -> list[HubFile]:
        """The files with weights: those that the index names, else the first kind there is.

        index: the content of `INDEX`, None if the model has none. Raises `UsageError` if there are
        no weights.
        """
        if index is not None:
            wanted = set(index["weight_map"].values())
        else:
            kinds = ([n for n in self.files if fnmatch(n, pattern)] for pattern in WEIGHTS)
            wanted = set(next((names for names in kinds if names), []))
        if not wanted or wanted - self.files.keys():
            raise UsageError(
                f"--model {self.name}: its commit {self.commit[:12]} has no weights that vLLM "
                "reads (*.safetensors, *.bin, *.pt); choose another model or --revision"
            )
        return [self.files[name] for name in sorted(wanted)]


def fetch_model(
    name: str, revision: str, commit: str = "", alive: Callable[[], None] = lambda: None
) -> HubModel:
    """The model, whole in the cache. What is missing there is fetched, with progress.

    revision: a branch, a tag or a commit; "" is "main". commit: the one that the run has recorded;
    it is taken in place of `revision`. alive: called now and then meanwhile.

    A commit that is whole in the cache needs no hub. If the hub does not help, what the cache knows
    for `revision` is taken, and the model's `note` says so.

    Raises `UsageError` or `ToolkitError` if there is no model to work with: one line with what to
    do.
    """
    revision = revision or "main"
    commit = commit or (revision if COMMIT.fullmatch(revision) else "")
    if commit and (found := find_model(name, revision, commit)):
        now = known_commit(name, revision)
        moved = f"{revision} is now {now[:12]}, which this run does not take"
        return replace(found, note=moved if now not in ("", commit) else "in the cache already")
    try:
        listing = list_model(name, revision, commit)
    except ToolkitError as error:
        if found := find_model(name, revision, commit):
            reason = str(error).split(";")[0].removeprefix(f"{name}: ")
            return replace(found, note=f"as the cache knows it: {reason}")
        raise
    before = known_commit(name, revision)
    if found := find_model(name, revision, listing.commit):
        found = replace(found, note="in the cache already")
    else:
        fetch_files(listing, cache_folder(), alive)
        snapshot = model_folder(name) / "snapshots" / listing.commit
        if missing := what_is_missing(snapshot):
            raise UsageError(f"--model {name}: vLLM cannot load it: {missing}; choose another")
        found = HubModel(name, revision, listing.commit, snapshot)
    remember_commit(name, revision, listing.commit)
    if before and before != listing.commit:
        moved = f"{revision} has moved on from {before[:12]}, which earlier runs keep"
        found = replace(found, note=f"{found.note}; {moved}" if found.note else moved)
    return found


def list_model(name: str, revision: str, commit: str = "") -> Listing:
    """Ask the hub for the commit of a revision, and for its files.

    Asks for one small file too, because the hub lists gated models to everybody. Raises
    `UsageError` or `ToolkitError`, which says why there is no access.
    """
    hub = hub_library()
    with explain(name, revision):
        info = _within(
            ANSWER_SECONDS,
            lambda: hub.HfApi().model_info(
                name, revision=commit or revision, files_metadata=True, timeout=10
            ),
        )
        files = {
            s.rfilename: _file(s)
            for s in info.siblings
            if "/" not in s.rfilename and not s.rfilename.startswith(".")
        }
        url = hub.hf_hub_url(name, "config.json", revision=info.sha)
        _within(ANSWER_SECONDS, lambda: hub.get_hf_file_metadata(url, timeout=10))
    return Listing(name, revision, info.sha, files)


def _file(found: Any) -> HubFile:
    """A `RepoSibling` of huggingface_hub."""
    digest = found.lfs.sha256 if found.lfs else found.blob_id
    return HubFile(found.rfilename, -1 if found.size is None else found.size, digest or "")


def fetch_files(listing: Listing, cache: Path, alive: Callable[[], None] = lambda: None) -> None:
    """Fetch what `cache` lacks of a model: first all small files, then the weights.

    So where the weights are, the rest is too. Raises `ToolkitError` or `UsageError`.
    """
    hub = hub_library()
    get = Download(hub.hf_hub_download, listing.name, listing.commit, cache)
    with explain(listing.name, listing.revision):
        download(get, listing.others(), alive)
        weights = listing.weights(_index(get.snapshot))
        _check_room(listing, get, weights)
        download(get, weights, alive)


@dataclass(frozen=True, slots=True)
class Survey:
    """What a launch would have to fetch. Sizes in bytes.

    config: the model's config.json. weights: the size of the weights. missing: what the cache lacks
    of the model. free: room for it.
    """

    commit: str
    config: Mapping[str, Any]
    weights: int
    missing: int
    free: int


def survey_model(name: str, revision: str) -> Survey:
    """Ask the hub about a model as a launch does, without fetching weights or filling the cache.

    Raises `UsageError` or `ToolkitError` for whatever a launch would fail with.
    """
    listing = list_model(name, revision or "main")
    hub = hub_library()
    with tempfile.TemporaryDirectory() as folder, explain(name, revision or "main"):
        get = Download(hub.hf_hub_download, name, listing.commit, Path(folder))
        read = [f for f in listing.others() if f.name in ("config.json", INDEX)]
        download(get, read)
        config = json.loads((get.snapshot / "config.json").read_text(encoding="utf-8"))
        weights = listing.weights(_index(get.snapshot))
    real = Download(hub.hf_hub_download, name, listing.commit, cache_folder())
    missing = [f for f in (*listing.others(), *weights) if not real.has(f)]
    return Survey(
        commit=listing.commit,
        config=config,
        weights=sum(f.size for f in weights),
        missing=sum(f.size for f in missing),
        free=_free(cache_folder()),
    )


def _index(snapshot: Path) -> Mapping[str, Any] | None:
    path = snapshot / INDEX
    if not path.is_file():
        return None
    try:
        found: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        found["weight_map"].values()
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UsageError(f"{path}: names no weights; choose another model or --revision") from None
    return found


def _check_room(listing: Listing, get: Download, weights: list[HubFile]) -> None:
    missing, free = sum(f.size for f in weights if not get.has(f)), _free(get.cache)
    if missing > free:
        raise UsageError(
            f"{get.cache}: {free / 1e9:.1f} GB free, but {listing.name} needs {missing / 1e9:.1f} "
            "GB; make room there, or set HF_HOME to a directory with more that all nodes share"
        )


def _free(folder: Path) -> int:
    """Bytes that this user may still write in a folder, or where it would be made."""
    while not folder.exists():
        folder = folder.parent
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


def hub_library(instead: str = "give a model's directory with --model") -> Any:
    """huggingface_hub, silent from now on: what a user needs of its log and bars is said here.

    instead: what a user can do without it.
    """
    try:
        import huggingface_hub
        import huggingface_hub.file_download  # sets the level of the log, so it comes before ours
        from huggingface_hub.utils import disable_progress_bars
    except ImportError:
        raise UsageError(
            "the Python package huggingface_hub is missing, so nothing of the hub can be fetched; "
            f"run `pip install huggingface_hub`, or {instead}"
        ) from None
    logging.getLogger("huggingface_hub").setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", module=r"huggingface_hub\b")
    disable_progress_bars()
    return huggingface_hub


def _within(seconds: float, ask: Callable[[], Answer]) -> Answer:
    """The answer of `ask`, or its error. Raises `TimeoutError` if it takes longer than `seconds`.

    The thread that waits in vain is left behind: it does not keep the process from ending.
    """
    ended: queue.SimpleQueue[tuple[Answer | None, Exception | None]] = queue.SimpleQueue()

    def work() -> None:
        try:
            ended.put((ask(), None))
        except Exception as error:
            ended.put((None, error))

    threading.Thread(target=work, daemon=True).start()
    try:
        answer, error = ended.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError(f"no answer in {seconds:.0f} s") from None
    if error is not None:
        raise error
    return cast(Answer, answer)
