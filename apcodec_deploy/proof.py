"""What a bundle proves itself by: a clip, the codes and the sound that float32 gives it, and how near others must come.

The clip is one default window. Codes and sound come from the PyTorch model that the bundle was exported from. So a
program in any language can hold its own results against them, and this one does so before it believes a reduced
precision on a machine that it has not seen.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import soundfile
from numpy.typing import NDArray

from apcodec_deploy.bundle import Bundle
from apcodec_deploy.encoded import EncodedAudio
from apcodec_deploy.errors import BitstreamError, BundleError

AUDIO, CODES, DECODED = "proof.flac", "proof.apc", "proof.decoded.flac"
"""The files in a bundle: what is coded, its codes, and what those decode to."""
FILES = (AUDIO, CODES, DECODED)
_MOST_DECIBELS = 99.0
"""Where two sounds are equal."""


@dataclass(frozen=True, slots=True)
class Limit:
    """How near a precision must come to float32.

    Attributes:
        agreement: The least share of equal codes over all codebooks.
        decibels: The least ratio of the sound of the proof's codes to its difference from float32's.
    """

    agreement: float
    decibels: float

    def to_dict(self) -> dict[str, float]:
        """For ``model.json``."""
        return {"agreement": self.agreement, "snr_db": self.decibels}


@dataclass(frozen=True, slots=True)
class Verdict:
    """How near a backend came.

    Attributes:
        agreement: Share of equal codes over all codebooks.
        decibels: Of the sound of the same codes, against its difference from float32's; 99 at most.
        limit: What was asked.
    """

    agreement: float
    decibels: float
    limit: Limit

    @property
    def holds(self) -> bool:
        """Whether it is near enough."""
        return self.agreement >= self.limit.agreement and self.decibels >= self.limit.decibels

    def __str__(self) -> str:
        return (
            f"{self.agreement:.1%} of the codes and {self.decibels:.1f} dB of the sound of float32, where the bundle "
            f"asks for {self.limit.agreement:.0%} and {self.limit.decibels:g} dB"
        )


class Coder(Protocol):
    """What is proved. See ``Backend``."""

    def encode(self, audio: NDArray[np.float32]) -> NDArray[np.int32]: ...

    def decode(self, codes: NDArray[np.int32]) -> NDArray[np.float32]: ...


@dataclass(frozen=True, slots=True, eq=False)
class Proof:
    """A clip with what float32 makes of it.

    Attributes:
        audio: (N,) float32 at the model's rate, one default window.
        codes: (Q, L) int16.
        decoded: (N,) float32: what ``codes`` decode to, cut at full scale.
        limits: By precision.
    """

    audio: NDArray[np.float32]
    codes: NDArray[np.int16]
    decoded: NDArray[np.float32]
    limits: Mapping[str, Limit]

    @classmethod
    def of(cls, bundle: Bundle) -> Proof:
        """Read a bundle's proof.

        Raises:
            BundleError: It has none, or it is damaged.
        """
        described: Any = bundle.manifest.get("proof")
        if described is None:
            raise BundleError(
                f"{bundle.path} carries no proof, so nothing but float32 can be held against anything: an older "
                "'apcodec export' made it; export the checkpoint again"
            )
        try:
            limits = {
                name: Limit(float(each["agreement"]), float(each["snr_db"]))
                for name, each in described["limits"].items()
            }
            digests = {name: str(described["files"][name]["sha256"]) for name in FILES}
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise BundleError(f"{bundle.path} has a proof that is not whole ({error}); export it again") from error
        held = {name: bundle.verified(name, digest) for name, digest in digests.items()}
        try:
            codes = EncodedAudio.load(bundle.path / CODES).codes[0]
            return cls(_mono(held[AUDIO]), codes, _mono(held[DECODED]), limits)
        except (BitstreamError, soundfile.SoundFileError) as error:
            raise BundleError(f"{bundle.path} has a proof that cannot be read ({error}); export it again") from error

    def judge(self, backend: Coder, precision: str) -> Verdict:
        """Pass the clip through a backend, and its codes.

        Raises:
            BundleError: The proof does not say how near that precision must come.
            BackendError: The backend fails.
        """
        if precision not in self.limits:
            raise BundleError(f"the bundle's proof says nothing of {precision}; export the checkpoint again")
        found = backend.encode(self.audio[None])[0]
        decoded = backend.decode(self.codes[None].astype(np.int32))[0, : len(self.decoded)]
        cut = np.where(np.isfinite(decoded), np.clip(decoded, -1, 1), np.nan)  # a broken precision may give anything
        ratio = decibels(self.decoded, cut)
        return Verdict(float(np.mean(found == self.codes)), ratio, self.limits[precision])


def decibels(expected: NDArray[np.float32], found: NDArray[np.float32]) -> float:
    """Power of a sound against the power of another one's difference from it; at most 99, and -99 if not finite."""
    signal = float(np.mean(np.square(expected, dtype=np.float64)))
    noise = float(np.mean(np.square(np.subtract(found, expected, dtype=np.float64))))
    if not np.isfinite(noise):
        return -_MOST_DECIBELS
    if not noise:
        return _MOST_DECIBELS
    return float(np.clip(10 * np.log10(max(signal, 1e-30) / noise), -_MOST_DECIBELS, _MOST_DECIBELS))


def _mono(data: bytes) -> NDArray[np.float32]:
    audio, _ = soundfile.read(io.BytesIO(data), dtype="float32")
    return np.asarray(audio, np.float32)
