"""A study file: many runs as a cross product of lists and tables, further runs, and exclusions.

`[all]` holds launch flags of every run. Each key of `[cross]` is an axis: a list whose values are
combined with those of all other axes. A value is one of two things:

- a plain value: of the launch flag that the axis is named after;
- a table: several launch flags that go together, with a `name`.

`[[run]]` adds a run beside the product. `[[exclude]]` takes those out of it that have all of its
values. Whatever is wrong is a `UsageError` that names the place. Nothing of a run is read here.
"""

import difflib
import itertools
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from toolkit.errors import UsageError
from toolkit.resolve import read_flags

TABLES = ("study", "all", "cross", "run", "exclude")
RUN_KEYS = ("name", "preset", "run")
"""Keys of a run's tables that are no knob of a configuration."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The table `[study]`: what holds for the study as a whole.

    runs: where the runs are. directory: of the study's own record and comparison; "" for
    `campaigns/` and the name of the file. max_parallel: sampling array tasks at the same time, of
    all runs together. max_gpu_hours: no run starts once so many are spent. usd_per_gpu_hour: the
    price of what runs on GPUs. None stands for no bound.
    """

    runs: str = "runs"
    directory: str = ""
    max_parallel: int | None = None
    max_gpu_hours: float | None = None
    usd_per_gpu_hour: float = 2.0


@dataclass(frozen=True, slots=True)
class StudyRun:
    """A run of a study. flags: as the launch command parses them, by the names of the fields.

    preset: "" for none. path: the directory that the study names for it, "" for its own name.
    """

    name: str
    flags: Mapping[str, Any]
    preset: str = ""
    path: str = ""


@dataclass(frozen=True, slots=True)
class Study:
    """A study file, read and checked: its settings and its runs, in the order of the file."""

    file: Path
    settings: Settings
    runs: tuple[StudyRun, ...]

    @property
    def directory(self) -> Path:
        """Where the record and the comparison of the study are."""
        return Path(self.settings.directory or Path("campaigns") / self.file.stem)


@dataclass(frozen=True, slots=True)
class _Value:
    """A value of an axis: its label, what the file says, and the flags that it sets."""

    label: str
    said: Any
    flags: Mapping[str, Any]


def read_study(path: Path) -> Study:
    """Read a study file. Raises `UsageError`, in one line, for anything that is wrong in it."""
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}; give a study file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: not TOML: {error}") from None
    for name in raw:
        if name not in TABLES:
            raise UsageError(f"{path}: unknown table [{name}]; {_nearest(name, TABLES)}")
    common = _table(raw.get("all", {}), f"{path}: [all]")
    settings = _settings(_table(raw.get("study", {}), f"{path}: [study]"), path)
    found = [*_product(raw, common, path), *_further(raw, common, path)]
    if not found:
        raise UsageError(f"{path}: plans no run; give it a table [cross], or [[run]] tables")
    _refuse_clashes(found, path)
    return Study(path, settings, tuple(found))


def _settings(table: Mapping[str, Any], path: Path) -> Settings:
    kinds: dict[str, tuple[type, str]] = {
        "runs": (str, "a text"),
        "directory": (str, "a text"),
        "max_parallel": (int, "a whole number, 1 or more"),
        "max_gpu_hours": (float, "a number over 0"),
        "usd_per_gpu_hour": (float, "a number over 0"),
    }
    found: dict[str, Any] = {}
    for key, value in table.items():
        where = f"{path}: [study] {key}"
        if key not in kinds:
            raise UsageError(
                f"{where}: unknown key; {_nearest(key, [f.name for f in fields(Settings)])}"
            )
        kind, wanted = kinds[key]
        value = float(value) if kind is float and type(value) is int else value
        number = isinstance(value, (int, float)) and 0 < value < float("inf")
        if type(value) is not kind or not (kind is str or number):
            raise UsageError(f"{where} = {value!r}: expected {wanted}")
        found[key] = value
    if "max_gpu_hours" in found and "max_parallel" not in found:
        raise UsageError(
            f"{path}: [study] max_gpu_hours: give max_parallel too; runs that all start at once "
            "cannot be kept from starting"
        )
    return Settings(**found)


def _product(raw: Mapping[str, Any], common: Mapping[str, Any], path: Path) -> Iterator[StudyRun]:
    """The runs of `[cross]`, without those that an `[[exclude]]` takes out."""
    cross = _table(raw.get("cross", {}), f"{path}: [cross]")
    axes = {name: _axis(name, values, path) for name, values in cross.items()}
    excluded = list(_exclusions(raw, axes, path))
    hits = [0] * len(excluded)
    for combination in itertools.product(*axes.values()) if axes else ():
        chosen = dict(zip(axes, combination, strict=True))
        matches = [
            all(chosen[axis].label in labels for axis, labels in x.items()) for x in excluded
        ]
        hits = [n + hit for n, hit in zip(hits, matches, strict=True)]
        if not any(matches):
            name = "-".join(value.label for value in combination)
            _refuse_set_twice(chosen, f"{path}: [cross]")
            flags = {k: v for value in combination for k, v in value.flags.items()}
            yield _study_run({**common, **flags, "name": name}, f"{path}: run {name}")
    for i, count in enumerate(hits, start=1):
        if not count:
            raise UsageError(f"{path}: [[exclude]] {i}: no run has these values together")


