"""``apcodec build`` and ``apcodec inspect`` of engines, as a user types them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from conftest import SLOW_TO_MAKE
from typer.testing import CliRunner, Result

from apcodec_deploy.cli.main import app
from apcodec_deploy.engines.manifest import MANIFEST
from apcodec_deploy.errors import ApcodecError


def apcodec(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture(scope="module", params=[SLOW_TO_MAKE])
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Result, Path]:
    """What a build of the demo model says, and the engines."""
    out = tmp_path_factory.mktemp("built") / "engines"
    return apcodec("build", "--flavour", "rtx", "--out", out), out


@pytest.fixture(scope="module")
def engines(built: tuple[Result, Path]) -> Path:
    return built[1]


@pytest.mark.slow
def test_a_build_says_what_it_made_and_what_it_could_not_check(built: tuple[Result, Path]) -> None:
    answer, out = built
    assert answer.exit_code == 0, answer.output
    assert "there are no engines yet; building" in answer.stderr
    assert "note: the engines were not run here" in answer.stderr
    encode, decode, place = answer.stdout.splitlines()
    assert (
        encode.startswith("encode: ") and "17 convolution float16" in encode and "24 matrix_multiply float16" in encode
    )
    assert decode.startswith("decode: ") and "17 convolution float16" in decode
    assert place == f"{out}: profile low-latency, for compute capability 8.0, 8.6, 8.9, 12.0, 12.1"


def test_a_second_build_has_nothing_to_do(engines: Path) -> None:
    answer = apcodec("build", "--flavour", "rtx", "--out", engines)
    assert (answer.exit_code, answer.stdout) == (0, f"up to date: {engines}\n")
    status = json.loads(apcodec("build", "--flavour", "rtx", "--out", engines, "--json").stdout)
    assert (status["status"], status["reasons"], status["path"]) == ("up to date", [], str(engines))
    assert status["identity"]["precision"] == "float16"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--profile", "fast"), "there is no profile 'fast'"),
        (("--precision", "fp8"), "no precision is called 'fp8'"),
        (("--flavour", "trt"), "no TensorRT flavour is called 'trt'"),
        (("--flavour", "tensorrt"), "--flavour rtx"),
    ],
)
def test_wrong_options_are_refused_with_what_there_is(words: tuple[str, ...], message: str) -> None:
    answer = apcodec("build", *words)
    assert answer.exit_code == 1
    assert isinstance(answer.exception, ApcodecError)
    assert message in str(answer.exception)


def test_inspect_tells_a_set_from_its_manifest_alone(engines: Path) -> None:
    facts = json.loads(apcodec("inspect", engines, "--json").stdout)
    assert (facts["kind"], facts["flavour"], facts["precision"]) == ("engines", "rtx", "float16")
    assert facts["profile_0"] == {"batch": [1, 1, 1], "latents": [1, 418, 418]}
    assert facts["encode"]["input audio"] == "float32 ['batch', 'samples']"
    assert facts["encode"]["convolution"] == "17 float16"
    assert facts["decode"]["output audio"] == "float32 ['batch', 'samples']"
    assert facts["decode"]["bytes"] == os.stat(engines / facts["decode"]["file"]).st_size
    assert facts == json.loads(apcodec("inspect", engines / MANIFEST, "--json").stdout)
    printed = apcodec("inspect", engines).stdout
    assert "target                    compute capability 8.0" in printed
    assert "  convolution             17 float16" in printed


def test_inspect_tells_one_engine(engines: Path) -> None:
    file = next(path for path in engines.glob("encode-*.engine"))
    facts = json.loads(apcodec("inspect", file, "--json").stdout)
    assert facts["encode"]["file"] == file.name
    assert "decode" not in facts


def test_inspect_refuses_an_edited_engine_and_a_stranger(engines: Path, tmp_path: Path) -> None:
    for path in engines.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    file = next(path for path in tmp_path.glob("decode-*.engine"))
    file.write_bytes(file.read_bytes()[:-1] + b"\0\0")
    assert "bytes, engines.json says" in str(apcodec("inspect", tmp_path).exception)
    stranger = tmp_path / "other.engine"
    stranger.write_bytes(b"anything")
    assert "is not named by the engines.json beside it" in str(apcodec("inspect", stranger).exception)
