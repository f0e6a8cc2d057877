"""What a teacher is worth to a streamable student: short runs that differ in nothing but context and teacher.

    .venv/bin/python training/students.py AUDIO_DIR --validation DIR --steps 400 --out training/results/students.json

Every student has the shape of the teacher, and the discriminators are left out. ``with a teacher`` starts from its
weights and learns from its layers; ``from its weights`` has the same start and then only the published losses,
so what lies between the two is what the layers tell; ``alone`` starts as the preset does.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from apcodec_export.checkpoint import CheckpointFiles
from apcodec_training.distillation import TERMS
from apcodec_training.presets import preset
from trials import WITHOUT_DISCRIMINATORS, trial

UNTOLD = dict.fromkeys(TERMS, 0.0)
"""Weights of the losses where a teacher gives a start and no more."""
WAYS: dict[str, tuple[bool, dict[str, float]]] = {
    "alone": (False, {}),
    "from its weights": (True, UNTOLD),
    "with a teacher": (True, {}),
}
"""By name: whether there is a teacher, and what changes of the losses' weights."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("audio", type=Path)
    parser.add_argument("--validation", type=Path, required=True)
    parser.add_argument("--teacher", type=Path, default=Path(__file__).parent / "demo")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--precision", default="bfloat16")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for context in (0, 6):
        for way, (taught, weights) in WAYS.items():
            config = preset("demo-s").changed(
                {
                    "network": {"context": context},
                    "data": {"batch_size": options.batch, "workers": 0},
                    "losses": WITHOUT_DISCRIMINATORS | weights,
                    "run": {
                        "steps": options.steps,
                        "log_every": 20,
                        "validate_every": options.steps,
                        "checkpoint_every": options.steps,
                        "precision": options.precision,
                    },
                },
                way,
            )
            teacher = CheckpointFiles.find(options.teacher) if taught else None
            found = trial(config, options.audio, options.validation, teacher=teacher)
            last = found["validation"][-1]
            rows.append({"context": context, "way": way, **found})
            means = ", ".join(f"{name} {last[name]:.3f}" for name in ("lsd", "stoi", "mel"))
            print(f"context {context}, {way}: {means}", flush=True)
            options.out.parent.mkdir(parents=True, exist_ok=True)
            options.out.write_text(json.dumps({"steps": options.steps, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
