"""From flags, a preset and the site file to a configuration.

A value can come from four places. Each one overrides those before it:

1. the default of the field;
2. the user's site file;
3. a preset: a TOML file with one table for each section;
4. a flag on the command line. The flags are generated from the fields.

An unknown key or flag is an error that names the valid ones.
"""

import argparse
import dataclasses
import difflib
import json
import os
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, get_args, get_origin

from toolkit.config import SECTIONS, Config, Engine
from toolkit.errors import UsageError
from toolkit.passed_on import CHANGE_SAMPLES, engine_arguments
from toolkit.validate import validate

SITE_SECTIONS = ("engine", "evaluation", "resources")


def gres_of_gpus(text: str, name: str = "--gpus") -> str:
    """GPUs in the words of --gpus ("1", "a100:2") as a generic resource ("gpu:a100:2").

    "0" is "": no generic resource. Raises `UsageError`, naming the flag `name`, for anything else.
    """
    items = text.split(",")
    if not all(re.fullmatch(r"(?:[\w.-]+:)?\d+", item) for item in items):
        raise UsageError(f"{name} {text}: give a number, or a type and a number, such as a100:1")
    return "" if text == "0" else ",".join(f"gpu:{item}" for item in items)


GPUS = "such as 2 or a100:2; the same as --gres gpu:VALUE"
GIB = "old name of {}, in GiB"
MINUTES = "old name of {}, in minutes"
PLAIN_NUMBERS = ("time", "eval_time", "mem", "eval_mem")
"""Texts that a TOML file may give as a number: minutes, and MB."""
OTHER_NAMES: dict[str, tuple[tuple[str, Callable[[Any], str], str], ...]] = {
    "gres": (("--gpus", gres_of_gpus, GPUS),),
    "mem": (("--mem-gib", "{}G".format, GIB.format("--mem")),),
    "time": (("--minutes", str, MINUTES.format("--time")),),
    "eval_mem": (("--eval-mem-gib", "{}G".format, GIB.format("--eval-mem")),),
    "eval_time": (("--eval-minutes", str, MINUTES.format("--eval-time")),),
}
"""Field -> its further flags: the flag, how its value is read, and its help text. Without dashes
they are keys of presets, site files and recorded configurations too."""


def add_flags(parser: argparse.ArgumentParser, *sections: str) -> None:
    """Add a flag for each field of the named sections. Without names: of all sections.

    A flag that the user does not give is absent from the parsed namespace. So `resolve` can tell
    it from a flag that was given with its default value.
    """
    for name in sections or tuple(SECTIONS):
        group = parser.add_argument_group(name.replace("_", " "), SECTIONS[name].__doc__)
        for field in dataclasses.fields(SECTIONS[name]):
            kind, many = _scalar(field.type)
            shown = "" if field.default in (None, "") else f" [{field.default}]"
            kwargs: dict[str, Any] = {
                "help": (field.metadata["help"] + shown).replace("%", "%%"),
                "default": argparse.SUPPRESS,
                "dest": field.name,
            }
            if kind is bool:
                kwargs["action"] = argparse.BooleanOptionalAction
            else:
                kwargs["metavar"] = kind.__name__.upper().replace("STR", "TEXT")
                kwargs["type"] = kind
                kwargs["choices"] = field.metadata["choices"]
                if field.metadata["choices"]:
                    del kwargs["metavar"]
                if many:
                    kwargs["action"] = "extend"
                    kwargs["nargs"] = "*" if field.name == "stop" else "+"
            group.add_argument("--" + field.name.replace("_", "-"), **kwargs)
            for flag, read, text in OTHER_NAMES.get(field.name, ()):
                group.add_argument(
                    flag,
                    type=_told(flag, read),
                    dest=field.name,
                    metavar="VALUE",
                    default=argparse.SUPPRESS,
                    help=text,
                )


def site_file() -> Path:
    """The path of the user's site file: what their cluster needs (partition, account, setup)."""
    home = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(home) / "inference-scaling" / "site.toml"


def read_site(path: Path) -> dict[str, dict[str, Any]]:
    """The tables of a site file; none if the file does not exist.

    A site file may hold only `SITE_SECTIONS`, which say where and how work runs. It must not change
    what is computed. Raises `UsageError` for any other table, for an unknown key or a wrong type.
    """
    if not path.is_file():
        return {}
    tables = read_preset(path)
    for name in tables.keys() - set(SITE_SECTIONS):
        raise UsageError(
            f"{path}: a site file cannot have the table [{name}]; valid: {', '.join(SITE_SECTIONS)}"
        )
    given = Engine(engine_arg=tables.get("engine", {}).get("engine_arg"))
    if changing := engine_arguments(given).keys() & set(CHANGE_SAMPLES):
        raise UsageError(
            f"{path}: [engine.args] {min(changing)}: changes what is sampled; give it in a preset, "
            "or as --engine-arg"
        )
    return tables


