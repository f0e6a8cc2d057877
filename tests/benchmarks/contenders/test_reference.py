"""APCodec in PyTorch: that it codes as the exported graphs do, stage by stage, and says which checkpoint it lacks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from apcodec_benchmarks.contenders import reference
from apcodec_benchmarks.contenders.apcodec import ApcodecContender
from apcodec_benchmarks.contenders.base import HasCodes, HasStages, Settings
from apcodec_benchmarks.contenders.reference import PyTorchReference
from apcodec_benchmarks.models import model_of
from apcodec_deploy.audio.reference import reference_signals
from apcodec_deploy.errors import ContenderError
from apcodec_export.checkpoint import CheckpointFiles, random_checkpoint

STAGES = ["stft", "encoder", "quantizer", "dequantizer", "decoder", "istft"]


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def subject(family: Path) -> PyTorchReference:
    """Each golden checkpoint in turn, as the published training code saved it."""
    return PyTorchReference(Settings(threads=1, checkpoint=str(family)))


@pytest.fixture
def audio(subject: PyTorchReference) -> NDArray[np.float32]:
    return two_clips(subject)


@dataclass(frozen=True, slots=True)
class Pair:
    """The modules of a checkpoint, and the graphs that were made from it, on whole clips."""

    reference: PyTorchReference
    exported: ApcodecContender


@pytest.fixture(scope="module")
def pair(grn_bundle: Path) -> Iterator[Pair]:
    """Of the published 48 kHz code's golden checkpoint."""
    with model_of(str(grn_bundle), Path(__file__).parents[2] / "golden" / "apcodec_48k_grn_tiny") as model:
        settings = Settings(threads=1, model=model.bundle, checkpoint=model.checkpoint, options={"window": "whole"})
        yield Pair(PyTorchReference(settings), ApcodecContender(settings))


def two_clips(subject: PyTorchReference) -> NDArray[np.float32]:
    """One second of speech each."""
    rate = subject.facts.sample_rate
    return reference_signals(rate, 2 * rate)["speech"].reshape(2, rate)


def codes_of(subject: Any, audio: NDArray[np.float32]) -> NDArray[np.int64]:
    codes: NDArray[np.int64] = subject.codes(subject.encode(subject.upload(audio)))
    return codes


def test_its_codes_are_those_of_the_exported_graphs(pair: Pair) -> None:
    assert isinstance(pair.reference, HasCodes)
    audio = two_clips(pair.reference)
    codes, expected = codes_of(pair.reference, audio), codes_of(pair.exported, audio)
    assert codes.shape == expected.shape == (2, 4, 151) and codes.dtype == np.int64
    assert len(np.unique(expected)) > 50
    assert (codes == expected).mean() >= 0.99


