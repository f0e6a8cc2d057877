"""How good a generator is on files it does not train on, by the metrics of ``apcodec bench quality``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from apcodec_benchmarks.metrics.catalogue import measure
from apcodec_deploy.errors import AudioError
from apcodec_training.generator import Generator
from apcodec_training.material import Recording
from apcodec_training.segments import read_segment

METRICS = ("lsd", "stoi", "mel", "si_sdr")


def score(means: Mapping[str, float]) -> float:
    """One number to choose a checkpoint by: LSD + mel distance - STOI; less is better.

    Clips too short for STOI have none, whatever the checkpoint, so it is left out then.
    """
    return means["lsd"] + means["mel"] - means.get("stoi", 0.0)


@dataclass(frozen=True, slots=True)
class Heard:
    """A validation clip and what became of it, each (N,)."""

    name: str
    original: NDArray[np.float32]
    decoded: NDArray[np.float32]


def validate(
    generator: Generator,
    recordings: Sequence[Recording],
    seconds: float,
    *,
    heard: Callable[[Heard], None] = lambda clip: None,
    damaged: Callable[[str, str], None] = lambda path, reason: None,
) -> dict[str, float]:
    """Code the first seconds of some files as the deployed model would, and average what the metrics say.

    Args:
        generator: Runs in eval mode, in float32.
        recordings: The files.
        seconds: Of each.
        heard: Called with each clip.
        damaged: Called with the path of each file that cannot be read, and why.

    Returns:
        Means by the name of the metric, ``codes_used``: the mean share of entries that are used, over codebooks, and
        their ``score``.
    """
    device = next(generator.parameters()).device
    network = generator.network
    values: dict[str, list[float]] = {}
    used = [set[int]() for _ in range(network.num_codebooks)]
    was_training = generator.training
    generator.eval()
    for recording in recordings:
        samples = max(network.spec().min_samples, int(min(seconds, recording.seconds) * network.sample_rate))
        try:
            original = read_segment(recording, 0.0, samples, network.sample_rate)
        except AudioError as error:
            damaged(str(recording.path), str(error))
            continue
        converted, codes = generator.convert(torch.from_numpy(original).to(device)[None])
        decoded = converted[0].cpu().numpy()
        for book, indices in zip(used, codes[0].tolist(), strict=True):
            book.update(indices)
        for name, value in measure(original, decoded, network.sample_rate, METRICS).items():
            values.setdefault(name, []).append(value)
        heard(Heard(recording.name, original, decoded))
    generator.train(was_training)
    means = {name: float(np.mean(found)) for name, found in values.items()}
    if means:
        means["codes_used"] = float(np.mean([len(book) / network.codebook_size for book in used]))
        means["score"] = score(means)
    return means
