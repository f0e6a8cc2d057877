"""One table of every backend on this machine: speed by batch, what it costs in codes and audio, and memory.

What cannot run stays in the table with its reason. RTF is compute time / audio time, host copies included.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apcodec_deploy.audio.reference import REAL, reference_signals
from apcodec_deploy.backends.base import Backend, BackendOptions, create
from apcodec_deploy.bundle import Bundle
from apcodec_deploy.cuda.device import open_device
from apcodec_deploy.engines.flavour import FLAVOURS
from apcodec_deploy.errors import ApcodecError
from apcodec_deploy.ort import onnxruntime
from apcodec_engines.building import build_engines
from apcodec_engines.planning import BuildOptions

WARM_UP, ROUNDS, BUDGET_SECONDS = 10, 30, 5.0
"""Calls that do not count, calls that do, and the time after which no further one is begun."""


@dataclass(slots=True)
class Row:
    """One backend in one precision."""

    label: str
    version: str
    rtf: dict[tuple[str, int], float] = field(default_factory=dict)
    agreement: float = float("nan")
    snr: float = float("nan")
    memory: int | None = None
    problem: str = ""


def timed(call: Callable[[], object], *, warm_up: int = WARM_UP, rounds: int = ROUNDS) -> float:
    """Median seconds of a call that returns when its result is on the host."""
    times: list[float] = []
    begun = time.perf_counter()
    for number in range(warm_up + rounds):
        start = time.perf_counter()
        call()
        if number >= warm_up or start - begun > BUDGET_SECONDS:
            times.append(time.perf_counter() - start)
        if times and time.perf_counter() - begun > 2 * BUDGET_SECONDS:
            break
    return statistics.median(times)


def measure(
    row: Row, backend: Backend, reference: Backend, bundle: Bundle, batches: Sequence[int], rounds: int = ROUNDS
) -> None:
    """Fill a row: what real signals become, and how long full windows take."""
    spec = bundle.spec
    samples = (spec.window_latents + 2 * spec.context_latents) * spec.samples_per_latent - 1
    signals = reference_signals(spec.sample_rate, samples)
    agreements, ratios = [], []
    for name in REAL:
        clip = signals[name][None]
        codes = reference.encode(clip)
        agreements.append(float((backend.encode(clip) == codes).mean()))
        ratios.append(_snr(reference.decode(codes), backend.decode(codes)))
    row.agreement, row.snr = min(agreements), min(ratios)
    for batch in batches:
        audio = np.tile(signals["speech"], (batch, 1))
        codes = np.tile(reference.encode(signals["speech"][None]), (batch, 1, 1))
        seconds = batch * samples / spec.sample_rate
        for direction, call in (("encode", partial(backend.encode, audio)), ("decode", partial(backend.decode, codes))):
            row.rtf[direction, batch] = timed(call, rounds=rounds) / seconds


def _snr(expected: NDArray[np.float32], found: NDArray[np.float32]) -> float:
    noise = np.square(expected.astype(np.float64) - found).mean()
    return float(10 * np.log10(np.square(expected, dtype=np.float64).mean() / max(noise, 1e-30)))


def rows_to_try(bundle: Bundle, profile: str) -> list[tuple[Row, Callable[[], Backend]]]:
    """Every backend in every precision, each with what makes it; the CPU is what the others are compared with."""
    ort = onnxruntime.__version__
    cpu = BackendOptions(name="onnxruntime", device="cpu")
    found: list[tuple[Row, Callable[[], Backend]]] = [
        (Row("onnxruntime cpu float32", ort), partial(create, bundle, cpu))
    ]
    for precision in bundle.precisions:
        options = BackendOptions(name="onnxruntime", device="cuda", precision=precision)
        found.append((Row(f"onnxruntime cuda {precision}", ort), partial(create, bundle, options)))
    for flavour in FLAVOURS.values():
        for precision in bundle.precisions:
            build = BuildOptions(flavour=flavour.name, precision=precision, profile=profile)
            row = Row(f"{flavour.name} {precision}", "")
            found.append((row, partial(_tensorrt, bundle, build, row)))
    return found


def _tensorrt(bundle: Bundle, options: BuildOptions, row: Row) -> Backend:
    open_device()  # engines that could not run are not built
    built = build_engines(bundle, options)
    row.version = built.stored.manifest.identity.version
    fallen = [engine.name for engine in built.stored.manifest.engines if engine.precision != options.precision]
    row.label += f" ({', '.join(fallen)} in float32)" if fallen else ""
    return create(bundle, BackendOptions(name="tensorrt", engines=built.stored.path))


def _memory_in_use() -> int | None:
    try:
        device = open_device()
    except ApcodecError:
        return None
    with device.active():
        return device.gpu.memory - device.free_memory()


def table(rows: Sequence[Row], batches: Sequence[int]) -> str:
    """The rows as Markdown."""
    columns = [(direction, batch) for direction in ("encode", "decode") for batch in batches]
    heads = [f"{direction} x{batch}" for direction, batch in columns]
    lines = [["backend", "version", *heads, "codes", "SNR, dB", "GPU memory, MiB"]]
    for row in rows:
        if row.problem:
            lines.append([row.label, row.version or "-", *["-"] * (len(columns) + 3)])
            continue
        speeds = [f"{row.rtf[column]:.5f}" for column in columns]
        memory = "-" if row.memory is None else f"{row.memory / 2**20:.0f}"
        lines.append([row.label, row.version, *speeds, f"{row.agreement:.1%}", f"{row.snr:.1f}", memory])
    text = ["| " + " | ".join(line) + " |" for line in lines]
    reasons = [f"{row.label} did not run: {row.problem}" for row in rows if row.problem]
    return "\n".join([text[0], "|" + "---|" * len(lines[0]), *text[1:], *([""] if reasons else []), *reasons])


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", nargs="?", type=Path, help="made by 'apcodec export'; else the embedded demo model")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--profile", default="throughput", help="of the TensorRT engines")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    given: Any = parser.parse_args(arguments)
    bundle = Bundle.embedded() if given.bundle is None else Bundle.open(given.bundle)
    rows = []
    with_reference = create(bundle, BackendOptions(name="onnxruntime", device="cpu"))
    for row, make in rows_to_try(bundle, given.profile):
        rows.append(row)
        try:
            before = _memory_in_use()
            backend = make()
            try:
                measure(row, backend, with_reference, bundle, given.batches, given.rounds)
                after = _memory_in_use()
                if before is not None and after is not None:
                    row.memory = max(after - before, 0)
            finally:
                backend.close()
        except ApcodecError as error:
            row.problem = str(error)
    try:
        gpu = open_device().gpu
        print(f"{gpu.name}, compute capability {gpu.compute_capability}, driver for CUDA {gpu.driver}")
    except ApcodecError as error:
        print(f"no GPU: {error}")
    seconds = (bundle.spec.window_latents + 2 * bundle.spec.context_latents) / bundle.spec.latent_rate
    print(f"{bundle.name}, windows of {seconds:.2f} s; RTF = compute time / audio time, median, host copies included\n")
    print(table(rows, given.batches))


if __name__ == "__main__":
    main()
