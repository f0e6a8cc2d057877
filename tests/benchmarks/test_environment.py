"""What results say of a machine: its hardware and versions, from the driver's own tool where there is one, no names."""

from __future__ import annotations

import json
import os
import platform
import shutil
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from apcodec_benchmarks import environment as module
from apcodec_benchmarks.environment import device_memory, environment
from apcodec_deploy import __version__

Tool = Callable[[str], None]


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all of PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


@pytest.fixture
def nvidia_smi(tools: Path) -> Tool:
    """A driver's tool that runs these lines of a shell; the query is its first argument."""

    def write(lines: str) -> None:
        path = tools / "nvidia-smi"
        path.write_text(f"#!/bin/sh\n{lines}\n")
        path.chmod(0o755)

    return write


def texts(value: Any) -> list[str]:
    """Every string within JSON values, keys included."""
    if isinstance(value, dict):
        return [text for key, each in value.items() for text in (key, *texts(each))]
    if isinstance(value, list):
        return [text for each in value for text in texts(each)]
    return [value] if isinstance(value, str) else []


def test_it_is_json_and_says_what_one_must_know() -> None:
    found = environment()
    assert json.loads(json.dumps(found)) == found
    assert found["apcodec-deploy"] == __version__
    assert found["packages"]["numpy"] and found["packages"]["onnxruntime"]
    assert 1 <= found["cpu"]["usable"] <= (os.cpu_count() or 1)
    assert found["cpu"]["name"]
    assert found["memory_bytes"] > 1 << 28


def test_it_holds_no_name_of_host_or_user_and_no_path(monkeypatch: pytest.MonkeyPatch) -> None:
    host, home = "secret-host", "/home/secret-user"
    here, there = os.uname(), platform.uname()
    monkeypatch.setattr(os, "uname", lambda: os.uname_result((here.sysname, host, *here[2:])))
    monkeypatch.setattr(platform, "uname", lambda: there._replace(node=host))
    monkeypatch.setattr(socket, "gethostname", lambda: host)
    for variable, value in {"HOSTNAME": host, "HOME": home, "USER": "secret-user", "LOGNAME": "secret-user"}.items():
        monkeypatch.setenv(variable, value)
    assert platform.node() == host
    found = texts(environment())
    assert len(found) > 10
    for text in found:
        assert "secret" not in text
        assert str(Path(module.__file__).parents[2]) not in text
        assert not any(word.startswith(("/", "~")) or word[1:3] == ":\\" for word in text.split()), text


def test_gpus_are_as_the_drivers_tool_says(nvidia_smi: Tool) -> None:
    nvidia_smi("""
case "$1" in
  --query-gpu=name,driver_version,memory.total,clocks.sm,clocks.max.sm,clocks.mem,power.limit)
    echo "NVIDIA L4, 550.54.15, 23034 MiB, 210 MHz, 2040 MHz, 405 MHz, 72.00 W"
    echo "NVIDIA A100-SXM4-80GB, 550.54.15, 81920 MiB, 1410 MHz, 1410 MHz, 1593 MHz, [N/A]" ;;
  *) exit 2 ;;
esac
[ "$2" = --format=csv,noheader ]
""")
    first, second = environment()["gpus"]
    assert first == {
        "name": "NVIDIA L4",
        "driver_version": "550.54.15",
        "memory.total": "23034 MiB",
        "clocks.sm": "210 MHz",
        "clocks.max.sm": "2040 MHz",
        "clocks.mem": "405 MHz",
        "power.limit": "72.00 W",
    }
    assert (second["name"], second["power.limit"]) == ("NVIDIA A100-SXM4-80GB", "[N/A]")


@pytest.mark.parametrize(
    "lines",
    [
        "echo 'NVIDIA-SMI has failed because it could not communicate with the NVIDIA driver.'; exit 9",
        "echo 'No devices were found'",
        "exit 0",
        "printf '\\377\\376, 1, 2\\n'",
    ],
    ids=["no driver", "no device", "nothing", "no text"],
)
def test_a_tool_that_finds_nothing_means_no_gpu(nvidia_smi: Tool, lines: str) -> None:
    nvidia_smi(lines)
    assert environment()["gpus"] == []
    assert device_memory(17) is None


def test_device_memory_is_of_one_process_on_all_gpus(nvidia_smi: Tool) -> None:
    nvidia_smi("""
[ "$1 $2" = "--query-compute-apps=pid,used_memory --format=csv,noheader,nounits" ] || exit 2
echo "1234, 500"
echo "123, 11"
echo "1234, 24"
echo "99, [N/A]"
""")
    assert device_memory(1234) == 524 << 20
    assert device_memory(123) == 11 << 20
    assert device_memory(99) is None  # in a container the driver does not tell
    assert device_memory(4) is None


def test_without_any_tool_it_says_less(tools: Path) -> None:
    found = environment()
    assert found["revision"] is None and found["gpus"] == []
    assert device_memory(os.getpid()) is None


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """A repository of its own that holds the module; runs git there."""
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    folder = tmp_path / "checkout"
    folder.mkdir()
    for variable in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        monkeypatch.delenv(variable, raising=False)
    file = folder / "environment.py"
    file.write_text("first\n")
    (folder / "other.py").write_text("first\n")
    monkeypatch.setattr(module, "__file__", str(file))

    def git(*words: str) -> str:
        identity = ("-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")
        command = ["git", "-C", str(folder), *identity, *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    git("init", "--quiet")
    return git


def test_the_revision_is_the_commit_with_a_mark_where_files_were_changed(
    checkout: Callable[..., str], tmp_path: Path
) -> None:
    assert environment()["revision"] is None  # nothing is committed
    checkout("add", "other.py")
    checkout("commit", "--quiet", "-m", "one")
    assert environment()["revision"] is None  # it lies in somebody's repository, but is no part of it
    checkout("add", "environment.py")
    checkout("commit", "--quiet", "-m", "two")
    commit = checkout("rev-parse", "HEAD")[:12]
    assert environment()["revision"] == commit
    (tmp_path / "checkout" / "note.txt").write_text("untracked")
    assert environment()["revision"] == commit
    (tmp_path / "checkout" / "other.py").write_text("second\n")
    assert environment()["revision"] == f"{commit}-changed"
