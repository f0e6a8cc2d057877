"""What ``apcodec doctor`` reports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from importlib import metadata


class Purpose(StrEnum):
    """What a person wants a part for."""

    CODING = "Audio to codes and back"
    CPU = "Faster on a CPU"
    GPU = "On an NVIDIA GPU"
    EXPORT = "Your own checkpoint"
    BENCH = "Measuring speed and quality"
    TRAIN = "Training a model"
    LIVE = "Through a microphone and a speaker"
    SERVE = "Serving with Triton"
    FILES = "More kinds of files, and clusters"


class State(StrEnum):
    """How a part is."""

    OK = "ok"
    OPTIONAL = "optional"
    """It is not there, and coding audio does not need it."""
    BROKEN = "broken"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        subject: What.
        state: How it is.
        detail: Versions, or what is wrong and the remedy.
        essential: Whether audio cannot be coded where it is broken.
    """

    subject: str
    state: State
    detail: str
    essential: bool = True


Findings = Mapping[Purpose, Sequence[Finding]]


def optional(subject: str, state: State, detail: str) -> Finding:
    """A finding about a part that coding audio does not need."""
    return Finding(subject, state, detail, essential=False)


def version_of(distribution: str) -> str | None:
    """The version of an installed distribution."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None
