"""What the guide to serving says to a server, said to a real one."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml
from documents import DOCS, ROOT, blocks
from triton_cpp_client import HEADER
from triton_server import TritonServer

from apcodec_deploy import Codec, EncodedAudio

PAGE = DOCS / "serving.md"
CLIP = ROOT / "examples" / "speech_german_22k.wav"
COMPILER = shutil.which("g++")
"""Beside the packages of the extra 'test'; '.ci/run' installs one where there is none."""


def commands(language: str) -> list[list[str]]:
    return [words for each in blocks(PAGE) if each.language == language for words in each.commands()]


def run(program: str, server: TritonServer, folder: Path) -> None:
    """Run a program of the page where its song is."""
    (folder / "song.flac").symlink_to(CLIP)
    program = program.replace("localhost:8001", f"127.0.0.1:{server.grpc}")
    subprocess.run([sys.executable, "-W", "error", "-c", program], cwd=folder, check=True)


@pytest.mark.slow
def test_the_python_client_works_as_it_stands(server: TritonServer, alone: Codec, tmp_path: Path) -> None:
    program, _ = (each.text for each in blocks(PAGE) if each.language == "python")
    run(program + "np.save('codes.npy', codes)\n", server, tmp_path)
    audio, rate = soundfile.read(CLIP, dtype="float32")
    np.testing.assert_array_equal(np.load(tmp_path / "codes.npy"), alone.encode(audio, rate).codes)


@pytest.mark.slow
def test_the_streaming_python_client_goes_on_from_there(
    live_server: TritonServer, live_alone: Codec, tmp_path: Path
) -> None:
    programs = [each.text for each in blocks(PAGE) if each.language == "python"]
    run("".join([*programs, "np.save('heard.npy', heard)\n"]), live_server, tmp_path)
    audio, rate = soundfile.read(CLIP, dtype="float32")
    expected = live_alone.decode(live_alone.encode(audio, rate))
    np.testing.assert_array_equal(np.load(tmp_path / "heard.npy")[0], expected)


def test_the_cpp_client_compiles_and_asks_for_what_there_is(tmp_path: Path) -> None:
    """Against a stand-in for NVIDIA's client, which needs gRPC's headers and minutes to build."""
    if COMPILER is None:
        pytest.skip("needs a C++ compiler")
    (program,) = (each.text for each in blocks(PAGE) if each.language == "cpp")
    (tmp_path / "client.cc").write_text(program)
    (tmp_path / "grpc_client.h").write_text(HEADER)
    command = [COMPILER, "-std=c++17", "-Wall", "-Werror", "-I", ".", "client.cc", "-o", "client"]
    subprocess.run(command, cwd=tmp_path, check=True)
    ran = subprocess.run([tmp_path / "client"], capture_output=True, text=True, check=True)
    assert ran.stderr == "localhost:8001 apcodec_encode AUDIO FP32 1 48000 192000 CODES"
    assert ran.stdout == "4 codebooks, 151 columns\n"


@pytest.mark.slow
def test_the_request_of_curl_is_answered(server: TritonServer, alone: Codec) -> None:
    (words,) = (words for words in commands("sh") if "--data" in words)
    status, answer = server.post("apcodec_decode", words[-1].encode())
    assert words[:3] == ["curl", "localhost:8000/v2/models/apcodec_decode/infer", "--data"]
    (audio,) = answer["outputs"]
    assert (status, audio["shape"]) == (200, [1, 319])
    codes = np.arange(1, 5, dtype=np.int16).reshape(1, 4, 1)
    header = alone.header(48_000, 1, alone.layout(), one_dimensional=True).counted(319, 1)
    np.testing.assert_array_equal(np.float32(audio["data"]), alone.decode(EncodedAudio(codes, header)))


@pytest.mark.slow
def test_the_metrics_of_the_guide_are_there(server: TritonServer) -> None:
    with urllib.request.urlopen(f"http://127.0.0.1:{server.metrics}/metrics") as answer:
        metrics = answer.read().decode()
    named = set(re.findall(r"`(nv_\w+)`", PAGE.read_text(encoding="utf-8")))
    assert len(named) == 5
    assert [name for name in named if f"{name}{{" not in metrics] == []


def test_the_container_recipe_is_well_formed() -> None:
    """All that can be said of it without docker."""
    (service,) = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text())["services"].values()
    assert (ROOT / service["build"]["dockerfile"]).is_file()
    subprocess.run(["sh", "-n", ROOT / "deploy" / "start"], check=True)
