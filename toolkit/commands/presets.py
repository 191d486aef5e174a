"""The presets that come with the toolkit, and the configuration that a command's flags make."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from toolkit.config import Config
from toolkit.errors import UsageError
from toolkit.launch.sbatch_options import check_jobs
from toolkit.problems.humaneval import HUMANEVAL
from toolkit.problems.task import read_task
from toolkit.resolve import read_preset, read_site, resolve, site_file

PRESETS = Path(__file__).resolve().parents[1] / "presets"


def add_preset_flag(parser: argparse.ArgumentParser) -> None:
    """--preset, with the names of those that there are."""
    parser.add_argument("--preset", help=f"a TOML file, or one of {_names()}")


def configure(flags: Mapping[str, Any]) -> Config:
    """Defaults < the task's < site file < the preset, if `flags["preset"]` names one < flags.

    Raises `UsageError` for a preset that does not exist or a value that no launch could use.
    """
    name, site = flags["preset"], read_site(site_file())
    path = None
    if name is not None:
        path = Path(name) if name.endswith(".toml") else PRESETS / f"{name}.toml"
        if not path.is_file():
            raise UsageError(f"--preset {name}: no such preset; a TOML file, or one of {_names()}")
    return checked(resolve(flags, path, base=_of_task(flags, path) | site))


def _of_task(flags: Mapping[str, Any], preset: Path | None) -> dict[str, dict[str, Any]]:
    """What the task says of sampling: a default that site file, preset and flags override."""
    chosen = read_preset(preset).get("problem_set", {}) if preset else {}
    task = flags.get("task", chosen.get("task", HUMANEVAL))
    style = "" if task == HUMANEVAL else read_task(task).style
    return {"sampling": {"prompt_style": style}} if style else {}


def checked(config: Config) -> Config:
    """The configuration, once its jobs were looked at: see `check_jobs`."""
    check_jobs(config)
    return config


def _names() -> str:
    return ", ".join(sorted(path.stem for path in PRESETS.glob("*.toml")))
