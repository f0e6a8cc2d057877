"""The deployed form of a causal codec: the published layers to 1e-9, and its graphs against the second definition."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from small_causal import WIDTHS, in_float64
from token_by_token import TokenByToken

from apcodec_deploy.bundle import Bundle
from apcodec_deploy.families import STREAM_GRAPHS
from apcodec_export.checkpoint import Checkpoint, random_checkpoint
from apcodec_export.deployed.precision import HALF, STREAM_INTEGER, PrecisionPlan
from apcodec_export.deployed.streaming import StreamDecoder, StreamEncoder
from apcodec_export.forms import StreamForm, layer_paths
from apcodec_export.graphs import to_onnx
from apcodec_export.network import PUBLISHED_48K, NetworkConfig, streamable

TINY = replace(PUBLISHED_48K, **WIDTHS, amp_up_kernel=5, pha_up_kernel=5)
DOUBLE = PrecisionPlan(name="float64")


@pytest.mark.parametrize("context", [0, 1, 6])
def test_folding_is_exact_however_a_stream_is_cut(context: int) -> None:
    with in_float64(), torch.no_grad():
        form = StreamForm(random_checkpoint(streamable(TINY, context), seed=2))
        model, unit, tokens = form.model(), form.spec.samples_per_latent, 9
        audio = torch.randn(2, unit * tokens, generator=torch.Generator().manual_seed(1))
        codes = model.encode(audio)
        sound = model.decode(codes)
        encoder, decoder = StreamEncoder(form.checkpoint, DOUBLE), StreamDecoder(form.checkpoint, DOUBLE)
        states = [
            tuple(torch.zeros(2, *tensor.shape) for tensor in form.spec.states[name]) for name in ("encode", "decode")
        ]
        start = 0
        for size in (1, 3, 2, 1, 2):
            part = slice(start * unit, (start + size) * unit)
            found, *state = encoder(audio[:, part], states[0])
            states[0] = tuple(state)
            assert torch.equal(found, codes[:, :, start : start + size].to(torch.int32))
            made, *state = decoder(found, states[1])
            states[1] = tuple(state)
            torch.testing.assert_close(made, sound[:, part], rtol=0, atol=1e-9 * float(sound.abs().max()))
            start += size
        assert start == tokens


def check_graphs(graphs: dict[str, bytes], checkpoint: Checkpoint) -> None:
    """Hold graphs against the second definition, token by token."""
    network, spec = checkpoint.network, checkpoint.network.spec()
    weights = [
        {key: value.double().numpy() for key, value in part.state_dict().items()}
        for part in (checkpoint.encoder, checkpoint.decoder)
    ]
    second, tokens, unit = TokenByToken(network, *weights), 12, spec.samples_per_latent
    audio = np.random.default_rng(4).standard_normal((1, tokens * unit)).astype(np.float32) / 5
    sessions = {
        name: onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"]) for name, data in graphs.items()
    }
    states = {name: list(spec.start(name, 1)) for name in sessions}

    def push(name: str, rows: np.ndarray) -> np.ndarray:
        values = zip(spec.graphs[name].inputs, (rows, *states[name]), strict=True)
        result, *states[name] = sessions[name].run(None, {tensor.name: value for tensor, value in values})
        return np.asarray(result)

    same = 0
    for token in range(tokens):
        samples = audio[:, token * unit :][:, :unit]
        expected = second.encode(samples[0].astype(np.float64))
        same += sum(np.array(expected) == push("encode", samples)[0, :, 0])
        sound = push("decode", np.array(expected, np.int32)[None, :, None])[0]
        exact = second.decode(expected)
        np.testing.assert_allclose(sound, exact, rtol=0, atol=2e-5 * max(1.0, np.abs(exact).max()))
    assert same >= network.num_codebooks * tokens - 1, "noise of this length has no near-tie but perhaps one"


@pytest.mark.parametrize(
    "name", ["streamable_bundle", pytest.param("proven_remembering_bundle", marks=pytest.mark.slow)]
)
def test_the_graphs_are_the_second_definition(name: str, request: pytest.FixtureRequest) -> None:
    bundle = Bundle.open(request.getfixturevalue(name))
    checkpoint = random_checkpoint(NetworkConfig(**bundle.manifest["network"]))
    assert checkpoint.fingerprint == bundle.fingerprint
    check_graphs({graph: bundle.graph(graph) for graph in STREAM_GRAPHS}, checkpoint)


@pytest.mark.slow
@pytest.mark.parametrize(("context", "ratio"), [(6, 1), (0, 5)])
def test_graphs_of_odd_widths_and_ratios_are_the_second_definition(context: int, ratio: int) -> None:
    checkpoint = random_checkpoint(streamable(replace(TINY, ratio=ratio), context), seed=2)
    made = StreamForm(checkpoint).graphs()
    check_graphs({name: to_onnx(graph, "").SerializeToString() for name, graph in made.items()}, checkpoint)


def test_a_plan_names_layers_that_there_are() -> None:
    for context in (0, 6):
        checkpoint = random_checkpoint(streamable(TINY, context))
        paths = layer_paths(checkpoint, HALF)
        assert len(paths) == len(set(paths))
        kept = [pattern for pattern in STREAM_INTEGER.float32 if context or pattern not in _WITH_HISTORY]
        replace(STREAM_INTEGER, float32=tuple(kept)).check(paths)
        assert any(STREAM_INTEGER.quantizes(path) for path in paths if path.startswith("decode.heads"))


_WITH_HISTORY = ("*.depthwise", "decode.heads.*_out")
"""Patterns of layers that only a network with history has."""


def test_a_half_precision_plan_computes_in_half_precision(proven_remembering_bundle: Path) -> None:
    layers = Bundle.open(proven_remembering_bundle).variant("float16")["plan"]["layers"]
    assert set(layers.values()) == {"float16"} and "decode.heads.direction" in layers
