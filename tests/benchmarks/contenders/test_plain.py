"""The plain export of the published network: that it is the network, unfolded, and what it cannot do."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray

from apcodec_benchmarks.arithmetic.published import published_products
from apcodec_benchmarks.contenders.base import HasCodes, HasStages, HasWork, Settings
from apcodec_benchmarks.contenders.catalogue import entries_named
from apcodec_benchmarks.contenders.plain import PlainContender
from apcodec_benchmarks.contenders.reference import PyTorchReference
from apcodec_benchmarks.models import plain_export
from apcodec_benchmarks.unfolded import as_published
from apcodec_deploy.audio.reference import reference_signals
from apcodec_deploy.errors import ContenderError
from apcodec_export.checkpoint import Checkpoint, CheckpointFiles
from apcodec_export.model.layers import GlobalResponseNorm, WeightNormConv1d

GOLDEN = Path(__file__).parents[2] / "golden"
FAMILIES = {"grn": "apcodec_48k_grn_tiny", "layerscale": "apcodec_16k_layerscale_tiny"}
GRAPHS = ["stft", "encoder", "quantizer", "dequantizer", "decoder", "istft"]


@dataclass(frozen=True, slots=True)
class Pair:
    """A checkpoint in PyTorch and its plain export, on whole clips."""

    checkpoint: Checkpoint
    reference: PyTorchReference
    plain: PlainContender

    def graph(self, name: str) -> onnx.ModelProto:
        """One of the exported graphs."""
        return onnx.load_from_string(self.plain.codec.bundle.graph(name))


@pytest.fixture(scope="module", params=[pytest.param(name, marks=pytest.mark.slow) for name in FAMILIES])
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    """Of each golden checkpoint in turn."""
    directory = GOLDEN / FAMILIES[request.param]
    threads = torch.get_num_threads()
    settings = Settings(threads=1, checkpoint=str(directory))
    with plain_export(entries_named(["apcodec-plain"]), settings) as (entry,):
        whole = replace(settings, options={**entry.options, "window": "whole"})
        checkpoint = Checkpoint.load(CheckpointFiles.find(directory))
        yield Pair(checkpoint, PyTorchReference(settings), PlainContender(whole))
    torch.set_num_threads(threads)


def two_clips(pair: Pair, samples: int) -> NDArray[np.float32]:
    """Speech at the model's rate."""
    return reference_signals(pair.reference.facts.sample_rate, 2 * samples)["speech"].reshape(2, samples)


def test_its_codes_are_those_of_the_published_network(pair: Pair) -> None:
    assert isinstance(pair.plain, HasCodes)
    audio = two_clips(pair, 8_000)
    codes = pair.plain.codes(pair.plain.encode(audio))
    assert codes.shape == (2, pair.reference.spec.num_codebooks, 26) and len(np.unique(codes)) > 25
    np.testing.assert_array_equal(codes, pair.reference.codes(pair.reference.encode(torch.from_numpy(audio))))


def test_equal_codes_give_the_audio_of_the_published_network(pair: Pair) -> None:
    handles = pair.plain.encode(two_clips(pair, 40_123))
    decoded = pair.plain.download(pair.plain.decode(handles), 40_123)
    codes = torch.from_numpy(pair.plain.codes(handles))
    expected = pair.reference.download(pair.reference.decode(codes), 40_123)
    np.testing.assert_allclose(decoded, expected, rtol=0, atol=1e-3 * np.abs(expected).max())


def test_the_authors_layers_are_the_same_maths(pair: Pair) -> None:
    noise = torch.Generator().manual_seed(0)
    network = as_published(pair.checkpoint.encoder)
    kinds = Counter(type(module) for module in network.modules())
    assert not kinds[WeightNormConv1d] and not kinds[GlobalResponseNorm]
    inputs = [torch.randn(2, pair.checkpoint.network.bins, 41, generator=noise, dtype=torch.float64) for _ in range(2)]
    expected = pair.checkpoint.encoder.double()(*inputs)
    torch.testing.assert_close(network.double()(*inputs), expected, rtol=0, atol=1e-5)
    pair.checkpoint.encoder.float()


