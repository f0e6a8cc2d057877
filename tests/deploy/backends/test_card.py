"""What depends on the card: more memory, larger batches, and nothing else decides."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apcodec_benchmarks.arithmetic.graphs import VIEWS
from apcodec_deploy.backends.card import CardUse, window_bytes
from apcodec_deploy.bundle import Bundle
from apcodec_deploy.errors import BackendError

GIB = 1 << 30


@given(free=st.integers(0, 200 * GIB))
def test_what_is_taken_fits_what_is_free(free: int) -> None:
    bundle = Bundle.embedded()
    use = CardUse.of(bundle, free)
    assert use.batch & (use.batch - 1) == 0
    assert use.limits.keys() == bundle.spec.graphs.keys()
    if use.batch > 1:
        assert sum(use.limits.values()) <= 0.6 * free  # all sessions together
        assert all(use.batch * held <= use.limits[name] for name, held in window_bytes(bundle).items())


@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_what_a_window_takes_is_what_the_tensors_of_its_graphs_take(precision: str) -> None:
    bundle = Bundle.embedded()
    held, clip = window_bytes(bundle), 40
    ratio = bundle.spec.layout().length / clip
    counted = {name: ratio * peak_bytes(bundle, name, precision, latents=clip) for name in held}
    assert not {name: (counted[name], held[name]) for name in held if 1.4 * counted[name] > held[name]}
    assert sum(held.values()) <= 2.5 * sum(counted.values())


def peak_bytes(bundle: Bundle, name: str, precision: str, *, latents: int) -> int:
    """The most that tensors between inputs and outputs of a graph take at a time, run in its order, for one clip."""
    samples = bundle.spec.samples_range(latents)[1]
    axes = {"batch": 1, "samples": samples, "frames": latents * bundle.spec.ratio, "latents": latents}
    model = onnx.load_model_from_string(bundle.graph(name, precision))
    graph = model.graph
    ends = {value.name for value in graph.output}
    graph.output.extend(
        onnx.ValueInfoProto(name=each) for node in graph.node for each in node.output if each not in ends
    )
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    given = {
        value.name: np.zeros(
            [axes.get(dim, dim) for dim in value.shape], np.int32 if "int" in value.type else np.float32
        )
        for value in session.get_inputs()
    }
    arrays = zip((value.name for value in session.get_outputs()), session.run(None, given), strict=True)
    sizes = {each: array.nbytes for each, array in arrays if each not in ends}
    last = {each: index for index, node in enumerate(graph.node) for each in node.input}
    most, alive = 0, set[str]()
    for index, node in enumerate(graph.node):
        if node.op_type not in VIEWS:
            alive |= {each for each in node.output if each in sizes}
        most = max(most, sum(sizes[each] for each in alive))
        alive = {each for each in alive if last.get(each, -1) > index}
    return most


def test_a_large_card_takes_large_batches_and_a_small_one_small_ones() -> None:
    bundle = Bundle.embedded()
    sizes = [CardUse.of(bundle, each * GIB).batch for each in (0, 2, 8, 80, 141)]
    assert sizes == sorted(sizes)
    assert sizes[0] == 1
    assert sizes[-1] > 64


def test_the_profile_has_single_windows_and_many() -> None:
    bundle = Bundle.embedded()
    window = bundle.spec.layout().length
    profile = CardUse(batch=32, limits={}).profile(bundle)
    assert [profile.best(rows, window) for rows in (1, 2, 32, 33)] == [0, 1, 1, 1]
    assert profile.takes(1) and profile.takes(window) and not profile.takes(window + 1)
    assert len(CardUse(batch=1, limits={}).profile(bundle).shapes) == 1
    assert CardUse(batch=1, limits={}).halved.batch == 1


def test_pushes_of_streams_are_filled_up_to_a_few_shapes(streamable_bundle: Path) -> None:
    bundle = Bundle.open(streamable_bundle)
    profile = CardUse(batch=32, limits={}).profile(bundle)
    assert [profile.shapes[profile.best(streams, 8)].batch.least for streams in (1, 2, 5, 16, 40)] == [1, 4, 16, 16, 16]
    assert profile.shapes[profile.best(20, 64)].batch == (1, 32, 32)
    assert all(profile.takes(latents) for latents in range(1, 65))
    assert len(CardUse(batch=1, limits={}).profile(bundle).shapes) == 2


def test_tf32_is_off_until_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = Bundle.embedded()
    assert CardUse.of(bundle, GIB).session_options("stft", 0, 1)["use_tf32"] == "0"
    monkeypatch.setenv("APCODEC_TF32", "1")
    use = CardUse.of(bundle, GIB)
    assert use.session_options("stft", 0, 1)["use_tf32"] == "1"
    assert "TF32 on" in str(use)
    monkeypatch.setenv("APCODEC_TF32", "yes")
    with pytest.raises(BackendError, match="APCODEC_TF32 is 'yes'; 0 or 1 is expected"):
        CardUse.of(bundle, GIB)
