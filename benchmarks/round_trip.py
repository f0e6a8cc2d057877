"""Round-trip real-time factor of the full-size model: PyTorch beside ONNX Runtime, interleaved in one run."""

from __future__ import annotations

import argparse
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

import apcodec_deploy
from apcodec_deploy.ort import onnxruntime
from apcodec_export.checkpoint import Checkpoint, random_checkpoint
from apcodec_export.exporting import export_bundle
from apcodec_export.model.transforms import Istft, Stft
from apcodec_export.network import PUBLISHED_48K

Run = Callable[[], object]


def pytorch(checkpoint: Checkpoint, audio: NDArray[np.float32]) -> Run:
    """The whole clip through the PyTorch modules: transform, encoder, quantizer and back."""
    spec = checkpoint.network.spec()
    stft, istft, quantizer = Stft(spec), Istft(spec), checkpoint.encoder.quantizer
    samples = torch.from_numpy(audio)[None]

    @torch.inference_mode()
    def run() -> object:
        codes = quantizer.encode(checkpoint.encoder(*stft(samples)))
        return istft(*checkpoint.decoder(quantizer.decode(codes)))[:, : samples.shape[1]]

    return run


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0, help="length of the clip")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads of each")
    parser.add_argument("--rounds", type=int, default=5, help="counted rounds, after one of warm-up")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    samples = int(arguments.seconds * PUBLISHED_48K.sample_rate)
    audio = np.random.default_rng(0).normal(0, 0.1, samples).astype(np.float32)
    checkpoint = random_checkpoint(PUBLISHED_48K)
    with tempfile.TemporaryDirectory() as directory:
        bundle = Path(directory) / "full-size"
        export_bundle(checkpoint, bundle)
        with apcodec_deploy.load(bundle, threads=arguments.threads) as codec:
            runs: dict[str, Run] = {
                "PyTorch, whole clip": pytorch(checkpoint, audio),
                "ONNX Runtime, whole clip": lambda: codec.decode(codec.encode(audio, window="whole")),
                "ONNX Runtime, default windows": lambda: codec.decode(codec.encode(audio)),
            }
            times: dict[str, list[float]] = {name: [] for name in runs}
            for counted in range(-1, arguments.rounds):
                for name, run in runs.items():
                    begun = time.perf_counter()
                    run()
                    if counted >= 0:
                        times[name].append((time.perf_counter() - begun) / arguments.seconds)
    print(f"{platform.processor() or platform.machine()}, {arguments.threads} threads, {arguments.seconds:g} s clip")
    print(f"torch {torch.__version__}, onnxruntime {onnxruntime.__version__}; RTF = compute time / audio time\n")
    print(
        f"| {'round trip':<30} | RTF median |   min |   max | of PyTorch |\n"
        f"|{'-' * 32}|-----------:|------:|------:|-----------:|"
    )
    reference = times["PyTorch, whole clip"]
    for name, values in times.items():
        ratio = statistics.median(value / other for value, other in zip(values, reference, strict=True))
        spread = f"{statistics.median(values):>10.3f} | {min(values):.3f} | {max(values):.3f} | {ratio:>9.2f}x"
        print(f"| {name:<30} | {spread} |")


if __name__ == "__main__":
    main()
