"""Opus through libsndfile: the classical codec that the neural ones are held against."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from apcodec_benchmarks.contenders.base import Settings
from apcodec_benchmarks.facts import Facts
from apcodec_deploy.errors import BenchmarkError, ContenderError

_SAMPLE_RATE = 48_000
_FRAME = 960
"""Samples of the packets that libsndfile makes: 20 ms."""
_BLOCK = _SAMPLE_RATE
"""Samples per write: libsndfile can overflow the stack when a lossy format gets minutes in one call."""
_MIN_KBPS, _MAX_KBPS = 6.0, 256.0
"""Bounds of libsndfile for one channel, at compression levels 1 and 0, with a line between (its ``ogg_opus.c``)."""
_HEADER_PACKETS = 2
"""``OpusHead`` and ``OpusTags`` (RFC 7845, section 3)."""
_PAGE_HEADER = struct.Struct("<4sBBqIIIB")
"""Pattern, version, flags, granule position, serial and page number, checksum, segments (RFC 3533, section 6)."""


class Opus:
    """One OGG file in memory per clip. Option ``kbps``, 6 to 256.

    The decoder skips what the encoder adds in front (RFC 7845, section 4.2) and ends where the clip ends, so that
    decoded audio is as long as the clip and aligned with it.

    Attributes:
        facts: What it is.
        resident: False: it runs on the host.
    """

    resident = False

    def __init__(self, settings: Settings) -> None:
        """Check that libsndfile has Opus.

        Args:
            settings: Only its option ``kbps`` matters; libopus computes on one thread, whatever their number.

        Raises:
            BenchmarkError: ``kbps`` is no number that libsndfile can aim at.
            ContenderError: libsndfile has no Opus, or something else than a CPU and its own arithmetic is asked for.
        """
        if "OPUS" not in soundfile.available_subtypes("OGG"):
            raise ContenderError(
                f"libsndfile {soundfile.__libsndfile_version__} has no Opus; 1.0.29 or newer, built with libopus, has, "
                "and so have the wheels of soundfile"
            )
        if settings.device != "cpu":
            raise ContenderError(f"Opus runs on the CPU, not on {settings.device}; leave out --device for it")
        if settings.precision != "float32":
            raise ContenderError(f"Opus has no {settings.precision} form; it runs where float32 is asked for")
        kbps = _kbps(settings.options.get("kbps", _MIN_KBPS))
        self._level = (_MAX_KBPS - kbps) / (_MAX_KBPS - _MIN_KBPS)
        # Only a file says which libopus this is.
        vendor = _vendor(self._file(np.zeros(_FRAME, np.float32)))
        self.facts = Facts(
            title=f"Opus {kbps:g} kbit/s",
            library=f"{vendor}, libsndfile {soundfile.__libsndfile_version__}",
            sample_rate=_SAMPLE_RATE,
            bitrate=1000 * kbps,
            frame=_FRAME,
            weights="none",
            notes=(
                "variable bitrate: the encoder aims at it; OGG pages and headers come on top",
                "the fewer the bits, the narrower the band: 4 kHz at 6 kbit/s, all of it from about 16 kbit/s on",
                "one thread, clips one after another",
            ),
        )

    def upload(self, audio: NDArray[np.float32]) -> NDArray[np.float32]:
        return audio

    def encode(self, audio: NDArray[np.float32]) -> list[bytes]:
        """Audio (B, N) to B files."""
        return [self._file(clip) for clip in audio]

    def decode(self, codes: Sequence[bytes]) -> list[NDArray[np.float32]]:
        """Files to clips (N,), each of the length that it had."""
        return [soundfile.read(io.BytesIO(file), dtype="float32")[0] for file in codes]

    def download(self, audio: Sequence[NDArray[np.float32]], samples: int) -> NDArray[np.float32]:
        """Clips as (B, ``samples``), trimmed or followed by silence."""
        result = np.zeros((len(audio), samples), np.float32)
        for row, clip in zip(result, audio, strict=True):
            row[: len(clip)] = clip[:samples]
        return result

    def bits(self, codes: Sequence[bytes]) -> int:
        """Bits of the Opus packets of all these files, without the OGG pages around them and the two headers.

        The packet that libsndfile adds to push out what the encoder still holds is among them.

        Raises:
            BenchmarkError: A file is no whole OGG file.
        """
        return sum(8 * len(packet) for file in codes for packet in list(packets(file))[_HEADER_PACKETS:])

    def synchronize(self) -> None:
        """Nothing is ever pending: calls return when their result is there."""

    def close(self) -> None:
        """Nothing is held."""

    def _file(self, clip: NDArray[np.float32]) -> bytes:
        file = io.BytesIO()
        with soundfile.SoundFile(
            file,
            "w",
            samplerate=_SAMPLE_RATE,
            channels=1,
            format="OGG",
            subtype="OPUS",
            compression_level=self._level,
        ) as sound:
            for start in range(0, len(clip), _BLOCK):
                sound.write(clip[start : start + _BLOCK])
        return file.getvalue()


def packets(file: bytes) -> Iterator[bytes]:
    """Give the packets of an OGG file with one stream (RFC 3533), headers included.

    Each page lists the sizes of its segments; a packet ends with the first segment of fewer than 255 bytes, which may
    be on a later page.

    Raises:
        BenchmarkError: A page does not begin where the one before ends, or is cut.
    """
    place, packet = 0, b""
    while place < len(file):
        if len(file) < place + _PAGE_HEADER.size or not file.startswith(b"OggS", place):
            raise BenchmarkError(f"no OGG page at byte {place} of {len(file)}; a whole OGG file is expected")
        segments = _PAGE_HEADER.unpack_from(file, place)[-1]
        place += _PAGE_HEADER.size
        sizes = file[place : place + segments]
        place += segments
        if len(sizes) < segments or len(file) < place + sum(sizes):
            raise BenchmarkError(
                f"the OGG page around byte {place} of {len(file)} is cut; a whole OGG file is expected"
            )
        for size in sizes:
            packet += file[place : place + size]
            place += size
            if size < 255:
                yield packet
                packet = b""


def _vendor(file: bytes) -> str:
    """Name and version of the encoder, as it signs its files: ``OpusTags``, a length, text (RFC 7845, section 5.2)."""
    tags = list(packets(file))[1]
    (length,) = struct.unpack_from("<I", tags, 8)
    return tags[12 : 12 + length].decode(errors="replace")


def _kbps(option: Any) -> float:
    if isinstance(option, bool) or not isinstance(option, int | float) or not _MIN_KBPS <= option <= _MAX_KBPS:
        raise BenchmarkError(
            f"kbps of Opus is {option!r}; libsndfile takes a number from {_MIN_KBPS:g} to {_MAX_KBPS:g} for one channel"
        )
    return float(option)


def opus(settings: Settings) -> Opus:
    """Opus (RFC 6716); option ``kbps``, by default the 6 kbit/s of the published APCodec."""
    return Opus(settings)
