"""The lowest versions that pyproject.toml admits: each is stated, and what is tested with is not below it.

Whether they work is shown by ``scripts/test-floors``, which installs them.
"""

from __future__ import annotations

import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    held: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return held


def requirements(project: dict[str, Any]) -> list[Requirement]:
    """Those of the runtime and of every extra, the project's own extras left out."""
    lines = [*project["dependencies"], *(line for lines in project["optional-dependencies"].values() for line in lines)]
    return [each for each in map(Requirement, lines) if each.name != project["name"]]


def printed(*extras: str) -> list[Requirement]:
    """What the script that is installed from says."""
    command = [sys.executable, str(ROOT / "scripts" / "floors.py"), *extras]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [Requirement(line) for line in output.splitlines()]


def lowest(requirement: Requirement) -> Version:
    found = [each.version for each in requirement.specifier if each.operator in (">=", "==")]
    assert len(found) == 1, f"{requirement} states no lowest version"
    return Version(found[0].removesuffix(".*"))


def test_every_requirement_states_its_lowest_version(project: dict[str, Any]) -> None:
    for requirement in requirements(project):
        lowest(requirement)


def test_one_package_has_one_lowest_version_whatever_asks_for_it(project: dict[str, Any]) -> None:
    stated: dict[str, set[Version]] = {}
    for requirement in requirements(project):
        stated.setdefault(requirement.name, set()).add(lowest(requirement))
    assert {name: versions for name, versions in stated.items() if len(versions) > 1} == {}


def test_what_runs_the_tests_is_admitted(project: dict[str, Any]) -> None:
    for requirement in requirements(project):
        try:
            installed = version(requirement.name)
        except PackageNotFoundError:
            continue  # of an extra for other machines
        assert requirement.specifier.contains(installed, prereleases=True), f"{requirement}: {installed} is installed"


def test_the_version_that_tests_are_made_with_is_admitted(project: dict[str, Any]) -> None:
    lines = (ROOT / "scripts" / "constraints.txt").read_text(encoding="utf-8").splitlines()
    for pinned in (Requirement(line) for line in lines if line and not line.startswith("#")):
        asking = [each for each in requirements(project) if each.name == pinned.name]
        assert asking, f"nothing asks for {pinned}"
        assert all(each.specifier.contains(str(lowest(pinned))) for each in asking)


def test_typer_shows_help_with_the_newest_click(project: dict[str, Any]) -> None:
    # Below 0.16 a signature that click changed in 8.2 makes every --help a TypeError, and click is not bounded.
    (typer,) = (each for each in requirements(project) if each.name == "typer")
    assert not typer.specifier.contains("0.15.4")


def test_onnx_runtime_quantises_what_the_lowest_onnx_exports(project: dict[str, Any]) -> None:
    # ONNX Runtime 1.20 looks for the weights in a file beside the graph, and none is written.
    (runtime,) = (each for each in requirements(project) if each.name == "onnxruntime")
    assert not runtime.specifier.contains("1.20.1")


def test_the_floors_that_are_installed_are_those_of_the_project(project: dict[str, Any]) -> None:
    assert {each.name: lowest(each) for each in printed()} == {
        each.name: lowest(each) for each in map(Requirement, project["dependencies"])
    }
    extra = project["optional-dependencies"]["export"]
    assert {each.name: lowest(each) for each in printed("export")} == {
        each.name: lowest(each) for each in map(Requirement, extra)
    }
    assert all(str(each.specifier).startswith("==") for each in printed("export", "ray"))
    assert [each.extras for each in printed("ray")] == [{"data"}]


def test_the_script_installs_what_the_project_states_and_no_list_of_its_own() -> None:
    script = (ROOT / "scripts" / "test-floors").read_text(encoding="utf-8")
    assert "scripts/floors.py >" in script
    assert not [line for line in script.splitlines() if "pip install" in line and ("==" in line or ">=" in line)]
