"""The description of a set of engines: what it was built from, with what, for what; and what each engine is.

Everything is checked against it *before* an engine is handed to TensorRT: an engine is native code, and one that was
built by another version or for another GPU can crash the process or give silence.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from apcodec_deploy.engines.flavour import flavour_named
from apcodec_deploy.engines.profile import Profile
from apcodec_deploy.errors import EngineError
from apcodec_deploy.families import DECODE, ENCODE
from apcodec_deploy.precision import FLOAT32, ON_GPU
from apcodec_deploy.signatures import GraphSignature

FORMAT = "apcodec-engines"
FORMAT_VERSION = 1
MANIFEST = "engines.json"
FUSED = {"encode": ENCODE, "decode": DECODE}
"""The graphs of each direction, in the order in which they run: one engine of three graphs, or three of one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The GPUs that engines run on: one kind, or for engines compiled ahead of time whole generations.

    Attributes:
        gpu: The name of the kind; None ahead of time.
        compute_capabilities: Like ``8.9``.
    """

    gpu: str | None
    compute_capabilities: tuple[str, ...]

    def refusal(self, gpu: str, compute_capability: str) -> str | None:
        """Why engines for this target do not run on a GPU, or None where they do."""
        if self.gpu is not None and self.gpu != gpu:
            return f"built for {self.gpu}, this is {gpu}"
        if compute_capability not in self.compute_capabilities:
            held = ", ".join(self.compute_capabilities)
            return f"built for compute capability {held}, {gpu} has {compute_capability}"
        return None

    def __str__(self) -> str:
        return self.gpu or f"compute capability {', '.join(self.compute_capabilities)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """All that decides what engines are; sets of one identity are interchangeable.

    Attributes:
        graphs: SHA-256 of the graphs, by file.
        flavour: ``tensorrt`` or ``rtx``.
        version: Its full version.
        precision: Of the networks, as asked for.
        parts: Whether each graph is an engine of its own.
        profile: What they take.
        target: What they run on.
        flags: How the builder was set.
    """

    graphs: Mapping[str, str]
    flavour: str
    version: str
    precision: str
    parts: bool
    profile: Profile
    target: Target
    flags: Mapping[str, Any]

    def differences(self, wanted: Identity) -> list[str]:
        """Why a set of this identity is not the one that is wanted, in words; empty if it is."""
        same_precision = self.precision == wanted.precision
        found = graph_differences(self.graphs, wanted.graphs) if same_precision else []
        if (self.flavour, self.version) != (wanted.flavour, wanted.version):
            pair = [f"{flavour_named(each.flavour).title} {each.version}" for each in (self, wanted)]
            found.append(f"built with {pair[0]}, {pair[1]} is here")
        for name in ("precision", "parts", "target"):
            if (held := getattr(self, name)) != (other := getattr(wanted, name)):
                found.append(f"{name} is {held}, {other} is wanted")
        if self.profile != wanted.profile:
            same = self.profile.name == wanted.profile.name
            found.append(
                f"profile {self.profile.name} has changed"
                if same
                else f"profile is {self.profile.name}, {wanted.profile.name} is wanted"
            )
        if self.flags != wanted.flags:
            found.append(f"flags are {dict(self.flags)}, {dict(wanted.flags)} are wanted")
        return found

    def to_dict(self) -> dict[str, Any]:
        """For the manifest."""
        return {**asdict(self), "profile": self.profile.to_dict()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Identity:
        """From the manifest."""
        target = Target(
            gpu=values["target"]["gpu"], compute_capabilities=tuple(values["target"]["compute_capabilities"])
        )
        flavour_named(values["flavour"])
        if values["precision"] not in ON_GPU or not target.compute_capabilities:
            raise EngineError(f"precision {values['precision']!r} for {target} makes no set")
        return cls(**{**values, "profile": Profile.from_dict(values["profile"]), "target": target})


def graph_differences(held: Mapping[str, str], wanted: Mapping[str, str]) -> list[str]:
    """Graphs that are others than those an engine was built from, in words."""
    changed = sorted(file for file in held.keys() | wanted.keys() if held.get(file) != wanted.get(file))
    return [f"{', '.join(changed)} changed since"] if changed else []


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """An input or output of an engine: its name, numpy element type, and axes, a name for each dynamic one."""

    name: str
    output: bool
    dtype: str
    dims: tuple[int | str, ...]

    def shape(self, axes: Mapping[str, int]) -> tuple[int, ...]:
        """The shape for given sizes of the dynamic axes."""
        return tuple(axes[dim] if isinstance(dim, str) else dim for dim in self.dims)


def bindings_of(first: GraphSignature, last: GraphSignature) -> tuple[Binding, ...]:
    """What goes into the first and out of the last of some graphs that follow each other."""
    return tuple(
        Binding(
            name=value.name,
            output=output,
            dtype=value.dtype,
            dims=value.dims,
        )
        for output, values in ((False, first.inputs), (True, last.outputs))
        for value in values
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """One engine of a set.

    Attributes:
        name: ``encode`` or ``decode``, or the graph it was built from.
        file: Beside the manifest.
        size: Bytes.
        sha256: Of the file.
        precision: Of its networks; ``float32`` where a reduced one failed its check.
        bindings: Inputs, then outputs.
        audit: Outputs of the network's layers by kind and type, as the builder was given them.
        build_seconds: How long that took.
        check: The numeric check on a GPU after the build; None where there was none.
    """

    name: str
    file: str
    size: int
    sha256: str
    precision: str
    bindings: tuple[Binding, ...]
    audit: Mapping[str, Mapping[str, int]]
    build_seconds: float
    check: Mapping[str, Any] | None = None

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Engine:
        """From the manifest."""
        bindings = tuple(Binding(**{**held, "dims": tuple(held["dims"])}) for held in values["bindings"])
        engine = cls(**{**values, "bindings": bindings})
        if Path(engine.file).name != engine.file:
            raise EngineError(f"engine {engine.name} is in {engine.file!r}, outside its set")
        return engine


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSet:
    """A manifest.

    Attributes:
        identity: What decides whether it is the set that is wanted.
        bundle: Name of the model.
        fingerprint: Of the model.
        engines: In the order in which they run, by direction.
        driver: CUDA version of the driver it was built under; None where there was none.
        built: When, ISO 8601.
        notes: What the user should know.
    """

    identity: Identity
    bundle: str
    fingerprint: str
    engines: tuple[Engine, ...]
    driver: str | None
    built: str
    notes: tuple[str, ...] = field(default=())

    @classmethod
    def from_json(cls, text: str) -> EngineSet:
        """Read a manifest.

        Raises:
            EngineError: It is no manifest, of a newer format, or damaged.
        """
        try:
            values = json.loads(text)
            stated = values.pop("checksum", None)
            if values["format"] != FORMAT or values["format_version"] != FORMAT_VERSION:
                raise EngineError(
                    f"format {values['format']!r} version {values['format_version']!r}; this program reads {FORMAT} "
                    f"{FORMAT_VERSION}"
                )
            if stated != _checksum(values):
                raise EngineError("it was edited or damaged: its own checksum differs")
            return cls(
                identity=Identity.from_dict(values["identity"]),
                bundle=str(values["bundle"]),
                fingerprint=str(values["fingerprint"]),
                engines=tuple(Engine.from_dict(held) for held in values["engines"]),
                driver=values["driver"],
                built=str(values["built"]),
                notes=tuple(values["notes"]),
            )
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise EngineError(f"it is damaged ({error!r})") from error

    def to_dict(self) -> dict[str, Any]:
        """The manifest as JSON values."""
        return {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "bundle": self.bundle,
            "fingerprint": self.fingerprint,
            "identity": self.identity.to_dict(),
            "driver": self.driver,
            "built": self.built,
            "notes": list(self.notes),
            "engines": [asdict(engine) for engine in self.engines],
        }

    def to_json(self) -> str:
        """The manifest as it stands on disk, with a checksum of itself."""
        values = self.to_dict()
        return json.dumps(values | {"checksum": _checksum(values)}, indent=2) + "\n"

    def checked_on(self, gpu: str) -> bool:
        """Whether every engine passed its check on a kind of GPU; those for several are finished on each of them."""
        return all(engine.check is not None and engine.check.get("gpu") == gpu for engine in self.engines)

    @property
    def precision(self) -> str:
        """What the networks really compute in: ``float32`` where all engines fell back to it."""
        held = {engine.precision for engine in self.engines}
        return self.identity.precision if self.identity.precision in held else FLOAT32

    def chain(self, direction: str) -> tuple[Engine, ...]:
        """The engines of ``encode`` or ``decode``, in the order in which they run.

        Raises:
            EngineError: The manifest lacks one.
        """
        held = {engine.name: engine for engine in self.engines}
        names = FUSED[direction] if self.identity.parts else (direction,)
        if lacking := [name for name in names if name not in held]:
            raise EngineError(f"the set lacks the engine {', '.join(lacking)}; build it again")
        return tuple(held[name] for name in names)


def _checksum(values: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
