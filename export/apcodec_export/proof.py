"""The proof of a bundle: a clip, and the codes and the sound that the PyTorch model in float32 gives it."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray

from apcodec_deploy.audio.reference import reference_signals
from apcodec_deploy.bitstream.header import FINGERPRINT_BYTES, Header
from apcodec_deploy.bitstream.writer import BitstreamWriter
from apcodec_deploy.precision import BFLOAT16, FLOAT16, INT8
from apcodec_deploy.proof import AUDIO, CODES, DECODED, Limit
from apcodec_export.checkpoint import Checkpoint
from apcodec_export.forms import form_of
from apcodec_export.integers import MIN_AGREEMENT

LIMITS = {INT8: Limit(MIN_AGREEMENT, 20.0), BFLOAT16: Limit(0.85, 30.0), FLOAT16: Limit(0.95, 40.0)}
"""How near a runtime must come in each precision. A precision that is computed as it should be comes nearer than this
with every model tried; products that overflow give half of the codes and less than 20 dB."""


@torch.no_grad()
def proof_files(checkpoint: Checkpoint) -> dict[str, bytes]:
    """The files by name: one default window, half speech and half music."""
    spec = checkpoint.network.spec()
    samples = spec.call_samples(spec.layout().length)
    held = reference_signals(spec.sample_rate, samples)
    audio = np.concatenate([held["speech"][: samples // 2], held["music"][samples // 2 :]])
    clip = _flac(audio, spec.sample_rate)
    stored, _ = soundfile.read(io.BytesIO(clip), dtype="float32")
    model = form_of(checkpoint).model()
    codes = model.encode(torch.from_numpy(stored)[None])
    decoded = model.decode(codes)[0, :samples].numpy()
    return {
        AUDIO: clip,
        CODES: _apc(codes.numpy().astype(np.int16), checkpoint),
        # The sound of a model may be far below full scale, and what is compared must be finer than any precision.
        DECODED: _flac(decoded, spec.sample_rate, "PCM_24"),
    }


def described(digests: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """What ``model.json`` says of a proof.

    Args:
        digests: Size and SHA-256 of each file, by name.
    """
    return {"files": digests, "limits": {name: limit.to_dict() for name, limit in LIMITS.items()}}


def _flac(audio: NDArray[np.float32], rate: int, subtype: str = "PCM_16") -> bytes:
    file = io.BytesIO()
    soundfile.write(file, np.clip(audio, -1, 1), rate, format="FLAC", subtype=subtype)
    return file.getvalue()


def _apc(codes: NDArray[np.int16], checkpoint: Checkpoint) -> bytes:
    spec = checkpoint.network.spec()
    samples = spec.samples_range(codes.shape[2])[1]
    header = Header(
        fingerprint=checkpoint.fingerprint[: 2 * FINGERPRINT_BYTES],
        sample_rate=spec.sample_rate,
        model_rate=spec.sample_rate,
        channels=1,
        samples=samples,
        latents=codes.shape[2],
        codebooks=spec.num_codebooks,
        bits_per_code=spec.bits_per_code,
        samples_per_latent=spec.samples_per_latent,
        layout=spec.layout("whole"),
        one_dimensional=True,
    )
    file = io.BytesIO()
    writer = BitstreamWriter(file, header)
    writer.write(codes)
    writer.finish(samples)
    return file.getvalue()
