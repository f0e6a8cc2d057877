"""Optimisation profiles as small TOML files, and what they come to for one model.

cuda_graphs = false               # record calls of the usual shape once and replay them

[[shapes]]                        # one optimisation profile of the engine; several are tried in order
batch = [1, 8, 32]                # clips at a time: least, usual, greatest
latents = [1, "window", "20 s"]   # of each clip: a number, what the model sees at a time by default, or seconds
"""

from __future__ import annotations

import os
import re
import tomllib
from importlib import resources
from pathlib import Path
from typing import Any

from apcodec_deploy.engines.profile import Profile, Range, Shapes
from apcodec_deploy.errors import EngineError
from apcodec_deploy.precision import AUTO
from apcodec_deploy.spec import ModelSpec
from apcodec_deploy.windows import MAX_LATENTS

_KEYS = {"shapes", "cuda_graphs"}
_SHIPPED = resources.files("apcodec_engines") / "profiles"


def shipped_profiles() -> list[str]:
    """The names of the profiles that come with this package."""
    return sorted(file.name.removesuffix(".toml") for file in _SHIPPED.iterdir() if file.name.endswith(".toml"))


def load_profile(name: str, spec: ModelSpec) -> Profile:
    """Read a profile by its name, or from a TOML file, and resolve it for a model; ``auto`` is the model's own.

    Raises:
        EngineError: There is no such profile or file, or it does not fit the model.
    """
    if name == AUTO:
        name = spec.engine_profile
    if name in shipped_profiles():
        return resolve(name, (_SHIPPED / f"{name}.toml").read_text(encoding="utf-8"), spec)
    path = Path(name)
    if not os.path.isfile(path):
        raise EngineError(
            f"there is no profile {name!r}; name one of {', '.join(shipped_profiles())}, or a TOML file like theirs"
        )
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise EngineError(f"{path} cannot be read: {error}") from error
    return resolve(path.stem, text, spec)


def resolve(name: str, text: str, spec: ModelSpec) -> Profile:
    """A profile's TOML for one model.

    Raises:
        EngineError: The text is no profile, or asks for more than the model can be run on.
    """
    try:
        values = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise EngineError(f"profile {name} is not TOML: {error}") from error
    if unknown := sorted(values.keys() - _KEYS):
        raise EngineError(f"profile {name} has unknown keys {', '.join(unknown)}; expected {', '.join(sorted(_KEYS))}")
    cuda_graphs = values.get("cuda_graphs", False)
    if type(cuda_graphs) is not bool:
        raise EngineError(f"profile {name}: cuda_graphs is {cuda_graphs!r}; true or false is expected")
    held = values.get("shapes", [])
    if not isinstance(held, list) or not all(isinstance(each, dict) and each.keys() == _AXES for each in held):
        raise EngineError(f"profile {name}: each of [[shapes]] has the keys batch and latents, and no others")
    shapes = tuple(_shapes(f"profile {name}", each, spec) for each in held)
    return Profile(name=name, shapes=shapes, cuda_graphs=cuda_graphs)


_AXES = {"batch", "latents"}


def _shapes(label: str, values: dict[str, Any], spec: ModelSpec) -> Shapes:
    latents = values["latents"]
    if isinstance(latents, list):
        latents = [_latents(f"{label}: latents", value, spec) for value in latents]
    found = Shapes(Range.of(f"{label}: batch", values["batch"]), Range.of(f"{label}: latents", latents))
    if found.latents.greatest > MAX_LATENTS:
        raise EngineError(f"{label}: {found.latents.greatest} latents at once; {MAX_LATENTS} are the most")
    return found


def _latents(label: str, value: object, spec: ModelSpec) -> object:
    """A number of latents from what may stand for one."""
    if not isinstance(value, str):
        return value
    if value == "window":
        return spec.layout().length
    if match := re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?) s", value):
        return max(1, round(float(match[1]) * spec.latent_rate))
    raise EngineError(f"{label} holds {value!r}; a whole number, 'window' or seconds like '20 s' is expected")
