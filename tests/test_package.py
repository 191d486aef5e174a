"""The package from outside: public names load when they are used, and not before."""

import subprocess
import sys

import pytest

import toolkit


def test_importing_the_package_loads_nothing_heavy():
    code = "import toolkit, sys; print(toolkit.__version__, *sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in done.stdout.split()}
    assert not loaded & {"polars", "numpy", "scipy", "matplotlib", "submitit"}


@pytest.mark.parametrize("name", toolkit.__all__)
def test_a_public_name_is_there(name):
    assert getattr(toolkit, name) is not None
    assert name in dir(toolkit)


def test_another_name_is_not():
    with pytest.raises(AttributeError, match="no attribute 'frobnicate'"):
        toolkit.frobnicate  # noqa: B018 - asked for its error
