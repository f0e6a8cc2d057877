"""The commands of README and guides run as they stand, page by page, in a folder where their files are."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from documents import GUIDES, ROOT, Block, blocks, name_of

EXAMPLE = ROOT / "examples" / "speech_german_22k.wav"
SET_UP = ("pip ", "python3 -m venv ")
"""Lines that install: scripts/demo, scripts/test-wheel and scripts/test-floors do it in environments of their own."""


def run_by_tests(page: Path, language: str) -> list[Block]:
    return [block for block in blocks(page) if block.language == language and block.not_run is None]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A user's folder with everything that the pages name, and ``apcodec`` in its ``bin``."""
    for name in ("examples", "my-music", "corpus", "recordings"):
        (tmp_path / name).mkdir()
        shutil.copy(EXAMPLE, tmp_path / name)
    audio, rate = soundfile.read(EXAMPLE)
    for name in ("a.flac", "song.flac"):
        soundfile.write(tmp_path / name, np.tile(audio[:rate], 2), rate)
    shutil.copytree(ROOT / "apcodec_deploy" / "bundles" / "demo", tmp_path / "my-bundle")
    (tmp_path / "bin").mkdir()
    for name, module in (("apcodec", "-m apcodec_deploy.cli.main"), ("python", "")):
        (tmp_path / "bin" / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {module} "$@"\n')
        (tmp_path / "bin" / name).chmod(0o755)
    return tmp_path


def script(page: Path) -> str:
    """All shell blocks of a page, without what installs."""
    text = "".join(block.text for block in run_by_tests(page, "sh"))
    return "".join(line for line in text.splitlines(keepends=True) if not line.startswith(SET_UP))


FAST = ("README.md",)
"""Pages of the fast tests: what everybody tries first."""
PAGES = [
    pytest.param(page, id=name_of(page), marks=[] if name_of(page) in FAST else [pytest.mark.slow])
    for page in GUIDES
    if script(page).strip() or run_by_tests(page, "python")
]


@pytest.mark.parametrize("page", PAGES)
def test_a_page_works_as_it_stands(page: Path, folder: Path) -> None:
    path = f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    for command in (["sh", "-e", "-x", "-c", script(page)], [sys.executable, "-c", program(page)]):
        ran = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stderr


def program(page: Path) -> str:
    """All Python blocks of a page, with a clip in ``audio``, which they give back in its own shape."""
    lines = [block.text for block in run_by_tests(page, "python")]
    begin = "import numpy as np\naudio = 0.1 * np.sin(np.arange(8000, dtype=np.float32))\n"
    end = "if 'encoded' in globals():\n    assert audio.shape == (8000,) and encoded.codes.dtype == np.int16\n"
    return "\n".join([begin, *lines, end]) if lines else ""


def test_every_page_says_why_a_block_is_not_run() -> None:
    for page in GUIDES:
        for block in blocks(page):
            if block.not_run is not None:
                for word in block.not_run.replace(";", " ").replace(",", " ").split():
                    if word.startswith(("tests/", "scripts/", "docs/")):
                        assert (ROOT / word).exists(), block.not_run
