"""The part ``tensorrt``: engines of the model and of the embedded one, built, looked into, checked and timed."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import replace
from typing import Any

from apcodec_benchmarks.acceptance.ceilings import Ceilings
from apcodec_benchmarks.acceptance.checks import run_tests
from apcodec_benchmarks.acceptance.journal import Journal
from apcodec_benchmarks.acceptance.model import path_of
from apcodec_benchmarks.acceptance.networks import check_timed, contender_of, judge, subject_of
from apcodec_benchmarks.acceptance.parts import Scale
from apcodec_benchmarks.acceptance.speed import measure
from apcodec_deploy.audio.reference import reference_signals
from apcodec_deploy.backends.base import BackendOptions
from apcodec_deploy.backends.tensorrt import TensorRTBackend, open_tensorrt
from apcodec_deploy.bundle import Bundle
from apcodec_deploy.cli.main import app
from apcodec_deploy.cuda.opening import open_device
from apcodec_deploy.engines.flavour import FLAVOURS, flavour_named
from apcodec_deploy.engines.manifest import FUSED, Target
from apcodec_deploy.engines.store import StoredSet
from apcodec_deploy.engines.trouble import trouble_of
from apcodec_deploy.errors import EngineError


def run(journal: Journal, scale: Scale) -> None:
    """Everything of TensorRT, where it is there; that it is not is a fact and no failure."""
    flavour = FLAVOURS["tensorrt"]
    if not flavour.installed:
        journal.fact("TensorRT", "not installed")
        return
    journal.fact("TensorRT", flavour.load().version)
    if trouble := trouble_of(flavour):  # once, and not for every engine
        journal.check("TensorRT makes a builder", False, trouble)
        return
    demo, timed = Bundle.embedded(), Bundle.open(path_of(journal.folder, scale))
    for precision in scale.precisions:
        for profile in scale.profiles:
            for bundle in {str(each.path): each for each in (demo, timed)}.values():
                what = f"TensorRT {precision} {profile}, {bundle.name}"
                with journal.guarded(what):
                    stored = built(journal, what, bundle, precision, profile)
                    if bundle is demo or bundle.path == demo.path:
                        _judged(journal, what, stored, scale)
                    if bundle.path == timed.path:
                        _timed(journal, what, timed, stored, scale)
    run_tests(journal, scale, "tensorrt or closing")


def built(journal: Journal, what: str, bundle: Bundle, precision: str, profile: str) -> StoredSet:
    """Build as users do; the time, the sizes, what every layer computes in by the builder's own word."""
    out = journal.folder / "engines" / f"{bundle.fingerprint[:8]}-{precision}-{profile}"
    begun = time.perf_counter()
    words = ["build", str(bundle.path), "--precision", precision, "--profile", profile, "--out", str(out)]
    app([*words, "--flavour", "tensorrt"], standalone_mode=False)
    stored = StoredSet.open(out)
    engines = stored.manifest.engines
    journal.fact(
        what,
        {
            "seconds": round(time.perf_counter() - begun, 2),
            "engines": {each.name: {"bytes": each.size, "seconds": each.build_seconds} for each in engines},
            "notes": list(stored.manifest.notes),
        },
    )
    kept = [each.name for each in engines if each.precision != precision]
    journal.check(
        f"{what}: built in its precision", not kept, f"{', '.join(kept)} fell back to float32" if kept else ""
    )
    return stored


def _opened(stored: StoredSet, bundle: Bundle, scale: Scale, **changes: Any) -> TensorRTBackend:
    """A backend on a set, its identity changed where that is wanted."""
    identity = replace(stored.manifest.identity, **changes)
    held = StoredSet(stored.path, replace(stored.manifest, identity=identity))
    device = open_device(BackendOptions(device=scale.device).index)
    return TensorRTBackend(bundle, held, flavour_named(identity.flavour).load(), device)


def _judged(journal: Journal, what: str, stored: StoredSet, scale: Scale) -> None:
    """Codes, sound, and that engines for another GPU or a damaged file are refused."""
    demo = Bundle.embedded()
    judge(journal, what, _opened(stored, demo, scale))
    foreign = Target(gpu="Another GPU", compute_capabilities=("1.0",))
    with journal.guarded(f"{what}: a foreign engine"):
        refused = False
        try:
            _opened(stored, demo, scale, target=foreign).close()
        except EngineError:
            refused = True
        journal.check(f"{what}: a foreign engine is refused", refused)
    with journal.guarded(f"{what}: a damaged engine"):
        engine = stored.manifest.engines[0]
        file = stored.path / engine.file
        data = file.read_bytes()
        file.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
        refused = False
        try:
            open_tensorrt(demo, engines=stored.path, device=BackendOptions(device=scale.device).index).close()
        except EngineError:
            refused = True
        finally:
            file.write_bytes(data)
        journal.check(f"{what}: a damaged engine is refused", refused)


def _timed(journal: Journal, what: str, bundle: Bundle, stored: StoredSet, scale: Scale) -> None:
    """Cold start, codes, layers, speed; with CUDA graphs and without where the profile has them."""
    begun = time.perf_counter()
    backend = _opened(stored, bundle, scale)
    with closing(backend):
        clip = reference_signals(bundle.spec.sample_rate, bundle.spec.samples_per_latent * 100)["speech"][None]
        backend.decode(backend.encode(clip))
        journal.fact(f"{what}: seconds until the first audio is decoded", round(time.perf_counter() - begun, 3))
        check_timed(journal, what, bundle, backend)
        layers = {direction: backend.layer_types(direction) for direction in FUSED}
        journal.fact(f"{what}: layers by the type they compute in", layers)
    profile = stored.manifest.identity.profile
    for graphs in (True, False) if profile.cuda_graphs else (False,):
        backend = _opened(stored, bundle, scale, profile=replace(profile, cuda_graphs=graphs))
        with closing(contender_of(bundle, backend, scale)) as contender:
            subject = subject_of(f"{what}{', CUDA graphs' if graphs else ''}", contender)
            measure(journal, subject, scale, Ceilings.of(journal))
