"""No reduced precision is believed unproven: it is held against the bundle's proof where it is first used.

Processors without the newer instructions have been seen to compute 8-bit products wrongly and to say nothing. What a
precision gives depends on the processor, the runtime's version and the bundle, so the verdict is kept for these in the
user's cache.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from pathlib import Path

from apcodec_deploy.backends.base import Backend
from apcodec_deploy.bundle import Bundle
from apcodec_deploy.cache import cache_folder
from apcodec_deploy.errors import ApcodecError, BackendError
from apcodec_deploy.files import written_whole
from apcodec_deploy.precision import FLOAT32
from apcodec_deploy.processor import Processor
from apcodec_deploy.proof import Limit, Proof, Verdict
from apcodec_deploy.version import __version__


def proven(bundle: Bundle, backend: Backend, *, runtime: str, processor: Processor | None) -> Verdict:
    """Hold a backend of a reduced precision against the bundle's proof, or remember that it was.

    Args:
        bundle: The model.
        backend: What runs it.
        runtime: What computes, with its version.
        processor: On which; None where the verdict shall not be kept.

    Returns:
        A verdict that holds.

    Raises:
        BackendError: The precision is not right here; the figures are told.
        BundleError: The bundle has no proof, or a damaged one.
    """
    file = None if processor is None else _file(bundle, backend, runtime, processor)
    verdict = None if file is None else _kept(file)
    if verdict is None:
        verdict = Proof.of(bundle).judge(backend, backend.precision)
        if file is not None:
            _keep(file, verdict)
    if not verdict.holds:
        where = f" on this processor ({processor.name})" if processor else ""
        raise BackendError(
            f"{backend.precision} is not right with {runtime}{where}: {verdict}; take --precision {FLOAT32}"
        )
    return verdict


def _file(bundle: Bundle, backend: Backend, runtime: str, processor: Processor) -> Path | None:
    """Where the verdict is kept; nowhere if the bundle has no proof."""
    described = bundle.manifest.get("proof")
    if described is None:
        return None
    precision = backend.precision if backend.precision in bundle.precisions else FLOAT32
    facts = {
        "graphs": dict(bundle.graph_key(name, precision) for name in bundle.spec.graphs),
        "proof": described,
        "backend": [__version__, backend.name, runtime, backend.precision],
        "processor": processor.key,
    }
    key = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]
    return cache_folder("proofs") / f"{key}.json"


def _kept(file: Path) -> Verdict | None:
    """A verdict of an earlier run; None where there is none, or a damaged one."""
    try:
        held = json.loads(file.read_text(encoding="utf-8"))
        limit = Limit(float(held["limit"]["agreement"]), float(held["limit"]["snr_db"]))
        return Verdict(float(held["agreement"]), float(held["snr_db"]), limit)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _keep(file: Path, verdict: Verdict) -> None:
    """Keep a verdict, if the cache can be written."""
    held = {"agreement": verdict.agreement, "snr_db": verdict.decibels, "limit": verdict.limit.to_dict()}
    with suppress(ApcodecError, OSError), written_whole(file, overwrite=True) as temporary:
        temporary.write_text(json.dumps(held) + "\n", encoding="utf-8")
