"""Short-time Fourier transform and its inverse, as plain matrix products that export to any runtime.

They agree with ``torch.stft(center=True)`` and ``torch.istft`` but are computed about the *centre* of each frame. With
the frame cut at its centre and one half mirrored, the real part of the spectrum is a cosine product of the even half
(sum) and the imaginary part a sine product of the odd half (difference). This halves the work, and it settles the
phase's branch cut: wherever a frame is symmetric (the first one and, for some lengths, the last, by reflection;
silence; a constant) the odd half is *exactly* zero, so the phase is 0 or +pi on every backend, where an FFT leaves +pi
or -pi to rounding noise. The sine rows of DC and Nyquist are exactly zero for the same reason.

The centre of a window of odd size lies between two samples. Its halves are mirrored about that place, where no frame is
symmetric by reflection. PyTorch counts phase from the middle of the ``n_fft`` samples. Where one of the two sizes is
odd, that is half a sample from the window's centre, and each bin is turned by it.

Where ``n_fft`` is odd, there is no bin of Nyquist, and a clip of whole hops has a last frame that PyTorch leaves out.

Shapes: B clips, N samples, F = n_fft // 2 + 1 bins, T = N // hop + 1 frames, K hops per window.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.polynomial import Chebyshev, Polynomial
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from apcodec_deploy.spec import ModelSpec

LOG_FLOOR = 1e-5
"""Added to the magnitude before the logarithm (published code)."""
TINY = 1e-37
"""A divisor that turns 0 / 0 into 0."""


class Frames(nn.Module):
    """The numbers that both directions share, in float64 until they are stored."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.hop = spec.hop_size
        self.lead = spec.lead
        self.reach = spec.win_size // 2
        self.middle = spec.win_size - self.reach
        self.blocks = -(-spec.win_size // spec.hop_size)
        between = spec.win_size % 2
        offset = torch.arange(self.reach + 1, dtype=torch.float64) + between / 2
        bins = torch.arange(spec.bins, dtype=torch.float64)
        angle = 2 * math.pi / spec.n_fft * torch.outer(bins, offset)
        self.window = torch.hann_window(spec.win_size, dtype=torch.float64)
        # The weight at each offset from the centre, alike on both sides; half a window from it, it is zero.
        self.taper = torch.cat((self.window[self.middle :], torch.zeros(1, dtype=torch.float64)))
        # torch counts phase from the start of the n_fft samples, half a turn per bin from the centre.
        turn = 1 - 2 * (bins % 2)[:, None]
        self.cosine = turn * angle.cos()
        self.sine = -turn * angle.sin()
        self.sine[0] = 0
        # Each bin stands for its negative frequency, too, but DC and Nyquist, which are their own.
        self.share = torch.full((spec.bins, 1), 2 / spec.n_fft, dtype=torch.float64)
        self.share[0] /= 2
        if spec.n_fft % 2 == 0:
            (self.cosine if between else self.sine)[-1] = 0
            self.share[-1] /= 2
        self.turn = _Turn(spec) if (spec.win_size + spec.n_fft) % 2 else None


class _Turn(nn.Module):
    """Turns each bin (B, F, T) by half a sample: exactly so for DC, not turned, and Nyquist, by a quarter circle."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        lag = math.pi / spec.n_fft * torch.arange(spec.bins, dtype=torch.float64)
        self.cosine, self.sine = stored(lag.cos()[:, None]), stored(lag.sin()[:, None])
        if spec.n_fft % 2 == 0:
            self.cosine[-1] = 0

    def forward(self, real: Tensor, imag: Tensor) -> tuple[Tensor, Tensor]:
        return self.cosine * real - self.sine * imag, self.sine * real + self.cosine * imag

    def back(self, real: Tensor, imag: Tensor) -> tuple[Tensor, Tensor]:
        return self.cosine * real + self.sine * imag, self.cosine * imag - self.sine * real


def stored(tensor: Tensor) -> nn.Parameter:
    """A constant of PyTorch's default type."""
    return nn.Parameter(tensor.to(torch.get_default_dtype()), requires_grad=False)


class Stft(Frames):
    """Audio (B, N) to log-amplitude ``ln(|X| + 1e-5)`` and phase in (-pi, pi], both (B, F, T)."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec)
        weight = self.taper[: self.reach].clone()
        if spec.win_size % 2 == 0:
            weight[0] /= 2  # the centre sample is its own mirror image and is summed twice
        self.even = stored(self.cosine[:, : self.reach] * weight)
        self.odd = stored(self.sine[:, : self.reach] * weight)
        self.mirror = nn.Buffer(torch.arange(self.reach, 0, -1), persistent=False)

    def spectrum(self, audio: Tensor) -> tuple[Tensor, Tensor]:
        """Real and imaginary parts, (B, F, T) each, of audio (B, N) with N at least ``spec.min_samples``."""
        padding = (self.lead, self.blocks * self.hop - self.lead)
        blocks = audio.shape[1] // self.hop + self.blocks
        padded = F.pad(audio, padding, mode="reflect").narrow(1, 0, blocks * self.hop)
        hops = padded.reshape(audio.shape[0], blocks, self.hop).transpose(1, 2)
        last = self.blocks - 1
        shifted = [
            hops[:, :, shift : shift - last] if shift < last else hops[:, :, shift:] for shift in range(last + 1)
        ]
        frames = torch.cat(shifted, dim=1)
        right = frames[:, self.middle : self.middle + self.reach]
        left = frames.index_select(1, self.mirror)
        even, odd = self.even @ (right + left), self.odd @ (right - left)
        return (even, odd) if self.turn is None else self.turn(even, odd)

    def forward(self, audio: Tensor) -> tuple[Tensor, Tensor]:
        real, imag = self.spectrum(audio)
        return (real * real + imag * imag).sqrt().add(LOG_FLOOR).log(), angle(real, imag)


def angle(real: Tensor, imag: Tensor) -> Tensor:
    """``atan2(imag, real)`` without the operator, which ONNX lacks; zero where both are zero, +pi on the cut.

    Comparisons do not see the sign of a zero, so an imaginary part of -0 is one of +0. Angles are mirrored by
    arithmetic, all of it exact, and the arctangent is a polynomial: runtimes pick values by a condition, and take an
    arctangent, up to twenty times slower than they add.
    """
    x, y = real.abs(), imag.abs()
    slope = torch.minimum(x, y) / torch.maximum(x, y).clamp(min=TINY)
    octant = slope * _arctangent_over_slope(slope * slope)
    quadrant = ((y > x).to(x.dtype) * (math.pi / 2) - octant).abs()
    half = ((real < 0).to(x.dtype) * math.pi - quadrant).abs()
    return half * (1 - 2 * (imag < 0).to(x.dtype))


def _arctangent_over_slope(square: Tensor) -> Tensor:
    """``atan(t) / t`` of ``t`` squared, t from 0 to 1, by Horner's rule: 1e-8 from the true value."""
    *lower, value = _arctangent_coefficients(8)
    result = torch.full_like(square, value)
    for coefficient in reversed(lower):
        result = result * square + coefficient
    return result


def _arctangent_coefficients(degree: int) -> list[float]:
    """A polynomial of this degree in t squared, through ``atan(t) / t`` at the Chebyshev nodes of [0, 1]."""

    def ratio(square: NDArray[np.float64]) -> NDArray[np.float64]:
        slope = np.sqrt(square)
        return np.asarray(np.arctan(slope) / slope)

    polynomial = Chebyshev.interpolate(ratio, degree, domain=[0, 1]).convert(kind=Polynomial)
    return [float(coefficient) for coefficient in polynomial.coef]


class Istft(Frames):
    """Real and imaginary parts (B, F, T) to audio (B, hop x T), divided by the squared windows of existing frames.

    Untrimmed: frame t is centred on sample ``hop x t``, and the windows of the last frames reach past it, so every
    sample up to ``hop x T`` can be recovered (``torch.istft`` without ``length`` stops a hop earlier). A window of two
    hops or less comes to its end before that: there, what is left of it fades away, and is not raised out of nothing.
    """

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec)
        self.even = stored((self.share * self.cosine * self.taper).T.contiguous())
        self.odd = stored((self.share * self.sine * self.taper).T.contiguous())
        self.mirror = nn.Buffer(torch.arange(self.reach, self.reach - self.middle, -1), persistent=False)
        self.rest = self.blocks * self.hop - spec.win_size
        energy = F.pad(self.window.square(), (0, self.rest))
        self.energy = stored(energy[None, :, None])
        least = float(energy.reshape(self.blocks, self.hop).sum(dim=0).min())  # of any sample between two frames
        self.least_energy = least if spec.win_size <= 2 * spec.hop_size else None

    def _overlap_add(self, frames: Tensor) -> Tensor:
        """Sum frames (B, K x hop, T), each a hop after the one before, into audio from the first frame's centre on."""
        last = self.blocks - 1
        pieces = torch.split(frames, self.hop, dim=1)
        hops = F.pad(pieces[0], (0, last))
        for shift, piece in enumerate(pieces[1:], start=1):
            hops = hops + F.pad(piece, (shift, last - shift))
        audio = hops.transpose(1, 2).flatten(1)
        return audio[:, self.lead : self.lead - last * self.hop or None]

    def forward(self, real: Tensor, imag: Tensor) -> Tensor:
        if self.turn is not None:
            real, imag = self.turn.back(real, imag)
        even, odd = self.even @ real, self.odd @ imag
        left = (even - odd).index_select(1, self.mirror)
        frames = F.pad(torch.cat((left, (even + odd)[:, : self.reach]), dim=1), (0, 0, 0, self.rest))
        energy = self.energy * torch.ones_like(real[:, :1])
        weights = self._overlap_add(energy)
        if self.least_energy is not None:
            weights = weights.clamp(min=self.least_energy)
        return self._overlap_add(frames) / weights
