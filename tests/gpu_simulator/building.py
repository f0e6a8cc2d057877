"""Sets of engines as ``apcodec build`` makes them, with the simulated builder in the place of TensorRT's."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from apcodec_deploy.bundle import Bundle
from apcodec_deploy.engines.manifest import MANIFEST, Engine, EngineSet, Identity, Target
from apcodec_deploy.engines.profile import Profile
from apcodec_deploy.engines.store import StoredSet, graph_keys
from apcodec_deploy.spec import ModelSpec
from apcodec_engines.networks import Network, networks
from apcodec_engines.subprocesses import input_shapes
from gpu_simulator.tensorrt import Shapes, engine_bytes

VERSION = "11.4.0.106"
GPU = "Simulated GPU"


def simulated_engine(network: Network, profile: Profile, spec: ModelSpec) -> bytes:
    """The simulated builder's engine for a network."""
    shapes: Shapes = [input_shapes(network, each, spec) for each in profile.shapes]
    return engine_bytes(network.model, shapes)


def simulated_set(
    bundle: Bundle,
    path: Path,
    profile: Profile,
    *,
    precision: str = "float32",
    parts: bool = False,
    flavour: str = "tensorrt",
    **identity: Any,
) -> StoredSet:
    """Write a set of engines for the simulated GPU."""
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    engines = []
    for network in networks(bundle, precision, parts=parts):
        data = simulated_engine(network, profile, bundle.spec)
        (path / f"{network.name}.engine").write_bytes(data)
        engines.append(
            Engine(
                name=network.name,
                file=f"{network.name}.engine",
                size=len(data),
                sha256=hashlib.sha256(data).hexdigest(),
                precision=precision,
                bindings=network.bindings,
                audit={},
                build_seconds=0.0,
            )
        )
    values: dict[str, Any] = {
        "graphs": graph_keys(bundle, precision),
        "flavour": flavour,
        "version": VERSION,
        "precision": precision,
        "parts": parts,
        "profile": profile,
        "target": Target(gpu=GPU, compute_capabilities=("8.9",)),
        "flags": {"tf32": False},
    }
    manifest = EngineSet(
        identity=Identity(**(values | identity)),
        bundle=bundle.name,
        fingerprint=bundle.fingerprint,
        engines=tuple(engines),
        driver="13.0",
        built="2026-01-01T00:00:00+00:00",
    )
    (path / MANIFEST).write_text(manifest.to_json())
    return StoredSet.open(path)
