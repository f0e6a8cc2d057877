"""The process that builds: what it is asked, what it says, and what happens when it dies."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from apcodec_deploy.bundle import Bundle
from apcodec_deploy.engines.flavour import FLAVOURS
from apcodec_deploy.engines.manifest import Identity, Target
from apcodec_deploy.engines.profile import Range, Shapes
from apcodec_deploy.errors import BuildError
from apcodec_engines import compiler as process
from apcodec_engines import subprocesses
from apcodec_engines.compiler import Request
from apcodec_engines.networks import Network, networks
from apcodec_engines.profiles import load_profile, resolve
from apcodec_engines.subprocesses import Compiler, input_shapes

TINY = "[[shapes]]\nbatch = [1, 1, 2]\nlatents = [1, 5, 9]\n"


@pytest.fixture
def quantizer(demo: Bundle) -> Network:
    """The smallest network that has something to compute."""
    return next(each for each in networks(demo, "float32", parts=True) if each.name == "quantizer")


@pytest.fixture
def compiler(demo: Bundle, tmp_path: Path) -> Compiler:
    identity = Identity(
        graphs={},
        flavour="rtx",
        version="",
        precision="float32",
        parts=True,
        profile=resolve("tiny", TINY, demo.spec),
        target=Target(gpu=None, compute_capabilities=("8.9",)),
        flags={},
    )
    return Compiler(FLAVOURS["rtx"], identity, demo.spec, tmp_path, None)


def test_an_engine_is_built_and_audited(compiler: Compiler, quantizer: Network) -> None:
    shares: list[float] = []
    result = compiler.run(quantizer, shares.append)
    assert result["audit"]["MATRIX_MULTIPLY"] == {"float32": 4}
    assert result["seconds"] > 0
    assert (compiler.work / "engine").stat().st_size > 100_000
    assert shares[-1] == 1


def test_timings_are_kept_for_the_next_build(compiler: Compiler, quantizer: Network, tmp_path: Path) -> None:
    """Only TensorRT gains by it; TensorRT-RTX takes the same calls, which is what can be seen here."""
    timed = replace(compiler, timings=tmp_path / "timings.cache")
    timed.run(quantizer, lambda share: None)
    assert (tmp_path / "timings.cache").is_file()
    timed.run(quantizer, lambda share: None)
    (tmp_path / "timings.cache").write_bytes(b"of another version")
    timed.run(quantizer, lambda share: None)


def test_a_graph_that_does_not_parse_is_refused_with_tensorrts_reason(compiler: Compiler, quantizer: Network) -> None:
    with pytest.raises(BuildError, match=r"quantizer: TensorRT-RTX .* cannot parse the graph: .*[a-z]"):
        compiler.run(replace(quantizer, model=b"no graph"), lambda share: None)


def test_a_network_other_than_planned_is_refused(compiler: Compiler, quantizer: Network) -> None:
    planned = dict.fromkeys(quantizer.products, "float16")
    with pytest.raises(BuildError, match=r"network is not the planned one: .* is float32, float16 is expected"):
        compiler.run(replace(quantizer, products=planned), lambda share: None)


def test_a_generation_that_cannot_be_compiled_for_is_refused(compiler: Compiler, quantizer: Network) -> None:
    hopper = replace(compiler.identity, target=Target(gpu=None, compute_capabilities=("9.0",)))
    with pytest.raises(BuildError, match=r"does not compile for compute capability 9\.0"):
        replace(compiler, identity=hopper).run(quantizer, lambda share: None)


@pytest.fixture
def child(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Put other code in the place of the builder's process."""

    def run(code: str) -> None:
        original = subprocess.Popen
        program = [sys.executable, "-c", "import sys, os, json; sys.stdin.readline()\n" + code]
        monkeypatch.setattr(subprocesses.subprocess, "Popen", lambda _, **options: original(program, **options))

    return run


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("os.abort()", "quantizer: the builder's process ended with code -6: it said nothing"),
        ("print('Aborted: bad GPU', file=sys.stderr); sys.exit(3)", "ended with code 3: Aborted: bad GPU"),
        (
            "print(json.dumps({'log': {'severity': 'ERROR', 'text': 'no tactic'}}), flush=True); os.abort()",
            "ended with code -6: no tactic",
        ),
        ("print('{\"log\": {\"sev', end='', flush=True); os.abort()", r"ended with code -6: \{"),
        ("print(json.dumps({'error': 'out of memory'})); sys.exit(1)", "quantizer: out of memory"),
        (
            "print('libnvinfer_builder_resource_sm90.so.10.6.0: cannot open', file=sys.stderr); os.abort()",
            r"quantizer: TensorRT-RTX has no libnvinfer_builder_resource_sm90\.so\.10\.6\.0, which builds engines for",
        ),
        (
            "print(json.dumps({'error': 'CUDA initialization failure with error: 35'})); sys.exit(1)",
            "quantizer: TensorRT-RTX needs a GPU, and no NVIDIA driver is installed here",
        ),
    ],
)
def test_a_process_that_dies_is_an_error_with_its_last_words(
    compiler: Compiler, quantizer: Network, child: Callable[[str], None], code: str, words: str
) -> None:
    child(code)
    with pytest.raises(BuildError, match=words):
        compiler.run(quantizer, lambda share: None)


