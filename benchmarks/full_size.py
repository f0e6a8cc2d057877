"""Write a bundle of the published 48 kHz shape with random weights, proven, with fp16: to time on GPUs."""

from __future__ import annotations

import argparse
from pathlib import Path

from apcodec_export.checkpoint import random_checkpoint
from apcodec_export.exporting import export_bundle
from apcodec_export.network import PUBLISHED_48K


def main() -> None:
    """Export it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path, help="the bundle's directory")
    arguments = parser.parse_args()
    made = export_bundle(random_checkpoint(PUBLISHED_48K), arguments.bundle, progress=print)
    print(f"{made.path}: model {made.fingerprint[:16]}")


if __name__ == "__main__":
    main()
