"""What a user reads when the Hugging Face hub does not give a model: one line with the remedy.

The errors of huggingface_hub differ from version to version, and so do those of the HTTP library
below it. They are told apart by the hub's status codes, and by the names of their classes.
"""

import contextlib
import errno
import os
from collections.abc import Iterator

from toolkit.errors import ToolkitError, UsageError
from toolkit.models.hub_cache import PAGE, cache_folder

HUB = "https://huggingface.co"
FAILURES = {
    "HTTPError",  # httpx, and httpx2
    "RequestException",  # requests
    "OSError",
    "RuntimeError",  # hf_xet
    "XetDownloadError",
    "JSONDecodeError",  # a login page in place of the hub
}
"""Classes of errors by which a network or a disk fails. Any other error is a bug."""


@contextlib.contextmanager
def explain(name: str, revision: str) -> Iterator[None]:
    """Within this context, an error of the hub's library becomes a `ToolkitError`."""
    try:
        yield
    except ToolkitError:
        raise
    except Exception as error:
        found = explained(error, name, revision)
        if found is None:
            raise
        raise found from None


def explained(error: Exception, name: str, revision: str) -> ToolkitError | None:
    """The error for a user. `UsageError` if asking again, unchanged, cannot help. None: a bug."""
    chain = list(_causes(error))
    names = {cls.__name__ for e in chain for cls in type(e).__mro__}
    status = next((s for e in chain if (s := _status(e))), 0)
    if "RevisionNotFoundError" in names:
        return UsageError(
            f"--revision {revision}: {name} has no such branch, tag or commit; those that it has "
            f"are on {hub_url()}/{name}/tree/main"
        )
    if status in (401, 403, 404) or names & {"RepositoryNotFoundError", "GatedRepoError"}:
        return _no_access(name, status, gated="GatedRepoError" in names, said=_said(chain))
    if "HFValidationError" in names:
        return UsageError(f"--model {name}: not a name that the hub can have; check it")
    if "OfflineModeIsEnabled" in names:
        return UsageError(
            f"{name}: HF_HUB_OFFLINE is set; unset it and launch where there is internet, or copy "
            f"the model into {cache_folder()} from there (see {PAGE})"
        )
    if status:
        return ToolkitError(f"{name}: the hub {hub_url()} answers {status}; launch again later")
    if not names & FAILURES:
        return None
    return _disk(chain, name) or _network(chain, name)


def hub_url() -> str:
    """The address of the hub, as its library reads it."""
    return (os.environ.get("HF_ENDPOINT") or HUB).rstrip("/")


def _no_access(name: str, status: int, *, gated: bool, said: str) -> UsageError:
    page, login = f"{hub_url()}/{name}", "`hf auth login`, or set HF_TOKEN"
    if status == 403 and (not gated or "fine-grained" in said):
        return UsageError(
            f"{name}: your token (from {token_source()}) may not read it; allow it to read gated "
            f"models on {hub_url()}/settings/tokens, then launch again"
        )
    if gated and status == 401:
        return UsageError(
            f"{name}: is gated, and there is no token; accept its licence on {page}, then log in "
            f"with {login} (see {PAGE})"
        )
    if gated:
        return UsageError(
            f"{name}: is gated, and the account of your token has no access; accept the licence "
            f"on {page}, wait until it is granted, then launch again"
        )
    if "credentials" in said or "expired" in said:
        return UsageError(
            f"{name}: the hub refuses your token (from {token_source()}); make a new one on "
            f"{hub_url()}/settings/tokens, then log in with {login}"
        )
    return UsageError(
        f"--model {name}: the hub {hub_url()} has no such model for you; check the name, or if it "
        f"is private, log in with {login}"
    )


def token_source() -> str:
    """Where the library took the token from; not the token."""
    for variable in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        if os.environ.get(variable):
            return variable
    return "the file HF_TOKEN_PATH" if os.environ.get("HF_TOKEN_PATH") else "the stored login"


def _disk(chain: list[Exception], name: str) -> ToolkitError | None:
    found = next((e for e in chain if isinstance(e, OSError) and e.errno), OSError())
    where = cache_folder()
    for full in (errno.ENOSPC, errno.EDQUOT):
        # hf_xet passes on only the text of its own error.
        if found.errno == full or f"(os error {full})" in str(chain[0]):
            return ToolkitError(
                f"{where}: {os.strerror(full)} while {name} was fetched; make room there, or set "
                "HF_HOME to a directory with more, then launch again: whole files are kept"
            )
    # A connection that is not permitted has no file's name.
    if found.filename and found.errno in (errno.EACCES, errno.EROFS, errno.EPERM, errno.ENOTDIR):
        return UsageError(
            f"{where}: cannot be written ({found.strerror}); set HF_HOME to a directory of yours "
            "that all nodes share"
        )
    return None


def _network(chain: list[Exception], name: str) -> ToolkitError:
    last = chain[-1]
    if "Consistency check failed" in str(last):
        return ToolkitError(f"{name}: a file came in part only; launch again: whole files are kept")
    reason = (str(last).strip().splitlines() or [type(last).__name__])[0]
    return ToolkitError(
        f"{name}: the hub {hub_url()} cannot be reached ({_redacted(reason)[:160]}); launch again, "
        f"or where there is internet, or copy the cache from there (see {PAGE})"
    )


def _redacted(text: str) -> str:
    """Without the token, should a library ever write it into a message."""
    for variable in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        if token := os.environ.get(variable):
            text = text.replace(token, "***")
    return text


def _causes(error: BaseException | None) -> Iterator[Exception]:
    """An error and what it came from, the first cause last."""
    while isinstance(error, Exception):
        yield error
        error = error.__cause__


def _status(error: Exception) -> int:
    code = getattr(getattr(error, "response", None), "status_code", 0)
    return code if isinstance(code, int) else 0


def _said(chain: list[Exception]) -> str:
    """What the hub's own header says of a refusal."""
    for error in chain:
        headers = getattr(getattr(error, "response", None), "headers", {})
        if said := headers.get("X-Error-Message"):
            return str(said)
    return ""
