"""Frozen dataclasses as JSON, and back.

A record is an object, a k that is a key is a string, and None is null. Numbers are finite.
"""

import dataclasses
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints


def as_json(value: Any) -> Any:
    """What `json.dumps` takes: records as objects, k's as strings."""
    if dataclasses.is_dataclass(value):
        return {_key(f): as_json(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(k): as_json(v) for k, v in value.items()}
    if isinstance(value, tuple):
        return [as_json(v) for v in value]
    return value


def _key(field: "dataclasses.Field[Any]") -> str:
    """Its name in JSON: `from_` is "from", a word that Python keeps for itself."""
    return field.name.rstrip("_")


def of_json(kind: Any, value: Any, where: str) -> Any:
    """`value` of a JSON file as `kind`; `ValueError` names the place where it is something else."""
    origin, inner = get_origin(kind), get_args(kind)
    if dataclasses.is_dataclass(kind) and isinstance(value, dict):
        return _record(kind, value, where)
    if origin is dict and isinstance(value, dict):
        return {inner[0](k): of_json(inner[1], v, f"{where}.{k}") for k, v in value.items()}
    if origin is tuple and isinstance(value, list):
        return tuple(of_json(inner[0], v, where) for v in value)
    if origin is UnionType:
        # What comes first is tried where no type is the value's own: an object, an int as a float.
        own = [k for k in inner if k is type(value)]
        return of_json((own or inner)[0], value, where)
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:
        raise ValueError(f"{where} is {str(value)[:40]!r}")
    return value


def _record(kind: Any, found: dict[str, Any], where: str) -> Any:
    hints, values = get_type_hints(kind), {}
    for field in dataclasses.fields(kind):
        key = _key(field)
        if key in found:
            values[field.name] = of_json(hints[field.name], found[key], f"{where}: {key}")
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise ValueError(f"{where} lacks {key!r}")
    return kind(**values)
