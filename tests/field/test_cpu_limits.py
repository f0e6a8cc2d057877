"""CPUs and memory that a container, a service or a batch system grants, whatever the machine has."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from apcodec_deploy import machine
from apcodec_deploy.backends.onnxruntime import OnnxRuntimeBackend
from apcodec_deploy.bundle import Bundle
from apcodec_deploy.machine import available_cpus, available_memory

GB = 1 << 30
UNIFIED = "31 23 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate"
CPU_V1 = "33 31 0:28 {top} /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct"
MEMORY_V1 = "34 31 0:29 {top} /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory"


@pytest.fixture(autouse=True)
def many_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine has 64 CPUs, all of which the affinity allows."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(64)), raising=False)


def system(root: Path, groups: str, mounts: str, files: dict[str, str]) -> Path:
    """A file system as a process sees it: its groups, what is mounted, and the files of the groups."""
    held = {"proc/self/cgroup": groups, "proc/self/mountinfo": f"23 1 8:1 / / rw - ext4 /dev/vda rw\n{mounts}\n"}
    for name, text in {**held, **files}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("200000 100000\n", 2),
        ("250000 100000\n", 3),
        ("50000 100000\n", 1),
        ("1000 100000\n", 1),
        ("max 100000\n", 64),
        ("9900000 100000\n", 64),
        ("200000\n", 64),
        ("", 64),
        ("0 100000\n", 64),
        ("200000 0\n", 64),
        ("two of them\n", 64),
        ("-1 100000\n", 64),
    ],
)
def test_a_container_of_today(tmp_path: Path, text: str, expected: int) -> None:
    assert available_cpus(system(tmp_path, "0::/\n", UNIFIED, {"sys/fs/cgroup/cpu.max": text})) == expected


@pytest.mark.parametrize(
    ("quota", "period", "expected"),
    [("200000", "100000", 2), ("150000", "100000", 2), ("-1", "100000", 64), ("20000", "5000", 4), ("x", "100000", 64)],
)
@pytest.mark.parametrize(
    ("place", "top", "folder"),
    [
        ("/docker/abc", "/docker/abc", ""),  # its own group is mounted at the top
        ("/docker/abc", "/", ""),  # a path that only the host has
        ("/docker/abc", "/", "docker/abc/"),  # all groups are mounted, as on the host
        ("/../elsewhere", "/", ""),
        ("/docker/abc", "/kubepods/pod1", ""),
    ],
)
def test_a_container_of_the_first_version(
    tmp_path: Path, quota: str, period: str, expected: int, place: str, top: str, folder: str
) -> None:
    files = {
        f"sys/fs/cgroup/cpu,cpuacct/{folder}cpu.cfs_quota_us": f"{quota}\n",
        f"sys/fs/cgroup/cpu,cpuacct/{folder}cpu.cfs_period_us": f"{period}\n",
    }
    groups = f"12:memory:/docker/abc\n4:cpu,cpuacct:{place}\n1:name=systemd:/x\n"
    assert available_cpus(system(tmp_path, groups, CPU_V1.format(top=top), files)) == expected


@pytest.mark.parametrize("tightest", ["", "batch.slice/", "batch.slice/job.scope/"])
def test_every_group_above_counts(tmp_path: Path, tightest: str) -> None:
    files = {f"sys/fs/cgroup/{name}cpu.max": "max 100000\n" for name in ("batch.slice/", "batch.slice/job.scope/")}
    files |= {
        "sys/fs/cgroup/batch.slice/cpu.max": "1600000 100000\n",
        f"sys/fs/cgroup/{tightest}cpu.max": "300000 100000",
    }
    assert available_cpus(system(tmp_path, "0::/batch.slice/job.scope\n", UNIFIED, files)) == 3


def test_both_versions_at_once(tmp_path: Path) -> None:
    mounts = "\n".join(
        (CPU_V1.format(top="/"), r"41 31 0:38 / /sys/fs/cgroup/of\040all rw - cgroup2 cgroup2 rw", "cut off - cgroup2")
    )
    files = {
        "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "800000",
        "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000",
        "sys/fs/cgroup/of all/cpu.max": "600000 100000",
    }
    assert available_cpus(system(tmp_path, "4:cpu,cpuacct:/\n0::/\nnonsense\n", mounts, files)) == 6


def test_without_groups_the_affinity_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert available_cpus(tmp_path) == 64
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3})
    assert available_cpus(system(tmp_path, "0::/\n", UNIFIED, {"sys/fs/cgroup/cpu.max": "200000 100000"})) == 1


def test_a_model_runs_on_what_is_granted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads of a backend, which were one for each CPU of the host."""
    root = system(tmp_path, "0::/\n", UNIFIED, {"sys/fs/cgroup/cpu.max": "200000 100000"})
    monkeypatch.setattr(machine.available_cpus, "__defaults__", (root,))
    assert OnnxRuntimeBackend(Bundle.embedded())._threads == 2


@pytest.mark.parametrize(
    ("groups", "mounts", "files", "expected"),
    [
        ("0::/\n", UNIFIED, {"sys/fs/cgroup/memory.max": "max"}, 8 * GB),
        ("0::/\n", UNIFIED, {"sys/fs/cgroup/memory.max": f"{2 * GB}", "sys/fs/cgroup/memory.current": f"{GB}"}, GB),
        ("0::/\n", UNIFIED, {"sys/fs/cgroup/memory.max": "max", "sys/fs/cgroup/memory.high": f"{GB}"}, GB),
        (
            "0::/\n",
            UNIFIED,
            {
                "sys/fs/cgroup/memory.max": f"{2 * GB}",
                "sys/fs/cgroup/memory.current": f"{2 * GB}",
                "sys/fs/cgroup/memory.stat": f"anon 5\nactive_file 7\ninactive_file {GB}\n",
            },
            GB,
        ),
        ("0::/\n", UNIFIED, {"sys/fs/cgroup/memory.max": "1", "sys/fs/cgroup/memory.current": "2"}, 0),
        ("0::/\n", UNIFIED, {"sys/fs/cgroup/memory.max": "lots"}, 8 * GB),
        (
            "5:memory:/a\n",
            MEMORY_V1.format(top="/"),
            {
                "sys/fs/cgroup/memory/a/memory.limit_in_bytes": "9223372036854771712",
                "sys/fs/cgroup/memory/memory.limit_in_bytes": f"{3 * GB}",
                "sys/fs/cgroup/memory/memory.usage_in_bytes": f"{GB}",
                "sys/fs/cgroup/memory/memory.stat": f"total_inactive_file {GB // 2}",
            },
            5 * GB // 2,
        ),
    ],
)
def test_memory_that_is_left(tmp_path: Path, groups: str, mounts: str, files: dict[str, str], expected: int) -> None:
    meminfo = {"proc/meminfo": f"MemTotal: {16 * GB // 1024} kB\nMemAvailable: {8 * GB // 1024} kB\n"}
    assert available_memory(system(tmp_path, groups, mounts, files | meminfo)) == expected


def test_memory_of_a_system_that_does_not_tell(tmp_path: Path) -> None:
    assert available_memory(tmp_path) is None
