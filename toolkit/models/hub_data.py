"""A file of a data set of the Hugging Face hub: found in the hub's cache, or fetched into it once.

The cache is the one of `toolkit.models.hub`. A file of a commit never changes, so one that is there
is taken without asking the hub.
"""

import hashlib
from pathlib import Path

from toolkit.errors import ToolkitError, UsageError
from toolkit.models.hub import hub_library
from toolkit.models.hub_cache import COMMIT
from toolkit.models.hub_errors import FAILURES, hub_url


def fetch_data(repository: str, file: str, revision: str, sha256: str = "") -> Path:
    """The path of a file of a data set, whole in the cache.

    revision: a commit, or a branch such as "main"; a branch is asked for again, where the hub
    answers. sha256: what the file must be; "" if that is not known. Raises `UsageError`, with what
    to do, where no hub gives it, and `ToolkitError` for a file that is another one.
    """
    hub = hub_library("name the data's file with --problems")
    wanted = {"repo_type": "dataset", "revision": revision}
    try:
        path = None
        if COMMIT.fullmatch(revision):
            path = _cached(hub.try_to_load_from_cache(repository, file, **wanted))
        if path is None:
            path = Path(hub.hf_hub_download(repository, file, **wanted, etag_timeout=10))
    except Exception as error:
        if not FAILURES & {cls.__name__ for cls in type(error).__mro__}:
            raise
        path = _cached(hub.try_to_load_from_cache(repository, file, **wanted))
        if path is None:
            first = (str(error).strip().splitlines() or [type(error).__name__])[0]
            reason = first.partition(". ")[0][:160]
            raise UsageError(
                f"{repository}: the data set's file {file} cannot be fetched from {hub_url()} "
                f"({reason}); where there is no internet, fetch it elsewhere and name it with "
                "--problems FILE"
            ) from None
    found = file_digest(path)
    if sha256 and found != sha256:
        raise ToolkitError(
            f"{path}: is not the published file: its SHA-256 is {found}, not {sha256}; delete it "
            "and launch again, or name your own file with --problems"
        )
    return path


def _cached(found: object) -> Path | None:
    """What the library knows of its cache, as a path. It also has a mark for a missing file."""
    return Path(found) if isinstance(found, str) else None


def file_digest(path: Path) -> str:
    """The SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
