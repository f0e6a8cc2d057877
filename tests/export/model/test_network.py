"""Encoder and decoder in PyTorch against what the published code computed from the same weights."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from apcodec_export.checkpoint import Checkpoint
from apcodec_export.model.network import Decoder
from apcodec_export.model.transforms import Istft

Clips = Mapping[str, Mapping[str, NDArray[Any]]]


@pytest.fixture(autouse=True)
def inference() -> Iterator[None]:
    with torch.no_grad():
        yield


def tensor(array: NDArray[Any]) -> Tensor:
    return torch.from_numpy(array)[None]


def with_features(clips: Clips) -> list[Mapping[str, NDArray[Any]]]:
    found = [clip for clip in clips.values() if "logamp" in clip]
    assert len(found) == 2
    return found


def encode(checkpoint: Checkpoint, clip: Mapping[str, NDArray[Any]]) -> Tensor:
    latent: Tensor = checkpoint.encoder(tensor(clip["logamp"]), tensor(clip["phase"]))
    return latent


def test_the_encoder_gives_the_published_latents(checkpoint: Checkpoint, clips: Clips) -> None:
    for clip in with_features(clips):
        found = encode(checkpoint, clip)[0].numpy()
        assert found.shape == clip["latent"].shape
        assert np.abs(found - clip["latent"]).max() < 1e-4 * np.abs(clip["latent"]).max()


def test_features_give_the_published_codes(checkpoint: Checkpoint, clips: Clips) -> None:
    agree = [
        checkpoint.encoder.quantizer.encode(encode(checkpoint, clip))[0].numpy() == clip["codes"]
        for clip in with_features(clips)
    ]
    assert np.concatenate(agree, axis=1).mean() >= 0.995


def test_latents_give_the_published_codes(checkpoint: Checkpoint, clips: Clips) -> None:
    for clip in clips.values():
        codes = checkpoint.encoder.quantizer.encode(tensor(clip["latent"]))[0].numpy()
        assert (codes == clip["codes"]).mean() >= 0.995


def test_codes_give_the_published_quantized_latents(checkpoint: Checkpoint, clips: Clips) -> None:
    for clip in clips.values():
        found = checkpoint.encoder.quantizer.decode(tensor(clip["codes"].astype(np.int64)))[0].numpy()
        assert np.abs(found - clip["quantized"]).max() < 1e-4 * np.abs(clip["quantized"]).max()


def test_the_decoder_gives_the_published_spectrum(checkpoint: Checkpoint, clips: Clips) -> None:
    for clip in with_features(clips):
        logamp, _, _ = checkpoint.decoder.heads(tensor(clip["quantized"]))
        assert np.abs(logamp[0].numpy() - clip["decoded_logamp"]).max() < 1e-3
        real, imag = checkpoint.decoder(tensor(clip["quantized"]))
        expected = clip["decoded_real"] + 1j * clip["decoded_imag"]
        found = torch.complex(real, imag)[0].numpy()
        assert np.abs(found - expected).max() < 1e-3 * np.abs(expected).max()


def test_codes_decode_to_the_published_audio(checkpoint: Checkpoint, clips: Clips) -> None:
    istft = Istft(checkpoint.network.spec())
    for clip in clips.values():
        quantized = checkpoint.encoder.quantizer.decode(tensor(clip["codes"].astype(np.int64)))
        found = istft(*checkpoint.decoder(quantized))[0].numpy()
        published = clip["decoded_audio"]
        assert len(published) == (8 * clip["codes"].shape[1] - 1) * 40 == len(found) - 40
        assert snr(published, found[: len(published)]) >= 60


def test_the_direction_is_real_where_both_parts_are_zero(checkpoint: Checkpoint) -> None:
    decoder = copy.deepcopy(checkpoint.decoder)
    for head in (decoder.PHA_Decoder_output_R_conv, decoder.PHA_Decoder_output_I_conv):
        head.weight_g[7] = head.bias[7] = 0
    latent = torch.randn(1, checkpoint.network.latent_dim, 6, generator=torch.Generator().manual_seed(0))
    logamp, r, i = decoder.heads(latent)
    assert not r[:, 7].any()
    assert not i[:, 7].any()
    real, imag = decoder(latent)
    torch.testing.assert_close(real[:, 7], logamp[:, 7].exp())
    assert not imag[:, 7].any()


@pytest.mark.parametrize("parts", [(3.0, 4.0), (-1.0, 0.0), (0.0, -2.0), (-1e-10, 1e-10)])
def test_the_direction_is_that_of_the_two_parts(checkpoint: Checkpoint, parts: tuple[float, float]) -> None:
    decoder = copy.deepcopy(checkpoint.decoder)
    for head, value in zip((decoder.PHA_Decoder_output_R_conv, decoder.PHA_Decoder_output_I_conv), parts, strict=True):
        head.weight_g.zero_()
        head.bias.fill_(value)
    latent = torch.zeros(1, checkpoint.network.latent_dim, 3)
    logamp, _, _ = decoder.heads(latent)
    expected = logamp.exp() * np.exp(1j * np.arctan2(parts[1], parts[0]))
    found = torch.complex(*decoder(latent))
    torch.testing.assert_close(found, expected.to(found.dtype))


def audio_of(decoder: Decoder, checkpoint: Checkpoint, latent: Tensor) -> Tensor:
    audio: Tensor = Istft(checkpoint.network.spec())(*decoder(latent))
    return audio


@pytest.mark.parametrize("size", [0.0, 1e-30, 1e3, 1e9, 1e18])
def test_latents_of_any_size_give_finite_audio(checkpoint: Checkpoint, size: float) -> None:
    latent = size * torch.randn(1, checkpoint.network.latent_dim, 20, generator=torch.Generator().manual_seed(0))
    assert audio_of(checkpoint.decoder, checkpoint, latent).isfinite().all()


def test_a_log_amplitude_that_exp_cannot_hold_gives_finite_audio(checkpoint: Checkpoint) -> None:
    decoder = copy.deepcopy(checkpoint.decoder)
    decoder.AMP_Decoder_output_conv.bias += 1000
    latent = torch.zeros(1, checkpoint.network.latent_dim, 5)
    logamp, _, _ = decoder.heads(latent)
    assert logamp.exp().isinf().all()
    assert audio_of(decoder, checkpoint, latent).isfinite().all()


def test_the_loudest_real_audio_is_not_cut(checkpoint: Checkpoint) -> None:
    """A full-scale sine peaks at half the window's sum; 40 dB above that must still pass unchanged."""
    decoder = copy.deepcopy(checkpoint.decoder)
    loud = np.log(100 * checkpoint.network.win_size / 4)
    decoder.AMP_Decoder_output_conv.weight_g.zero_()
    decoder.AMP_Decoder_output_conv.bias.fill_(loud)
    spectrum = torch.complex(*decoder(torch.zeros(1, checkpoint.network.latent_dim, 3)))
    torch.testing.assert_close(spectrum.abs(), torch.full_like(spectrum.abs(), float(np.exp(loud))))


def snr(expected: NDArray[np.float32], found: NDArray[np.float32]) -> float:
    """Signal to noise ratio in dB."""
    noise = np.square(expected.astype(np.float64) - found).sum()
    return float(10 * np.log10(np.square(expected.astype(np.float64)).sum() / noise))
