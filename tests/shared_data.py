"""Where the data of public tasks are, beside the checkout, if they are."""

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data" / "tasks"


def shared(name):
    """The path of one of their files. Where it is absent, the test is skipped with the reason."""
    path = SHARED / name
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    return path
