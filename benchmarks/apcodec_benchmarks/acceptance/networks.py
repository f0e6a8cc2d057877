"""The parts ``onnxruntime`` and ``others``: codecs on the card, ours checked, all of them timed."""

from __future__ import annotations

from contextlib import closing

import numpy as np

from apcodec_benchmarks.acceptance.ceilings import Ceilings
from apcodec_benchmarks.acceptance.checks import run_tests
from apcodec_benchmarks.acceptance.journal import Journal
from apcodec_benchmarks.acceptance.model import path_of
from apcodec_benchmarks.acceptance.parts import Scale
from apcodec_benchmarks.acceptance.speed import Subject, measure
from apcodec_benchmarks.contenders.apcodec import ApcodecContender
from apcodec_benchmarks.contenders.base import Settings
from apcodec_benchmarks.contenders.catalogue import entries_named
from apcodec_deploy.audio.reference import reference_signals
from apcodec_deploy.backends.base import Backend, BackendOptions
from apcodec_deploy.backends.choice import create
from apcodec_deploy.backends.pipelined import PipelinedBackend
from apcodec_deploy.bundle import Bundle
from apcodec_deploy.codec import Codec
from apcodec_deploy.engines.pipeline import SLOTS
from apcodec_deploy.machine import available_cpus
from apcodec_deploy.precision import FLOAT32
from apcodec_deploy.proof import Proof

RANDOM = "random"
LEAST_EQUAL = 0.98
"""Of the codes in float32: a sum in another order moves few of them."""


def on_onnxruntime(journal: Journal, scale: Scale) -> None:
    """ONNX Runtime on CUDA in every precision."""
    run_tests(journal, scale, "onnx_runtime")
    for precision in scale.precisions:
        what = f"ONNX Runtime {precision}"
        with journal.guarded(f"{what}: codes and sound of the embedded model"):
            options = BackendOptions(name="onnxruntime", device=scale.device, precision=precision, unproven=True)
            judge(journal, what, create(Bundle.embedded(), options))
        with journal.guarded(f"{what}: speed"):
            time_ours(journal, scale, what, precision)


def on_others(journal: Journal, scale: Scale) -> None:
    """The same model in PyTorch, and other codecs, by the same clock."""
    ceilings = Ceilings.of(journal)
    for precision in scale.precisions:
        for entry in entries_named(scale.others):
            what = f"{entry.name} {precision}"
            with journal.guarded(what):
                settings = Settings(
                    threads=available_cpus(),
                    device=scale.torch_device,
                    precision=precision,
                    checkpoint=RANDOM,
                    options=entry.options,
                )
                with closing(entry.make(settings)) as contender:
                    measure(journal, Subject(what, contender, precision), scale, ceilings)


def judge(journal: Journal, what: str, backend: Backend) -> None:
    """Hold a backend on the embedded model against the CPU's codes and against the bundle's proof; close it."""
    bundle = Bundle.embedded()
    try:
        equal = _equal_codes(journal, what, bundle, backend)
        proof = Proof.of(bundle)
        if backend.precision in proof.limits:
            verdict = proof.judge(backend, backend.precision)
            journal.check(f"{what}: quality", verdict.holds, str(verdict))
        else:
            journal.check(f"{what}: quality", equal >= LEAST_EQUAL, f"{equal:.1%} of the codes")
    finally:
        backend.close()


def check_timed(journal: Journal, what: str, bundle: Bundle, backend: Backend) -> None:
    """Hold a backend on the model that is timed against the CPU's codes: of work that is not done no time counts.

    The model has random weights and no proof, so half precision is only told.
    """
    equal = _equal_codes(journal, what, bundle, backend)
    if backend.precision == FLOAT32:
        journal.check(f"{what}: codes", equal >= LEAST_EQUAL, f"{equal:.1%} are those of the CPU")


def _equal_codes(journal: Journal, what: str, bundle: Bundle, backend: Backend) -> float:
    """The share of codes of a second of speech that are those of the CPU in float32."""
    audio = reference_signals(bundle.spec.sample_rate, bundle.spec.sample_rate)["speech"][None]
    with closing(create(bundle, BackendOptions(name="onnxruntime", device="cpu", precision=FLOAT32))) as reference:
        equal = (backend.encode(audio) == reference.encode(audio)).mean(axis=(0, 2))
    journal.fact(f"{what}: codes equal to the CPU's, by codebook", [round(float(share), 4) for share in equal])
    return float(np.mean(equal))


def time_ours(journal: Journal, scale: Scale, what: str, precision: str) -> None:
    """Time ONNX Runtime on the model of this run: each batch, each direction, each stage, copies apart."""
    bundle = Bundle.open(path_of(journal.folder, scale))
    options = BackendOptions(name="onnxruntime", device=scale.device, precision=precision, unproven=True)
    with closing(contender_of(bundle, create(bundle, options), scale)) as contender:
        backend = contender.codec.backend
        journal.fact(f"{what}: how it runs", backend.reason)
        check_timed(journal, f"{what}, {bundle.name}", bundle, backend)
        measure(journal, subject_of(what, contender), scale, Ceilings.of(journal))


def contender_of(bundle: Bundle, backend: Backend, scale: Scale) -> ApcodecContender:
    """A backend of ours as something that is timed."""
    return ApcodecContender.of(Codec(bundle, backend), Settings(threads=available_cpus(), device=scale.device))


def subject_of(what: str, contender: ApcodecContender) -> Subject:
    """With all that is known of ours."""
    codec = contender.codec
    batch = codec.backend.batch_limit
    pipelined = codec.backend if isinstance(codec.backend, PipelinedBackend) else None
    return Subject(
        what,
        contender,
        codec.backend.precision,
        bundle=codec.bundle,
        largest=batch,
        clocked=max(1, batch // SLOTS) if pipelined else None,
        replays=pipelined.replays if pipelined else None,
    )
