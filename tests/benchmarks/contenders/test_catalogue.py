"""The catalogue: names, factories that exist, the order of what is asked for, and refusals that say why."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import benchmark_stand_ins
import pytest

from apcodec_benchmarks.contenders.base import Settings
from apcodec_benchmarks.contenders.catalogue import CEILING, ENTRIES, Entry, entries_named, with_checkout
from apcodec_deploy.errors import BenchmarkError, ContenderError

NAMES = [entry.name for entry in ENTRIES]


def named(names: list[str] | None) -> list[str]:
    return [entry.name for entry in entries_named(names)]


def test_names_are_unique_and_can_be_typed() -> None:
    assert len(set(NAMES)) == len(NAMES)
    for name in [*NAMES, CEILING.name]:
        assert name == name.lower().strip() and not set(name) & set(",: \t")
    assert CEILING.name not in NAMES


@pytest.mark.parametrize("entry", [*ENTRIES, CEILING], ids=lambda entry: entry.name)
def test_every_factory_can_be_called(entry: Entry) -> None:
    module, _, function = entry.factory.partition(":")
    assert callable(getattr(importlib.import_module(module), function))


def test_the_list_loads_none_of_them() -> None:
    script = """
import sys
import apcodec_benchmarks.contenders.catalogue
heavy = ("torch", "transformers", "onnxruntime", "apcodec_benchmarks.contenders.")
print(*sorted(name for name in sys.modules if name.startswith(heavy)))
"""
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    loaded = ran.stdout.split()
    assert loaded == [f"apcodec_benchmarks.contenders.{name}" for name in ("base", "catalogue")]


def test_the_usual_ones_run_where_nobody_names_any() -> None:
    usual = [
        *("apcodec", "apcodec-whole", "apcodec-openvino", "apcodec-bf16", "apcodec-int8", "apcodec-plain"),
        *("apcodec-tensorrt", "apcodec-pytorch", "apcodec-compiled"),
        *("encodec-24k", "encodec-48k", "dac-44k", "mimi", "audiodec", "opus"),
    ]
    assert named(None) == named([]) == usual
    assert set(NAMES) - set(usual) == {"apcodec-ort-int8", "apcodec-captured", "dac-24k", "dac-16k", "opus-12k"}


def test_those_that_code_live_run_where_that_is_measured() -> None:
    live = [entry.name for entry in entries_named(None, live=True)]
    assert live == [
        *("apcodec", "apcodec-ort-int8", "apcodec-openvino", "apcodec-int8"),
        *("encodec-24k", "mimi", "audiodec"),
    ]


def test_those_that_are_asked_for_come_once_and_in_the_catalogues_order() -> None:
    assert named(list(reversed(NAMES))) == NAMES
    assert named(["opus", "dac-16k", "opus", "apcodec"]) == ["apcodec", "dac-16k", "opus"]


def test_ones_own_follow_in_the_order_in_which_they_were_named() -> None:
    asked = ["my.codecs:second", "opus", "codecs:First", "my.codecs:second"]
    entries = entries_named(asked)
    assert [entry.name for entry in entries] == ["opus", "my.codecs:second", "codecs:First"]
    assert all(entry.factory == entry.name and not entry.options and not entry.gpu_only for entry in entries[1:])


def test_unknown_names_are_all_listed_beside_the_known_ones() -> None:
    with pytest.raises(BenchmarkError) as caught:
        entries_named(["soundstream", "opus", "lyra", "soundstream"])
    message = str(caught.value)
    assert message.startswith("no contender is called soundstream, lyra; there are: ")
    assert all(f" {name}," in message for name in NAMES) and message.endswith("module:function")


@pytest.mark.parametrize("name", [":", ":function", "module:", ".module:function", "a:b:c", "my codec:f", "a..b:c", ""])
def test_what_names_no_function_of_a_module_is_unknown(name: str) -> None:
    with pytest.raises(BenchmarkError, match="no contender is called"):
        entries_named(["opus", name])


def test_ones_own_contender_gets_the_settings() -> None:
    (entry,) = entries_named(["benchmark_stand_ins:StandIn"])
    settings = Settings(threads=3)
    made = entry.make(settings)
    assert isinstance(made, benchmark_stand_ins.StandIn)
    assert made.settings is settings


@pytest.mark.parametrize("factory", ["benchmark_stand_ins:missing", "module_that_is_not_here:function"])
def test_a_factory_that_is_not_there_is_named(factory: str) -> None:
    (entry,) = entries_named([factory])
    with pytest.raises(ContenderError, match=r"module_that_is_not_here|'missing'"):
        entry.make(Settings(threads=1))


def test_what_needs_a_gpu_is_refused_on_the_cpu() -> None:
    needing = [entry for entry in ENTRIES if entry.gpu_only]
    assert [entry.name for entry in needing] == ["apcodec-tensorrt", "apcodec-compiled", "apcodec-captured"]
    for entry in needing:
        with pytest.raises(ContenderError, match="it runs on a GPU only; ask for one with --device cuda"):
            entry.make(Settings(threads=1, options=entry.options))
    entry = Entry(name="own", factory="benchmark_stand_ins:StandIn", gpu_only=True)
    assert entry.make(Settings(threads=1, device="cuda:1")).facts.title == "Stand-in"


def test_only_audiodec_is_told_where_its_checkout_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert with_checkout(ENTRIES, None) == list(ENTRIES)
    found = with_checkout(ENTRIES, Path("checkout"))
    changed = [new for old, new in zip(ENTRIES, found, strict=True) if new != old]
    assert [entry.name for entry in changed] == ["audiodec"]
    assert changed[0].options["checkout"] == str(tmp_path / "checkout")
