"""What a recipe is worth at equal time: short runs from trained weights that differ in nothing but what they name.

    .venv/bin/python training/recipes.py AUDIO_DIR --validation DIR --seconds 100 --out training/results/recipes.json
    .venv/bin/python training/recipes.py AUDIO_DIR --validation DIR --out sound.json --only "half a second"

Every run gets as many steps as its seconds of CPU time allow, by the time that its first steps take.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from apcodec_training.config import TrainingConfig
from apcodec_training.presets import preset
from trials import WITHOUT_DISCRIMINATORS, trial

PROBE = 9
"""Steps that tell how long one takes."""
BASE: dict[str, Any] = {
    "data": {"batch_size": 8, "workers": 0, "band_limited": 0.15, "validation_clips": 24, "validation_seconds": 3.0},
    "losses": WITHOUT_DISCRIMINATORS,
    "optimiser": {"learning_rate": 2e-4, "warmup_steps": 20, "average_decay": 0.95},
}
HALF_A_SECOND = {"segment_samples": 23_960, "batch_size": 3}
WAVEFORM = {"unintelligibility": 150.0, "incoherence": 200.0}
VARIANTS: dict[str, dict[str, Any]] = {
    "8 segments": {},
    "16 segments": {"data": {"batch_size": 16}, "optimiser": {"learning_rate": 3e-4}},
    "8, audio_amplitude 45": {"losses": {"audio_amplitude": 45.0}},
    "8, audio_amplitude 45, amplitude 20": {"losses": {"audio_amplitude": 45.0, "amplitude": 20.0}},
    "8, mel 90 and 60, amplitude 20": {"losses": {"mel_l1": 90.0, "mel_mse": 60.0, "amplitude": 20.0}},
    "3 of half a second": {"data": HALF_A_SECOND},
    "3 of half a second, unintelligibility 100": {"data": HALF_A_SECOND, "losses": {"unintelligibility": 100.0}},
    "3 of half a second, LSD 150": {"data": HALF_A_SECOND, "losses": {"log_spectral_distance": 150.0}},
    "3 of half a second, unintelligibility 150, incoherence 200": {"data": HALF_A_SECOND, "losses": WAVEFORM},
    "3 of half a second, all three": {"data": HALF_A_SECOND, "losses": WAVEFORM | {"log_spectral_distance": 150.0}},
    "8, twice the rate": {"optimiser": {"learning_rate": 4e-4}},
}


def config(changes: dict[str, Any], precision: str, steps: int) -> TrainingConfig:
    """A run of so many steps, validated at its start and its end."""
    run = {"steps": steps, "log_every": 10, "validate_every": steps, "checkpoint_every": steps, "precision": precision}
    return preset("demo").changed(BASE | {"run": run}, "the recipe").changed(changes, "the variant")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("audio", type=Path)
    parser.add_argument("--validation", type=Path, required=True)
    parser.add_argument("--start", type=Path, default=Path(__file__).parent / "demo")
    parser.add_argument("--seconds", type=float, default=100.0)
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--only", default="", metavar="WORDS", help="variants with these words in their name")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    chosen = {name: changes for name, changes in VARIANTS.items() if options.only in name}
    if not chosen:
        parser.error(f"no variant has '{options.only}' in its name; there are: {'; '.join(VARIANTS)}")
    rows: list[dict[str, Any]] = []
    for name, changes in chosen.items():
        each = trial(
            config(changes | {"run": {"validate_every": 0}}, options.precision, PROBE),
            options.audio,
            options.validation,
            options.start,
        )["step_seconds"]
        steps = max(1, round(options.seconds / each))
        found = trial(config(changes, options.precision, steps), options.audio, options.validation, options.start)
        del found["losses"]
        rows.append({"name": name, "changes": changes, "steps": steps, **found})
        means = ", ".join(f"{key} {value:.3f}" for key, value in found["validation"][-1].items() if key != "step")
        print(f"{name}: {steps} steps of {each:.2f} s, {means}", flush=True)
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps({"seconds": options.seconds, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
