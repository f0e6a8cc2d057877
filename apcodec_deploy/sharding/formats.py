"""The formats of shards. Each writes the same bytes for the same samples."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from apcodec_deploy.errors import require
from apcodec_deploy.sharding.sample import Sample

_ROWS = 256
"""Rows of a row group: what a reader has to take in at a time."""


def write_webdataset(path: Path, samples: Iterable[Sample]) -> None:
    """A tar of ``KEY.codes.npy`` and ``KEY.json`` for each sample, as WebDataset reads them."""
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        for sample in samples:
            facts = json.dumps(sample.facts, sort_keys=True).encode()
            for ending, data in (("codes.npy", sample.npy()), ("json", facts)):
                member = tarfile.TarInfo(f"{sample.key}.{ending}")  # its other fields are constants
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))


def write_parquet(path: Path, samples: Iterable[Sample]) -> None:
    """A Parquet file of one row for each sample: ``key``, ``codes`` and what else is known.

    ``codes`` is one list of unsigned integers of 16 bits, to be reshaped to (channels, codebooks, latents).

    Raises:
        MissingDependencyError: pyarrow is not installed.
    """
    arrow = require("pyarrow", extra="parquet")
    parquet = require("pyarrow.parquet", extra="parquet")
    schema = _schema(arrow)
    with parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        iterator = iter(samples)
        while rows := list(islice(iterator, _ROWS)):
            columns = [[_value(sample, name) for sample in rows] for name in schema.names]
            arrays = [arrow.array(column, type=field.type) for column, field in zip(columns, schema, strict=True)]
            writer.write_table(arrow.Table.from_arrays(arrays, schema=schema))


def _schema(arrow: Any) -> Any:
    counts = ("samples", "sample_rate", "channels", "codebooks", "latents")
    texts = ("key", "source", "model", "source_sha256")
    return arrow.schema(
        [
            *((name, arrow.string()) for name in texts),
            ("seconds", arrow.float64()),
            ("latent_rate", arrow.float64()),
            *((name, arrow.int64()) for name in counts),
            ("codes", arrow.list_(arrow.uint16())),
        ]
    )


def _value(sample: Sample, name: str) -> Any:
    if name == "key":
        return sample.key
    if name == "codes":
        return sample.codes.ravel()
    return sample.facts[name]


@dataclass(frozen=True, slots=True)
class ShardFormat:
    """A format of shards.

    Attributes:
        name: What the user calls it.
        suffix: Of its files.
        write: Writes samples to a path.
    """

    name: str
    suffix: str
    write: Callable[[Path, Iterator[Sample]], None]


SHARD_FORMATS = {
    form.name: form
    for form in (
        ShardFormat("webdataset", ".tar", write_webdataset),
        ShardFormat("parquet", ".parquet", write_parquet),
    )
}
