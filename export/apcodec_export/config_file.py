"""A model's ``config.json`` as people have it: what it holds of the published keys, wherever and however it is written.

Taken as well: a byte order mark, comments and trailing commas, keys under other keys, numbers written as strings.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from apcodec_deploy.disguise import disguise
from apcodec_deploy.errors import CheckpointError
from apcodec_export.foreign_files import first_bytes
from apcodec_export.published import CONFIG_KEYS

_MARKS = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
_STRING = r'"(?:\\.|[^"\\])*"'
_COMMENT = re.compile(rf"({_STRING})|//[^\n]*|#[^\n]*|/\*.*?\*/", re.DOTALL)
_LAST_COMMA = re.compile(rf"({_STRING})|,(?=\s*[}}\]])")
_TO_JSON = 'python -c "import json, sys, yaml; json.dump(yaml.safe_load(sys.stdin), sys.stdout)" < old > config.json'


def read_config(path: Path) -> tuple[dict[str, Any], list[str]]:
    """The published keys of a config, and what the user should know of how they were found.

    Raises:
        CheckpointError: It cannot be read, or one key has two values; the message says what the file is.
    """
    text = _read_text(path)
    notes: list[str] = []
    try:
        config = json.loads(text)
    except RecursionError as error:
        raise CheckpointError(f"{path} cannot be read as JSON: too many brackets stand in each other") from error
    except ValueError as error:
        config = _relaxed(text)
        if config is None:
            raise CheckpointError(f"{path} cannot be read as JSON: {_looks(text) or error}") from error
        notes.append(f"{path.name} is JSON with comments or trailing commas, which were left out")
    if not isinstance(config, dict):
        raise CheckpointError(f"{path} holds a {type(config).__name__}; a JSON object is expected")
    found, places = _gathered(path, config)
    if places:
        notes.append(f"{path.name}: numbers were taken from under {', '.join(sorted(places))}")
    numbers = {key: _number(value) for key, value in found.items()}
    if written := sorted(key for key, value in numbers.items() if value is not found[key]):
        notes.append(f"{path.name}: {', '.join(written)} are not written as whole numbers, and were read as such")
    return config | numbers, notes


def _read_text(path: Path) -> str:
    advice = "copy the config.json that the model was trained with"
    try:
        if reason := disguise(first_bytes(path)):
            raise CheckpointError(f"{path} cannot be read as JSON: {reason}")
        data = path.read_bytes()
        return data.decode(_MARKS.get(data[:2], "utf-8-sig"))
    except FileNotFoundError as error:
        raise CheckpointError(f"{path} cannot be read as JSON: it does not exist; {advice}") from error
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read as JSON: {error.strerror or error}; {advice}") from error
    except UnicodeDecodeError as error:
        raise CheckpointError(f"{path} cannot be read as JSON: it is no text; {advice}") from error


def _relaxed(text: str) -> Any:
    """The same without comments and trailing commas; None where it is no JSON for all that."""
    plain = _COMMENT.sub(lambda found: found[1] or "", text)
    try:
        return json.loads(_LAST_COMMA.sub(lambda found: found[1] or "", plain))
    except (ValueError, RecursionError):
        return None


def _looks(text: str) -> str | None:
    """What a text is that is no JSON."""
    lines = (line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#"))
    first = next(lines, "")
    if first.strip() == "---" or re.match(r"[\w\"'.-]+\s*:(\s|$)", first):
        return f"it is YAML; write it as JSON, for example: {_TO_JSON}"
    if re.match(r"\[[\w.-]+\]\s*$|[\w.-]+\s*=", first):
        return "it is TOML or INI; write its numbers as a JSON object"
    return None


def _gathered(path: Path, config: Mapping[str, Any]) -> tuple[dict[str, Any], set[str]]:
    """The published keys of a config, and under which keys those stood that were not at the top.

    What stands at the top is meant; below, one key has one value.
    """
    found = {key: config[key] for key in CONFIG_KEYS if key in config}
    places: dict[str, dict[str, Any]] = {}
    for place, key, value in _nested(config, ()):
        if key in CONFIG_KEYS and key not in found:
            places.setdefault(key, {})[place] = value
    for key, values in places.items():
        if len(set(map(json.dumps, values.values()))) > 1:
            listing = ", ".join(f"{place}.{key} = {value!r}" for place, value in values.items())
            raise CheckpointError(f"{path} has several values for {key} ({listing}); keep the one that is meant")
    taken = {key: next(iter(values.values())) for key, values in places.items()}
    return found | taken, {place for values in places.values() for place in values}


def _nested(config: Mapping[str, Any], above: tuple[str, ...]) -> Iterator[tuple[str, str, Any]]:
    """Every key below the top, with the keys above it."""
    for key, value in config.items():
        if isinstance(value, Mapping):
            yield from _nested(value, (*above, key))
        elif above:
            yield ".".join(above), key, value


def _number(value: Any) -> Any:
    """A whole number that is written as a string or with a point, as a whole number; everything else as it is."""
    if isinstance(value, str) and re.fullmatch(r"\s*\d+(\.0*)?\s*", value):
        return int(float(value))
    return int(value) if isinstance(value, float) and value.is_integer() else value
