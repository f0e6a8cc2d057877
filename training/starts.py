"""What each way to start is worth in the first minutes: short runs of the demo preset from the same seed.

    .venv/bin/python training/starts.py AUDIO_DIR --validation DIR --steps 300 --out training/results/starts.json

They run one after the other and differ in nothing but what their names say. The discriminators are left out: they would
not have joined in yet.
"""

from __future__ import annotations

import argparse
import csv
import json
import tempfile
from pathlib import Path
from typing import Any

from apcodec_training.material import Material
from apcodec_training.presets import preset
from apcodec_training.processes import processes
from apcodec_training.run_folder import RunFolder
from apcodec_training.training import Training

OFF = {"mean_spectrum": False, "codebooks_from_data": False, "steps_without_quantizer": 0}
PLAIN = ("period_adversarial", "period_features", "resolution_adversarial", "resolution_features")


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
    """Train, and read what came of it."""
    config = (
        preset("demo")
        .changed(
            {
                "losses": dict.fromkeys(PLAIN, 0.0),
                "run": {
                    "steps": options.steps,
                    "log_every": 20,
                    "validate_every": options.steps,
                    "checkpoint_every": options.steps,
                    "precision": options.precision,
                },
            },
            name,
        )
        .changed(changes, name)
    )
    with tempfile.TemporaryDirectory() as directory, processes("auto") as here, RunFolder(Path(directory)) as folder:
        material = Material.find(options.audio, validation=options.validation, clips=8, seed=config.run.seed)
        Training(config, material, folder, here).run()
        with (folder.path / "losses.csv").open(newline="") as file:
            losses = list(csv.DictReader(file))
        with (folder.path / "validation.csv").open(newline="") as file:
            *_, validation = csv.DictReader(file)
    last = losses[-1]
    return {
        "name": name,
        "changes": changes,
        "amplitude": [float(line["amplitude"]) for line in losses],
        "mel_l1": [float(line["mel_l1"]) for line in losses],
        "usage": [float(last[f"usage_{book}"]) for book in range(1, 5)],
        "validation": {key: float(value) for key, value in validation.items() if key != "step"},
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
