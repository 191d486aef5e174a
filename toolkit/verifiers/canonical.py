"""The canonical form of an answer, in a bounded number of characters."""

import hashlib
from typing import Final

MAX_CANONICAL: Final = 200


def shortened(form: str) -> str:
    """A text as it is, or in `MAX_CANONICAL` characters: its beginning and a digest of all."""
    form = form.encode("utf-8", "backslashreplace").decode()
    if len(form) <= MAX_CANONICAL:
        return form
    digest = hashlib.blake2b(form.encode(), digest_size=8).hexdigest()
    return f"{form[: MAX_CANONICAL - 17]} {digest}"
