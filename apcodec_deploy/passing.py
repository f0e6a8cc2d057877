"""Clips on their way through a backend: window by window, or as streams whose state is carried from call to call.

    audio at the model's rate -> calls of bounded size -> codes, and back

Which of the two a model needs is settled here, once; who codes clips asks for ``passing``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from apcodec_deploy.backends.base import Backend, Carried
from apcodec_deploy.batches import Piece, run_batches
from apcodec_deploy.errors import BitstreamError
from apcodec_deploy.families import StreamSpec
from apcodec_deploy.spec import Layout, ModelSpec
from apcodec_deploy.streams import CALL_LATENTS, StreamLayout, coded_calls, sounding_calls
from apcodec_deploy.windows import Joint, WindowLayout, cut_audio, cut_codes

AudioClip = tuple[Iterable[NDArray[np.float32]], Layout]
"""Blocks (C, n) at the model's rate, and how the clip passes."""
CodedClip = tuple[Iterable[NDArray[np.int16]], Layout]
"""Blocks (C, Q, n) of codes, and how the clip passed when it was coded."""


class Passing(Protocol):
    """Passes clips through a backend. Parts of one clip come in order; what a clip gives depends on no other."""

    def encode(self, clips: Iterable[AudioClip]) -> Iterator[tuple[int, NDArray[np.int16]]]:
        """Codes (C, Q, n) with the number of their clip, as they are made."""

    def decode(self, clips: Iterable[CodedClip]) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """Audio (C, n) with the number of its clip, from the clip's first sample on and longer than it."""


def passing(spec: ModelSpec, backend: Backend) -> Passing:
    """How clips pass through a model."""
    return StreamPassing(spec, backend) if isinstance(spec, StreamSpec) else WindowPassing(spec, backend)


class WindowPassing:
    """Windows of all clips, in batches of equal length."""

    def __init__(self, spec: ModelSpec, backend: Backend) -> None:
        self.spec, self.backend = spec, backend

    def encode(self, clips: Iterable[AudioClip]) -> Iterator[tuple[int, NDArray[np.int16]]]:
        pieces = (
            Piece(index, *cut)
            for index, (blocks, layout) in enumerate(clips)
            for cut in cut_audio(blocks, _windows(layout), self.spec.samples_per_latent)
        )
        for piece, codes in run_batches(pieces, self._encode_rows, self.backend.batch_limit):
            yield piece.clip, codes[:, :, piece.window.kept]

    def decode(self, clips: Iterable[CodedClip]) -> Iterator[tuple[int, NDArray[np.float32]]]:
        pieces = (
            Piece(index, *cut)
            for index, (blocks, layout) in enumerate(clips)
            for cut in cut_codes(blocks, _windows(layout))
        )
        joints: dict[int, Joint] = {}
        for piece, audio in run_batches(pieces, self._decode_rows, self.backend.batch_limit):
            joint = joints.setdefault(piece.clip, Joint(self.spec.samples_per_latent))
            yield piece.clip, joint.add(piece.window, audio)

    def _encode_rows(self, audio: NDArray[np.float32]) -> NDArray[np.int16]:
        """Codes of rows of audio. A clip too short for the transform to reflect its edges is followed by silence."""
        short = max(self.spec.min_samples - audio.shape[1], 0)
        codes = self.backend.encode(np.pad(audio, ((0, 0), (0, short))) if short else np.ascontiguousarray(audio))
        return codes.astype(np.int16)

    def _decode_rows(self, codes: NDArray[np.int16]) -> NDArray[np.float32]:
        return self.backend.decode(looked_up(codes, self.spec))


class StreamPassing:
    """One clip after the other, each as a stream; every channel is a stream of its own."""

    def __init__(self, spec: StreamSpec, backend: Backend) -> None:
        self.spec, self.backend = spec, backend

    def encode(self, clips: Iterable[AudioClip]) -> Iterator[tuple[int, NDArray[np.int16]]]:
        unit = self.spec.samples_per_latent
        for index, (blocks, layout) in enumerate(clips):
            streams = _Streams("encode", self.backend)
            for audio in coded_calls(blocks, _stream(layout), unit):
                yield index, streams.push(audio, audio.shape[1] // unit).astype(np.int16)

    def decode(self, clips: Iterable[CodedClip]) -> Iterator[tuple[int, NDArray[np.float32]]]:
        for index, (blocks, layout) in enumerate(clips):
            streams = _Streams("decode", self.backend)
            late = _stream(layout).delay
            for codes in sounding_calls(blocks):
                audio = streams.push(looked_up(codes, self.spec), codes.shape[2])
                yield index, audio[:, late:]
                late = max(late - audio.shape[1], 0)


class _Streams:
    """The channels of one clip in one direction, each a stream."""

    def __init__(self, direction: str, backend: Backend) -> None:
        self.direction, self.backend = direction, backend
        self._states: tuple[Carried, ...] = ()

    def push(self, rows: NDArray[Any], tokens: int) -> NDArray[Any]:
        """What comes next in every channel."""
        made, self._states = push_rows(self.backend, self.direction, rows, self._states, tokens)
        return made


def push_rows(
    backend: Backend, direction: str, rows: NDArray[Any], states: tuple[Carried, ...], tokens: int
) -> tuple[NDArray[Any], tuple[Carried, ...]]:
    """Go on with any number of streams; see ``Backend.push``.

    Args:
        backend: What computes them, so many at a time that it has no more to hold than for windows.
        direction: ``encode`` or ``decode``.
        rows: What comes next in each stream.
        states: Of each; none where all are new.
        tokens: How many come next in each, at most ``CALL_LATENTS``.
    """
    limit = backend.batch_limit * CALL_LATENTS // tokens
    made: list[NDArray[Any]] = []
    after: list[Carried] = []
    for first in range(0, len(rows), limit):
        some = np.ascontiguousarray(rows[first : first + limit])
        result, following = backend.push(direction, some, states[first : first + limit])
        made.append(result)
        after += following
    return np.concatenate(made) if len(made) > 1 else made[0], tuple(after)


def looked_up(codes: NDArray[np.int16], spec: ModelSpec) -> NDArray[np.int32]:
    """Codes as graphs take them, which look them up in tables without looking where they end.

    Raises:
        BitstreamError: A code is out of range.
    """
    if codes.min() < 0 or codes.max() >= spec.codebook_size:
        raise BitstreamError(f"codes from {codes.min()} to {codes.max()}; this model has 0 to {spec.codebook_size - 1}")
    return np.ascontiguousarray(codes.astype(np.int32))


def _windows(layout: Layout) -> WindowLayout:
    assert isinstance(layout, WindowLayout), "a codec asks its model for the layout, and checks that of a file"
    return layout


def _stream(layout: Layout) -> StreamLayout:
    assert isinstance(layout, StreamLayout), "a codec asks its model for the layout, and checks that of a file"
    return layout
