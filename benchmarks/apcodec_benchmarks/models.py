"""Which APCodec is measured: the user's, the embedded one, or one of the published shape with random weights."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from apcodec_deploy.bundle import EMBEDDED, Bundle
from apcodec_deploy.errors import require

RANDOM = "random"


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """What contenders are told of the APCodec that is measured.

    Attributes:
        bundle: Its directory.
        checkpoint: What the bundle was made from: a directory, ``random``, or None where nobody knows.
    """

    bundle: str
    checkpoint: str | None


@contextmanager
def model_of(
    bundle: str | None,
    checkpoint: Path | None,
    *,
    reduced: bool = False,
    progress: Callable[[str], None] = lambda step: None,
) -> Iterator[Model]:
    """Make ready the model that was asked for.

    Args:
        bundle: A bundle's directory, ``demo`` for the embedded model, or None.
        checkpoint: What it was made from, or ``random``. Without a bundle it is exported into a temporary one.
        reduced: Whether graphs in half precision are needed beside the float32 ones.
        progress: Called with what begins next.

    Raises:
        BundleError, CheckpointError, ExportError: It cannot be had.
    """
    if bundle is not None:
        opened = Bundle.embedded() if bundle == EMBEDDED else Bundle.open(bundle)
        yield Model(bundle=str(opened.path), checkpoint=None if checkpoint is None else str(checkpoint))
        return
    for module in ("torch", "onnx", "onnxscript", "safetensors"):
        require(module, extra="bench")
    from apcodec_export.checkpoint import Checkpoint, CheckpointFiles, random_checkpoint
    from apcodec_export.exporting import export_bundle
    from apcodec_export.network import PUBLISHED_48K

    with tempfile.TemporaryDirectory(prefix="apcodec-bench-") as directory:
        if checkpoint is None or str(checkpoint) == RANDOM:
            source = random_checkpoint(PUBLISHED_48K)
            name = "published 48 kHz shape, random weights"
        else:
            source = Checkpoint.load(CheckpointFiles.find(checkpoint))
            name = checkpoint.resolve().name
        # Graphs that only this run uses and that are judged by their speed need no proof of their own.
        made = export_bundle(source, Path(directory) / "bundle", name=name, proven=reduced, progress=progress)
        yield Model(bundle=str(made.path), checkpoint=str(checkpoint or RANDOM))
