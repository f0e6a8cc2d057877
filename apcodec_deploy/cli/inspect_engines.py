"""What ``apcodec inspect`` says of engines. Needs neither a GPU nor TensorRT: everything stands in the manifest."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from apcodec_deploy.engines.manifest import MANIFEST, Engine
from apcodec_deploy.engines.store import StoredSet
from apcodec_deploy.errors import EngineError


def is_engines(path: Path) -> bool:
    """Whether a path is a set of engines, its manifest, or one engine of it."""
    return os.path.isfile(path / MANIFEST) or path.name == MANIFEST or path.suffix == ".engine"


def describe_engines(path: Path) -> dict[str, Any]:
    """The facts of a set, or of one engine, after its checksum was compared with the manifest.

    Raises:
        EngineError: An engine is missing, cut, edited, or not the set's.
    """
    stored = StoredSet.open(path if path.is_dir() else path.parent)
    manifest = stored.manifest
    chosen = manifest.engines
    if path.suffix == ".engine":
        chosen = tuple(engine for engine in manifest.engines if engine.file == path.name)
        if not chosen:
            raise EngineError(f"{path} is not named by the {MANIFEST} beside it; build the engines again")
    for engine in chosen:
        stored.read(engine)
    identity = manifest.identity
    facts: dict[str, Any] = {
        "kind": "engines",
        "model": manifest.bundle,
        "fingerprint": manifest.fingerprint,
        "flavour": identity.flavour,
        "version": identity.version,
        "precision": identity.precision,
        "target": str(identity.target),
        "driver_cuda": manifest.driver,
        "built": manifest.built,
        "flags": dict(identity.flags),
        "graphs": dict(identity.graphs),
        "profile": identity.profile.name,
        "cuda_graphs": identity.profile.cuda_graphs,
    }
    for index, shapes in enumerate(identity.profile.shapes):
        facts[f"profile_{index}"] = {"batch": list(shapes.batch), "latents": list(shapes.latents)}
    for engine in chosen:
        facts[engine.name] = _describe(engine)
    return facts | {"notes": list(manifest.notes)}


def _describe(engine: Engine) -> dict[str, Any]:
    bindings = {
        f"{'output' if binding.output else 'input'} {binding.name}": f"{binding.dtype} {list(binding.dims)}"
        for binding in engine.bindings
    }
    layers = {
        kind.lower(): ", ".join(f"{count} {dtype}" for dtype, count in counts.items())
        for kind, counts in engine.audit.items()
    }
    return {
        "file": engine.file,
        "bytes": engine.size,
        "sha256": engine.sha256,
        "precision": engine.precision,
        "build_seconds": engine.build_seconds,
        "check": engine.check or "not run: no GPU at the build",
        **bindings,
        **layers,
    }
