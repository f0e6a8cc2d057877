"""The part ``streams``: live streams that go on together, how long a push takes, and how many fit below the frame."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apcodec_benchmarks.acceptance.ceilings import Ceilings, Need
from apcodec_benchmarks.acceptance.engines import built
from apcodec_benchmarks.acceptance.journal import Journal
from apcodec_benchmarks.acceptance.networks import LEAST_EQUAL
from apcodec_benchmarks.acceptance.parts import Scale
from apcodec_benchmarks.acceptance.speed import judged
from apcodec_benchmarks.arithmetic.graphs import Work, bundle_work
from apcodec_benchmarks.measurements import Case, Distribution
from apcodec_benchmarks.modes import DECODE, ENCODE
from apcodec_deploy.audio.reference import reference_signals
from apcodec_deploy.backends.base import Backend, BackendOptions, Carried
from apcodec_deploy.backends.choice import create
from apcodec_deploy.backends.tensorrt import open_tensorrt
from apcodec_deploy.bundle import Bundle
from apcodec_deploy.engines.flavour import FLAVOURS
from apcodec_deploy.errors import ApcodecError
from apcodec_deploy.precision import FLOAT32

STREAMABLE = "streamable"
_CONTEXT = 6
"""Frames of history: the model that carries the most."""
_WARM_UP = 3
"""Pushes that do not count: a plain one, the one that is recorded, and the first replay."""
_JUDGED_TOKENS = 150


def run(journal: Journal, scale: Scale) -> None:
    """ONNX Runtime on CUDA, and TensorRT where it is there; each in every precision."""
    bundle = model_of(journal, scale)
    samples = [tokens * bundle.spec.samples_per_latent for tokens in scale.push_tokens]
    for precision in scale.precisions:
        works = [bundle_work(bundle, each, precision) for each in samples]
        for name in ("ONNX Runtime", "TensorRT"):
            if name == "TensorRT" and not FLAVOURS["tensorrt"].installed:
                journal.fact("TensorRT", "not installed")
                continue
            what = f"{name} {precision}, streams"
            with journal.guarded(what), closing(_opened(journal, what, name, bundle, precision, scale)) as backend:
                journal.fact(f"{what}: how it runs", backend.reason)
                _judge(journal, what, bundle, backend)
                for direction in (ENCODE, DECODE):
                    _time(journal, what, bundle, backend, [each[direction] for each in works], direction, scale)


def model_of(journal: Journal, scale: Scale) -> Bundle:
    """A model with random weights, exported unless it is there."""
    path = journal.folder / STREAMABLE
    try:
        bundle = Bundle.open(path)
    except ApcodecError:
        from apcodec_export.checkpoint import random_checkpoint
        from apcodec_export.exporting import export_bundle
        from apcodec_export.network import PUBLISHED_48K, streamable

        network = streamable(replace(PUBLISHED_48K, **scale.streaming), _CONTEXT)
        bundle = export_bundle(random_checkpoint(network), path, name="streamable, random weights")
    journal.fact("model", bundle.name)
    journal.fact("fingerprint", bundle.fingerprint[:16])
    return bundle


def _opened(journal: Journal, what: str, name: str, bundle: Bundle, precision: str, scale: Scale) -> Backend:
    options = BackendOptions(name="onnxruntime", device=scale.device, precision=precision, unproven=True)
    if name == "ONNX Runtime":
        return create(bundle, options)
    stored = built(journal, what, bundle, precision, bundle.spec.engine_profile)
    return open_tensorrt(bundle, engines=stored.path, device=options.index)


def _judge(journal: Journal, what: str, bundle: Bundle, backend: Backend) -> None:
    """Hold streams of odd pushes, saved and restored between every two of them, against the CPU."""
    spec = bundle.spec
    audio = reference_signals(spec.sample_rate, _JUDGED_TOKENS * spec.samples_per_latent)["speech"][None]
    rows = np.concatenate([audio, audio[:, ::-1], audio / 2])
    cpu = create(bundle, BackendOptions(name="onnxruntime", device="cpu", precision=FLOAT32))
    with closing(cpu):
        expected = cpu.encode(rows)
    parts = []
    states: tuple[Carried, ...] = ()
    for index, part in enumerate(_cut(rows, spec.samples_per_latent, (1, 2, 3, 8))):
        codes, states = backend.push("encode", part, states)
        if index % 2:
            states = tuple(backend.fetched("encode", state) for state in states)
        parts.append(codes)
    equal = (np.concatenate(parts, axis=2) == expected).mean()
    detail = f"{equal:.2%} of the codes of pushes of 1, 2, 3 and 8 tokens, saved and restored, are those of the CPU"
    if backend.precision == FLOAT32:
        journal.check(f"{what}: codes", bool(equal >= LEAST_EQUAL), detail)
    else:
        journal.fact(f"{what}: codes", detail)


def _time(
    journal: Journal,
    what: str,
    bundle: Bundle,
    backend: Backend,
    works: Sequence[Work],
    direction: str,
    scale: Scale,
) -> None:
    """Each number of streams and of tokens a push; then how many streams stay below the time that a push stands for."""
    spec, ceilings = bundle.spec, Ceilings.of(journal)
    for tokens, work in zip(scale.push_tokens, works, strict=True):
        seconds = tokens / spec.latent_rate
        fitting, rows = 0, {}
        for sessions in scale.sessions:
            case = f"{what}: {direction} of {tokens} tokens, {sessions} sessions"
            with journal.guarded(case):
                times = Distribution(tuple(_pushes(bundle, backend, direction, sessions, tokens, scale)))
                timed = Case(operation=direction, seconds=seconds, batch=sessions)
                need = Need(
                    flops=sessions * work.products,
                    moved=work.least_bytes_of(sessions),
                    bus=sessions * tokens * spec.samples_per_latent * np.dtype(np.float32).itemsize,
                )
                share, limit = judged(ceilings, need, times, backend.precision)
                journal.figure(what, timed, times, share=share, limit=limit, stage=f"{tokens} tokens a push")
                p99 = times.quantile(0.99)
                rows[sessions] = {"p50_ms": _milli(times.median), "p99_ms": _milli(p99), "pushes": len(times.values)}
                fitting = sessions if p99 < seconds else fitting
        journal.fact(
            f"{what}: {direction}, {tokens} tokens a push",
            {"push_ms": _milli(seconds), "by_sessions": rows, "most_sessions_with_p99_below_the_push": fitting},
        )


def _pushes(
    bundle: Bundle, backend: Backend, direction: str, sessions: int, tokens: int, scale: Scale
) -> Iterator[float]:
    """Seconds of pushes, host to host, of streams that stay together."""
    spec = bundle.spec
    generator = np.random.default_rng(0)
    rows: NDArray[Any]
    if direction == ENCODE:
        rows = generator.standard_normal((sessions, tokens * spec.samples_per_latent)).astype(np.float32) / 10
    else:
        rows = generator.integers(0, spec.codebook_size, (sessions, spec.num_codebooks, tokens)).astype(np.int32)
    states: tuple[Carried, ...] = ()
    begun = time.perf_counter()
    for push in range(_WARM_UP + scale.pushes):
        start = time.perf_counter()
        _, states = backend.push(direction, rows, states)
        end = time.perf_counter()
        if push >= _WARM_UP:
            yield end - start
            if end - begun > scale.schedule.seconds:
                return


def _cut(rows: NDArray[np.float32], unit: int, sizes: tuple[int, ...]) -> Iterator[NDArray[np.float32]]:
    """Rows in pushes of so many tokens in turn."""
    start, index = 0, 0
    while start < rows.shape[1]:
        stop = start + sizes[index % len(sizes)] * unit
        yield np.ascontiguousarray(rows[:, start:stop])
        start, index = stop, index + 1


def _milli(seconds: float) -> float:
    return float(f"{1000 * seconds:.4g}")
