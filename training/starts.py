"""What each way to start is worth in the first minutes: short runs of the demo preset from the same seed.

    .venv/bin/python training/starts.py AUDIO_DIR --validation DIR --steps 300 --out training/results/starts.json

They run one after the other and differ in nothing but what their names say. The discriminators are left out: they would
not have joined in yet.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from apcodec_training.presets import preset
from trials import WITHOUT_DISCRIMINATORS, trial

OFF = {"mean_spectrum": False, "codebooks_from_data": False, "steps_without_quantizer": 0}


def variants(steps: int) -> dict[str, dict[str, Any]]:
    """Sections to change of the demo preset, by name."""
    warm = {"steps_without_quantizer": steps // 3}
    every = {"mean_spectrum": True, "codebooks_from_data": True, **warm}
    return {
        "as published": {"start": OFF, "optimiser": {"codebook_rate": 1.0}, "run": {"revive_after": 0}},
        "codebook_rate and revival": {"start": OFF},
        "+ mean_spectrum": {"start": OFF | {"mean_spectrum": True}},
        "+ codebooks_from_data": {"start": OFF | {"codebooks_from_data": True}},
        "+ steps_without_quantizer": {"start": OFF | warm},
        "+ the last two": {"start": every | {"mean_spectrum": False}},
        "+ all three": {"start": every},
    }


def measured(name: str, changes: dict[str, Any], options: argparse.Namespace) -> dict[str, Any]:
    """Train, and keep what is to be compared."""
    run = {
        "steps": options.steps,
        "log_every": 20,
        "validate_every": options.steps,
        "checkpoint_every": options.steps,
        "precision": options.precision,
    }
    config = preset("demo").changed({"losses": WITHOUT_DISCRIMINATORS, "run": run}, name).changed(changes, name)
    found = trial(config, options.audio, options.validation)
    losses, last = found["losses"], found["losses"][-1]
    return {
        "name": name,
        "changes": changes,
        "amplitude": [line["amplitude"] for line in losses],
        "mel_l1": [line["mel_l1"] for line in losses],
        "usage": [last[f"usage_{book}"] for book in range(1, 5)],
        "validation": {key: value for key, value in found["validation"][-1].items() if key != "step"},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("audio", type=Path)
    parser.add_argument("--validation", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--precision", default="bfloat16")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    rows = []
    for name, changes in variants(options.steps).items():
        row = measured(name, changes, options)
        rows.append(row)
        means = ", ".join(f"{key} {value:.3f}" for key, value in row["validation"].items())
        print(f"{name}: training mel {row['mel_l1'][-1]:.3f}, {means}", flush=True)
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps({"steps": options.steps, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
