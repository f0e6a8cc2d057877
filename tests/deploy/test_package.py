"""The package as a whole: its public names, what it may import, and that it needs nothing more than it says."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from import_graph import PACKAGES, ROOT, circle, import_graph

import apcodec_deploy

MAY_IMPORT = {
    "apcodec_deploy": {"apcodec_deploy"},
    "apcodec_export": {"apcodec_deploy", "apcodec_export"},
    "apcodec_engines": {"apcodec_deploy", "apcodec_engines"},
    "apcodec_serving": {"apcodec_deploy", "apcodec_serving"},
    "apcodec_benchmarks": {"apcodec_deploy", "apcodec_export", "apcodec_benchmarks"},
    "apcodec_training": {"apcodec_deploy", "apcodec_export", "apcodec_benchmarks", "apcodec_training"},
}
RUNTIME = {"numpy", "onnxruntime", "platformdirs", "rich", "soundfile", "soxr", "typer"}
HEAVY = (
    *("torch", "onnx", "onnxscript", "safetensors", "tensorrt", "tensorrt_rtx", "pycuda", "filelock", "openvino"),
    *("transformers", "pystoi", "matplotlib", "scipy", "pesq", "pyarrow", "av", "ray", "pandas", "tensorboard"),
    *("google", "grpc", "tritonclient"),
)

ABSENT = f"""
import importlib.abc, runpy, sys

class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {HEAVY!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Absent())
"""
WITHOUT = f"""{ABSENT}
sys.argv = ["apcodec", *sys.argv[1:]]
runpy.run_module("apcodec_deploy.cli.main", run_name="__main__")
"""
HELPED = f"""{ABSENT}
from apcodec_deploy.cli.main import main

for words in sys.argv[1:]:
    sys.argv = ["apcodec", *words.split(), "--help"]
    try:
        main()
    except SystemExit as ended:
        assert not ended.code, (words, ended.code)
"""


def imports(path: Path) -> set[str]:
    """The top-level names of everything a file imports, at whatever depth."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            found.add(str(node.module).split(".")[0])
    return found


def test_the_public_names_are_these() -> None:
    assert sorted(apcodec_deploy.__all__) == [
        "ApcodecError",
        "AudioError",
        "BitstreamError",
        "BundleError",
        "Codec",
        "DecoderSession",
        "EncodedAudio",
        "EncoderSession",
        "load",
    ]


def test_imports_point_downwards() -> None:
    for package, directory in PACKAGES.items():
        for path in directory.rglob("*.py"):
            ours = {name for name in imports(path) if name.startswith("apcodec_")}
            assert ours <= MAY_IMPORT[package], path


def test_no_module_imports_in_a_circle() -> None:
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]
    assert circle(import_graph()) == []


def test_the_runtime_imports_what_it_declares_and_nothing_else() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert {re.split("[<>=]", need)[0] for need in project["dependencies"]} == RUNTIME
    used = {name for path in PACKAGES["apcodec_deploy"].rglob("*.py") for name in imports(path)}
    assert used - set(sys.stdlib_module_names) - {"apcodec_deploy"} == RUNTIME


LIGHT = (
    "apcodec_deploy",
    "apcodec_deploy.cli.main",
    "apcodec_deploy.cli.doctor",
    "apcodec_deploy.backends.openvino",
    "apcodec_deploy.backends.tensorrt",
    "apcodec_deploy.cuda.pycuda_device",
    "apcodec_export.commands",
    "apcodec_engines.commands",
    "apcodec_serving.commands",
    "apcodec_serving.services",
    "apcodec_benchmarks.commands.group",
    "apcodec_benchmarks.requests",
    "apcodec_benchmarks.workers.host",
    "apcodec_training.commands",
)
"""Modules that are imported before anybody knows what will be needed."""


def test_importing_loads_nothing_heavy() -> None:
    """All in one process: what one of them loads stays, and is told from there on."""
    code = f"""
import importlib, sys
for module in {LIGHT}:
    importlib.import_module(module)
    print(module, [name for name in {HEAVY!r} if name in sys.modules])
"""
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.splitlines() == [f"{module} []" for module in LIGHT]


def test_every_help_works_without_any_optional_package() -> None:
    """All in one process: none of them may leave behind what the next one needs."""
    commands = ("", "bench", "build", "decode", "doctor", "encode", "export", "inspect", "transcode", "train", "triton")
    below = [f"bench {command}" for command in ("rtf", "quality", "windows", "compare", "table")]
    answer = subprocess.run(
        [sys.executable, "-c", HELPED, *commands, *below], capture_output=True, text=True, check=False
    )
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.count("Usage: ") == len(commands) + len(below)


@pytest.mark.parametrize(
    "arguments",
    [["doctor"], ["transcode", str(ROOT / "examples" / "speech_german_22k.wav"), "out", "--to", "apc"]],
)
def test_the_runtime_works_without_any_optional_package(arguments: list[str], tmp_path: Path) -> None:
    command = [sys.executable, "-c", WITHOUT, *arguments]
    answer = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr


@pytest.mark.slow
def test_nothing_is_written_into_the_users_home(tmp_path: Path) -> None:
    """ONNX Runtime's import writes a device id and events there, unless it is told not to."""
    surroundings = {key: value for key, value in os.environ.items() if not key.startswith(("ORT_", "XDG_"))}
    command = [sys.executable, "-m", "apcodec_deploy.cli.main", "doctor"]
    subprocess.run(command, env=surroundings | {"HOME": str(tmp_path)}, capture_output=True, check=True)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_export_without_torch_names_the_extra(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WITHOUT, "export", "here", "there"]
    answer = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert answer.returncode == 1
    assert "pip install 'apcodec-deploy[export]'" in answer.stderr


def test_build_without_its_packages_names_the_extra(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WITHOUT, "build", "--flavour", "rtx"]
    answer = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert answer.returncode == 1
    assert "pip install 'apcodec-deploy[rtx]'" in answer.stderr


def test_triton_without_its_client_names_the_extra(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WITHOUT, "triton", "repository"]
    answer = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert answer.returncode == 1
    assert "pip install 'apcodec-deploy[serve]'" in answer.stderr


def test_benchmarks_without_their_packages_name_the_extra(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WITHOUT, "bench", "rtf", "--quick"]
    answer = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert answer.returncode == 1
    assert "pip install 'apcodec-deploy[bench]'" in answer.stderr


def test_the_changelog_knows_the_version() -> None:
    newest = re.search(r"^## \[?(\d[^\] ]*)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest is not None
    assert newest[1] == apcodec_deploy.__version__


def test_no_file_is_longer_than_one_sitting() -> None:
    for directory in PACKAGES.values():
        for path in directory.rglob("*.py"):
            assert len(path.read_text(encoding="utf-8").splitlines()) <= 320, path
