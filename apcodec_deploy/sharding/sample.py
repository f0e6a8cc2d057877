"""One clip of a training set: its codes, and what a trainer may want to know of them."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apcodec_deploy.bitstream.header import Header
from apcodec_deploy.bitstream.reader import BitstreamReader
from apcodec_deploy.errors import BitstreamError, OutputError
from apcodec_deploy.transcoding.naming import CODES_SUFFIX
from apcodec_deploy.transcoding.record import FileRecord, checksum


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sample:
    """A clip of a training set.

    Attributes:
        key: Its name, unique, without a dot; see ``key_of``.
        codes: (C, Q, L) uint16: channels, codebooks, latents.
        header: What its ``.apc`` file says.
        record: What became of it when it was coded.
    """

    key: str
    codes: NDArray[np.uint16]
    header: Header
    record: FileRecord

    @property
    def facts(self) -> dict[str, Any]:
        """What there is to know besides the codes, as JSON values.

        ``source`` is text for people: bytes of its path that are no UTF-8 stand there as ``\\xe9``, because many
        readers refuse text that is none. ``key`` tells one clip from another.
        """
        return {
            "source": os.fsencode(self.record.source).decode("utf-8", "backslashreplace"),
            "samples": self.header.samples,
            "sample_rate": self.header.sample_rate,
            "seconds": self.header.samples / self.header.sample_rate,
            "channels": self.header.channels,
            "codebooks": self.header.codebooks,
            "latents": self.header.latents,
            "latent_rate": self.header.model_rate / self.header.samples_per_latent,
            "model": self.record.model,
            "source_sha256": self.record.source_sha256,
        }

    def npy(self) -> bytes:
        """The codes as a ``.npy`` file."""
        data = io.BytesIO()
        np.save(data, self.codes)
        return data.getvalue()


def key_of(output: str) -> str:
    """The name of a result in a training set: its path without ``.apc``, with ``.`` as ``%2E`` and ``%`` as ``%25``.

    WebDataset splits names at their first dot, so that keys must have none. Characters that are not printable ASCII
    become percent escapes of the name's own bytes, so ``urllib.parse.unquote`` gives the path back, and
    ``unquote_to_bytes`` one that is not UTF-8. The locale plays no part.
    """
    data = os.fsencode(output.removesuffix(CODES_SUFFIX))
    return "".join(
        chr(byte) if 0x20 < byte < 0x7F and chr(byte) not in '.%\\:*?"<>|' else f"%{byte:02X}" for byte in data
    )


def read_samples(folder: Path, records: Iterable[FileRecord]) -> Iterator[Sample]:
    """The clips of a folder of codes, each held against its record.

    Raises:
        OutputError: A file is missing or is not what its record says.
    """
    for record in records:
        path = folder / record.output
        try:
            data = path.read_bytes()
        except OSError as error:
            raise OutputError(f"{path} cannot be read: {error.strerror or error}; 'apcodec transcode' again") from error
        if len(data) != record.bytes or checksum(io.BytesIO(data)) != record.sha256:
            raise OutputError(f"{path} is not what was written; 'apcodec verify' tells more")
        try:
            reader = BitstreamReader(io.BytesIO(data))
            codes = np.concatenate(list(reader.chunks()), axis=2)
        except BitstreamError as error:
            raise OutputError(f"{path}: {error}") from error
        yield Sample(key=key_of(record.output), codes=codes.astype(np.uint16), header=reader.header, record=record)
