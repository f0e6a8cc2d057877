"""Cut and join codes without decoding them.

A clip of ``n`` samples has ``n // samples_per_latent + 1`` latents, so its last latent stands for what is left of it,
which may be nothing; one that is a stream has as many as it takes until its last sample is final. Cuts are made between
latents: a part begins at the latent that holds its start. Where clips are joined, a last latent that stands for nothing
is dropped, and any other one is taken to its end, which lengthens the clip by less than one latent. So what was cut
between two latents is joined again without a trace.

Where a stream is followed by one that does not go on with it, its last samples are heard without the frames that reach
beyond it, so they fade out. To keep those frames would put silence of up to two latents between the clips instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from apcodec_deploy.audio.resampling import resampled_length
from apcodec_deploy.bitstream.header import Header
from apcodec_deploy.encoded import EncodedAudio
from apcodec_deploy.errors import BitstreamError

_ROUNDING = 1e-6
"""Latents by which a time may miss the border that it was meant to be at."""
_SAME = ("fingerprint", "sample_rate", "model_rate", "channels", "codebooks", "samples_per_latent", "layout")


def sliced(encoded: EncodedAudio, start: float = 0.0, end: float | None = None) -> EncodedAudio:
    """A part of a clip.

    Args:
        encoded: The clip.
        start: Seconds; the part begins at the start of the latent that holds it.
        end: Seconds; the clip's end where None.

    Raises:
        BitstreamError: There is nothing between the two.
    """
    header = encoded.header
    until = encoded.duration if end is None else min(end, encoded.duration)
    if not 0 <= start < until:
        raise BitstreamError(f"nothing is between {start:g} s and {until:g} s of a clip of {encoded.duration:g} s")
    unit = header.samples_per_latent
    first = min(int(start * header.model_rate / unit + _ROUNDING), header.latents - 1)
    begun = resampled_length(first * unit, header.model_rate, header.sample_rate) if first else 0
    if until == encoded.duration:
        latents = header.latents - first
        return _made(encoded, first, latents, header.samples - begun)
    samples = max(1, round(until * header.sample_rate) - begun)
    latents = min(_latents(header, samples), header.latents - first)
    return _made(encoded, first, latents, samples)


def concatenated(clips: Sequence[EncodedAudio]) -> EncodedAudio:
    """Clips one after the other.

    Raises:
        BitstreamError: There are none, or they are not of one model, rate, number of channels and windows.
    """
    if not clips:
        raise BitstreamError("there are no clips to join")
    first = clips[0].header
    for number, clip in enumerate(clips[1:], 2):
        for name in _SAME:
            if getattr(clip.header, name) != getattr(first, name):
                raise BitstreamError(
                    f"clip {number} has {name} {getattr(clip.header, name)}, the first one {getattr(first, name)}; "
                    "only clips that agree can be joined"
                )
    *before, last = clips
    parts = [clip.codes[:, :, : _filled(clip.header)] for clip in before]
    kept = sum(part.shape[2] for part in parts)
    codes = np.concatenate([*parts, last.codes], axis=2)
    joined = resampled_length(kept * first.samples_per_latent, first.model_rate, first.sample_rate)
    samples = joined + last.header.samples
    return _fitted(codes, first, samples)


def continued(before: EncodedAudio, after: EncodedAudio) -> bool:
    """Whether a joint of two clips lacks nothing: the second begins with all that the first has beyond its samples.

    Parts that lay next to each other in one clip do so.
    """
    beyond = before.codes[:, :, _filled(before.header) :]
    return np.array_equal(beyond, after.codes[:, :, : beyond.shape[2]])


def _filled(header: Header) -> int:
    """Latents of a clip that stand for samples."""
    return -(-header.model_samples // header.samples_per_latent)


def _latents(header: Header, samples: int) -> int:
    """Latents of a clip of so many samples at the source's rate."""
    model_samples = resampled_length(samples, header.sample_rate, header.model_rate)
    return header.layout.latents(model_samples, header.samples_per_latent)


def _made(encoded: EncodedAudio, first: int, latents: int, samples: int) -> EncodedAudio:
    return _fitted(encoded.codes[:, :, first : first + latents], encoded.header, samples)


def _fitted(codes: NDArray[np.int16], header: Header, samples: int) -> EncodedAudio:
    """Codes with the number of samples that belongs to so many latents, next to the one that is wanted.

    At other rates than the model's a number of samples may round to one latent more or less.
    """
    latents = codes.shape[2]
    reach = 2 + header.sample_rate // header.model_rate
    for off in sorted(range(-reach, reach + 1), key=abs):
        candidate = samples + off
        if candidate >= 1 and _latents(header, candidate) == latents:
            return EncodedAudio(np.ascontiguousarray(codes), replace(header, samples=candidate, latents=latents))
    raise BitstreamError(f"{latents} latents do not make {samples} samples at {header.sample_rate} Hz")
