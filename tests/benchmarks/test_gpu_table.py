"""The table of backends: what is timed, and what is printed of those that cannot run."""

from __future__ import annotations

import importlib.util
import sys
import time
from pathlib import Path
from types import ModuleType

import pytest

from apcodec_deploy.backends.onnxruntime import OnnxRuntimeBackend
from apcodec_deploy.bundle import Bundle


@pytest.fixture(scope="module")
def gpu_table() -> ModuleType:
    file = Path(__file__).parents[2] / "benchmarks" / "gpu_table.py"
    spec = importlib.util.spec_from_file_location("gpu_table", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["gpu_table"] = module
    spec.loader.exec_module(module)
    return module


def test_warm_up_does_not_count_and_an_outlier_does_not_matter(
    gpu_table: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = 0.0
    costs = iter([10.0, 10.0, 1.0, 1.0, 50.0, 1.0, 1.0])

    def call() -> None:
        nonlocal clock
        clock += next(costs)

    monkeypatch.setattr(gpu_table, "BUDGET_SECONDS", 1000.0)
    monkeypatch.setattr(time, "perf_counter", lambda: clock)
    assert gpu_table.timed(call, warm_up=2, rounds=5) == 1.0


def test_slow_calls_are_not_repeated_for_ever(gpu_table: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, calls = 0.0, 0

    def call() -> None:
        nonlocal clock, calls
        clock += 4.0
        calls += 1

    monkeypatch.setattr(time, "perf_counter", lambda: clock)
    assert gpu_table.timed(call) == 4.0
    assert calls == 3  # two of them before the budget of warm-up was spent


def test_a_row_holds_speed_by_batch_and_what_it_costs(gpu_table: ModuleType) -> None:
    bundle = Bundle.embedded()
    backend = OnnxRuntimeBackend(bundle)
    row = gpu_table.Row("cpu", "1.0")
    gpu_table.measure(row, backend, backend, bundle, [1, 2], rounds=1)
    assert row.agreement == 1
    assert row.snr > 100
    assert row.rtf.keys() == {("encode", 1), ("encode", 2), ("decode", 1), ("decode", 2)}
    assert all(value > 0 for value in row.rtf.values())


def test_what_cannot_run_stays_with_its_reason(gpu_table: ModuleType) -> None:
    good = gpu_table.Row("good", "1.0", {("encode", 1): 0.25, ("decode", 1): 0.5}, 0.987, 55.55, 3 << 20)
    bad = gpu_table.Row("bad", "", problem="no driver")
    head, _, first, second, _, reason = gpu_table.table([good, bad], [1]).splitlines()
    assert head == "| backend | version | encode x1 | decode x1 | codes | SNR, dB | GPU memory, MiB |"
    assert first == "| good | 1.0 | 0.25000 | 0.50000 | 98.7% | 55.5 | 3 |"
    assert second == "| bad | - | - | - | - | - | - |"
    assert reason == "bad did not run: no driver"


def test_every_backend_in_every_precision_is_tried(gpu_table: ModuleType) -> None:
    labels = [row.label for row, _ in gpu_table.rows_to_try(Bundle.embedded(), "throughput")]
    assert labels == [
        "onnxruntime cpu float32",
        "onnxruntime cuda float32",
        "onnxruntime cuda float16",
        "tensorrt float32",
        "tensorrt float16",
        "rtx float32",
        "rtx float16",
    ]
