"""The transforms against PyTorch's own, and the exact zeros that settle the phase."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from apcodec_deploy.families import WindowedSpec
from apcodec_export.model.transforms import Istft, Stft, angle

SIZES = [(1024, 320, 40), (1024, 160, 40), (512, 512, 128), (256, 200, 64), (128, 120, 50), (30, 20, 5)]
"""Points, window, hop: both families; no zero padding; hops that do not divide the window; half the points odd."""
ODD = [(1024, 321, 40), (64, 41, 8), (60, 59, 20)]
"""The centre of the window lies between two samples."""
ODD_POINTS = [(1023, 320, 40), (63, 40, 8), (63, 41, 8), (59, 59, 20)]
"""No bin of Nyquist; the middle of the points is a sample, and that of the window is or is not."""
SHORT = [(128, 80, 40), (64, 15, 8), (64, 13, 8), (30, 12, 8), (64, 9, 8), (17, 13, 8), (15, 12, 8)]
"""Two hops or less: what the published code runs down to a hop and a sample."""
PI = float(np.float32(math.pi))


def spec_of(n_fft: int, win_size: int, hop_size: int) -> WindowedSpec:
    return WindowedSpec(
        family="apcodec-grn",
        sample_rate=48000,
        n_fft=n_fft,
        win_size=win_size,
        hop_size=hop_size,
        ratio=8,
        latent_dim=32,
        num_codebooks=4,
        codebook_size=1024,
        encoder_context_frames=58,
        decoder_context_frames=66,
        window_latents=400,
    )


@pytest.fixture(params=SIZES, ids=str)
def spec(request: pytest.FixtureRequest) -> WindowedSpec:
    return spec_of(*request.param)


@pytest.fixture(params=[*SIZES, *ODD, *ODD_POINTS], ids=str)
def odd_or_even(request: pytest.FixtureRequest) -> WindowedSpec:
    return spec_of(*request.param)


@pytest.fixture(params=[*SIZES, *ODD, *ODD_POINTS, *SHORT], ids=str)
def any_spec(request: pytest.FixtureRequest) -> WindowedSpec:
    return spec_of(*request.param)


@pytest.fixture(params=SHORT, ids=str)
def short(request: pytest.FixtureRequest) -> WindowedSpec:
    return spec_of(*request.param)


@pytest.fixture
def published() -> WindowedSpec:
    return spec_of(*SIZES[0])


def noise(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


def real_bins(spec: WindowedSpec) -> list[int]:
    """DC, and Nyquist where there is one."""
    return [0] if spec.n_fft % 2 else [0, -1]


def torch_stft(audio: Tensor, spec: WindowedSpec) -> Tensor:
    window = torch.hann_window(spec.win_size, dtype=torch.float64)
    return torch.stft(
        audio.double(), spec.n_fft, spec.hop_size, spec.win_size, window, center=True, return_complex=True
    )


def framewise(audio: NDArray[np.float64], spec: WindowedSpec) -> NDArray[np.complex128]:
    """The same by its definition, frame by frame, for clips whose edges torch refuses to reflect."""
    rest = spec.n_fft - spec.win_size
    before = spec.n_fft // 2 - rest // 2
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(spec.win_size) / spec.win_size)
    padded = np.pad(audio, (before, spec.win_size - before), mode="reflect")
    starts = [spec.hop_size * frame for frame in range(len(audio) // spec.hop_size + 1)]
    frames = [np.pad(window * padded[start : start + spec.win_size], (rest // 2, rest - rest // 2)) for start in starts]
    return np.fft.rfft(frames).T


@pytest.mark.parametrize("extra", [0, 1, -1, 17])
def test_the_spectrum_is_that_of_torch(any_spec: WindowedSpec, extra: int) -> None:
    audio = noise(3, 12 * any_spec.n_fft // any_spec.hop_size * any_spec.hop_size + extra)
    expected = torch_stft(audio, any_spec)
    found = torch.complex(*Stft(any_spec).spectrum(audio))
    assert found.shape == (3, any_spec.bins, any_spec.frames(audio.shape[1]))
    left_out = any_spec.n_fft % 2 == 1 and extra == 0
    assert found.shape[2] - expected.shape[2] == left_out
    assert (found[:, :, : expected.shape[2]] - expected).abs().max() < 2e-6 * expected.abs().max()


def test_the_features_are_log_amplitude_and_angle_of_the_spectrum(any_spec: WindowedSpec) -> None:
    audio = noise(2, 8 * any_spec.n_fft // any_spec.hop_size * any_spec.hop_size + 1)
    expected = torch_stft(audio, any_spec)
    logamp, phase = Stft(any_spec)(audio)
    found = torch.polar(logamp.double().exp() - 1e-5, phase.double())
    assert (found - expected).abs().max() < 2e-6 * expected.abs().max()


@pytest.mark.parametrize("longer", [0, 1, 2, 30])
def test_the_shortest_clips_are_reflected_at_both_ends(any_spec: WindowedSpec, longer: int) -> None:
    audio = noise(1, any_spec.min_samples + longer)
    expected = framewise(audio[0].double().numpy(), any_spec)
    found = torch.complex(*Stft(any_spec).spectrum(audio))[0].numpy()
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() < 2e-6 * np.abs(expected).max()


def test_a_clip_shorter_than_the_shortest_cannot_be_reflected(any_spec: WindowedSpec) -> None:
    with pytest.raises(RuntimeError, match=r"[Pp]adding size"):
        Stft(any_spec).spectrum(noise(1, any_spec.min_samples - 1))


def test_the_first_frame_dc_and_nyquist_have_no_imaginary_part(spec: WindowedSpec) -> None:
    _, imag = Stft(spec).spectrum(noise(2, 9 * spec.n_fft + 3))
    for symmetric in (imag[:, :, 0], imag[:, 0], imag[:, -1]):
        assert not symmetric.any()
    assert imag[:, 1:-1, 1:-1].abs().min() > 0


@pytest.mark.parametrize(("past", "symmetric"), [(1, True), (2, False), (0, False)])
def test_the_last_frame_has_no_imaginary_part_where_it_ends_on_the_last_sample(
    spec: WindowedSpec, past: int, symmetric: bool
) -> None:
    _, imag = Stft(spec).spectrum(noise(1, 60 * spec.hop_size + past))
    assert bool((imag[0, :, -1] == 0).all()) is symmetric


def test_the_phase_on_the_cut_is_plus_pi(spec: WindowedSpec) -> None:
    real, imag = Stft(spec).spectrum(noise(2, 9 * spec.n_fft + 1))
    _, phase = Stft(spec)(noise(2, 9 * spec.n_fft + 1))
    on_cut = (imag == 0) & (real < 0)
    assert on_cut.sum() > 50
    assert (phase[on_cut] == PI).all()
    assert (phase[(imag == 0) & (real >= 0)] == 0).all()
    assert phase.abs().max() <= PI


def test_silence_is_the_floor_and_has_no_phase(any_spec: WindowedSpec) -> None:
    logamp, phase = Stft(any_spec)(torch.zeros(1, 4 * any_spec.n_fft))
    torch.testing.assert_close(logamp, torch.full_like(logamp, math.log(1e-5)))
    assert not phase.any()


@pytest.mark.parametrize("level", [0.5, -0.3, 1e-4])
def test_a_constant_has_no_imaginary_part(spec: WindowedSpec, level: float) -> None:
    _, imag = Stft(spec).spectrum(torch.full((1, 4 * spec.n_fft), level))
    assert not imag.any()


def test_a_row_does_not_depend_on_the_others(published: WindowedSpec) -> None:
    audio = noise(3, 4001) * torch.tensor([[1e-3], [1.0], [1e3]])
    together = Stft(published)(audio)
    for row in range(3):
        for batch, alone in zip(together, Stft(published)(audio[row : row + 1]), strict=True):
            assert torch.equal(batch[row], alone[0])


def test_the_inverse_is_that_of_torch(odd_or_even: WindowedSpec) -> None:
    frames = 40
    real, imag = noise(2, 2, odd_or_even.bins, frames)
    imag[:, real_bins(odd_or_even)] = 0  # torch ignores them too, but only up to rounding
    window = torch.hann_window(odd_or_even.win_size, dtype=torch.float64)
    expected = torch.istft(
        torch.complex(real.double(), imag.double()),
        odd_or_even.n_fft,
        odd_or_even.hop_size,
        odd_or_even.win_size,
        window,
        center=True,
        length=odd_or_even.hop_size * frames,
    )
    found = Istft(odd_or_even)(real, imag)
    assert found.shape == expected.shape
    # Where only the end of one window reaches, both divide by almost nothing.
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=2e-6 * float(expected.abs().max()))


def test_imaginary_parts_of_dc_and_nyquist_are_ignored(published: WindowedSpec) -> None:
    real, imag = noise(2, 1, published.bins, 8)
    silenced = imag.clone()
    silenced[:, [0, -1]] = 0
    assert torch.equal(Istft(published)(real, imag), Istft(published)(real, silenced))


@pytest.mark.parametrize("past", [0, 1, 39])
def test_every_sample_comes_back_including_the_last_hop(odd_or_even: WindowedSpec, past: int) -> None:
    audio = noise(2, 50 * odd_or_even.hop_size + past % odd_or_even.hop_size)
    restored = Istft(odd_or_even)(*Stft(odd_or_even).spectrum(audio))
    assert restored.shape[1] == odd_or_even.hop_size * odd_or_even.frames(audio.shape[1])
    torch.testing.assert_close(restored[:, : audio.shape[1]], audio, rtol=0, atol=2e-5)


def test_the_inverse_of_short_windows_is_that_of_torch_and_fades_where_torch_ends(short: WindowedSpec) -> None:
    frames, hop = 40, short.hop_size
    real, imag = noise(2, 2, short.bins, frames)
    imag[:, real_bins(short)] = 0
    expected = torch.istft(
        torch.complex(real.double(), imag.double()),
        short.n_fft,
        hop,
        short.win_size,
        torch.hann_window(short.win_size, dtype=torch.float64),
        center=True,
    )
    found = Istft(short)(real, imag).double()
    assert found.shape == (2, hop * frames)
    covered, last = expected.shape[1], hop * (frames - 1)
    assert covered >= last
    largest = float(expected.abs().max())
    torch.testing.assert_close(found[:, :last], expected[:, :last], rtol=1e-5, atol=2e-6 * largest)
    assert found[:, last:].abs().max() <= largest
    assert not found[:, last + short.win_size - short.lead :].any()  # where no window reaches


@pytest.mark.parametrize("past", [0, 1, 7])
def test_every_sample_between_two_short_windows_comes_back(short: WindowedSpec, past: int) -> None:
    audio = noise(2, 50 * short.hop_size + past)
    restored = Istft(short)(*Stft(short).spectrum(audio))
    kept = 50 * short.hop_size
    torch.testing.assert_close(restored[:, :kept], audio[:, :kept], rtol=0, atol=1e-4)


def test_an_odd_window_has_no_imaginary_part_at_dc_and_nyquist() -> None:
    for sizes in ODD:
        _, imag = Stft(spec_of(*sizes)).spectrum(noise(2, 9 * sizes[0] + 3))
        assert not imag[:, [0, -1]].any()
        assert imag[:, 1:-1].abs().min() > 0


def test_the_inverse_of_one_frame_is_one_hop(spec: WindowedSpec) -> None:
    # A flat spectrum, its phase turned to the middle, is an impulse there, where the window is one.
    turn = 1 - 2 * (torch.arange(spec.bins) % 2).float()
    audio = Istft(spec)(turn[None, :, None], torch.zeros(1, spec.bins, 1))
    expected = torch.zeros(1, spec.hop_size)
    expected[0, 0] = 1
    torch.testing.assert_close(audio, expected, rtol=0, atol=1e-4)


SIZE = st.floats(min_value=2.0**-60, max_value=2.0**60, width=32)
COORDINATE = st.one_of(SIZE, SIZE.map(lambda value: -value), st.sampled_from([0.0, -0.0]))


@given(COORDINATE, COORDINATE)
@example(-1.0, 0.0)
@example(-1.0, -0.0)
@example(1.0, -0.0)
@example(0.0, 1.0)
@example(-0.0, -1.0)
@example(0.0, 0.0)
@example(-0.0, -0.0)
@example(-1.0, 2.0**-60)
@example(-1.0, -(2.0**-60))
@example(1.0, 1.0)
def test_angle_is_atan2_that_does_not_see_the_sign_of_zero(real: float, imag: float) -> None:
    x, y = torch.tensor([real]), torch.tensor([imag])
    unsigned = torch.atan2(y.double() + 0.0, x.double() + 0.0)
    torch.testing.assert_close(angle(x, y).double(), unsigned, rtol=3e-7, atol=0)


def test_the_plus_zero_of_an_angle_is_no_minus_zero() -> None:
    zero = torch.tensor([0.0, -0.0])
    assert not torch.signbit(angle(torch.ones(2), zero)).any()
    assert (angle(-torch.ones(2), zero) == PI).all()


@pytest.mark.parametrize("size", [1e-38, 1e-45])
def test_angles_of_what_is_too_small_for_a_ratio_are_finite_and_in_their_quadrant(size: float) -> None:
    x, y = torch.tensor([size, -size, -size, size]), torch.tensor([size, size, -size, -size])
    found = angle(x, y)
    assert found.isfinite().all()
    assert (torch.cos(found).sign() == torch.tensor([1.0, -1.0, -1.0, 1.0])).all()
