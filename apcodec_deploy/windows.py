"""How a clip is cut into windows, and how what comes out is put together again.

A network with global response normalisation sees its whole input at once, so long clips are cut into windows of one
fixed length. Window ``k`` starts at latent ``k x core`` and spans ``core`` latents with ``context`` on both sides:

        0         core       2 core
        |--context--|====core====|--context--|                      window 0 (keeps its left context: the clip's start)
                    |--context--|====core====|--context--|          window 1
                          |--context--|====core====|--context--|    the last one has the same length and reaches back

The context is at least the receptive field, so within the core only the normalisation's statistics tell a window from
the whole clip. A clip no longer than one window is one piece of its own length: the published inference.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apcodec_deploy.errors import AudioError

MAX_LATENTS = 27_001
"""The longest piece that is coded at once: 3 minutes at 150 latents per second, and the latent at their end. Decoding
whole takes about 60 MB per second of audio, so 11 GB. Longer clips need windows."""


@dataclass(frozen=True, slots=True)
class Window:
    """Latents ``start`` to ``stop`` that the network sees, of which ``keep_start`` to ``keep_stop`` are used."""

    start: int
    stop: int
    keep_start: int
    keep_stop: int

    @property
    def kept(self) -> slice:
        """What is used, counted from the window's start."""
        return slice(self.keep_start - self.start, self.keep_stop - self.start)


