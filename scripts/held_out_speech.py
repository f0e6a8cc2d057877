"""Gather recorded speech that no model here has seen, from packages of Debian, to measure models on.

    .venv/bin/python scripts/held_out_speech.py FOLDER

Eight clips of alsa-utils (one voice, 48 kHz) and 24 spoken descriptions of tuxpaint-stamps-default (several voices and
languages, 44.1 kHz), each at least two seconds long; those of one voice and one word teach little about another. They
are downloaded with 'apt-get download', which needs no rights, and are not part of this project.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
from pathlib import Path

import soundfile

PACKAGES = ("alsa-utils", "tuxpaint-stamps-default")
STAMPS = 24
LEAST_SECONDS = 2.0


def unpacked(package: str, folder: Path) -> Path:
    """Download a package and unpack it below a folder."""
    subprocess.run(["apt-get", "download", "-q", package], cwd=folder, check=True, capture_output=True)
    (archive,) = folder.glob(f"{package}_*.deb")
    subprocess.run(["dpkg-deb", "-x", str(archive), str(folder / package)], check=True)
    return folder / package


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    target: Path = parser.parse_args().folder
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        alsa_utils, tuxpaint_stamps = (unpacked(package, Path(name)) for package in PACKAGES)
        alsa = sorted(alsa_utils.rglob("*.wav"))
        stamps = sorted(tuxpaint_stamps.rglob("*_desc*.ogg"))
        spoken = [path for path in stamps if soundfile.info(path).duration >= LEAST_SECONDS]
        chosen = [path for path in alsa if path.stem != "Noise"]
        chosen += [spoken[index * len(spoken) // STAMPS] for index in range(STAMPS)]
        total = 0.0
        for path in chosen:
            audio, rate = soundfile.read(path, always_2d=True)
            total += len(audio) / rate
            soundfile.write(target / f"{path.stem}.flac", audio.mean(axis=1), rate)
    print(f"{len(chosen)} clips, {total:.0f} s")


if __name__ == "__main__":
    main()
