"""How many calls of a codec at a time memory has room for."""

from __future__ import annotations

from dataclasses import dataclass

from apcodec_deploy.machine import available_memory
from apcodec_deploy.spec import ModelSpec, WindowLength

_SPECTRA = 48
"""Memory of a call at its peak, in spectra of its window (float32, every frame and bin).

Measured with ONNX Runtime in windows of 2.8 and 5.5 s: 33 and 28 with the demo model, 49 with the published shape;
OpenVINO takes 7 to 18.
"""
_SHARE = 0.8
"""Of the memory that is free; the rest is for files on their way, and for others."""
_WHOLE_SECONDS = 60
"""What a clip that is coded in one piece counts as: how long clips are is not known before."""


@dataclass(frozen=True, slots=True)
class Room:
    """Memory, and what a call takes of it.

    Attributes:
        free: Bytes that this process may still take; None where the system does not tell.
        needed: Bytes of one call on the CPU.
    """

    free: int | None
    needed: int

    @classmethod
    def of(cls, spec: ModelSpec, window: WindowLength) -> Room:
        """The room of this moment, for calls on one window, or on the longest that is usual where clips are whole."""
        layout = spec.layout(window)
        latents = layout.length or spec.latents(_WHOLE_SECONDS * spec.sample_rate)
        return cls(available_memory(), _SPECTRA * latents * spec.ratio * spec.bins * 4)

    def calls(self, wanted: int) -> int:
        """As many calls at a time as are wanted or have room; at least one."""
        return wanted if self.free is None else max(1, min(wanted, int(_SHARE * self.free) // self.needed))

    def telling(self, wanted: int) -> str:
        """What to tell of fewer calls than were wanted."""
        return (
            f"memory has room for {self.calls(wanted)} files at a time in the codec, not {wanted}: "
            f"{(self.free or 0) / 1e9:.1f} GB are free, and each takes up to {self.needed / 1e9:.1f} GB; "
            "shorter windows (--window) take less"
        )
