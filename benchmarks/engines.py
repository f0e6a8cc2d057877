"""Engines of the full-size model (random weights): how large, how long to build, and what is inside, by profile."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from apcodec_engines.building import build_engines
from apcodec_engines.planning import BuildOptions
from apcodec_engines.profiles import shipped_profiles
from apcodec_export.checkpoint import random_checkpoint
from apcodec_export.exporting import export_bundle
from apcodec_export.network import PUBLISHED_48K


def main() -> None:
    """Build and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--flavour", default="auto")
    arguments = parser.parse_args()
    print("| profile | engine | fp16, MB | fp32, MB | ratio | fp16, s | fp32, s | fp16 products |")
    print("|---|---|--:|--:|--:|--:|--:|---|")
    with tempfile.TemporaryDirectory() as directory:
        bundle = export_bundle(random_checkpoint(PUBLISHED_48K), Path(directory) / "bundle")
        for profile in shipped_profiles():
            for parts in (False, True):
                sets = []
                for precision in ("float16", "float32"):
                    out = Path(directory) / f"{profile}-{precision}-{parts}"
                    options = BuildOptions(
                        flavour=arguments.flavour, precision=precision, profile=profile, parts=parts, out=out
                    )
                    sets.append(build_engines(bundle, options).stored.manifest.engines)
                for half, full in zip(*sets, strict=True):
                    kinds = [half.audit[kind] for kind in ("CONVOLUTION", "MATRIX_MULTIPLY") if kind in half.audit]
                    products = sum(counts.get("float16", 0) for counts in kinds)
                    sizes = f"{half.size / 1e6:.1f} | {full.size / 1e6:.1f} | {half.size / full.size:.2f}"
                    times = f"{half.build_seconds:.1f} | {full.build_seconds:.1f}"
                    total = sum(sum(counts.values()) for counts in kinds)
                    print(f"| {profile} | {half.name} | {sizes} | {times} | {products} of {total} |", flush=True)


if __name__ == "__main__":
    main()