def _axis(name: str, values: Any, path: Path) -> list[_Value]:
    where = f"{path}: [cross] {name}"
    if not isinstance(values, list) or not values:
        raise UsageError(f"{where}: give a list of values, or [[cross.{name}]] tables")
    found = []
    for i, value in enumerate(values, start=1):
        if isinstance(value, dict):
            if "name" not in value:
                raise UsageError(f"{where}, value {i}: a table needs a `name`")
            flags = {k: v for k, v in _table(value, where).items() if k != "name"}
            found.append(_Value(_slug(value["name"]), value["name"], flags))
        else:
            found.append(_Value(_label(name, value), value, {name: value}))
        # A wrong key is named here, and not once for each run that has it.
        _study_run({**found[-1].flags, "name": found[-1].label}, f"{where}, value {i}:")
    labels = [value.label for value in found]
    if twice := next((label for label in labels if labels.count(label) > 1), ""):
        raise UsageError(f"{where}: two values would be named {twice}; give them other names")
    return found


def _exclusions(
    raw: Mapping[str, Any], axes: Mapping[str, Sequence[_Value]], path: Path
) -> Iterator[dict[str, set[str]]]:
    """Of each `[[exclude]]`: axis -> the labels of the values that it names."""
    for i, table in enumerate(_tables(raw, "exclude", path), start=1):
        where, found = f"{path}: [[exclude]] {i}", dict[str, set[str]]()
        if not table:
            raise UsageError(f"{where}: names no value")
        for axis, wanted in table.items():
            if axis not in axes:
                raise UsageError(
                    f"{where}: no axis {axis} in [cross]; {_nearest(axis, list(axes))}"
                )
            found[axis] = set()
            for one in wanted if isinstance(wanted, list) else [wanted]:
                named = [v.label for v in axes[axis] if one in (v.said, v.label)]
                if not named:
                    valid = [str(v.said) for v in axes[axis]]
                    raise UsageError(
                        f"{where} {axis} = {one!r}: no such value; {_nearest(str(one), valid)}"
                    )
                found[axis] |= {*named}
        yield found


def _further(raw: Mapping[str, Any], common: Mapping[str, Any], path: Path) -> Iterator[StudyRun]:
    for i, table in enumerate(_tables(raw, "run", path), start=1):
        where = f"{path}: [[run]] {i}"
        if "name" not in table:
            raise UsageError(f"{where}: needs a `name`")
        yield _study_run({**common, **table, "name": _slug(table["name"])}, where)


def _study_run(table: Mapping[str, Any], where: str) -> StudyRun:
    own = {key: table[key] for key in RUN_KEYS if key in table}
    for key, value in own.items():
        if not isinstance(value, str) or not value:
            raise UsageError(f"{where} {key} = {value!r}: expected a text")
    flags = {key: value for key, value in table.items() if key not in RUN_KEYS}
    read = read_flags(flags, where, further=RUN_KEYS)
    return StudyRun(own["name"], read, own.get("preset", ""), own.get("run", ""))


def _refuse_set_twice(chosen: Mapping[str, _Value], where: str) -> None:
    """Raise `UsageError` where two axes set the same flag: which one holds is not said."""
    by: dict[str, str] = {}
    for axis, value in chosen.items():
        for key in value.flags:
            if key in by:
                raise UsageError(f"{where}: {by[key]} and {axis} both set {key}; leave one out")
            by[key] = axis


def _refuse_clashes(runs: Sequence[StudyRun], path: Path) -> None:
    """Raise `UsageError` for two runs of the same name, or of the same directory."""
    names, paths = set[str](), dict[str, str]()
    for run in runs:
        if run.name in names:
            raise UsageError(f"{path}: two runs are named {run.name}; give one another name")
        names.add(run.name)
        if run.path and (other := paths.setdefault(run.path, run.name)) != run.name:
            raise UsageError(f"{path}: {other} and {run.name}: both have the directory {run.path}")


def _table(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise UsageError(f"{where}: expected a table")
    return {key.replace("-", "_"): each for key, each in value.items()}


def _tables(raw: Mapping[str, Any], name: str, path: Path) -> list[Mapping[str, Any]]:
    found = raw.get(name, [])
    if not isinstance(found, list):
        raise UsageError(f"{path}: [{name}]: write [[{name}]], once for each")
    return [_table(each, f"{path}: [[{name}]]") for each in found]


def _label(axis: str, value: Any) -> str:
    """A short name of a plain value: a text's last part, else the axis and the value."""
    if isinstance(value, str) and value:
        return _slug(Path(value).name.removesuffix(".toml"))
    if isinstance(value, bool):
        return axis if value else f"no_{axis}"
    shown = "-".join(map(str, value)) if isinstance(value, list) else value
    return _slug(f"{axis}_{shown}")


def _slug(text: Any) -> str:
    """In letters that file names and Slurm's lists take."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", str(text)).strip("-") or "run"


def _nearest(word: str, valid: Sequence[str]) -> str:
    near = difflib.get_close_matches(word, valid, n=3)
    return f"valid: {', '.join(near or valid)}"
