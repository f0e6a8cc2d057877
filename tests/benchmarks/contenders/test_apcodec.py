"""APCodec among the contenders: what a ``Codec`` gives, its stages, streams and facts, and the GPU's own time."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gpu_simulator.building import simulated_set
from gpu_simulator.machine import Machine
from gpu_simulator.streams import VirtualClock
from numpy.typing import NDArray

import apcodec_deploy
from apcodec_benchmarks.contenders import apcodec as module
from apcodec_benchmarks.contenders.apcodec import ApcodecContender
from apcodec_benchmarks.contenders.base import (
    HasCodes,
    HasDescription,
    HasDeviceTime,
    HasStages,
    HasStream,
    HasWork,
    Settings,
)
from apcodec_deploy.backends.base import Backend
from apcodec_deploy.backends.onnxruntime import OnnxRuntimeBackend
from apcodec_deploy.bundle import Bundle
from apcodec_deploy.engines.profile import Profile, Range, Shapes
from apcodec_deploy.engines.store import StoredSet
from apcodec_deploy.errors import ContenderError
from apcodec_export.network import PUBLISHED_48K

SMALL = Profile(name="small", shapes=(Shapes(Range(1, 2, 2), Range(1, 20, 20)),))
ENGINE_SECONDS = 0.125


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> StoredSet:
    """Engines for clips of up to 20 latents, two at a time."""
    return simulated_set(Bundle.embedded(), tmp_path_factory.mktemp("engines"), SMALL)


@pytest.fixture
def on(monkeypatch: pytest.MonkeyPatch) -> Callable[[Backend], ApcodecContender]:
    """The contender as it is on a machine whose GPU this backend uses."""

    def make(backend: Backend) -> ApcodecContender:
        monkeypatch.setattr(module, "create", lambda bundle, options: backend)
        return ApcodecContender(Settings(threads=1, device="cuda", options={"backend": backend.name}))

    return make


@pytest.fixture
def machine(stored: StoredSet) -> Machine:
    """A GPU on which only engines and copies take time, and copies take more."""
    made = Machine(stored, clock=VirtualClock(), copy_seconds=10)
    made.module.faults.seconds = ENGINE_SECONDS
    return made


def clips(speech: NDArray[np.float32], count: int, samples: int) -> NDArray[np.float32]:
    return np.stack([speech[30_000 + 3000 * row :][:samples] for row in range(count)])


def test_each_direction_tells_the_time_of_its_own_engine(
    on: Callable[[Backend], ApcodecContender], machine: Machine, speech: NDArray[np.float32]
) -> None:
    contender = on(machine.backend)
    assert isinstance(contender, HasDeviceTime)
    assert contender.device_seconds("encode", clips(speech, 2, 6000)) == ENGINE_SECONDS
    (encoder,) = machine.module.engines
    before = encoder.runs
    assert contender.device_seconds("decode", clips(speech, 2, 6000)) == ENGINE_SECONDS
    assert encoder.runs == before + 1  # the codes to decode
    (_, decoder) = machine.module.engines
    assert decoder.runs == 3  # one for the shapes, one ahead, one between the events


def test_the_contender_codes_as_before_it_was_timed(
    on: Callable[[Backend], ApcodecContender], machine: Machine, speech: NDArray[np.float32]
) -> None:
    contender, audio = on(machine.backend), clips(speech, 2, 6000)
    before = contender.encode(audio)
    contender.device_seconds("encode", clips(speech, 1, 5000))
    contender.device_seconds("decode", audio[::-1].copy())
    after = contender.encode(audio)
    np.testing.assert_array_equal(contender.codes(after), contender.codes(before))
    np.testing.assert_array_equal(contender.decode(after), contender.decode(before))


@pytest.mark.parametrize("operation", ["encode", "decode"])
@pytest.mark.parametrize(
    ("count", "samples", "words"),
    [(1, 20 * 320, "a clip of 21 latents; .* take 1 to 20"), (3, 6000, "3 rows; .* take 1 to 2 ")],
    ids=["longer", "more"],
)
def test_audio_that_is_no_single_call_is_refused(
    on: Callable[[Backend], ApcodecContender],
    machine: Machine,
    speech: NDArray[np.float32],
    operation: str,
    count: int,
    samples: int,
    words: str,
) -> None:
    with pytest.raises(ContenderError, match=words):
        on(machine.backend).device_seconds(operation, clips(speech, count, samples))


def test_onnx_runtime_on_a_gpu_claims_no_time_of_the_device(
    on: Callable[[Backend], ApcodecContender], speech: NDArray[np.float32]
) -> None:
    contender = on(OnnxRuntimeBackend(Bundle.embedded(), threads=1))
    with pytest.raises(ContenderError, match="ONNX Runtime tells no device time; see mode 'throughput'"):
        contender.device_seconds("encode", clips(speech, 1, 6000))


def test_the_cpu_has_no_clock_of_its_own(speech: NDArray[np.float32]) -> None:
    contender = ApcodecContender(Settings(threads=1))
    with pytest.raises(ContenderError, match="it has no device with a clock of its own"):
        contender.device_seconds("encode", clips(speech, 1, 6000))


@pytest.fixture
def contender() -> Callable[..., ApcodecContender]:
    """The embedded model with some window."""
    return lambda window=None, **settings: ApcodecContender(Settings(threads=1, options={"window": window}, **settings))


@pytest.mark.parametrize("window", [None, 0.25, "whole"])
def test_it_codes_as_the_codec_does(
    contender: Callable[..., ApcodecContender], speech: NDArray[np.float32], window: Any
) -> None:
    subject, audio = contender(window), clips(speech, 2, 30_007)
    assert isinstance(subject, HasCodes) and not subject.resident
    handles = subject.encode(subject.upload(audio))
    decoded = subject.download(subject.decode(handles), audio.shape[1])
    assert decoded.shape == audio.shape and decoded.dtype == np.float32
    with apcodec_deploy.load(backend="onnxruntime", device="cpu", threads=1) as codec:
        for row, clip in enumerate(audio):
            encoded = codec.encode(clip, window=window)
            np.testing.assert_array_equal(subject.codes(handles)[row], encoded.codes[0])
            np.testing.assert_array_equal(decoded[row], codec.decode(encoded))
    assert subject.codes(handles).shape == (2, 4, 30_007 // 320 + 1)
    subject.synchronize()
    subject.close()


def test_windows_make_a_difference_that_the_title_tells(
    contender: Callable[..., ApcodecContender], speech: NDArray[np.float32]
) -> None:
    titles, codes = [], []
    for window in (None, 0.25, "whole"):
        subject = contender(window)
        titles.append(subject.facts.title)
        codes.append(subject.codes(subject.encode(clips(speech, 1, 100_000))))
    assert titles == [
        f"APCodec, ONNX Runtime, {what}" for what in ("windows of 2.67 s", "windows of 0.25 s", "whole clips")
    ]
    assert all((one != other).any() for one, other in ((codes[0], codes[1]), (codes[1], codes[2])))


def test_the_six_stages_make_the_codes_of_a_whole_clip(
    contender: Callable[..., ApcodecContender], speech: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch
) -> None:
    subject, audio = contender("whole"), clips(speech, 1, 30_007)
    assert isinstance(subject, HasStages)
    made: dict[str, NDArray[Any]] = {}
    steps = subject.codec.backend.steps  # type: ignore[attr-defined]

    def watched(names: tuple[str, ...], values: Any) -> Iterator[Any]:
        for name, outputs in steps(names, values):
            made[name] = outputs[0].numpy()
            yield name, outputs

    monkeypatch.setattr(subject.codec.backend, "steps", watched)
    assert list(subject.stages(audio)) == ["stft", "encoder", "quantizer", "dequantizer", "decoder", "istft"]
    handles = subject.encode(audio)
    np.testing.assert_array_equal(made["quantizer"], subject.codes(handles))
    np.testing.assert_array_equal(made["istft"][:, :30_007], subject.download(subject.decode(handles), 30_007))


def test_engines_have_no_stages(on: Callable[[Backend], ApcodecContender], machine: Machine) -> None:
    assert list(on(machine.backend).stages(np.zeros((1, 6000), np.float32))) == []


@pytest.mark.parametrize("window", [0.25, "whole"])
@pytest.mark.parametrize("samples", [1, 320 * 56, 50_001])
def test_a_stream_gives_as_many_samples_as_went_in(
    contender: Callable[..., ApcodecContender], speech: NDArray[np.float32], samples: int, window: Any
) -> None:
    subject = contender(window)
    assert isinstance(subject, HasStream)
    blocks = (speech[start : min(start + 7001, samples)] for start in range(0, samples, 7001))
    assert subject.stream(blocks) == samples


def test_facts_are_those_of_the_bundle(contender: Callable[..., ApcodecContender]) -> None:
    facts, bundle = contender().facts, Bundle.embedded()
    assert (facts.sample_rate, facts.frame, facts.bitrate, facts.channels) == (48_000, 320, 6000, 1)
    assert (facts.weights, facts.weights_hash) == ("trained", bundle.fingerprint[:16])
    assert (facts.precision, facts.device, facts.parameters) == ("float32", "cpu", None)
    assert facts.notes == (f"model {bundle.name}",)
    assert facts.library == f"onnxruntime {module.onnxruntime.__version__}"


@pytest.fixture
def retold(tmp_path: Path) -> Callable[[Callable[[dict[str, Any]], object]], str]:
    """A copy of the embedded bundle that says something else of itself."""

    def write(change: Callable[[dict[str, Any]], object]) -> str:
        path = tmp_path / "retold"
        shutil.copytree(Bundle.embedded().path, path)
        manifest = json.loads((path / "model.json").read_text())
        change(manifest)
        (path / "model.json").write_text(json.dumps(manifest))
        return str(path)

    return write


def test_weights_are_random_where_the_exporter_noted_it(
    contender: Callable[..., ApcodecContender], retold: Callable[[Callable[[dict[str, Any]], object]], str]
) -> None:
    facts = contender(model=retold(lambda manifest: manifest["notes"].append("weights are random"))).facts
    assert (facts.weights, facts.notes) == ("random", ())


def test_the_description_counts_what_was_trained(contender: Callable[..., ApcodecContender]) -> None:
    subject = contender()
    assert isinstance(subject, HasDescription)
    described = subject.describe()
    assert described.parameters == pytest.approx(5.06e6, rel=1e-3)  # one by one: see the test of the reference
    assert module.parameters_of(PUBLISHED_48K) == pytest.approx(17.1e6, rel=5e-3)
    assert described.notes[0] == subject.facts.notes[0] and "GFLOP for 1200 frames" in described.notes[1]


def test_an_exporter_that_noted_no_network_leaves_it_open(
    contender: Callable[..., ApcodecContender], retold: Callable[[Callable[[dict[str, Any]], object]], str]
) -> None:
    subject = contender(model=retold(lambda manifest: manifest.pop("network")))
    assert subject.describe() == subject.facts


def test_the_work_of_a_clip_is_told_by_graph(contender: Callable[..., ApcodecContender]) -> None:
    subject = contender()
    assert isinstance(subject, HasWork)
    work = subject.work(48_000)
    assert list(work) == ["stft", "encoder", "quantizer", "dequantizer", "decoder", "istft"]
    # 5 M parameters, each of which meets every one of 1200 frames or 150 latents in a product.
    parameters = subject.describe().parameters
    assert parameters is not None
    assert 2 * 150 * parameters < sum(flops for flops, _ in work.values()) < 3 * 1208 * parameters
    assert sum(moved for _, moved in work.values()) > 4 * parameters


def test_what_cannot_be_had_is_told(tmp_path: Path, contender: Callable[..., ApcodecContender]) -> None:
    with pytest.raises(ContenderError, match=r"missing is not a bundle .*apcodec export"):
        contender(model=str(tmp_path / "missing"))
    with pytest.raises(ContenderError, match="float16 runs on a GPU only"):
        contender(precision="float16")
    with pytest.raises(ContenderError, match="a window of 'short'"):
        contender("short")


def test_its_start_imports_nothing_that_its_users_do_not_need() -> None:
    """Start-up is timed, and PyTorch alone takes longer than all the rest."""
    script = """
import sys
import numpy
from apcodec_benchmarks.contenders.base import Settings
from apcodec_benchmarks.contenders.catalogue import entries_named

(entry,) = entries_named(["apcodec"])
contender = entry.make(Settings(threads=1))
contender.decode(contender.encode(contender.upload(numpy.zeros((1, 48000), numpy.float32))))
print(*sorted({"torch", "onnx", "transformers", "matplotlib", "scipy", "apcodec_export"} & set(sys.modules)))
"""
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == ""