def test_nothing_is_folded(pair: Pair) -> None:
    network = pair.checkpoint.network
    operators = {name: Counter(node.op_type for node in pair.graph(name).graph.node) for name in GRAPHS}
    norms = 2 * network.num_layers if network.block == "grn" else 0
    assert operators["encoder"]["ReduceL2"] == operators["decoder"]["ReduceL2"] == norms
    modules = list(pair.checkpoint.decoder.modules())
    convolutions = sum(isinstance(module, torch.nn.Conv1d | WeightNormConv1d) for module in modules)
    assert operators["decoder"]["ConvTranspose"] == 2 and operators["decoder"]["Conv"] == convolutions - 2
    # Each codebook is projected into and out of; nobody needs what the last one leaves over.
    stages = network.num_codebooks if network.projections else 0
    assert operators["quantizer"]["Conv"] == max(2 * stages - 1, 0)
    assert operators["dequantizer"]["Conv"] == stages


def test_the_work_is_that_of_the_network_as_published(pair: Pair) -> None:
    assert isinstance(pair.plain, HasWork)
    spec = pair.reference.spec
    samples = 20 * spec.samples_per_latent - 1
    work = pair.plain.work(samples)
    assert list(work) == GRAPHS
    expected = published_products(pair.checkpoint.network, samples // spec.hop_size + 1)
    assert {name: work[name][0] for name in expected} == expected
    assert all(moved > 0 for _, moved in work.values())


def test_its_stages_are_the_six_graphs(pair: Pair) -> None:
    assert isinstance(pair.plain, HasStages)
    assert list(pair.plain.stages(two_clips(pair, 8_000)[:1])) == GRAPHS


def test_facts_are_those_of_the_checkpoint_and_the_title_says_what_it_is(pair: Pair) -> None:
    ours, theirs = pair.plain.describe(), pair.reference.describe()
    for name in ("sample_rate", "channels", "bitrate", "frame", "parameters", "weights", "weights_hash", "precision"):
        assert getattr(ours, name) == getattr(theirs, name), name
    assert ours.title == "APCodec, plain ONNX export, whole clips" and ours.library.startswith("onnxruntime ")
    assert any("GFLOP for" in note for note in ours.notes)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"device": "cuda"}, "on the CPU, not on cuda; leave out --device"),
        ({"precision": "float16"}, "in float32, not float16; leave out --precision"),
        ({"checkpoint": None}, "needs what the bundle was made from: --checkpoint CHECKPOINT_DIR"),
        ({"options": {"problem": "it holds no encoder_* file"}}, r"^it holds no encoder_\* file$"),
        ({"options": {}}, "nobody has exported its graphs"),
        ({"options": {"bundle": "/missing"}}, "missing is not a bundle"),
    ],
)
def test_what_it_cannot_do_is_told(changed: dict[str, object], words: str) -> None:
    settings = Settings(threads=1, checkpoint="random", options={"bundle": "unused"})
    with pytest.raises(ContenderError, match=words):
        PlainContender(replace(settings, **changed))  # type: ignore[arg-type]


def test_its_start_imports_nothing_that_an_export_needs(pair: Pair) -> None:
    """Start-up and memory are those of its graphs."""
    bundle = str(pair.plain.codec.bundle.path)
    script = f"""
import sys
import numpy
from apcodec_benchmarks.contenders.base import Settings
from apcodec_benchmarks.contenders.catalogue import entries_named

(entry,) = entries_named(["apcodec-plain"])
contender = entry.make(Settings(threads=1, checkpoint="it", options={{"bundle": {bundle!r}}}))
contender.decode(contender.encode(contender.upload(numpy.zeros((1, 48000), numpy.float32))))
print(*sorted({{"torch", "onnx", "apcodec_export"}} & set(sys.modules)))
"""
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == ""
