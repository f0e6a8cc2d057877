"""OpenVINO against ONNX Runtime on the same graphs: float32 to rounding, reduced precisions to what they cost."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from apcodec_deploy import ov
from apcodec_deploy.audio.reference import reference_signals
from apcodec_deploy.backends import openvino
from apcodec_deploy.backends.base import BackendOptions
from apcodec_deploy.backends.choice import create
from apcodec_deploy.backends.onnxruntime import OnnxRuntimeBackend
from apcodec_deploy.backends.openvino import OpenVinoBackend, candidates, capabilities, open_openvino
from apcodec_deploy.bundle import Bundle
from apcodec_deploy.codec import load
from apcodec_deploy.errors import BackendError, BundleError
from apcodec_deploy.families import DECODE, ENCODE

WINDOW = 418
"""Latents of the demo model's windows."""


@pytest.fixture(scope="module")
def demo() -> Bundle:
    return Bundle.embedded()


@pytest.fixture(scope="module")
def plain(demo: Bundle) -> OpenVinoBackend:
    """In float32."""
    return open_openvino(demo, precision="float32")


@pytest.fixture(scope="module")
def reference(demo: Bundle) -> OnnxRuntimeBackend:
    return OnnxRuntimeBackend(demo)


@pytest.fixture(scope="module")
def speech(demo: Bundle) -> NDArray[np.float32]:
    """A second and a quarter."""
    return reference_signals(demo.spec.sample_rate, 60_000)["speech"][None]


def able() -> set[str]:
    return capabilities(ov.open_core())


@pytest.mark.processor
@pytest.mark.parametrize("samples", [400, 48_000, WINDOW * 320 - 1, pytest.param(WINDOW * 320, marks=pytest.mark.slow)])
def test_float32_is_that_of_onnx_runtime(
    plain: OpenVinoBackend, reference: OnnxRuntimeBackend, speech: NDArray[np.float32], samples: int
) -> None:
    audio = np.resize(speech, (1, samples))
    expected, codes = reference.encode(audio), plain.encode(audio)
    assert codes.dtype == np.int32 and codes.shape == expected.shape
    assert (codes == expected).mean() >= 0.995
    decoded = plain.decode(expected)
    assert decoded.dtype == np.float32
    np.testing.assert_allclose(decoded, reference.decode(expected), rtol=0, atol=1e-4 * np.abs(decoded).max())


@pytest.mark.processor
@pytest.mark.parametrize(("precision", "agreement", "decibels"), [("bfloat16", 0.9, 35.0), ("int8", 0.75, 25.0)])
def test_a_reduced_precision_costs_little(
    demo: Bundle,
    reference: OnnxRuntimeBackend,
    speech: NDArray[np.float32],
    precision: str,
    agreement: float,
    decibels: float,
) -> None:
    if precision == "bfloat16" and "BF16" not in able():
        pytest.skip("this processor has no bfloat16 instructions")
    backend = open_openvino(demo, precision=precision)
    assert backend.precision == precision
    codes = reference.encode(speech)
    found = backend.encode(speech)
    assert agreement <= (found == codes).mean() < 1  # all equal would be float32
    expected, decoded = reference.decode(codes), backend.decode(codes)
    noise = np.square(decoded - expected).mean() / np.square(expected).mean()
    assert decibels <= -10 * np.log10(noise) < 90


@pytest.mark.processor
@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_neither_rows_nor_callers_see_each_other(demo: Bundle, speech: NDArray[np.float32], precision: str) -> None:
    backend = open_openvino(demo, precision=precision)
    rows = [speech[:, :30_000], 8 * speech[:, 30_000:], speech, 0.1 * speech]
    alone = [backend.encode(row) for row in rows]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(backend.encode, rows * 2))
    for index, codes in enumerate(together):
        np.testing.assert_array_equal(codes, alone[index % 4])
    np.testing.assert_array_equal(backend.encode(np.concatenate(rows[:2])), np.concatenate(alone[:2]))


@pytest.mark.processor
def test_codes_depend_on_neither_what_went_before_nor_threads(demo: Bundle, speech: NDArray[np.float32]) -> None:
    fresh = open_openvino(demo, precision="int8", threads=1).encode(speech)
    used = open_openvino(demo, precision="int8", threads=2)
    for samples in (400, 25_000, 90_000):
        used.encode(np.resize(speech, (1, samples)))
    np.testing.assert_array_equal(used.encode(speech), fresh)


@pytest.mark.processor
def test_a_precision_that_changes_many_codes_is_not_taken_unasked(
    demo: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openvino, "AUTO_AGREEMENT", 0.999)
    backend = open_openvino(demo)
    assert backend.precision == "float32"
    assert "int8 is not taken unasked" in backend.reason and "100% are asked for" in backend.reason
    assert open_openvino(demo, precision="int8").precision == "int8"


def test_steps_are_the_six_graphs(plain: OpenVinoBackend, speech: NDArray[np.float32]) -> None:
    seen: list[str] = []
    values: Any = (speech,)
    for direction in (ENCODE, DECODE):
        steps = list(plain.steps(direction, values))
        seen += [name for name, _ in steps]
        values = steps[-1][1]
    assert tuple(seen) == ENCODE + DECODE
    np.testing.assert_array_equal(values[0], plain.decode(plain.encode(speech)))