def resolve(
    flags: Mapping[str, Any],
    preset: Path | None = None,
    base: Mapping[str, Mapping[str, Any]] | None = None,
) -> Config:
    """The configuration from defaults, `base`, preset and flags; a later one overrides.

    base: the tables of a site file or of a run. flags: field -> value; other names are ignored.
    Raises `UsageError` for a value that no launch could use.
    """
    sections = {name: dict[str, Any]() for name in SECTIONS}
    for name, values in (base or {}).items():
        if name in SECTIONS:
            known = {f.name for f in dataclasses.fields(SECTIONS[name])}
            named = _by_fields(values)
            sections[name].update({k: _tupled(v) for k, v in named.items() if k in known})
    if preset is not None:
        for name, table in read_preset(preset).items():
            sections[name].update(table)
    for name, cls in SECTIONS.items():
        for field in dataclasses.fields(cls):
            if field.name in flags:
                sections[name][field.name] = _tupled(flags[field.name])
    config = Config(**{name: SECTIONS[name](**values) for name, values in sections.items()})
    validate(config)
    return config


def _by_fields(table: Mapping[str, Any]) -> dict[str, Any]:
    """A table with the fields' own names and values, where it has other names of them."""
    found = dict(table)
    for field, others in OTHER_NAMES.items():
        for flag, read, _ in others:
            name = flag.removeprefix("--").replace("-", "_")
            if name in found:
                found[field] = read(str(found.pop(name)))
    return found


def _told(flag: str, read: Callable[[str], str]) -> Callable[[str], str]:
    """`read` for argparse, which shows the message of no error but its own."""

    def told(text: str) -> str:
        try:
            return read(text)
        except UsageError as error:
            raise argparse.ArgumentTypeError(str(error).removeprefix(f"{flag} ")) from None

    return told


def _tupled(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def read_preset(path: Path) -> dict[str, dict[str, Any]]:
    """The tables of a preset. Raises `UsageError` for an unknown table or key, or a wrong type."""
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: not TOML: {error}") from None
    tables: dict[str, dict[str, Any]] = {}
    for name, table in raw.items():
        if name not in SECTIONS or not isinstance(table, dict):
            raise UsageError(f"{path}: unknown table [{name}]; valid: {', '.join(SECTIONS)}")
        tables[name] = _checked_table(table, name, path)
    return tables


def _checked_table(table: dict[str, Any], name: str, path: Path) -> dict[str, Any]:
    fields = {f.name: f for f in dataclasses.fields(SECTIONS[name])}
    checked: dict[str, Any] = {}
    for key, value in _by_fields(_with_arguments(table, name)).items():
        where = f"{path}: [{name}] {key}"
        if key not in fields:
            raise UsageError(f"{where}: unknown key; valid: {', '.join(sorted(fields))}")
        checked[key] = _checked_value(fields[key], value, where)
    return checked


def read_flags(table: Mapping[str, Any], where: str, further: Sequence[str] = ()) -> dict[str, Any]:
    """Launch flags as a TOML table gives them, of all sections together: field -> value.

    A key is a flag's name without its leading dashes. where: the table, for messages. further: keys
    of such a table that the caller reads itself. Raises `UsageError` for an unknown key, which
    names the nearest ones, or a wrong type.
    """
    fields = {f.name: f for cls in SECTIONS.values() for f in dataclasses.fields(cls)}
    found: dict[str, Any] = {}
    for key, value in _by_fields({k.replace("-", "_"): v for k, v in table.items()}).items():
        if key not in fields:
            others = (flag[2:].replace("-", "_") for o in OTHER_NAMES.values() for flag, _, _ in o)
            names = sorted({*fields, *others, *further})
            near = difflib.get_close_matches(key, names, n=3)
            raise UsageError(f"{where} {key}: unknown flag; valid: {', '.join(near or names)}")
        found[key] = _checked_value(fields[key], value, f"{where} {key}")
    return found


def _checked_value(field: "dataclasses.Field[Any]", value: Any, where: str) -> Any:
    """A value of a TOML file as the field holds it. Raises `UsageError` for a wrong type."""
    kind, many = _scalar(field.type)
    if kind is float and type(value) is int:
        value = float(value)
    if field.name in PLAIN_NUMBERS and type(value) is int:
        value = str(value)
    values = value if many and isinstance(value, list) else [value]
    if many is not isinstance(value, list) or any(type(v) is not kind for v in values):
        wanted = f"a list of {kind.__name__}" if many else kind.__name__
        raise UsageError(f"{where} = {value!r}: expected {wanted}")
    return tuple(value) if many else value


def _with_arguments(table: dict[str, Any], name: str) -> dict[str, Any]:
    """With the table [engine.args] in the words of --engine-arg: key=value each."""
    if name != "engine" or not isinstance(table.get("args"), dict):
        return table
    given = [f"{key}={json.dumps(value)}" for key, value in table["args"].items()]
    rest = {key: value for key, value in table.items() if key != "args"}
    return rest | {"engine_arg": [*rest.get("engine_arg", []), *given]}


def _scalar(annotation: Any) -> tuple[type, bool]:
    """The scalar type of a field, and whether the field holds a tuple of such values."""
    if isinstance(annotation, UnionType):
        (annotation,) = (a for a in get_args(annotation) if a is not NoneType)
    if get_origin(annotation) is tuple:
        return get_args(annotation)[0], True
    if get_origin(annotation) is Literal:
        return str, False
    return annotation, False
