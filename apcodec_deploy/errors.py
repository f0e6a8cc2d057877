"""Every error that this project raises on purpose.

    ApcodecError
    ├── AudioError               audio that cannot be read, coded or written
    ├── BackendError             a backend that does not work here
    │   └── DeviceError          a GPU, or its driver, that does not
    ├── BenchmarkError           a measurement that cannot be made, read or compared
    │   └── ContenderError       a codec that cannot be measured here, fails or dies
    ├── BitstreamError           a .apc file that is damaged, foreign or not one at all
    │   └── ModelMismatchError   codes of another model
    ├── BundleError              a bundle that is incomplete, damaged or too new
    ├── CheckpointError          weights or a config that do not make a known model
    ├── EngineError              an engine that is missing, stale, foreign or damaged
    │   └── BuildError           an engine that could not be built
    ├── ExportError              a graph that could not be made or does not agree with its model
    ├── ManifestError            a job's manifest that is damaged or of a later version
    ├── MissingDependencyError   an optional package that is not installed
    ├── OutputError              a result that cannot be put where it should go
    │   └── ReaderGoneError      whoever read standard output has left
    ├── SessionError             a live stream that is used in a way that cannot work
    ├── ServingError             a request that a server cannot answer, or a model that it cannot serve
    └── TrainingError            a training run that cannot start, or cannot go on

A message says what was found, what was expected and what to do. Only the command line turns these into one line
and an exit code; anything else that is raised is a bug and keeps its traceback.
"""

from __future__ import annotations

import importlib
from types import ModuleType


class ApcodecError(Exception):
    """Any error that this project raises on purpose."""


class AudioError(ApcodecError):
    """Audio that cannot be read, coded or written."""


class BackendError(ApcodecError):
    """A backend that does not work here."""


class DeviceError(BackendError):
    """A GPU, or its driver, that does not work."""


class BenchmarkError(ApcodecError):
    """A measurement that cannot be made, read or compared."""


class ContenderError(BenchmarkError):
    """A codec that cannot be measured here, fails or dies; its row says so, and the others go on."""


class BitstreamError(ApcodecError):
    """A ``.apc`` file that is damaged, foreign or not one at all."""


class ModelMismatchError(BitstreamError):
    """Codes that were made by another model."""


class BundleError(ApcodecError):
    """A bundle that is incomplete, damaged or too new."""


class CheckpointError(ApcodecError):
    """Weights or a config that do not make a known model."""


class EngineError(ApcodecError):
    """An engine that is missing, stale, foreign or damaged."""


class BuildError(EngineError):
    """An engine that could not be built."""


class ExportError(ApcodecError):
    """A graph that could not be made, or that does not agree with its model."""


class ManifestError(ApcodecError):
    """The manifest of an output folder that is damaged, or of a later version."""


class MissingDependencyError(ApcodecError):
    """An optional package that is not installed."""


class OutputError(ApcodecError):
    """A result that cannot be put where it should go."""


class ReaderGoneError(OutputError):
    """Whoever read standard output has left, as ``head`` does once it has its lines. There is nobody to be told."""


class SessionError(ApcodecError):
    """A live stream that is used in a way that cannot work."""


class ServingError(ApcodecError):
    """A request that a server cannot answer, or a model that it cannot serve."""


class TrainingError(ApcodecError):
    """A training run that cannot start, or cannot go on."""


def require(module: str, *, extra: str) -> ModuleType:
    """Import an optional module, or say which extra brings it.

    Args:
        module: Its import name.
        extra: The extra of this distribution that installs it.

    Raises:
        MissingDependencyError: The module, or something that it needs itself, is not installed.
    """
    try:
        return importlib.import_module(module)
    except (ImportError, OSError) as error:  # a package that lacks a shared library can raise either
        raise MissingDependencyError(
            f"{module} cannot be imported ({error}); install it with: pip install 'apcodec-deploy[{extra}]'"
        ) from error
