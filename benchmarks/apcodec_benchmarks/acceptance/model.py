"""The model that is timed: of the published shape, with random weights, exported once."""

from __future__ import annotations

from pathlib import Path

from apcodec_benchmarks.acceptance.journal import Journal
from apcodec_benchmarks.acceptance.parts import Scale
from apcodec_deploy.bundle import EMBEDDED, Bundle
from apcodec_deploy.errors import ApcodecError

FULL_SIZE = "full-size"


def path_of(folder: Path, scale: Scale) -> Path:
    """Where the model is that is timed."""
    if scale.bundle in EMBEDDED:
        return Bundle.embedded(scale.bundle).path
    return Path(scale.bundle) if scale.bundle else folder / FULL_SIZE


def run(journal: Journal, scale: Scale) -> None:
    """Export it, unless it is there."""
    path = path_of(journal.folder, scale)
    try:
        bundle = Bundle.open(path)
    except ApcodecError:
        from apcodec_export.checkpoint import random_checkpoint
        from apcodec_export.exporting import export_bundle
        from apcodec_export.network import PUBLISHED_48K

        bundle = export_bundle(random_checkpoint(PUBLISHED_48K), path, name="published 48 kHz shape, random weights")
    journal.fact("model", bundle.name)
    journal.fact("fingerprint", bundle.fingerprint[:16])
    journal.check("the model has half precision", "float16" in bundle.precisions, ", ".join(bundle.precisions))
