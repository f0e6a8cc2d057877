"""Coded audio: the codes of a clip with everything that is needed to decode them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from apcodec_deploy.audio.resampling import check_rate
from apcodec_deploy.bitstream.gaps import Gap
from apcodec_deploy.bitstream.header import Header
from apcodec_deploy.bitstream.reader import open_codes
from apcodec_deploy.bitstream.writer import BitstreamWriter
from apcodec_deploy.errors import BitstreamError
from apcodec_deploy.files import written_whole
from apcodec_deploy.spec import Layout


class Coder(Protocol):
    """What codes mean: a ``Codec``."""

    sample_rate: int
    num_codebooks: int
    codebook_size: int

    def layout(self) -> Layout:
        """How the model codes a clip."""

    def header(self, sample_rate: int, channels: int, layout: Layout, *, one_dimensional: bool) -> Header:
        """The header of a clip whose counts are not known yet."""


@dataclass(frozen=True, slots=True, eq=False)
class EncodedAudio:
    """The codes of one clip.

    Attributes:
        codes: (C, Q, L) int16: channels, codebooks, latents.
        header: What a ``.apc`` file says of them: rates, lengths, windows, the model's fingerprint.
        gaps: Latents that a damaged file could not give; they decode to silence.
    """

    codes: NDArray[np.int16]
    header: Header
    gaps: tuple[Gap, ...] = ()

    def __post_init__(self) -> None:
        expected = (self.header.channels, self.header.codebooks, self.header.latents)
        if self.codes.shape != expected or self.codes.dtype != np.int16:
            raise BitstreamError(
                f"codes are {self.codes.dtype} {list(self.codes.shape)}; int16 {list(expected)} is what the header says"
            )

    @classmethod
    def of_codes(cls, codes: NDArray[np.integer[Any]], codec: Coder, sample_rate: int | None = None) -> EncodedAudio:
        """Raw codes, such as a language model writes, as what ``codec.decode`` takes and ``save`` keeps.

        They decode to the longest clip that has so many latents.

        Args:
            codes: Whole numbers from 0 to ``codec.codebook_size`` - 1, of any type: (Q, L), or (C, Q, L).
            codec: The model that they are for.
            sample_rate: Hz of the audio that they decode to; None is the model's.

        Raises:
            BitstreamError: They are of another shape or type, or out of range.
            AudioError: The rate is none.
        """
        array, books = np.asarray(codes), codec.num_codebooks
        if not np.issubdtype(array.dtype, np.integer) or array.ndim not in (2, 3) or 0 in array.shape:
            raise BitstreamError(
                f"codes are {array.dtype} {list(array.shape)}; whole numbers (Q, L) or (C, Q, L) are expected"
            )
        clip = array[None] if array.ndim == 2 else array
        if clip.shape[1] != books:
            raise BitstreamError(f"codes of {clip.shape[1]} codebooks, {list(array.shape)}; this model has {books}")
        least, most = int(clip.min()), int(clip.max())
        if least < 0 or most >= codec.codebook_size:
            raise BitstreamError(f"codes from {least} to {most}; 0 to {codec.codebook_size - 1} are expected")
        rate = codec.sample_rate if sample_rate is None else check_rate(sample_rate)
        header = codec.header(rate, len(clip), codec.layout(), one_dimensional=array.ndim == 2)
        return cls(np.ascontiguousarray(clip, np.int16), header.filled(clip.shape[2]))

    @property
    def sample_rate(self) -> int:
        """Hz of the audio that was coded."""
        return self.header.sample_rate

    @property
    def samples(self) -> int:
        """Samples per channel of the audio that was coded."""
        return self.header.samples

    @property
    def channels(self) -> int:
        """Channels."""
        return self.header.channels

    @property
    def duration(self) -> float:
        """Seconds."""
        return self.header.samples / self.header.sample_rate

    @property
    def fingerprint(self) -> str:
        """The first 16 hex digits of the fingerprint of the model that made these codes."""
        return self.header.fingerprint

    def save(self, path: str | Path, *, overwrite: bool = True) -> None:
        """Write a ``.apc`` file; it appears whole or not at all.

        Raises:
            BitstreamError: There are gaps, which a file cannot tell from codes.
            OutputError: It cannot be written.
        """
        if self.gaps:
            raise BitstreamError(
                f"{len(self.gaps)} stretches of these codes are missing; decode them instead of saving them"
            )
        with written_whole(Path(path), overwrite=overwrite) as temporary, temporary.open("wb") as file:
            writer = BitstreamWriter(file, self.header)
            writer.write(self.codes)
            writer.finish(self.header.samples)

    @classmethod
    def load(cls, path: str | Path, *, salvage: bool = False) -> EncodedAudio:
        """Read a ``.apc`` file; no model is needed.

        Args:
            path: The file.
            salvage: Read a damaged file as far as it goes; ``gaps`` says what is missing.

        Raises:
            AudioError: It cannot be opened.
            BitstreamError: It is damaged, newer or no ``.apc`` file; the message says what and where.
        """
        with open_codes(Path(path), salvage=salvage) as reader:
            codes = np.concatenate(list(reader.chunks()), axis=2)
            return cls(codes, reader.header, tuple(reader.gaps))


def header_of(clip: EncodedAudio) -> Header:
    """The header of coded audio.

    Raises:
        BitstreamError: It is something else, such as an array of codes.
    """
    if not isinstance(clip, EncodedAudio):
        raise BitstreamError(
            f"{type(clip).__name__} cannot be decoded, EncodedAudio can; EncodedAudio.of_codes makes it of raw codes"
        )
    return clip.header