def test_it_loads_again_after_it_was_closed(demo: Bundle, speech: NDArray[np.float32]) -> None:
    backend = open_openvino(demo, precision="float32")
    backend.prepare(encode=True, decode=False)
    before = backend.encode(speech[:, :9000])
    backend.close()
    np.testing.assert_array_equal(backend.encode(speech[:, :9000]), before)


class Core:
    """What OpenVINO says of a processor."""

    def __init__(self, held: list[str]) -> None:
        self.held = held

    def get_property(self, device: str, name: str) -> list[str]:
        assert (device, name) == ("CPU", "OPTIMIZATION_CAPABILITIES")
        return self.held


def test_the_fastest_that_is_there_and_advised_comes_first(demo: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    held: list[str] = []
    for able_to, expected in (
        ("FP32", ("float32",)),
        ("BF16", ("bfloat16", "float32")),
        ("INT8", ("int8", "bfloat16", "float32")),
    ):
        held.append(able_to)
        assert candidates(demo, Core(held)) == expected
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")  # OpenVINO goes on to say what the processor could do
    assert candidates(demo, Core(held)) == ("int8", "float32")
    variants = dict(demo.manifest["variants"])
    variants["int8"] = {**variants["int8"], "judgement": {"advised": False}}
    unadvised = Bundle(
        path=demo.path, name="", fingerprint=demo.fingerprint, spec=demo.spec,
        manifest={**demo.manifest, "variants": variants},
    )  # fmt: skip
    assert candidates(unadvised, Core(held)) == ("float32",)


def test_bfloat16_is_refused_where_the_processor_has_none(demo: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    with pytest.raises(BackendError, match="this processor has no bfloat16"):
        open_openvino(demo, precision="bfloat16")


@pytest.mark.parametrize(
    ("precision", "held", "hint"),
    [
        ("float32", ["BF16", "INT8"], "f32"),
        ("bfloat16", ["BF16"], "bf16"),
        ("int8", ["INT8"], "f32"),
        ("int8", ["BF16", "INT8"], "bf16"),
    ],
)
def test_what_8_bit_graphs_leave_is_bfloat16_where_the_processor_has_it(
    demo: Bundle, precision: str, held: list[str], hint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, str] = {}
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    monkeypatch.setattr(openvino, "channels_first", lambda *_: 0)

    class Compiler(Core):
        def read_model(self, data: bytes) -> Any:
            class Model:
                def reshape(self, shapes: dict[str, list[int]]) -> None:
                    self.inputs = sorted(shapes)

            return Model()

        def compile_model(self, model: Any, device: str, options: dict[str, str]) -> None:
            asked[" ".join(model.inputs)] = options["INFERENCE_PRECISION_HINT"]

    OpenVinoBackend(demo, Compiler(held), precision=precision).prepare(encode=True, decode=False)
    assert asked == {"audio": "f32", "logamp phase": hint, "latent": "f32"}


def test_a_bundle_without_8_bit_graphs_is_refused(demo: Bundle) -> None:
    bare = Bundle(
        path=demo.path, name="", fingerprint=demo.fingerprint, spec=demo.spec,
        manifest={**demo.manifest, "variants": {}},
    )  # fmt: skip
    for name in ("openvino", "onnxruntime"):
        with pytest.raises(BundleError, match="no int8 graphs"):
            create(bare, BackendOptions(name=name, precision="int8", device="cpu"))


def test_onnx_runtime_has_no_bfloat16(demo: Bundle) -> None:
    with pytest.raises(BackendError, match="ONNX Runtime has no bfloat16 on the CPU; take --backend openvino"):
        create(demo, BackendOptions(name="onnxruntime", precision="bfloat16"))


@pytest.mark.processor
def test_onnx_runtime_runs_8_bit_graphs(speech: NDArray[np.float32]) -> None:
    with load(backend="onnxruntime", precision="int8") as reduced, load(backend="onnxruntime") as full:
        assert reduced.backend.precision == "int8"
        share = (reduced.encode(speech[0]).codes == full.encode(speech[0]).codes).mean()
        assert 0.75 <= share < 1


def test_it_says_how_to_install_it(demo: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(BackendError, match=r"pip install 'apcodec-deploy\[openvino\]'"):
        open_openvino(demo)


def test_a_graph_that_cannot_run_is_an_error_of_ours(demo: Bundle) -> None:
    with pytest.raises(BackendError, match=r"OpenVINO could not run dequantizer on \[1, 3, 7\]"):
        OpenVinoBackend(demo, ov.open_core()).decode(np.zeros((1, 3, 7), np.int32))


def test_its_import_leaves_nothing_in_the_users_home(tmp_path: Path) -> None:
    code = (
        "from apcodec_deploy.ov import open_core\n"
        "import sys\n"
        "open_core()\n"
        "assert not [name for name in sys.modules if name.startswith('openvino_telemetry')]\n"
    )
    surroundings = {"HOME": str(tmp_path), "PATH": "", "PYTHONPATH": os.environ.get("PYTHONPATH", "")}
    subprocess.run([sys.executable, "-c", code], env=surroundings, check=True, timeout=120)
    assert not list(tmp_path.iterdir())