def test_an_engine_is_tuned_on_the_gpu_that_it_is_for(
    compiler: Compiler, quantizer: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered: list[int] = []

    class Device:
        def __init__(self, index: int) -> None:
            self.index = index

        @contextmanager
        def active(self) -> Iterator[None]:
            entered.append(self.index)
            yield

    request = Request(flavour="rtx", model="", output="", shapes=(), products={}, device=3)
    monkeypatch.setattr(process, "open_device", Device)
    monkeypatch.setattr(process, "compile_engine", lambda *_: {"on": list(entered)})
    monkeypatch.setattr(process, "_end_with_parent", lambda: None)
    monkeypatch.setattr(process.os, "dup2", lambda *_: None)
    monkeypatch.setattr(sys, "stdin", io.StringIO(request.to_json()))
    assert process.main() == 0
    assert entered == [3]


def test_an_interrupt_kills_the_process(
    compiler: Compiler, quantizer: Network, child: Callable[[str], None], tmp_path: Path
) -> None:
    child(
        f"open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))\n"
        "print(json.dumps({'progress': {'phase': 'a', 'step': 1, 'steps': 2}}), flush=True)\n"
        "import time; time.sleep(600)"
    )

    def interrupt(share: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compiler.run(quantizer, interrupt)
    pid = (tmp_path / "pid").read_text()
    assert not Path(f"/proc/{pid}").exists()


def test_progress_goes_by_the_outermost_phase(
    compiler: Compiler, quantizer: Network, child: Callable[[str], None]
) -> None:
    events: list[dict[str, Any]] = [
        {"progress": {"phase": "build", "step": 0, "steps": 2}},
        {"progress": {"phase": "inner", "step": 9, "steps": 10}},
        {"progress": {"phase": "build", "step": 1, "steps": 2}},
        {"progress": {"phase": "empty", "step": 0, "steps": 0}},
        {"progress": {"phase": "build", "step": 2, "steps": 2}},
        {"result": {"audit": {}, "seconds": 1.5}},
    ]
    child("".join(f"print({json.dumps(json.dumps(event))})\n" for event in events))
    shares: list[float] = []
    assert compiler.run(quantizer, shares.append) == {"audit": {}, "seconds": 1.5}
    assert shares == [0, 0.5, 1]


def test_shapes_of_inputs_follow_from_batches_and_latents(demo: Bundle) -> None:
    shapes = Shapes(Range(1, 2, 3), Range(1, 5, 9))
    found = {each.name: input_shapes(each, shapes, demo.spec) for each in networks(demo, "float32", parts=True)}
    assert found["stft"] == {"audio": [[1, 161], [2, 1599], [3, 2879]]}
    assert found["encoder"]["phase"] == [[1, 513, 5], [2, 513, 40], [3, 513, 72]]
    assert found["quantizer"] == {"latent": [[1, 32, 1], [2, 32, 5], [3, 32, 9]]}
    assert found["dequantizer"] == {"codes": [[1, 4, 1], [2, 4, 5], [3, 4, 9]]}
    assert found["istft"]["imag"] == [[1, 513, 8], [2, 513, 40], [3, 513, 72]]


def test_shapes_of_streams_are_of_whole_tokens_and_states_of_as_many_rows(remembering_bundle: Path) -> None:
    bundle = Bundle.open(remembering_bundle)
    shapes = Shapes(Range(1, 4, 16), Range(1, 2, 8))
    encode, decode = (input_shapes(each, shapes, bundle.spec) for each in networks(bundle, "float32", parts=False))
    assert encode.pop("audio") == [[1, 320], [4, 640], [16, 2560]]
    assert decode.pop("codes") == [[1, 4, 1], [4, 4, 2], [16, 4, 8]]
    for direction, found in (("encode", encode), ("decode", decode)):
        held = {each.name: [[rows, *each.shape] for rows in (1, 4, 16)] for each in bundle.spec.states[direction]}
        assert found == held and held


def test_graphs_with_state_are_parsed_and_built(compiler: Compiler, proven_remembering_bundle: Path) -> None:
    bundle = Bundle.open(proven_remembering_bundle)
    profile = load_profile("streaming", bundle.spec)
    streaming = replace(compiler, spec=bundle.spec, identity=replace(compiler.identity, profile=profile))
    for network in networks(bundle, "float16", parts=False):
        streaming.run(network, lambda share: None)
        assert (streaming.work / "engine").stat().st_size > 10_000
