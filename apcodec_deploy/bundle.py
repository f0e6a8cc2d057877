"""A bundle on disk: a directory with ``model.json`` and one single-file ONNX graph per step of the codec."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from apcodec_deploy.errors import BundleError
from apcodec_deploy.families import read_spec
from apcodec_deploy.precision import EXPORTED, FLOAT32, graph_file
from apcodec_deploy.spec import ModelSpec

FORMAT = "apcodec-bundle"
FORMAT_VERSION = 1
MANIFEST = "model.json"
OPSET = 20
DEMO, STREAMABLE_DEMO = "demo", "demo-s"
EMBEDDED = (DEMO, STREAMABLE_DEMO)
"""The models that ship with this package: APCodec, which is used where none is named, and its streamable sibling."""

# How protobuf writes the key of an external tensor's file name: field 1, eight bytes, then field 2 follows.
_EXTERNAL_DATA = b"\x0a\x08location\x12"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """An exported model.

    Attributes:
        path: Its directory.
        name: What its maker called it.
        fingerprint: Hex SHA-256 of the checkpoint it was made from, whatever the export.
        spec: The model's numbers.
        manifest: All of ``model.json``.
    """

    path: Path
    name: str
    fingerprint: str
    spec: ModelSpec
    manifest: Mapping[str, Any]

    @classmethod
    def embedded(cls, name: str = DEMO) -> Bundle:
        """A demo model that ships with this package: small and briefly trained, for trying the tool.

        Args:
            name: One of ``EMBEDDED``.
        """
        return cls.open(Path(str(resources.files("apcodec_deploy"))) / "bundles" / name)

    @classmethod
    def find(cls, model: str | Path | None) -> Bundle:
        """The model that a user names.

        Args:
            model: A folder, or one of ``EMBEDDED``; a bundle in a folder of that name comes first. None is the
                embedded APCodec.

        Raises:
            BundleError: See ``open``.
        """
        if model is None:
            return cls.embedded()
        return cls.open(model) if os.path.isfile(Path(model) / MANIFEST) else cls.at(str(model))

    @classmethod
    def at(cls, place: str) -> Bundle:
        """What is at a ``place``; folders that are called as an embedded model do not matter.

        Raises:
            BundleError: See ``open``.
        """
        return cls.embedded(place) if place in EMBEDDED else cls.open(place)

    @property
    def place(self) -> str:
        """Where every process of every working directory finds it: one of ``EMBEDDED``, or its absolute path."""
        embedded = (name for name in EMBEDDED if self.path == Bundle.embedded(name).path)
        return next(embedded, os.path.abspath(self.path))

    @classmethod
    def open(cls, path: str | Path) -> Bundle:
        """Read a bundle's ``model.json``; the graphs are read when they are needed.

        Raises:
            BundleError: It is no bundle, an incomplete one, or of a newer format.
        """
        path = Path(path)
        file = path / MANIFEST
        try:
            manifest = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise BundleError(
                f"{path} is not a bundle ({error}); make one with 'apcodec export CHECKPOINT_DIR BUNDLE', "
                f"or name an embedded model: {', '.join(EMBEDDED)}"
            ) from error
        if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
            raise BundleError(f"{file} does not describe a bundle; expected a JSON object with format {FORMAT!r}")
        if (version := manifest.get("format_version")) != FORMAT_VERSION:
            raise BundleError(
                f"{file} has format version {version!r}, this program reads {FORMAT_VERSION}: update it or export anew"
            )
        try:
            fingerprint, held, numbers = str(manifest["fingerprint"]), manifest["graphs"], manifest["spec"]
            spec = _spec(file, numbers)
            missing = [name for name in spec.graphs if not _is_digest(held[name]["sha256"])]
            for variant in manifest.get("variants", {}).values():
                missing += [
                    name
                    for name, graph in variant["graphs"].items()
                    if name not in spec.graphs or not _is_digest(graph["sha256"])
                ]
                missing += [path for path, dtype in variant["plan"]["layers"].items() if not isinstance(dtype, str)]
                missing += [] if type(variant["judgement"]["advised"]) is bool else ["advised"]
        except (KeyError, TypeError, AttributeError) as error:
            raise BundleError(f"{file} is incomplete ({error}); export the checkpoint again") from error
        if missing or not _is_digest(fingerprint):
            raise BundleError(f"{file} is damaged (fingerprint, spec or checksums); export the checkpoint again")
        name = str(manifest.get("name", path.name))
        return cls(path=path, name=name, fingerprint=fingerprint, spec=spec, manifest=manifest)

    @property
    def worst_errors(self) -> dict[str, float]:
        """The largest error of each graph against PyTorch, as its export measured it; empty where that is not told."""
        verification = self.manifest.get("verification")
        checks = verification.get("checks") if isinstance(verification, dict) else None
        held = checks if isinstance(checks, dict) else {}
        return {name: check["worst"] for name, check in held.items() if isinstance(check, dict) and "worst" in check}

    @property
    def precisions(self) -> tuple[str, ...]:
        """What its networks can run in, ``float32`` first."""
        return (FLOAT32, *(name for name in self.manifest.get("variants", {}) if name in EXPORTED))

    def variant(self, precision: str) -> Mapping[str, Any]:
        """What ``model.json`` says of a reduced precision: its ``graphs``, ``plan`` and ``judgement``.

        Raises:
            BundleError: The bundle has no graphs of that precision.
        """
        if precision not in self.precisions[1:]:
            raise BundleError(
                f"{self.path} has no {precision} graphs, only {', '.join(self.precisions)}; export the checkpoint again"
            )
        variant: Mapping[str, Any] = self.manifest["variants"][precision]
        return variant

    def graph_key(self, name: str, precision: str = FLOAT32) -> tuple[str, str]:
        """The file of a graph, and its SHA-256; that of the float32 graph where a precision has none of its own."""
        graphs = self.manifest["graphs"] if precision == FLOAT32 else self.variant(precision)["graphs"]
        if name not in graphs:
            graphs, precision = self.manifest["graphs"], FLOAT32
        return graph_file(name, precision), str(graphs[name]["sha256"])

    def graph(self, name: str, precision: str = FLOAT32) -> bytes:
        """One graph, serialized, after its checksum was compared with ``model.json``.

        Args:
            name: Which of ``spec.graphs``.
            precision: The float32 graph serves where a precision has none of its own: transforms and code search.

        Raises:
            BundleError: It is missing, is not the file that was exported, or keeps weights in other files.
        """
        label, expected = self.graph_key(name, precision)
        data = self.verified(label, expected)
        if _EXTERNAL_DATA in data:
            raise BundleError(f"{self.path / label} keeps weights in other files, which a bundle must not")
        return data

    def verified(self, label: str, expected: str) -> bytes:
        """One of its files, after its SHA-256 was compared.

        Raises:
            BundleError: It is missing, or is not the file that was exported.
        """
        file = self.path / label
        try:
            data = file.read_bytes()
        except OSError as error:
            raise BundleError(f"{file} cannot be read ({error.strerror}); export the checkpoint again") from error
        if (found := hashlib.sha256(data).hexdigest()) != expected:
            raise BundleError(
                f"{file} is not the file that was exported: its SHA-256 is {found[:16]}…, {MANIFEST} says "
                f"{expected[:16]}…; export the checkpoint again"
            )
        return data


def _is_digest(value: object) -> bool:
    return re.fullmatch("[0-9a-f]{64}", str(value)) is not None


def embedded_maker(fingerprint: str) -> str | None:
    """Which of ``EMBEDDED`` a fingerprint begins that of, or None."""
    return next((name for name in EMBEDDED if Bundle.embedded(name).fingerprint.startswith(fingerprint)), None)


def _spec(file: Path, numbers: object) -> ModelSpec:
    if not isinstance(numbers, dict):
        raise BundleError(f"{file} is damaged (fingerprint, spec or checksums); export the checkpoint again")
    try:
        return read_spec(numbers)
    except BundleError as error:
        raise BundleError(f"{file}: {error}; export the checkpoint again") from error
