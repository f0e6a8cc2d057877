"""The part ``training``: some steps of the published recipe on the card, as users start it."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from apcodec_benchmarks.acceptance.journal import Journal
from apcodec_benchmarks.acceptance.parts import Scale
from apcodec_benchmarks.corpus import Material

_FILES = 8
_FILE_SECONDS = 2.0


def run(journal: Journal, scale: Scale) -> None:
    """Train, and read from the curves that the loss is a number."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        Material(_FILES, _FILE_SECONDS, _FILE_SECONDS).make(place / "audio")
        (place / "changes.json").write_text(json.dumps(scale.training), encoding="utf-8")
        command = [sys.executable, "-m", "apcodec_deploy.cli.main", "train", "audio", "run"]
        command += ["--config", "changes.json", "--device", scale.torch_device, "--steps", str(scale.steps)]
        ran = subprocess.run(command, cwd=place, capture_output=True, text=True, errors="replace", check=False)
        said = ran.stderr.strip().splitlines()
        journal.check("training runs", ran.returncode == 0, said[-1] if said and ran.returncode else "")
        journal.fact("what it says", [line for line in said if line.startswith("step ")])
        if ran.returncode == 0:
            rows: list[dict[str, Any]] = list(csv.DictReader((place / "run" / "losses.csv").open(encoding="utf-8")))
            journal.fact("losses", rows[-1])
