"""Engines of a streamable model on a simulated GPU: checked through many pushes, kept, and used by live sessions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gpu_simulator.builder import Machine

import apcodec_deploy
from apcodec_deploy.bundle import Bundle
from apcodec_deploy.errors import BuildError
from apcodec_engines import acceptance
from apcodec_engines.building import build_engines
from apcodec_engines.planning import BuildOptions

STREAMS = """
cuda_graphs = true
[[shapes]]
batch = [1, 1, 1]
latents = [1, 8, 8]
[[shapes]]
batch = [2, 2, 2]
latents = [1, 4, 8]
[[shapes]]
batch = [1, 1, 2]
latents = [9, 64, 64]
"""


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(monkeypatch)


@pytest.fixture
def streaming(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> BuildOptions:
    monkeypatch.setattr(acceptance, "_STREAM_LATENTS", 48)  # a third of what new engines are judged by
    (tmp_path / "streams.toml").write_text(STREAMS)
    return BuildOptions(profile=str(tmp_path / "streams.toml"))


@pytest.mark.parametrize(
    ("model", "precision", "parts"),
    [
        ("streamable_bundle", "fp32", True),
        pytest.param("proven_remembering_bundle", "fp16", False, marks=pytest.mark.slow),
    ],
)
def test_engines_of_streams_are_checked_kept_and_used(
    machine: Machine,
    request: pytest.FixtureRequest,
    streaming: BuildOptions,
    speech: Any,
    model: str,
    precision: str,
    parts: bool,
) -> None:
    bundle = Bundle.open(request.getfixturevalue(model))
    manifest = build_engines(bundle, replace(streaming, precision=precision, parts=parts)).stored.manifest
    assert [engine.name for engine in manifest.engines] == ["encode", "decode"] and not manifest.notes
    names = {binding.name for engine in manifest.engines for binding in engine.bindings if binding.output}
    assert names == {"codes", "audio", *(each.after for held in bundle.spec.states.values() for each in held)}
    for engine in manifest.engines:
        assert engine.check is not None and engine.check["passed"]
    clip = speech[30_000:75_001]
    with (
        apcodec_deploy.load(bundle.path, backend="tensorrt") as codec,
        apcodec_deploy.load(bundle.path, device="cpu") as cpu,
    ):
        expected = cpu.encode(clip)
        found = codec.encode(clip)
        assert (found.codes == expected.codes).mean() > 0.9
        np.testing.assert_allclose(codec.decode(expected), cpu.decode(expected), rtol=0, atol=1e-2)
    assert machine.cuda.allocations == {}


def test_live_sessions_stay_on_the_card_and_move_to_the_cpu_when_they_are_saved(
    machine: Machine, streamable_bundle: Path, streaming: BuildOptions, speech: Any
) -> None:
    bundle = Bundle.open(streamable_bundle)
    build_engines(bundle, replace(streaming, precision="fp32"))
    blocks = [speech[None, 30_000 + 1000 * index :][:, :1000] for index in range(12)]
    with (
        apcodec_deploy.load(bundle.path, backend="tensorrt") as codec,
        apcodec_deploy.load(bundle.path, device="cpu", precision="float32") as cpu,
    ):
        whole = cpu.encode(np.concatenate(blocks, axis=1)).codes
        one, other = (codec.encoder(sample_rate=48_000, channels=1) for _ in range(2))
        made = [codec.push_many([one, other], [block, -block])[0] for block in blocks[:5]]
        moved = cpu.encoder(sample_rate=48_000, channels=1).restore(one.save())
        crossed = len(machine.cuda.crossings)
        made += [one.push(blocks[5])]
        assert len(machine.cuda.crossings) == crossed + 2
        theirs = [moved.push(block) for block in blocks[5:]] + [moved.flush()]
        made += [one.push(block) for block in blocks[6:]] + [one.flush()]
    np.testing.assert_array_equal(np.concatenate(made, axis=2), whole)
    np.testing.assert_array_equal(np.concatenate([*made[:5], *theirs], axis=2), whole)
    assert machine.cuda.allocations == {}


def test_engines_that_lose_what_streams_carry_are_not_kept(
    machine: Machine, streamable_bundle: Path, streaming: BuildOptions
) -> None:
    def corrupt(outputs: dict[str, Any]) -> None:
        for name in outputs:
            if name.startswith("next_"):
                outputs[name][:] = 0

    machine.module.faults.corrupt = corrupt
    with pytest.raises(BuildError, match=r"encode in float32 failed its check .*of a codebook's codes are those of"):
        build_engines(Bundle.open(streamable_bundle), streaming)
