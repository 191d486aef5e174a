"""The presets that come with the toolkit, and the configuration that a command's flags make."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from toolkit.config import Config
from toolkit.errors import UsageError
from toolkit.launch.sbatch_options import check_jobs
from toolkit.resolve import read_site, resolve, site_file

PRESETS = Path(__file__).resolve().parents[1] / "presets"


def add_preset_flag(parser: argparse.ArgumentParser) -> None:
    """--preset, with the names of those that there are."""
    parser.add_argument("--preset", help=f"a TOML file, or one of {_names()}")


def configure(flags: Mapping[str, Any]) -> Config:
    """Defaults < site file < the preset, if `flags["preset"]` names one < flags.

    Raises `UsageError` for a preset that does not exist or a value that no launch could use.
    """
    name, site = flags["preset"], read_site(site_file())
    if name is None:
        return checked(resolve(flags, base=site))
    path = Path(name) if name.endswith(".toml") else PRESETS / f"{name}.toml"
    if not path.is_file():
        raise UsageError(f"--preset {name}: no such preset; a TOML file, or one of {_names()}")
    return checked(resolve(flags, path, base=site))


def checked(config: Config) -> Config:
    """The configuration, once its jobs were looked at: see `check_jobs`."""
    check_jobs(config)
    return config


def _names() -> str:
    return ", ".join(sorted(path.stem for path in PRESETS.glob("*.toml")))
