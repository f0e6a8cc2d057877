"""Puts sounds of the embedded bundle beside the guides when mkdocs builds them, so that pages can play them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

BUNDLE = Path(__file__).parents[1] / "apcodec_deploy" / "bundles" / "demo"
SOUNDS = {"sounds/before.flac": "proof.flac", "sounds/after.flac": "proof.decoded.flac"}
"""By their place among the pages."""


def on_files(files: Files, *, config: Any) -> Files:
    """Add the sounds to what is built."""
    for place, name in SOUNDS.items():
        files.append(File.generated(config, place, abs_src_path=str(BUNDLE / name)))
    return files