def test_equal_codes_give_the_audio_of_the_exported_graphs(pair: Pair) -> None:
    audio = two_clips(pair.reference)[:, :40_123]
    handles = pair.exported.encode(audio)
    codes = torch.from_numpy(pair.exported.codes(handles))
    decoded = pair.reference.download(pair.reference.decode(codes), 40_123)
    expected = pair.exported.download(pair.exported.decode(handles), 40_123)
    assert decoded.shape == audio.shape
    np.testing.assert_allclose(decoded, expected, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("samples", [1, 160, 161, 319, 320])
def test_a_clip_that_the_transform_cannot_reflect_gets_the_codes_of_the_exported_graphs(
    pair: Pair, samples: int
) -> None:
    clip = two_clips(pair.reference)[:1, 10_000 : 10_000 + samples]
    np.testing.assert_array_equal(codes_of(pair.reference, clip), codes_of(pair.exported, clip))


def test_facts_are_those_of_the_exported_model(pair: Pair) -> None:
    ours, theirs = pair.reference.describe(), pair.exported.describe()
    for name in ("sample_rate", "channels", "bitrate", "frame", "parameters", "weights", "weights_hash", "precision"):
        assert getattr(ours, name) == getattr(theirs, name), name


def test_parameters_are_what_the_checkpoint_holds(subject: PyTorchReference, family: Path) -> None:
    files = CheckpointFiles.find(family)
    saved = {part: torch.load(getattr(files, part), weights_only=True)[part] for part in ("encoder", "decoder")}
    facts = subject.describe()
    assert facts.parameters == sum(tensor.numel() for state in saved.values() for tensor in state.values())
    assert facts.weights == "trained"


def test_stages_are_the_six_graphs_and_make_the_codes_of_encode(
    subject: PyTorchReference, audio: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert isinstance(subject, HasStages)
    expected = codes_of(subject, audio)
    made: list[Any] = []
    for module, name in ((subject.quantizer, "encode"), (subject.istft, "forward")):
        original = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *given, call=original: made.append(call(*given)) or made[-1])
    assert list(subject.stages(audio)) == STAGES
    codes, decoded = made
    np.testing.assert_array_equal(codes, expected)
    whole = subject.decode(codes)
    np.testing.assert_allclose(decoded, whole, atol=1e-6)


def test_stages_are_timed_one_by_one(subject: PyTorchReference, audio: NDArray[np.float32]) -> None:
    """Nothing of a later stage happens before its turn."""
    done = []
    for module, name in ((subject.encoder, "encoder"), (subject.decoder, "decoder"), (subject.istft, "istft")):
        module.register_forward_hook(lambda *_, name=name: done.append(name))
    for stage in subject.stages(audio):
        assert done == [name for name in ("encoder", "decoder", "istft") if STAGES.index(name) <= STAGES.index(stage)]


@pytest.mark.parametrize("samples", [1, 79, 80, 81, 160, 161, 319, 320, 321])
def test_a_short_clip_comes_back(subject: PyTorchReference, samples: int) -> None:
    clip = reference_signals(subject.facts.sample_rate, samples)["speech"][None]
    codes = subject.encode(subject.upload(clip))
    assert codes.shape[2] == samples // 320 + 1
    decoded = subject.download(subject.decode(codes), samples)
    assert decoded.shape == clip.shape and np.isfinite(decoded).all()
    assert list(subject.stages(clip)) == STAGES


@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
def test_half_precision_is_for_the_networks_alone(
    family: Path, subject: PyTorchReference, audio: NDArray[np.float32], precision: str
) -> None:
    half = PyTorchReference(Settings(threads=1, checkpoint=str(family), precision=precision))
    assert half.facts.precision == precision
    seen: dict[str, torch.dtype] = {}
    half.encoder.latent_output_conv.register_forward_hook(lambda _, given, out: seen.update(network=out.dtype))
    codes = codes_of(half, audio)
    assert seen["network"] == half.dtype
    assert (codes == codes_of(subject, audio)).mean() > 0.8
    decoded = half.decode(torch.from_numpy(codes))
    assert decoded.dtype == torch.float32
    expected = subject.decode(torch.from_numpy(codes))
    # By the power of the error: its peak varies by a half between processors that have bfloat16 products and others.
    assert (decoded - expected).norm() <= 0.04 * expected.norm()


def test_random_weights_are_those_of_the_exported_random_model(monkeypatch: pytest.MonkeyPatch) -> None:
    channels = {f"{side}_{branch}_channels": 8 for side in ("encoder", "decoder") for branch in ("amp", "pha")}
    small = replace(reference.PUBLISHED_48K, dim=8, intermediate_dim=16, num_layers=1, **channels)
    monkeypatch.setattr(reference, "PUBLISHED_48K", small)
    subject = PyTorchReference(Settings(threads=1, checkpoint="random"))
    assert subject.facts.weights == "random"
    assert subject.facts.weights_hash == random_checkpoint(small).fingerprint[:16]
    assert codes_of(subject, np.zeros((1, 4000), np.float32)).shape == (1, 4, 13)


def test_without_a_checkpoint_it_says_which_option_brings_one(tmp_path: Path) -> None:
    with pytest.raises(ContenderError, match=r"--checkpoint CHECKPOINT_DIR"):
        PyTorchReference(Settings(threads=1))
    with pytest.raises(ContenderError, match=r"missing is not a directory"):
        PyTorchReference(Settings(threads=1, checkpoint=str(tmp_path / "missing")))
    with pytest.raises(ContenderError, match=r"holds no encoder_\* file"):
        PyTorchReference(Settings(threads=1, checkpoint=str(tmp_path)))


@pytest.mark.slow
def test_the_compiled_networks_code_alike(
    family: Path, subject: PyTorchReference, audio: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Traced as for any compiler, then run as it is: compiling itself takes minutes."""
    compiled: list[object] = []

    def traced(module: torch.nn.Module, compiler: Any = torch.compile) -> Any:
        compiled.append(module)
        return compiler(module, backend="eager", fullgraph=True)

    monkeypatch.setattr(torch, "compile", traced)
    try:
        made = reference.pytorch(Settings(threads=1, checkpoint=str(family), options={"compiled": True}))
        assert compiled == [made.encoder, made.decoder]
        assert "compiled" in made.facts.title and "compiled" not in subject.facts.title
        for samples in (audio.shape[1], audio.shape[1] - 1000):
            clip = audio[:, :samples].copy()
            np.testing.assert_array_equal(codes_of(made, clip), codes_of(subject, clip))
        assert list(made.stages(audio)) == STAGES
    finally:
        torch.compiler.reset()