@dataclass(frozen=True, slots=True)
class WindowLayout:
    """How a clip is cut.

    Attributes:
        core: Latents from one window to the next; 0 codes every clip in one piece.
        context: Latents of context on each side.
    """

    core: int
    context: int

    def __str__(self) -> str:
        return "whole" if self.whole else f"{self.core} + 2 x {self.context} latents"

    @property
    def whole(self) -> bool:
        """Whether every clip is one piece."""
        return self.core == 0

    @property
    def length(self) -> int:
        """Latents that the network sees at a time; 0 if that is the whole clip."""
        return self.core + 2 * self.context if self.core else 0

    def title(self, latent_rate: float) -> str:
        """How a clip is cut, for a table."""
        return "whole clips" if self.whole else f"windows of {self.core / latent_rate:.2f} s"

    cut_note = seam_note = ""
    """What a part of such a clip's codes lacks, and what a clip where another one follows; for people."""

    def check(self, latents: int) -> None:
        """Refuse a piece that would not fit in memory, as soon as that is known.

        Raises:
            AudioError: A clip of so many latents makes one.
        """
        longest = latents if self.whole else self.length
        if longest > MAX_LATENTS:
            raise AudioError(f"{longest} latents at once do not fit in memory, {MAX_LATENTS} do; use (shorter) windows")

    def latents(self, samples: int, unit: int) -> int:
        """Latents of a clip of ``samples``, ``unit`` to a latent: ``ceil(frames / ratio)`` of the centred transform."""
        return samples // unit + 1

    def longest(self, latents: int, unit: int) -> int:
        """The most samples of a clip of ``latents``: the inverse of ``latents``."""
        return latents * unit - 1

    def single(self, latents: int) -> bool:
        """Whether a clip of so many latents is one piece."""
        return self.whole or latents <= self.length

    def interior(self, index: int) -> Window:
        """Window ``index`` of a clip that goes on after it."""
        start = index * self.core
        return Window(
            start, start + self.length, start + self.context if index else 0, start + self.context + self.core
        )

    def last(self, index: int, latents: int) -> Window:
        """Window ``index`` of a clip that ends with it."""
        return Window(latents - self.length, latents, index * self.core + self.context, latents)

    def windows(self, latents: int) -> list[Window]:
        """All windows of a clip of so many latents."""
        if self.single(latents):
            return [Window(0, latents, 0, latents)]
        count = -(-(latents - self.length) // self.core)
        return [*(self.interior(index) for index in range(count)), self.last(count, latents)]


class _Tape:
    """The part of a stream, along its last axis, that is still needed."""

    def __init__(self) -> None:
        self._blocks: list[NDArray[Any]] = []
        self._start = 0
        self.end = 0

    def append(self, block: NDArray[Any]) -> None:
        self._blocks.append(block)
        self.end += block.shape[-1]

    def take(self, start: int, stop: int) -> NDArray[Any]:
        if len(self._blocks) > 1:
            self._blocks = [np.concatenate(self._blocks, axis=-1)]
        return self._blocks[0][..., start - self._start : stop - self._start]

    def forget(self, until: int) -> None:
        while self._blocks and self._start + self._blocks[0].shape[-1] <= until:
            self._start += self._blocks.pop(0).shape[-1]
        if self._blocks and self._start < until:
            # A view: the next ``take`` copies what is left of it, so an array given in one piece is never copied.
            self._blocks[0] = self._blocks[0][..., until - self._start :]
            self._start = until


def cut_audio(
    blocks: Iterable[NDArray[np.float32]], layout: WindowLayout, unit: int
) -> Iterator[tuple[Window, NDArray[np.float32]]]:
    """Cut a stream of audio (C, n) at the model's rate into windows with their samples, in bounded memory.

    A window of M latents has ``M x unit - 1`` samples, the most that make M latents. The clip's end
    seldom falls on that grid, so a clip that is cut is continued there by its own reflection, as the transform does.

    Args:
        blocks: The stream.
        layout: How it is cut.
        unit: Samples to a latent.
    """
    tape, index = _Tape(), 0
    for block in blocks:
        tape.append(block)
        layout.check(layout.latents(tape.end, unit))
        while not layout.whole and tape.end >= (index * layout.core + layout.length) * unit:
            window = layout.interior(index)
            yield window, tape.take(window.start * unit, window.stop * unit - 1)
            tape.forget(window.start * unit)
            index += 1
    if not tape.end:
        return
    latents = layout.latents(tape.end, unit)
    if layout.single(latents):
        yield Window(0, latents, 0, latents), tape.take(0, tape.end)
        return
    window = layout.last(index, latents)
    rest = tape.take(window.start * unit, tape.end)
    beyond = window.stop * unit - 1 - tape.end
    yield window, np.pad(rest, ((0, 0), (0, beyond)), mode="reflect")


def cut_codes(blocks: Iterable[NDArray[np.int16]], layout: WindowLayout) -> Iterator[tuple[Window, NDArray[np.int16]]]:
    """Cut a stream of codes (C, Q, n) into windows with their codes, in bounded memory."""
    tape, index = _Tape(), 0
    for block in blocks:
        tape.append(block)
        layout.check(tape.end)
        while not layout.whole and tape.end > index * layout.core + layout.length:
            window = layout.interior(index)
            yield window, tape.take(window.start, window.stop)
            tape.forget(window.start)
            index += 1
    if not tape.end:
        return
    window = Window(0, tape.end, 0, tape.end) if layout.single(tape.end) else layout.last(index, tape.end)
    yield window, tape.take(window.start, window.stop)


class Joint:
    """Puts the decoded windows of a clip together into one stream.

    Two windows code the same audio with slightly different statistics, so over the first latent of each window the
    earlier one fades out and the later one in; the context has one latent to spare for that.
    """

    def __init__(self, unit: int) -> None:
        self._unit = unit
        self._ramp = (np.arange(unit, dtype=np.float32) + 0.5) / unit
        self._fading: NDArray[np.float32] | None = None

    def add(self, window: Window, audio: NDArray[np.float32]) -> NDArray[np.float32]:
        """What the next window (C, length x unit) adds to the stream."""
        unit = self._unit
        kept = audio[:, window.kept.start * unit : window.kept.stop * unit]
        if self._fading is not None:
            kept = kept.copy()
            kept[:, :unit] = self._fading * (1 - self._ramp) + kept[:, :unit] * self._ramp
        self._fading = audio[:, window.kept.stop * unit :][:, :unit]
        return kept


def join_audio(pieces: Iterable[tuple[Window, NDArray[np.float32]]], unit: int) -> Iterator[NDArray[np.float32]]:
    """Put decoded windows (C, length x unit) together into one stream. See ``Joint``."""
    joint = Joint(unit)
    for window, audio in pieces:
        yield joint.add(window, audio)
