"""Sections of keys, as a TOML file has them, put into frozen dataclasses: known keys, right types, sensible values."""

from __future__ import annotations

import math
from dataclasses import fields, is_dataclass
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from apcodec_deploy.errors import TrainingError

Section = TypeVar("Section")


def changed(section: Section, values: Any, where: str) -> Section:
    """A dataclass with some of its values replaced, those of dataclasses in it as well.

    Args:
        section: The dataclass; what checks it stands in its ``__post_init__``.
        values: A dictionary of its keys.
        where: What messages call it.

    Raises:
        TrainingError: A key is unknown, or a value is of the wrong type or out of range.
    """
    if not isinstance(values, dict):
        raise TrainingError(f"{where} is {values!r}; a section of keys is expected")
    hints = get_type_hints(type(section))
    names = [each.name for each in fields(section)]  # type: ignore[arg-type]
    if unknown := sorted(values.keys() - set(names)):
        raise TrainingError(f"{where} has no {', '.join(unknown)}; it knows {', '.join(names)}")
    made = {name: getattr(section, name) for name in names}
    for name, value in values.items():
        if is_dataclass(made[name]):
            made[name] = changed(made[name], value, f"{where}: {name}")
        else:
            made[name] = _typed(value, hints[name], f"{where}: {name}")
    try:
        return type(section)(**made)
    except TrainingError as error:
        raise TrainingError(f"{where}: {error}") from None


def _typed(value: Any, kind: Any, where: str) -> Any:
    """A value of a file as a field's type, or an error."""
    if get_origin(kind) is Literal:
        if value not in get_args(kind):
            raise TrainingError(f"{where} is {value!r}; one of {', '.join(map(str, get_args(kind)))} is expected")
        return value
    if get_origin(kind) is tuple:
        inner = get_args(kind)
        if not isinstance(value, (list, tuple)):
            raise TrainingError(f"{where} is {value!r}; a list is expected")
        kinds = [inner[0]] * len(value) if inner[-1] is Ellipsis else list(inner)
        if len(value) != len(kinds):
            raise TrainingError(f"{where} is {value!r}; {len(kinds)} values are expected")
        return tuple(_typed(each, one, where) for each, one in zip(value, kinds, strict=True))
    if get_origin(kind) is dict:
        if not isinstance(value, dict):
            raise TrainingError(f"{where} is {value!r}; a section of keys is expected")
        return {name: _typed(each, get_args(kind)[1], f"{where}: {name}") for name, each in value.items()}
    if kind is float and type(value) is int and abs(value) < 2**63:
        return float(value)
    if type(value) is not kind or (kind is float and not math.isfinite(value)):
        raise TrainingError(f"{where} is {value!r}; a value of type {getattr(kind, '__name__', kind)} is expected")
    return value


def positive(section: Any, *names: str, zero: bool = False) -> None:
    """Refuse values that are negative, or zero unless that is allowed.

    Raises:
        TrainingError: One is.
    """
    for name in names:
        value = getattr(section, name)
        if value < 0 or (value == 0 and not zero):
            least = "0 or more" if zero else "more than 0"
            raise TrainingError(f"{name} is {value}; {least} is expected")
