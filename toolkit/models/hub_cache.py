"""A model of the Hugging Face hub: found in the hub's cache, or fetched into it before a launch.

A branch or a tag may move, a commit never does. So a model is pinned to the commit that its
revision names when a run is made. Array tasks load that commit from the cache. They never ask the
hub.

The cache is the one that all tools of Hugging Face share:

    $HF_HUB_CACHE, else $HF_HOME/hub, else ~/.cache/huggingface/hub
      models--ORG--NAME/refs/<revision>            the commit of a branch or a tag
      models--ORG--NAME/snapshots/<commit>/<file>  links to blobs
      models--ORG--NAME/blobs/<hash>               the contents
"""

import contextlib
import json
import logging
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit.errors import ToolkitError, UsageError
from toolkit.files import replacing
from toolkit.models.staging import needed_files

if TYPE_CHECKING:
    from toolkit.config import Config

log = logging.getLogger(__name__)

COMMIT = re.compile(r"[0-9a-f]{40}")
"""A commit of the hub in full."""
PAGE = "docs/hub-models.md"


@dataclass(frozen=True, slots=True)
class HubModel:
    """A model at one commit, whole in the cache.

    revision: the branch, tag or commit that was asked for. note: why the hub was not asked, or did
    not help; "" if it did, or if it was not needed.
    """

    name: str
    revision: str
    commit: str
    snapshot: Path
    note: str = ""

    def line(self) -> str:
        """For the terminal: name, commit, size and place."""
        size = sum(p.stat().st_size for p in needed_files(self.snapshot)) / 1e9
        asked = "" if self.revision == self.commit else f" ({self.revision})"
        note = f"; {self.note}" if self.note else ""
        return f"{self.name}, commit {self.commit[:12]}{asked}, {size:.1f} GB{note}"

    def document(self) -> dict[str, str]:
        """What the manifest of a run records, as values that JSON can hold."""
        return {"commit": self.commit, "snapshot": str(self.snapshot)}


def is_hub_model(backend: str, model: str) -> bool:
    """Whether this process or its array tasks load `model` from the hub's cache."""
    return backend == "vllm" and bool(model) and not Path(model).is_dir()


def cache_folder() -> Path:
    """The hub's cache, by the same environment variables and in the same order as its library."""
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    home = os.environ.get("HF_HOME") or f"{base}/huggingface"
    legacy = os.environ.get("HUGGINGFACE_HUB_CACHE") or f"{home}/hub"
    found = os.environ.get("HF_HUB_CACHE") or legacy
    return Path(os.path.expandvars(found)).expanduser().absolute()


def model_folder(name: str) -> Path:
    """The folder of a model in the cache, which need not exist."""
    return cache_folder() / f"models--{name.replace('/', '--')}"


def known_commit(name: str, revision: str) -> str:
    """The commit that the cache knows for a revision; "" if it knows none."""
    if COMMIT.fullmatch(revision):
        return revision
    try:
        commit = (model_folder(name) / "refs" / revision).read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return ""
    return commit if COMMIT.fullmatch(commit) else ""


def remember_commit(name: str, revision: str, commit: str) -> None:
    """Let the cache know the commit of a branch or a tag. A cache that is read-only stays so."""
    path = model_folder(name) / "refs" / revision
    if revision == commit or known_commit(name, revision) == commit:
        return
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            temporary.write_text(commit, encoding="utf-8")


def find_model(name: str, revision: str, commit: str = "") -> HubModel | None:
    """The model in the cache, if it is there and whole. Asks nobody.

    commit: the one that the run has recorded. If empty: what the cache knows for `revision`.
    """
    commit = commit or known_commit(name, revision)
    snapshot = model_folder(name) / "snapshots" / commit
    if not commit or what_is_missing(snapshot):
        return None
    return HubModel(name, revision, commit, snapshot)


def what_is_missing(snapshot: Path) -> str:
    """What keeps an engine from loading this directory; "" if nothing does.

    Weights are compared with the size that their own header gives, not read.
    """
    if not (snapshot / "config.json").is_file():
        return "no config.json"
    try:
        files = needed_files(snapshot)
    except (UsageError, ValueError, KeyError) as error:
        return str(error)
    for path in files:
        if path.suffix == ".safetensors" and path.stat().st_size != safetensors_size(path):
            return f"{path.name} is not whole"
    return ""


def safetensors_size(path: Path) -> int:
    """The size in bytes that a safetensors file should have, from its header; -1 without one."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 0 < length <= path.stat().st_size:
                return -1
            header = json.loads(file.read(length))
        ends = (entry["data_offsets"][1] for key, entry in header.items() if key != "__metadata__")
        return 8 + length + int(max(ends, default=0))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return -1


def at_snapshot(config: "Config", hub_model: Mapping[str, str] | None) -> "Config":
    """The configuration with a hub model's name replaced by its directory in the cache.

    Unchanged for any other model. hub_model: what the run has recorded of its own. Raises
    `ToolkitError` if it has recorded nothing, or if this node does not see the directory.
    """
    sampling = config.sampling
    if not is_hub_model(sampling.backend, sampling.model):
        return config
    if hub_model is None:
        raise ToolkitError(f"{sampling.model}: the run has no commit of it on record; launch again")
    snapshot = Path(hub_model["snapshot"])
    if missing := what_is_missing(snapshot):
        raise ToolkitError(
            f"{snapshot}: the model is not there on this node ({missing}); set HF_HOME to a "
            f"directory that all nodes share, then launch again (see {PAGE})"
        )
    return replace(config, sampling=replace(sampling, model=str(snapshot), revision=""))
