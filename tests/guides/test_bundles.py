"""The C program of the guide to bundles: compiled from the page, it codes as this package does."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import soundfile
from documents import DOCS, ROOT, blocks
from onnxruntime_header import header

import apcodec_deploy
from apcodec_deploy.bundle import Bundle

COMPILER = shutil.which("cc")
"""Beside the packages of the extra 'test'; '.ci/run' installs one where there is none."""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The compiled program."""
    libraries = list((Path(onnxruntime.__file__).parent / "capi").glob("libonnxruntime.so.*"))
    if COMPILER is None or not libraries:
        pytest.skip("needs a C compiler, and an ONNX Runtime whose package holds its library (Linux, 1.32 or newer)")
    folder = tmp_path_factory.mktemp("program")
    (source,) = [each for each in blocks(DOCS / "bundles.md") if each.language == "c"]
    (folder / "roundtrip.c").write_text(source.text)
    (folder / "onnxruntime_c_api.h").write_text(header())
    (folder / "libonnxruntime.so.1").symlink_to(libraries[0])  # the name that a program asks for
    command = [COMPILER, "-Wall", "-Werror", "-std=c99", "-I", ".", "roundtrip.c", "libonnxruntime.so.1"]
    subprocess.run([*command, "-o", "roundtrip", f"-Wl,-rpath,{folder}"], cwd=folder, check=True)
    return folder / "roundtrip"


@pytest.mark.parametrize("samples", [1, 161, 24_123])
def test_the_program_codes_as_this_package_does(samples: int, program: Path, tmp_path: Path) -> None:
    audio, rate = soundfile.read(ROOT / "examples" / "speech_female_48k.wav", dtype="float32")
    clip = np.ascontiguousarray(audio[48_000 : 48_000 + samples])
    clip.tofile(tmp_path / "in.f32")
    command = [program, Bundle.embedded().path, "in.f32", "out.f32", "codes.i32"]
    environment = {**os.environ, "ORT_DISABLE_TELEMETRY": "1"}
    subprocess.run(command, cwd=tmp_path, check=True, env=environment)
    with apcodec_deploy.load(backend="onnxruntime") as codec:
        encoded = codec.encode(clip, sample_rate=rate, window="whole")
        codes = np.fromfile(tmp_path / "codes.i32", np.int32).reshape(encoded.codes.shape[1:])
        assert (codes == encoded.codes[0]).mean() > 0.99
        same = apcodec_deploy.EncodedAudio(codes[None].astype(np.int16), encoded.header)
        np.testing.assert_allclose(np.fromfile(tmp_path / "out.f32", np.float32), codec.decode(same), atol=1e-4)
