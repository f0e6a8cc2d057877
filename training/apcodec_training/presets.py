"""Where a run's config comes from: a preset, and what a file changes of it."""

from __future__ import annotations

import json
import tomllib
from importlib import resources
from pathlib import Path
from typing import Any

from apcodec_deploy.errors import TrainingError
from apcodec_training.config import TrainingConfig

PRESETS = ("demo", "demo-s", "paper", "paper-s")
_STREAMABLE = "-s"
"""Ends the name of a preset for the streamable model of the same widths."""


def preset(name: str) -> TrainingConfig:
    """A preset: ``paper`` (the published recipe) or ``demo`` (small compute); with ``-s`` of the streamable model.

    Raises:
        TrainingError: There is none of that name.
    """
    if name not in PRESETS:
        raise TrainingError(f"there is no preset {name!r}; there are {', '.join(PRESETS)}")
    config = TrainingConfig()
    base = name.removesuffix(_STREAMABLE)
    for part in (base, "streamable") if base != name else (base,):
        text = resources.files("apcodec_training").joinpath("presets", f"{part}.toml").read_text(encoding="utf-8")
        config = config.changed(tomllib.loads(text), f"preset {part}")
    return config


def read_config(path: Path) -> dict[str, Any]:
    """The sections of a ``.toml`` or ``.json`` file.

    Raises:
        TrainingError: It cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")  # as Notepad writes it
        values = json.loads(text) if path.suffix.lower() == ".json" else tomllib.loads(text)
    except (OSError, ValueError, RecursionError) as error:
        raise TrainingError(f"{path} cannot be read as a config: {error}") from error
    if not isinstance(values, dict):
        raise TrainingError(f"{path} holds a {type(values).__name__}; sections of keys are expected")
    return values
