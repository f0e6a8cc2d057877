"""The wheel: exactly the files it should hold, and nothing of the repository around them."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import apcodec_deploy
from apcodec_deploy.bundle import EMBEDDED
from apcodec_deploy.families import GRAPHS
from apcodec_deploy.proof import FILES

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
PACKAGES = (
    (ROOT, "apcodec_deploy"),
    (ROOT / "export", "apcodec_export"),
    (ROOT / "engines", "apcodec_engines"),
    (ROOT / "serving", "apcodec_serving"),
    (ROOT / "benchmarks", "apcodec_benchmarks"),
    (ROOT / "training", "apcodec_training"),
)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A freshly built wheel."""
    output = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(output), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    (built,) = output.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def names(wheel: Path) -> set[str]:
    """The names of all files in it."""
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_the_wheel_holds_exactly_these_files(names: set[str]) -> None:
    code = {path.relative_to(base).as_posix() for base, package in PACKAGES for path in (base / package).rglob("*.py")}
    data = {
        "apcodec_deploy/py.typed",
        "apcodec_export/py.typed",
        "apcodec_engines/py.typed",
        "apcodec_serving/py.typed",
        "apcodec_benchmarks/py.typed",
        "apcodec_training/py.typed",
        *(f"apcodec_training/presets/{name}.toml" for name in ("demo", "paper", "streamable")),
        *(f"apcodec_benchmarks/report/listening.{kind}" for kind in ("css", "html")),
        *(f"apcodec_benchmarks/report/listening_{part}.js" for part in ("blind", "players", "start", "transport")),
        *(f"apcodec_engines/profiles/{name}.toml" for name in ("low-latency", "max-window", "streaming", "throughput")),
        *(
            f"apcodec_deploy/bundles/demo/{name}.{short}.onnx"
            for name in ("encoder", "decoder")
            for short in ("fp16", "int8")
        ),
        "apcodec_deploy/bundles/demo/model.json",
        *(f"apcodec_deploy/bundles/{model}/{name}" for model in EMBEDDED for name in FILES),
        *(f"apcodec_deploy/bundles/demo-s/{name}" for name in ("decode.onnx", "encode.onnx", "model.json")),
        "apcodec_deploy/clips/speech_music_48k.flac",
        *(f"apcodec_deploy/bundles/demo/{name}.onnx" for name in GRAPHS),
    }
    info = f"apcodec_deploy-{apcodec_deploy.__version__}.dist-info"
    about = {f"{info}/{name}" for name in ("METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE")}
    assert names == code | data | about


def test_both_embedded_models_fit_into_a_wheel_of_45_megabytes(wheel: Path) -> None:
    assert wheel.stat().st_size < 45e6


def test_the_wheel_brings_no_generic_names(names: set[str]) -> None:
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {package for _, package in PACKAGES}
