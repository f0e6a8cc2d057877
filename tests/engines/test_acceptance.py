"""A build where there is a GPU, from bundle to accepted engines, with everything but TensorRT itself as it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gpu_simulator.builder import Machine
from gpu_simulator.building import simulated_engine
from gpu_simulator.tensorrt import TensorRTModule

import apcodec_deploy
from apcodec_deploy.bundle import Bundle
from apcodec_deploy.engines.flavour import FLAVOURS, Flavour, TensorRT
from apcodec_deploy.engines.manifest import MANIFEST
from apcodec_deploy.engines.profile import Profile, Range, Shapes
from apcodec_deploy.engines.store import StoredSet
from apcodec_deploy.errors import BuildError, EngineError
from apcodec_engines import building
from apcodec_engines.acceptance import _sizes
from apcodec_engines.building import build_engines
from apcodec_engines.networks import Network
from apcodec_engines.planning import BuildOptions

SMALL = '[[shapes]]\nbatch = [1, 2, 4]\nlatents = [1, 40, "window"]\n'


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(monkeypatch)


@pytest.fixture
def options(tmp_path: Path) -> BuildOptions:
    (tmp_path / "small.toml").write_text(SMALL)
    return BuildOptions(profile=str(tmp_path / "small.toml"))


def test_good_engines_are_checked_and_kept(machine: Machine, demo: Bundle, options: BuildOptions) -> None:
    built = build_engines(demo, options)
    manifest = built.stored.manifest
    assert machine.built == [("encode", "float16"), ("decode", "float16")]
    assert (manifest.identity.flavour, manifest.identity.target.gpu) == ("tensorrt", "Simulated GPU")
    assert manifest.driver == "13.0"
    assert manifest.notes == ()
    encode, decode = (engine.check for engine in manifest.engines)
    assert encode is not None and decode is not None
    assert encode["passed"] and len(encode["code_agreement"]) == 4 and min(encode["code_agreement"]) > 0.9
    assert decode["passed"] and min(ratio for name, ratio in decode["snr_db"].items() if name != "silence") > 40
    assert build_engines(demo, options).up_to_date
    assert machine.cuda.allocations == {}


def test_what_was_built_is_what_a_user_gets(machine: Machine, demo: Bundle, options: BuildOptions, speech: Any) -> None:
    build_engines(demo, options)
    with apcodec_deploy.load() as codec:
        assert (codec.backend.name, codec.backend.precision) == ("tensorrt", "float16")
        assert codec.backend.reason.startswith("the fastest that works here")
        clip = speech[30_000:50_001]
        with apcodec_deploy.load(device="cpu") as plain:
            theirs = plain.encode(clip)
            assert (codec.encode(clip).codes == theirs.codes).mean() > 0.9
            expected = plain.decode(theirs)
        error = np.square(codec.decode(theirs) - expected).sum() / np.square(expected).sum()
        assert error < 1e-4
    assert machine.cuda.allocations == {}


@pytest.mark.slow
def test_what_the_engines_do_not_take_still_works_where_the_choice_was_ours(
    machine: Machine, demo: Bundle, options: BuildOptions, speech: Any, caplog: pytest.LogCaptureFixture
) -> None:
    build_engines(demo, options)
    clip = speech[: 419 * 320]
    with apcodec_deploy.load() as codec, apcodec_deploy.load(device="cpu") as plain:
        encoded = codec.encode(clip, window="whole")
        np.testing.assert_array_equal(encoded.codes, plain.encode(clip, window="whole").codes)
        np.testing.assert_array_equal(codec.decode(encoded), plain.decode(encoded))
    assert "the engines of profile small take no 420 latents: onnxruntime does it" in caplog.text
    with apcodec_deploy.load(backend="tensorrt") as codec, pytest.raises(EngineError, match="a clip of 420 latents"):
        codec.encode(clip, window="whole")


def test_a_damaged_engine_is_passed_over_where_the_choice_was_ours(
    machine: Machine, demo: Bundle, options: BuildOptions
) -> None:
    stored = build_engines(demo, options).stored
    (stored.path / stored.manifest.engines[0].file).write_bytes(b"cut")
    with apcodec_deploy.load() as codec:
        assert codec.backend.name == "onnxruntime"
        assert "has 3 bytes, engines.json says" in codec.backend.reason
    with pytest.raises(EngineError, match=r"has 3 bytes, engines\.json says"):
        apcodec_deploy.load(backend="tensorrt")


def _corrupt_half(machine: Machine, direction: str, change: Callable[[dict[str, Any]], None]) -> None:
    """Let engines of a direction in half precision give something else."""
    name = {"encode": "codes", "decode": "audio"}[direction]

    def corrupt(outputs: dict[str, Any]) -> None:
        if name in outputs and machine.built[-1] != (direction, "float32"):
            change(outputs)

    machine.module.faults.corrupt = corrupt


def _nan(outputs: dict[str, Any]) -> None:
    outputs["audio"][:] = np.nan


def _one_code(outputs: dict[str, Any]) -> None:
    outputs["codes"][:] = 7


@pytest.mark.slow
def test_every_optimisation_profile_is_checked_at_its_usual_batch(
    machine: Machine, demo: Bundle, options: BuildOptions
) -> None:
    Path(options.profile).write_text(SMALL + "[[shapes]]\nbatch = [5, 6, 8]\nlatents = [1, 40, 40]\n")

    def corrupt(outputs: dict[str, Any]) -> None:
        if "audio" in outputs and len(outputs["audio"]) == 6:
            outputs["audio"][4] = 0  # one row of the second profile

    machine.module.faults.corrupt = corrupt
    with pytest.raises(BuildError, match="nothing but zeros"):
        build_engines(demo, options)


def test_shapes_that_only_a_full_batch_gets_are_checked_too() -> None:
    profile = Profile(
        name="shadowed",
        shapes=(Shapes(Range(1, 8, 32), Range(50, 50, 50)), Shapes(Range(1, 8, 64), Range(50, 50, 50))),
    )
    assert _sizes(profile) == [(8, 50), (64, 50)]


@pytest.mark.slow
def test_a_set_that_could_not_be_run_when_it_was_built_is_built_again_where_it_can(
    machine: Machine, demo: Bundle, options: BuildOptions
) -> None:
    stored = build_engines(demo, options).stored
    unchecked = tuple(replace(engine, check=None) for engine in stored.manifest.engines)
    (stored.path / MANIFEST).write_text(replace(stored.manifest, engines=unchecked).to_json())
    assert build_engines(demo, options).reasons == ("the engines are stale: they were not checked on Simulated GPU",)


@pytest.mark.parametrize(
    ("direction", "change"), [("decode", _nan), pytest.param("encode", _one_code, marks=pytest.mark.slow)]
)
def test_half_precision_that_fails_falls_back_to_float32_with_a_loud_line(
    machine: Machine, demo: Bundle, options: BuildOptions, direction: str, change: Any
) -> None:
    _corrupt_half(machine, direction, change)
    said: list[str] = []
    built = build_engines(demo, options, say=said.append)
    precisions = {engine.name: engine.precision for engine in built.stored.manifest.engines}
    assert precisions == {"encode": "float16", "decode": "float16"} | {direction: "float32"}
    (loud,) = [line for line in said if line.startswith("WARNING: ")]
    assert f"{direction} in float16 failed its check on this GPU" in loud
    assert "it runs in float32 instead" in loud
    assert built.stored.manifest.notes == (loud.removeprefix("WARNING: "),)
    checks = {engine.name: engine.check for engine in built.stored.manifest.engines}
    held = checks[direction]
    assert held is not None and held["passed"] and held["held_to"] == "float32"
    for engine in built.stored.manifest.engines:
        built.stored.read(engine)
    assert {path.suffix for path in built.stored.path.iterdir()} <= {".engine", ".json", ""}
    # That a set fell back does not make it stale: another build would end the same way.
    assert build_engines(demo, options).up_to_date


@pytest.mark.slow
def test_engines_that_fail_in_float32_are_not_kept(machine: Machine, demo: Bundle, options: BuildOptions) -> None:
    machine.module.faults.corrupt = lambda outputs: outputs["audio"].fill(0) if "audio" in outputs else None
    with pytest.raises(BuildError, match=r"decode in float32 failed its check on this GPU .*nothing but zeros"):
        build_engines(demo, options)
    with pytest.raises(EngineError, match="there are no engines of APCodec demo"):
        apcodec_deploy.load(backend="tensorrt")


def test_engines_that_do_not_even_run_are_not_kept(machine: Machine, demo: Bundle, options: BuildOptions) -> None:
    machine.module.faults.enqueue = True
    with pytest.raises(BuildError, match=r"encode in float32 failed its check .*did not run in encode"):
        build_engines(demo, options)


def test_engines_that_do_not_load_are_not_kept(machine: Machine, demo: Bundle, options: BuildOptions) -> None:
    machine.spoil = lambda network, data: b"nonsense"
    with pytest.raises(BuildError, match="cannot load the engine encode"):
        build_engines(demo, options)


def test_engines_for_other_gpus_are_built_and_not_run(
    monkeypatch: pytest.MonkeyPatch, demo: Bundle, options: BuildOptions
) -> None:
    machine = Machine(monkeypatch, compute_capability=(9, 0))
    module = TensorRTModule(machine.cuda, rtx=True)
    monkeypatch.setattr(Flavour, "load", lambda flavour: TensorRT(FLAVOURS["rtx"], module))
    monkeypatch.setattr(building.Compiler, "run", _without_timings)
    built = build_engines(demo, BuildOptions(flavour="rtx", profile=options.profile))
    (note,) = built.stored.manifest.notes
    assert note == (
        "the engines were not run here: built for compute capability 8.0, 8.6, 8.9, 12.0, 12.1, Simulated GPU has 9.0"
    )
    with pytest.raises(EngineError, match=r"may not run here: .* has 9\.0\. Build them again: apcodec build"):
        apcodec_deploy.load(backend="tensorrt")


def _without_timings(self: Any, network: Network, progress: Any) -> dict[str, Any]:
    data = simulated_engine(network, self._identity.profile, self._spec)
    (self._work / "engine").write_bytes(data)
    return {"audit": {}, "seconds": 0.1}


@pytest.mark.slow
def test_a_set_of_another_version_is_refused_with_the_command_that_helps(
    machine: Machine, demo: Bundle, options: BuildOptions
) -> None:
    stored: StoredSet = build_engines(demo, options).stored
    machine.module.__version__ = "11.5.0"
    with pytest.raises(EngineError, match=r"built with tensorrt 11\.4\.0\.106, tensorrt 11\.5\.0 is here"):
        apcodec_deploy.load(backend="tensorrt")
    with pytest.raises(EngineError, match=r"apcodec build .*demo --flavour tensorrt --profile small --precision fl"):
        apcodec_deploy.load(engines=stored.path)
    with apcodec_deploy.load() as codec:
        assert codec.backend.name == "onnxruntime"
        assert "tensorrt does not" in codec.backend.reason
    reasons = build_engines(demo, options).reasons
    assert reasons == ("the engines are stale: built with TensorRT 11.4.0.106, TensorRT 11.5.0 is here",)


def test_engines_of_a_named_folder_are_taken(
    machine: Machine, demo: Bundle, options: BuildOptions, tmp_path: Path
) -> None:
    stored = build_engines(demo, replace(options, out=tmp_path / "mine", precision="fp32")).stored
    with apcodec_deploy.load(engines=stored.path) as codec:
        assert codec.backend.precision == "float32"
    with pytest.raises(EngineError, match="are float32, not float16"):
        apcodec_deploy.load(engines=stored.path, precision="fp16")
    with pytest.raises(EngineError, match="there are no engines of APCodec demo"):
        apcodec_deploy.load(backend="tensorrt")
