"""Windows, hops and points of the transform that nobody published: exported, they are those of PyTorch.

A whole bundle is held against PyTorch's own transforms around the published networks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from field_networks import SMALL, Published, error, noise, ran
from torch import Tensor

import apcodec_deploy
from apcodec_export.checkpoint import Checkpoint, random_checkpoint
from apcodec_export.exporting import export_bundle
from apcodec_export.graphs import graphs, to_onnx
from apcodec_export.network import NetworkConfig

Transform = Callable[..., Sequence[Tensor]]


def sized(n_fft: int, win_size: int, hop_size: int) -> NetworkConfig:
    return replace(SMALL, n_fft=n_fft, win_size=win_size, hop_size=hop_size)


def stft(network: NetworkConfig, audio: Tensor) -> Tensor:
    window = torch.hann_window(network.win_size, dtype=audio.dtype)
    return torch.stft(audio, network.n_fft, network.hop_size, network.win_size, window, return_complex=True)


def istft(network: NetworkConfig, spectrum: Tensor) -> Tensor:
    window = torch.hann_window(network.win_size, dtype=spectrum.real.dtype)
    return torch.istft(spectrum, network.n_fft, network.hop_size, network.win_size, window)


SIZES = [(32, 13, 8), (32, 16, 8), (32, 24, 8), (32, 31, 10), (33, 13, 8), (33, 24, 8), (31, 31, 10)]
EXPORTED = [(33, 13, 8), (32, 31, 10)]
"""An odd number of points, and an odd window with a hop that does not divide it. The bundle below has both."""


@pytest.mark.parametrize(("n_fft", "win_size", "hop_size"), SIZES)
@torch.no_grad()
def test_what_is_exported_are_the_transforms_of_torch(n_fft: int, win_size: int, hop_size: int) -> None:
    checkpoint = random_checkpoint(sized(n_fft, win_size, hop_size))
    made = graphs(checkpoint)
    compare(checkpoint, made["stft"].module, lambda *spectrum: (made["istft"].module(*spectrum),))


@pytest.mark.slow
@pytest.mark.parametrize(("n_fft", "win_size", "hop_size"), EXPORTED)
def test_the_exported_transforms_are_those_of_torch(n_fft: int, win_size: int, hop_size: int) -> None:
    checkpoint = random_checkpoint(sized(n_fft, win_size, hop_size))
    made = graphs(checkpoint)
    forth, back = (to_onnx(made[name], checkpoint.fingerprint) for name in ("stft", "istft"))
    compare(checkpoint, partial(ran, forth), partial(ran, back))


def compare(checkpoint: Checkpoint, forth: Transform, back: Transform) -> None:
    """Hold transforms against those of PyTorch, for clips of some lengths."""
    n_fft, hop_size = checkpoint.network.n_fft, checkpoint.network.hop_size
    for samples in (max(n_fft // 2 + 1, checkpoint.network.spec().min_samples), 39, 40, 41, 1000):
        audio = noise(samples).float()
        spectrum = stft(checkpoint.network, audio)
        logamp, phase = forth(audio)
        found = torch.polar(logamp.exp() - 1e-5, phase)
        left_out = n_fft % 2 == 1 and samples % hop_size == 0
        assert found.shape[2] - spectrum.shape[2] == left_out
        assert error(found[:, :, : spectrum.shape[2]], spectrum) < 1e-5
        (restored,) = back(found.real, found.imag)
        kept = samples // hop_size * hop_size  # the last frame's centre; torch stops there, too
        assert error(restored[:, :kept], audio[:, :kept]) < 1e-4


@torch.no_grad()
def coded(checkpoint: Checkpoint, audio: Tensor) -> Tensor:
    """Codes (Q, L) of a clip (N,) as the published code makes them, up to the sign of a zero."""
    spectrum = stft(checkpoint.network, audio[None])
    spectrum.imag[:, [0] if checkpoint.network.n_fft % 2 else [0, -1]] = 0  # rounding would decide for -pi or +pi
    latent = Published(checkpoint.network, checkpoint).encode((spectrum.abs() + 1e-5).log(), spectrum.angle())
    return checkpoint.encoder.quantizer.double().encode(latent)[0]


@torch.no_grad()
def decoded(checkpoint: Checkpoint, codes: Tensor) -> Tensor:
    """The audio of codes as the published code makes it, up to the last frame's centre."""
    latent = checkpoint.encoder.quantizer.double().decode(codes[None])
    return istft(checkpoint.network, torch.complex(*Published(checkpoint.network, checkpoint).decode(latent)))[0]


@pytest.mark.slow
def test_a_bundle_of_odd_sizes_codes_and_decodes_as_the_published_code(tmp_path: Path) -> None:
    checkpoint = random_checkpoint(sized(17, 13, 8))
    export_bundle(checkpoint, tmp_path / "odd", made=graphs(checkpoint), proven=False)
    with apcodec_deploy.load(tmp_path / "odd") as codec:
        for samples in (33, 479, 481, 3001):
            audio = noise(samples)[0]
            made = codec.encode(audio.float().numpy(), window="whole")
            expected = coded(checkpoint, audio)
            np.testing.assert_array_equal(made.codes[0], expected)
            restored = torch.from_numpy(codec.decode(made)).double()
            published = decoded(checkpoint, expected)[:samples]
            assert error(restored[: len(published)], published) < 1e-4
