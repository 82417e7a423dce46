"""Plain mappings to frozen dataclasses and back: unknown, missing or mistyped keys fail by name."""

from __future__ import annotations

import dataclasses
import math
import types
from collections.abc import Mapping
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from cimbench.datasets.errors import InputError, nearest_name

T = TypeVar("T")


def build(cls: type[T], mapping: object, where: str) -> T:
    """`cls` from a mapping of its fields; InputError names the key (below `where`), its value and the remedy."""
    if not isinstance(mapping, Mapping):
        raise InputError(f"{where} is {mapping!r}; give a mapping of its parameters")
    fields = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    for key in mapping:
        if key not in fields:
            raise InputError(f"{where}.{key} is not a parameter; {nearest_name(str(key), fields) or 'it has none'}")
    for name, field in fields.items():
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if required and name not in mapping:
            raise InputError(f"{where}.{name} is missing; add it to {where}")
    hints = get_type_hints(cls)
    return cls(**{key: convert(hints[key], value, f"{where}.{key}") for key, value in mapping.items()})


def convert(hint: Any, value: object, where: str) -> Any:
    """`value` as the type `hint` asks for: dataclass, optional, tuple, list, dict or scalar."""
    if dataclasses.is_dataclass(hint):
        return build(hint, value, where)  # type: ignore[arg-type]
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        if value is None:
            return None
        return convert(next(a for a in arguments if a is not type(None)), value, where)
    if origin in (tuple, list):
        return _sequence(origin, arguments, value, where)
    if origin is dict:
        if not isinstance(value, Mapping):
            raise InputError(f"{where} is {value!r}; give a mapping")
        return {str(key): convert(arguments[1], item, f"{where}.{key}") for key, item in value.items()}
    return _scalar(hint, value, where)


def _sequence(origin: Any, arguments: tuple[Any, ...], value: object, where: str) -> Any:
    if not isinstance(value, list | tuple):
        raise InputError(f"{where} is {value!r}; give a list")
    if origin is tuple and arguments[-1] is not Ellipsis and len(arguments) != len(value):
        raise InputError(f"{where} is {value!r}; give {len(arguments)} values")
    hints = [arguments[0]] * len(value) if origin is list or arguments[-1] is Ellipsis else list(arguments)
    return origin(convert(h, v, f"{where}[{i}]") for i, (h, v) in enumerate(zip(hints, value, strict=True)))


def _scalar(hint: Any, value: object, where: str) -> Any:
    if hint is Any:
        return value
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        if not math.isfinite(value):
            raise InputError(f"{where} is {value}; give a finite number")
        return float(value)
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        kinds = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}
        hint_text = kinds.get(hint, str(hint))
        quoting = " (quote it in YAML)" if hint is str else ""
        raise InputError(f"{where} is {value!r}; give {hint_text}{quoting}")
    return value
