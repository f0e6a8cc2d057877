"""What the guide to serving says to a server, said to a real one."""

from __future__ import annotations

import re
import subprocess
import sys
import urllib.request
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml
from documents import DOCS, ROOT, blocks
from triton_server import TritonServer

from apcodec_deploy import Codec, EncodedAudio

PAGE = DOCS / "serving.md"


def commands(language: str) -> list[list[str]]:
    return [words for each in blocks(PAGE) if each.language == language for words in each.commands()]


@pytest.mark.slow
def test_the_python_client_works_as_it_stands(server: TritonServer, alone: Codec, tmp_path: Path) -> None:
    (program,) = (each.text for each in blocks(PAGE) if each.language == "python")
    program = program.replace("localhost:8001", f"127.0.0.1:{server.grpc}")
    clip = ROOT / "examples" / "speech_german_22k.wav"
    (tmp_path / "song.flac").symlink_to(clip)
    program += "np.save('codes.npy', codes)\n"
    subprocess.run([sys.executable, "-W", "error", "-c", program], cwd=tmp_path, check=True)
    audio, rate = soundfile.read(clip, dtype="float32")
    np.testing.assert_array_equal(np.load(tmp_path / "codes.npy"), alone.encode(audio, rate).codes)


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
