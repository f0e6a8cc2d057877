"""APCodec-S in PyTorch against its second definition, and what being causal means."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_causal import SMALL, in_float64
from token_by_token import TokenByToken
from torch import Tensor

from apcodec_deploy.families import StreamSpec
from apcodec_export.checkpoint import Checkpoint, random_checkpoint
from apcodec_export.model.causal import CausalIstft, CausalStft
from apcodec_export.network import PUBLISHED_48K, NetworkConfig, streamable

NETWORKS = st.builds(
    lambda context, ratio, channels, projections, window, hop: streamable(
        replace(
            SMALL,
            ratio=ratio,
            encoder_amp_channels=channels,
            decoder_amp_channels=channels,
            projections=projections,
            codebook_dim=4 if projections else SMALL.latent_dim,
            win_size=window * hop,
            hop_size=hop,
            amp_down_kernel=ratio,
            pha_down_kernel=ratio,
            amp_up_kernel=2 * ratio,
            pha_up_kernel=2 * ratio,
        ),
        context,
    ),
    st.sampled_from([0, 1, 2, 6]),
    st.integers(1, 5),
    st.integers(2, 9),
    st.booleans(),
    st.sampled_from([4, 6, 8]),
    st.sampled_from([2, 5, 8]),
)
"""Both contexts and others, odd widths and ratios, unlike branches, with and without projections."""


def doubled(network: NetworkConfig) -> Checkpoint:
    with in_float64():
        return random_checkpoint(network, seed=3)


def exact_features(stft: CausalStft, audio: Tensor) -> tuple[Tensor, Tensor]:
    """Features without the polynomial that the exported arctangent is."""
    real, imag = stft.spectrum(audio)
    return torch.hypot(real, imag).add(1e-5).log(), torch.atan2(imag + 0.0, real + 0.0)


@settings(max_examples=25, deadline=None)
@given(network=NETWORKS, samples=st.integers(1, 150), seed=st.integers(0, 9))
def test_it_is_its_second_definition(network: NetworkConfig, samples: int, seed: int) -> None:
    checkpoint = doubled(network)
    spec = network.spec()
    assert isinstance(spec, StreamSpec)
    unit, latents = spec.samples_per_latent, spec.latents(samples)
    audio = np.random.default_rng(seed).standard_normal(samples)
    padded = np.concatenate([audio, np.zeros(latents * unit - samples)])
    weights = [
        {key: value.numpy() for key, value in part.state_dict().items()}
        for part in (checkpoint.encoder, checkpoint.decoder)
    ]
    second = TokenByToken(network, *weights)
    expected = np.stack([second.latent(padded[token * unit :][:unit]) for token in range(latents)], axis=1)
    with in_float64():
        stft, istft = CausalStft(spec), CausalIstft(spec)
        latent = checkpoint.encoder(*exact_features(stft, torch.from_numpy(audio)[None]))[0].numpy()
        np.testing.assert_allclose(latent, expected, rtol=1e-9, atol=1e-9)

        codes = np.array([second.quantized(column)[0] for column in expected.T]).T
        quantized = checkpoint.encoder.quantizer.decode(torch.from_numpy(codes)[None])
        decoded = istft(*checkpoint.decoder(quantized))[0].numpy()
    sounding = np.concatenate([second.decode(list(column)) for column in codes.T])
    np.testing.assert_allclose(decoded, sounding[spec.delay_samples :], rtol=1e-9, atol=1e-9 * np.abs(sounding).max())
    assert len(decoded) >= samples


@pytest.fixture(scope="module", params=[0, 6], ids=lambda context: f"context {context}")
def causal(request: pytest.FixtureRequest) -> Checkpoint:
    return random_checkpoint(streamable(SMALL, request.param), seed=5)


def latent_of(checkpoint: Checkpoint, audio: Tensor) -> Tensor:
    latent: Tensor = checkpoint.encoder(*CausalStft(checkpoint.network.spec())(audio))
    return latent


def codes_of(checkpoint: Checkpoint, audio: Tensor) -> Tensor:
    return checkpoint.encoder.quantizer.encode(latent_of(checkpoint, audio))


def audio_of(checkpoint: Checkpoint, codes: Tensor) -> Tensor:
    spectrum = checkpoint.decoder(checkpoint.encoder.quantizer.decode(codes))
    return CausalIstft(checkpoint.network.spec())(*spectrum)


def test_a_token_sees_its_own_samples_and_none_after(causal: Checkpoint) -> None:
    unit, tokens = 12, 12
    audio = torch.randn(1, unit * tokens, generator=torch.Generator().manual_seed(1))
    whole = codes_of(causal, audio)
    for token in range(tokens):
        changed = audio.clone()
        changed[0, unit * (token + 1) :] = 1.0
        assert torch.equal(codes_of(causal, changed)[:, :, : token + 1], whole[:, :, : token + 1])
        changed = audio.clone()
        changed[0, unit * token + unit - 1] += 3.0
        assert not torch.equal(latent_of(causal, changed)[:, :, token], latent_of(causal, audio)[:, :, token])


def test_a_code_is_heard_from_its_first_frame_on_and_not_before(causal: Checkpoint) -> None:
    """The first changed sample is ``unit x token - delay + 1``: the periodic window begins with a zero."""
    unit, tokens, delay = 12, 12, 28
    codes = torch.randint(0, 16, (1, 2, tokens), generator=torch.Generator().manual_seed(2))
    whole = audio_of(causal, codes)
    for token in range(3, tokens):
        changed = codes.clone()
        changed[0, :, token] = (changed[0, :, token] + 1) % 16
        (differing,) = torch.nonzero(audio_of(causal, changed)[0] != whole[0], as_tuple=True)
        assert int(differing[0]) == unit * token - delay + 1


def test_the_frames_at_the_start_are_those_after_silence() -> None:
    audio = torch.randn(1, 60, generator=torch.Generator().manual_seed(1))
    stft = CausalStft(SMALL.spec())
    first = stft.spectrum(audio)
    later = stft.spectrum(torch.nn.functional.pad(audio, (48, 0)))
    for one, other in zip(first, later, strict=True):
        torch.testing.assert_close(one, other[:, :, 12 : 12 + one.shape[2]], rtol=0, atol=1e-5)


def test_the_spectrum_is_that_of_torch_a_few_frames_earlier() -> None:
    spec = streamable(PUBLISHED_48K).spec()
    audio = torch.randn(2, 4000, generator=torch.Generator().manual_seed(1))
    real, imag = CausalStft(spec).spectrum(audio)
    window = torch.hann_window(320)
    padded = torch.nn.functional.pad(audio, (120, 1000))  # frame t of torch is centred on sample 40 t
    theirs = torch.stft(padded, 1024, 40, 320, window, center=True, pad_mode="constant", return_complex=True)
    ours = torch.complex(real, imag)
    torch.testing.assert_close(ours[:, :, :100], theirs[:, :, :100], rtol=0, atol=1e-4)


@pytest.mark.parametrize("samples", [1, 39, 40, 41, 320, 321, 2000])
def test_the_inverse_gives_back_every_sample(samples: int) -> None:
    spec = streamable(PUBLISHED_48K).spec()
    audio = torch.randn(2, samples, generator=torch.Generator().manual_seed(1))
    back = CausalIstft(spec)(*CausalStft(spec).spectrum(audio))
    assert samples <= back.shape[1] < samples + 320
    torch.testing.assert_close(back[:, :samples], audio, rtol=0, atol=2e-6)
    torch.testing.assert_close(back[:, samples:], torch.zeros_like(back[:, samples:]), rtol=0, atol=2e-6)


def test_the_published_widths_in_numbers() -> None:
    feed_forward, history = (streamable(PUBLISHED_48K, context).spec() for context in (0, 6))
    assert isinstance(feed_forward, StreamSpec) and isinstance(history, StreamSpec)
    assert (feed_forward.delay_samples, feed_forward.latency_samples) == (280, 600)
    assert [feed_forward.latents(samples) for samples in (1, 40, 41, 360, 361)] == [1, 1, 2, 2, 3]
    assert max(len(spec.encoder_state) for spec in (feed_forward, history)) == 3
    assert max(len(spec.decoder_state) for spec in (feed_forward, history)) == 4
