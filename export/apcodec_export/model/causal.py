"""The transforms of causal frames, which can be gone on with push by push, in the manner of ``transforms``.

Frame ``t`` sees the ``win_size`` samples that end with sample ``hop x (t + 1) - 1``; before the clip there are zeros,
and nothing is reflected. Every sample lies in ``win_size / hop`` frames, the first ones as well, so the squared windows
add up to a constant, by which the inverse divides.

Shapes: B clips, N samples, T frames, F bins, K hops per window, D = (K - 1) x hop samples of a tail.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from apcodec_deploy.spec import ModelSpec
from apcodec_export.model.transforms import LOG_FLOOR, Frames, Istft, Stft, angle, stored


class CausalStft(Frames):
    """Audio (B, N) to log-amplitude and phase, both (B, F, T), of the frames of whole tokens until all is final."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec)
        self.latents, self.unit = spec.latents, spec.samples_per_latent
        self.delay = spec.win_size - spec.hop_size
        weight = self.taper[: self.reach].clone()
        weight[0] /= 2  # the centre sample is its own mirror image and is summed twice
        self.even = stored((self.cosine[:, : self.reach] * weight).T.contiguous())
        self.odd = stored((self.sine[:, : self.reach] * weight).T.contiguous())
        self.mirror = nn.Buffer(torch.arange(self.reach, 0, -1), persistent=False)

    def following(self, audio: Tensor) -> tuple[Tensor, Tensor]:
        """Real and imaginary parts (B, T, F) of audio (B, D + T x hop) that begins with the tail of what was before."""
        hops = audio.reshape(audio.shape[0], -1, self.hop)
        last = self.blocks - 1
        shifted = [hops[:, shift : shift - last] if shift < last else hops[:, shift:] for shift in range(self.blocks)]
        frames = torch.cat(shifted, dim=2)
        right, left = frames[:, :, self.reach :], frames.index_select(2, self.mirror)
        return (right + left) @ self.even, (right - left) @ self.odd

    def spectrum(self, audio: Tensor) -> tuple[Tensor, Tensor]:
        """Real and imaginary parts, (B, F, T) each, of a whole clip (B, N)."""
        after = self.latents(audio.shape[1]) * self.unit - audio.shape[1]
        real, imag = self.following(F.pad(audio, (self.delay, after)))
        return real.transpose(1, 2), imag.transpose(1, 2)

    def forward(self, audio: Tensor) -> tuple[Tensor, Tensor]:
        return features(*self.spectrum(audio))


def features(real: Tensor, imag: Tensor) -> tuple[Tensor, Tensor]:
    """Log-amplitude ``ln(|X| + 1e-5)`` and phase in (-pi, pi] of a spectrum."""
    return (real * real + imag * imag).sqrt().add(LOG_FLOOR).log(), angle(real, imag)


class CausalIstft(Frames):
    """Real and imaginary parts (B, F, T) to audio (B, T x hop - D), all of it final, from the clip's first sample."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec)
        share = self.share / (self.window.square().sum() / spec.hop_size)
        self.delay = spec.win_size - spec.hop_size
        self.even = stored(share * self.cosine * self.taper)
        self.odd = stored(share * self.sine * self.taper)
        self.mirror = nn.Buffer(torch.arange(self.reach, 0, -1), persistent=False)

    def following(self, real: Tensor, imag: Tensor, tail: Tensor) -> tuple[Tensor, Tensor]:
        """Audio (B, T x hop) that is final with these frames, (B, T, F), and the tail for what follows.

        The oldest frame is added first, whatever the pushes, so the sums are the same to the bit.

        Args:
            real: Real parts.
            imag: Imaginary parts.
            tail: What frames before have added to the D samples that are not final yet.
        """
        even, odd = real @ self.even, imag @ self.odd
        left = (even - odd).index_select(2, self.mirror)
        frames = torch.cat((left, (even + odd)[:, :, : self.reach]), dim=2)
        last = self.blocks - 1
        # Hops: the K - 1 that are not final yet, then those of the new frames; what was before stands first in a sum.
        nothing = torch.zeros_like(frames[:, :, : self.hop])
        hops = torch.cat((tail.reshape(tail.shape[0], last, self.hop), nothing), dim=1)
        for shift, piece in reversed(list(enumerate(torch.split(frames, self.hop, dim=2)))):
            hops = hops + F.pad(piece, (0, 0, shift, last - shift))
        return hops[:, :-last].flatten(1), hops[:, -last:].flatten(1)

    def forward(self, real: Tensor, imag: Tensor) -> Tensor:
        tail = real.new_zeros(real.shape[0], self.delay)
        audio, _ = self.following(real.transpose(1, 2), imag.transpose(1, 2), tail)
        return audio[:, self.delay :]


def transforms(spec: ModelSpec) -> tuple[Stft | CausalStft, Istft | CausalIstft]:
    """The transform of a model and its inverse."""
    return (Stft(spec), Istft(spec)) if spec.centred else (CausalStft(spec), CausalIstft(spec))
