"""The embedded model end to end, against its checkpoint in PyTorch used as the published code uses one.

Its weights have 10 bits, so that it ships at half the size, and the checkpoint's have 24.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import soundfile
import soxr
import torch
from numpy.typing import NDArray
from torch import Tensor

from apcodec_deploy import Codec, EncodedAudio
from apcodec_export.checkpoint import Checkpoint, CheckpointFiles

CLIPS = [
    "speech_female_48k.wav",
    *(
        pytest.param(name, marks=pytest.mark.slow)
        for name in ("music_44k.ogg", "speech_german_22k.wav", "speech_male_44k.flac")
    ),
]


@pytest.fixture(scope="module")
def demo(demo_checkpoint: Path) -> Checkpoint:
    return Checkpoint.load(CheckpointFiles.find(demo_checkpoint))


@pytest.fixture(scope="module", params=CLIPS)
def clip(request: pytest.FixtureRequest, examples: Path) -> NDArray[np.float32]:
    """One channel of an example clip at the model's rate."""
    audio, rate = soundfile.read(examples / request.param, dtype="float32", always_2d=True)
    resampled = audio[:, 0] if rate == 48000 else soxr.resample(audio[:, 0], rate, 48000)
    return np.asarray(resampled, np.float32)


@pytest.fixture(scope="module")
def coded(codec: Codec, clip: NDArray[np.float32]) -> EncodedAudio:
    """That clip, coded in one piece by the embedded model."""
    return codec.encode(clip, window="whole")


@pytest.fixture(scope="module")
def decoded(codec: Codec, coded: EncodedAudio) -> NDArray[np.float32]:
    """What the embedded model makes of those codes."""
    return codec.decode(coded)


def published_features(audio: NDArray[np.float32], dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    window = torch.hann_window(320, dtype=dtype)
    samples = torch.from_numpy(audio)[None].to(dtype)
    spectrum = torch.stft(samples, 1024, 40, 320, window, center=True, return_complex=True)
    return torch.log(spectrum.abs() + 1e-5).float(), spectrum.angle().float()


def codes_of(model: Checkpoint, features: tuple[Tensor, Tensor]) -> NDArray[np.int64]:
    codes: NDArray[np.int64] = model.encoder.quantizer.encode(model.encoder(*features))[0].numpy()
    return codes


@pytest.fixture(scope="module")
def published(demo: Checkpoint, clip: NDArray[np.float32]) -> NDArray[np.int64]:
    """The codes that the published code gives that clip."""
    return codes_of(demo, published_features(clip))


def published_decode(model: Checkpoint, codes: NDArray[Any], samples: int) -> NDArray[np.float32]:
    latent = model.encoder.quantizer.decode(torch.from_numpy(codes.astype(np.int64))[None])
    logamp, r, i = model.decoder.heads(latent)
    spectrum = torch.polar(logamp.exp(), torch.atan2(i, r))
    audio: NDArray[np.float32] = torch.istft(
        spectrum, 1024, 40, 320, torch.hann_window(320), center=True, length=samples
    )[0].numpy()
    return audio


def snr(expected: NDArray[np.float32], found: NDArray[np.float32]) -> float:
    """Signal to noise ratio in dB."""
    noise = np.square(expected.astype(np.float64) - found).sum()
    return float(10 * np.log10(np.square(expected.astype(np.float64)).sum() / noise))


def test_the_embedded_model_is_the_demo_checkpoint(demo: Checkpoint, codec: Codec) -> None:
    assert codec.fingerprint == demo.fingerprint
    assert codec.spec == demo.network.spec()


def test_the_same_features_get_the_codes_of_the_published_code(
    demo: Checkpoint, codec: Codec, clip: NDArray[np.float32], coded: EncodedAudio
) -> None:
    stft = onnxruntime.InferenceSession(codec.bundle.graph("stft"), providers=["CPUExecutionProvider"])
    logamp, phase = (torch.from_numpy(feature) for feature in stft.run(None, {"audio": clip[None]}))
    found = coded.codes[0]
    assert found.shape == (4, len(clip) // 320 + 1)
    assert (found == codes_of(demo, (logamp, phase))).mean() >= 0.98


def test_whole_clips_get_the_codes_of_the_published_code_as_far_as_it_agrees_with_itself(
    demo: Checkpoint, clip: NDArray[np.float32], coded: EncodedAudio, published: NDArray[np.int64]
) -> None:
    """Where a bin holds nothing, its phase is rounding noise, and so is the code: in other precisions, another one."""
    found = coded.codes[0]
    exact = codes_of(demo, published_features(clip, torch.float64))
    assert (found[0] == published[0]).mean() >= 0.9
    assert (found == exact).mean() >= (published == exact).mean() - 0.02
    # Both are rounded, each in its own way, so they agree with each other less than either does with the exact one.
    assert (found == published).mean() >= (published == exact).mean() * (found == exact).mean() - 0.03


def test_clips_sound_as_if_the_published_code_had_coded_them(
    demo: Checkpoint, clip: NDArray[np.float32], decoded: NDArray[np.float32], published: NDArray[np.int64]
) -> None:
    expected = published_decode(demo, published, len(clip))
    assert _distance(clip, decoded) == pytest.approx(_distance(clip, expected), rel=0.02)


def test_codes_decode_to_the_audio_of_the_published_code(
    demo: Checkpoint, clip: NDArray[np.float32], coded: EncodedAudio, decoded: NDArray[np.float32]
) -> None:
    assert decoded.shape == clip.shape
    assert snr(published_decode(demo, coded.codes[0], len(clip)), decoded) >= 55


def test_decoded_speech_resembles_the_original(codec: Codec, speech: NDArray[np.float32]) -> None:
    decoded = codec.decode(codec.encode(speech, 48000))
    elsewhere = np.roll(decoded, 24000)
    assert _distance(speech, decoded) < 0.75 * _distance(speech, elsewhere)
    assert _distance(speech, decoded) < 0.6 * _distance(speech, np.zeros_like(speech))


def _distance(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    """Log-spectral distance: root mean square over bins, mean over frames, of the log amplitudes' difference."""
    window = torch.hann_window(2048)
    spectra = [
        torch.stft(torch.from_numpy(audio), 2048, 512, window=window, return_complex=True).abs().clamp(min=1e-4).log10()
        for audio in (first, second)
    ]
    return float((spectra[0] - spectra[1]).square().mean(dim=0).sqrt().mean())
