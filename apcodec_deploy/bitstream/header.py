"""The layout of a ``.apc`` file, version 1; all integers little-endian.

    header   56 bytes   below; a CRC-32 of the 52 bytes before it ends it
    chunk    12 bytes   latents (u32), payload bytes (u32), CRC-32 of chunk index (u32), those two and the payload
             payload    codes, latent by latent, channel by channel, codebook by codebook, packed without gaps
    ...                 every chunk holds ``chunk_latents`` latents, the last one what is left
    trailer  20 bytes   only with flag TRAILER, where the header's counts are zero: magic, samples (u64), latents (u32),
                        CRC-32 of the 16 bytes before it

With flag STREAM there were no windows: the codes are one stream of a causal model. Where the windows' context stands
else, its delay stands then, in samples at the model's rate, and the windows' core is zero.

Chunks have one size, so any latent is found by arithmetic, and the size of a file follows from its header.

With flag LIVE, which only a stream with a trailer has, chunks hold any number of latents up to ``chunk_latents``, as
they came. In the last one the highest bit of ``latents`` is set: its trailer follows without delay.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace

from apcodec_deploy.audio.arrays import MAX_CHANNELS
from apcodec_deploy.audio.resampling import MAX_RATE, MIN_RATE, resampled_length
from apcodec_deploy.bitstream.packing import packed_bytes
from apcodec_deploy.disguise import disguise
from apcodec_deploy.errors import BitstreamError, ModelMismatchError
from apcodec_deploy.spec import Layout
from apcodec_deploy.streams import StreamLayout
from apcodec_deploy.windows import WindowLayout

MAGIC = b"\x89APC"
TRAILER_MAGIC = b"APC\x89"
VERSION = 1
FINGERPRINT_BYTES = 8
CHUNK_LATENTS = 2048
"""13.7 s at 150 latents per second: what one damaged bit can cost, and the grain of a seek. Header and chunk headers
stay under 1 % of a 6 kbps file from 10 s on."""
MAX_CHUNK_LATENTS = 1 << 20

FLAG_TRAILER = 1
FLAG_ONE_DIMENSIONAL = 2
FLAG_STREAM = 4
FLAG_LIVE = 8
_KNOWN_FLAGS = FLAG_TRAILER | FLAG_ONE_DIMENSIONAL | FLAG_STREAM | FLAG_LIVE

_HEADER = struct.Struct("<4sBBH8sIIHHBBHIIQI")
_CRC = struct.Struct("<I")
_TRAILER = struct.Struct("<4sQI")
CHUNK_HEADER = struct.Struct("<III")
HEADER_BYTES = _HEADER.size + _CRC.size
TRAILER_BYTES = _TRAILER.size + _CRC.size


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What a ``.apc`` file says of its codes.

    Attributes:
        fingerprint: The first 8 bytes of the model's fingerprint, as 16 hex digits.
        sample_rate: Hz of the audio that was coded, and that decoding gives back.
        model_rate: Hz at which the model works.
        channels: Channels, each coded by itself.
        samples: Samples per channel at ``sample_rate``.
        latents: Columns of codes per channel.
        codebooks: Codes per column.
        bits_per_code: Bits of each code.
        samples_per_latent: Samples at ``model_rate`` that a column stands for.
        layout: How the clip was cut into windows, or that it is one stream.
        one_dimensional: The audio was an array of shape (N,), not (1, N).
        chunk_latents: Latents in every chunk but the last; the most of a chunk if the file is live.
        trailer: The counts stand in a trailer, because the file was written to a stream.
        live: Chunks hold what there was when they were written.
    """

    fingerprint: str
    sample_rate: int
    model_rate: int
    channels: int
    samples: int
    latents: int
    codebooks: int
    bits_per_code: int
    samples_per_latent: int
    layout: Layout
    one_dimensional: bool
    chunk_latents: int = CHUNK_LATENTS
    trailer: bool = False
    live: bool = False

    def __post_init__(self) -> None:
        limits = {
            "sample_rate": (MIN_RATE, MAX_RATE),
            "model_rate": (MIN_RATE, MAX_RATE),
            "channels": (1, MAX_CHANNELS),
            "samples": (0, (1 << 62) - 1),
            "latents": (0, (1 << 32) - 1),
            "codebooks": (1, (1 << 8) - 1),
            "bits_per_code": (1, 15),
            "samples_per_latent": (1, (1 << 16) - 1),
            "chunk_latents": (1, MAX_CHUNK_LATENTS),
        }
        for name, (low, high) in limits.items():
            if not low <= getattr(self, name) <= high:
                raise BitstreamError(f"the header says {name} = {getattr(self, name)}; {low} to {high} is possible")
        core, side = _packed(self.layout)
        if not 0 <= core < 1 << 32 or not 0 <= side < 1 << 16:
            raise BitstreamError(f"the header says windows: {self.layout}; that cannot be")
        if core and not side:
            raise BitstreamError("the header says windows without context, which cannot be joined")
        if not re.fullmatch(f"[0-9a-f]{{{2 * FINGERPRINT_BYTES}}}", self.fingerprint):
            raise BitstreamError(
                f"{self.fingerprint!r} is no fingerprint; {2 * FINGERPRINT_BYTES} hex digits are expected"
            )
        if self.one_dimensional and self.channels != 1:
            raise BitstreamError(f"the header says {self.channels} channels and a one-dimensional clip")
        if self.live and not (self.trailer and isinstance(self.layout, StreamLayout) and self.layout.delay):
            raise BitstreamError("the header says live codes, but no trailer or no stream with a delay")
        if self.complete and self.latents != (expected := self.expected_latents):
            raise BitstreamError(
                f"the header says {self.samples} samples and {self.latents} latents; they need {expected}"
            )

    @property
    def complete(self) -> bool:
        """Whether the counts are known: not before a stream has ended."""
        return self.samples > 0 or self.latents > 0

    @property
    def model_samples(self) -> int:
        """Samples per channel at ``model_rate``."""
        return resampled_length(self.samples, self.sample_rate, self.model_rate)

    @property
    def expected_latents(self) -> int:
        """Latents that a clip of ``samples`` has: ``ModelSpec.latents`` of its samples at ``model_rate``."""
        return self.layout.latents(self.model_samples, self.samples_per_latent)

    def chunk_bytes(self, latents: int) -> int:
        """Bytes of a chunk of ``latents``, its header included."""
        return CHUNK_HEADER.size + packed_bytes(latents * self.channels * self.codebooks, self.bits_per_code)

    def counted(self, samples: int, latents: int) -> Header:
        """The same header with its counts known."""
        return replace(self, samples=samples, latents=latents)

    def check_model(
        self, own: Header, name: str, maker: Callable[[str], str | None] = lambda fingerprint: None
    ) -> None:
        """Refuse codes of another model.

        Args:
            own: The header that the model of that ``name`` would write.
            name: For the message.
            maker: Tells for a fingerprint how its model is called where everybody has it, for the message, too.

        Raises:
            ModelMismatchError: The fingerprint or a number differs.
        """
        if self.fingerprint != own.fingerprint:
            made_by = maker(self.fingerprint) or "the bundle that made them"
            raise ModelMismatchError(
                f"these codes were made by model {self.fingerprint}, this is {own.fingerprint} ({name}); "
                f"name {made_by} with --model"
            )
        for field in ("model_rate", "codebooks", "bits_per_code", "samples_per_latent"):
            if (found := getattr(self, field)) != (expected := getattr(own, field)):
                raise ModelMismatchError(
                    f"the header says {field} = {found}, this model has {expected}: it was altered"
                )

    def filled(self, latents: int) -> Header:
        """The header of the first ``latents`` of a clip: with as many samples as they can stand for.

        Raises:
            BitstreamError: They stand for none.
        """
        most = self.layout.longest(latents, self.samples_per_latent)
        if latents == 0 or most < 1:
            raise BitstreamError("the file is cut before its first whole chunk: nothing can be salvaged")
        samples = resampled_length(most, self.model_rate, self.sample_rate)
        while resampled_length(samples, self.sample_rate, self.model_rate) > most:
            samples -= 1
        if self.samples:
            samples = min(samples, self.samples)
        return self.counted(max(samples, 1), latents)

    @property
    def settled(self) -> Header:
        """The same header for codes that are all there: their chunks have one size, whatever they had on their way."""
        return replace(self, live=False)

    def to_bytes(self) -> bytes:
        """The 56 bytes that start a file."""
        flags = FLAG_TRAILER * self.trailer | FLAG_ONE_DIMENSIONAL * self.one_dimensional
        flags |= FLAG_STREAM * isinstance(self.layout, StreamLayout) | FLAG_LIVE * self.live
        core, side = _packed(self.layout)
        body = _HEADER.pack(
            MAGIC,
            VERSION,
            self.bits_per_code,
            flags,
            bytes.fromhex(self.fingerprint),
            self.sample_rate,
            self.model_rate,
            self.channels,
            self.samples_per_latent,
            self.codebooks,
            0,
            side,
            core,
            self.chunk_latents,
            0 if self.trailer else self.samples,
            0 if self.trailer else self.latents,
        )
        return body + _CRC.pack(zlib.crc32(body))

    @classmethod
    def from_bytes(cls, data: bytes) -> Header:
        """Read the start of a file; counts in a trailer are zero until ``with_trailer``.

        Raises:
            BitstreamError: It is not a ``.apc`` file, or a newer, damaged or impossible one.
        """
        if data[: len(MAGIC)] != MAGIC:
            if reason := disguise(data):
                raise BitstreamError(f"not a .apc file: {reason}")
            raise BitstreamError(f"not a .apc file: it starts with {data[:4]!r}, not {MAGIC!r}")
        if len(data) < HEADER_BYTES:
            raise BitstreamError(f"the file ends inside its header, after {len(data)} of {HEADER_BYTES} bytes")
        body = data[: _HEADER.size]
        if data[4] != VERSION:
            raise BitstreamError(f"version {data[4]} of the format; this program reads version {VERSION}: update it")
        if _CRC.unpack_from(data, _HEADER.size)[0] != zlib.crc32(body):
            raise BitstreamError("the header is damaged: its checksum does not match")
        (
            _,
            _,
            bits,
            flags,
            fingerprint,
            source,
            model,
            channels,
            spl,
            codebooks,
            reserved,
            side,
            core,
            chunk,
            samples,
            latents,
        ) = _HEADER.unpack(body)
        if flags & ~_KNOWN_FLAGS or reserved:
            raise BitstreamError(f"the header has unknown flags ({flags:#06x}, {reserved:#04x}): update this program")
        trailer = bool(flags & FLAG_TRAILER)
        if trailer == (samples > 0) or trailer == (latents > 0):
            raise BitstreamError(
                f"the header counts {samples} samples, {latents} latents {'beside' if trailer else 'without'} a trailer"
            )
        streamed = bool(flags & FLAG_STREAM)
        if streamed and core:
            raise BitstreamError(f"the header says one stream, and windows of {core} latents: it was altered")
        return cls(
            fingerprint=fingerprint.hex(),
            sample_rate=source,
            model_rate=model,
            channels=channels,
            samples=samples,
            latents=latents,
            codebooks=codebooks,
            bits_per_code=bits,
            samples_per_latent=spl,
            layout=StreamLayout(side) if streamed else WindowLayout(core=core, context=side),
            one_dimensional=bool(flags & FLAG_ONE_DIMENSIONAL),
            chunk_latents=chunk,
            trailer=trailer,
            live=bool(flags & FLAG_LIVE),
        )

    def trailer_bytes(self) -> bytes:
        """The 20 bytes that end a streamed file."""
        body = _TRAILER.pack(TRAILER_MAGIC, self.samples, self.latents)
        return body + _CRC.pack(zlib.crc32(body))

    def with_trailer(self, data: bytes) -> Header:
        """The header completed with the counts of its trailer."""
        magic, samples, latents = _TRAILER.unpack_from(data)
        if magic != TRAILER_MAGIC or _CRC.unpack_from(data, _TRAILER.size)[0] != zlib.crc32(data[: _TRAILER.size]):
            raise BitstreamError("the trailer is missing or damaged: the file was cut, or its writer was stopped")
        if not samples or not latents:
            raise BitstreamError("the trailer counts no samples")
        return self.counted(samples, latents)


def _packed(layout: Layout) -> tuple[int, int]:
    """A layout as its two fields hold it: the core of windows, and their context or a stream's delay."""
    return (0, layout.delay) if isinstance(layout, StreamLayout) else (layout.core, layout.context)
