"""``apcodec triton``: what it writes, held against Triton's own definition of a configuration."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from google.protobuf import text_format
from numpy.typing import NDArray
from tritonclient.grpc import model_config_pb2
from typer.testing import CliRunner, Result

from apcodec_deploy import Codec
from apcodec_deploy.bundle import MANIFEST, Bundle
from apcodec_deploy.cli.main import app
from apcodec_deploy.errors import ApcodecError, ModelMismatchError, ServingError
from apcodec_serving import repository as repositories
from apcodec_serving.profiles import PROFILES
from apcodec_serving.settings import Settings

RUNTIME = {"apcodec_encode", "apcodec_decode"}
STREAMS = {"apcodec_stream_encode", "apcodec_stream_decode"}
GRAPHS = {f"apcodec_{name}" for name in ("stft", "encoder", "quantizer", "dequantizer", "decoder", "istft")}


def apcodec_triton(*words: object) -> Result:
    return CliRunner().invoke(app, ["triton", *(str(word) for word in words)])


def configs(path: Path) -> dict[str, Any]:
    """The configurations of a repository, read as Triton reads them."""
    found = {}
    for file in path.glob("*/config.pbtxt"):
        config = text_format.Parse(file.read_text(), model_config_pb2.ModelConfig())
        assert config.name == file.parent.name
        assert (file.parent / "1").is_dir()
        found[config.name] = config
    return found


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A model outside of this package."""
    return Path(shutil.copytree(Bundle.embedded().path, tmp_path / "bundle"))


@pytest.fixture
def cpus(monkeypatch: pytest.MonkeyPatch) -> int:
    """A machine of eight CPUs."""
    monkeypatch.setattr(repositories, "available_cpus", lambda: 8)
    return 8


@pytest.mark.parametrize(
    ("profile", "instances", "threads", "rows"),
    [("latency", 1, 8, 8), ("balanced", 2, 4, 16), ("throughput", 8, 1, 64)],
)
def test_profiles_divide_the_cpus(
    profile: str, instances: int, threads: int, rows: int, cpus: int, tmp_path: Path
) -> None:
    answer = apcodec_triton(tmp_path / "models", "--profile", profile, "--device", "cpu")
    assert answer.exit_code == 0, answer.output
    assert "apcodec_decode, apcodec_encode; profile " + profile in answer.stdout
    found = configs(tmp_path / "models")
    assert found.keys() == RUNTIME
    for config in found.values():
        assert config.backend == "python"
        (group,) = config.instance_group
        assert (group.kind, group.count) == (model_config_pb2.ModelInstanceGroup.KIND_CPU, instances)
        assert config.max_batch_size == rows
        assert not config.HasField("dynamic_batching")
        assert config.parameters["threads"].string_value == str(threads)
        assert [each.allow_ragged_batch for each in config.input] == [-1 in each.dims for each in config.input]


@pytest.mark.parametrize(
    ("profile", "device", "gpus", "instances", "delay"),
    [("latency", "cuda", [0], 1, 0), ("balanced", "cuda:1", [1], 1, 1000), ("throughput", "cuda:2", [2], 2, 10_000)],
)
def test_a_gpu_has_the_instances_and_batches_of_the_profile(
    profile: str, device: str, gpus: list[int], instances: int, delay: int, tmp_path: Path
) -> None:
    assert apcodec_triton(tmp_path / "models", "--profile", profile, "--device", device).exit_code == 0
    for config in configs(tmp_path / "models").values():
        (group,) = config.instance_group
        assert (group.kind, group.count) == (model_config_pb2.ModelInstanceGroup.KIND_GPU, instances)
        assert list(group.gpus) == gpus
        assert config.HasField("dynamic_batching") == (delay > 0)
        assert config.dynamic_batching.max_queue_delay_microseconds == delay


@pytest.mark.parametrize(
    ("profile", "device", "instances", "rows", "delay"),
    [("balanced", "cpu", 2, 16, 0), ("throughput", "cuda", 2, 64, 10_000), ("latency", "cuda", 1, 8, 0)],
)
def test_a_streamable_model_has_models_for_streams_too(
    profile: str,
    device: str,
    instances: int,
    rows: int,
    delay: int,
    cpus: int,
    streamable_bundle: Path,
    tmp_path: Path,
) -> None:
    """Pushes of any streams that wait make up a batch, on a CPU, too; a stream stays with its instance."""
    answer = apcodec_triton(streamable_bundle, tmp_path / "models", "--profile", profile, "--device", device)
    assert answer.exit_code == 0, answer.output
    found = configs(tmp_path / "models")
    assert found.keys() == RUNTIME | STREAMS
    for name in STREAMS:
        config = found[name]
        assert config.WhichOneof("scheduling_choice") == "sequence_batching"
        batching = config.sequence_batching
        assert batching.max_sequence_idle_microseconds == 60_000_000
        assert batching.WhichOneof("strategy_choice") == "oldest"
        assert batching.oldest.max_candidate_sequences == 1024
        assert batching.oldest.max_queue_delay_microseconds == delay
        assert (config.instance_group[0].count, config.max_batch_size) == (instances, rows)
        clip = found[name.replace("_stream", "")]
        assert (list(config.input), list(config.output)) == (list(clip.input), list(clip.output))
        service = (tmp_path / "models" / name / "1" / "model.py").read_text()
        assert "apcodec_serving.python_backend import Stream" in service
    assert not any(found[name].HasField("sequence_batching") for name in RUNTIME)
    assert apcodec_triton(tmp_path / "models", "--overwrite").exit_code == 0
    assert configs(tmp_path / "models").keys() == RUNTIME


def test_all_gpus_serve_where_nothing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repositories, "driver_library", lambda: None)
    assert apcodec_triton(tmp_path / "models").exit_code == 0
    (group,) = configs(tmp_path / "models")["apcodec_encode"].instance_group
    assert (group.kind, list(group.gpus)) == (model_config_pb2.ModelInstanceGroup.KIND_GPU, [])


def test_a_repository_loads_the_codec_that_was_asked_for(bundle: Path, tmp_path: Path) -> None:
    words = ("--backend", "onnxruntime", "--window", "0.5", "--threads", "3", "--max-seconds", "20.5")
    answer = apcodec_triton(bundle, tmp_path / "models", *words, "--json")
    assert json.loads(answer.stdout) == {
        "path": str(tmp_path / "models"),
        "models": ["apcodec_decode", "apcodec_encode"],
        "profile": "balanced",
    }
    for config in configs(tmp_path / "models").values():
        settings = Settings.read({name: value.string_value for name, value in config.parameters.items()})
        assert (settings.limits.window, settings.limits.seconds, settings.threads) == ("0.5", 20.5, "3")
        with settings.load() as codec:
            assert codec.fingerprint == Bundle.open(bundle).fingerprint
            assert codec.backend.name == "onnxruntime"


def test_another_model_at_the_bundles_place_is_refused(bundle: Path, tmp_path: Path) -> None:
    assert apcodec_triton(bundle, tmp_path / "models").exit_code == 0
    config = configs(tmp_path / "models")["apcodec_encode"]
    settings = Settings.read({name: value.string_value for name, value in config.parameters.items()})
    manifest = json.loads((bundle / MANIFEST).read_text())
    (bundle / MANIFEST).write_text(json.dumps({**manifest, "fingerprint": "0" * 64}))
    with pytest.raises(ModelMismatchError, match="the repository was written for"):
        settings.load()


@pytest.mark.parametrize("parameters", [{"fingerprint": "ab", "threads": "1"}, {"colour": "red"}])
def test_parameters_that_were_edited_wrongly_are_named(parameters: dict[str, str]) -> None:
    with pytest.raises(ServingError, match=r"config.pbtxt lacks the parameters .*max_seconds"):
        Settings.read(parameters)


class Ensembles:
    """A repository of plain graphs, run as its configurations say, with ONNX Runtime for Triton."""

    def __init__(self, path: Path) -> None:
        self.path, self.configs = path, configs(path)

    def __call__(self, name: str, **arrays: NDArray[Any]) -> NDArray[Any]:
        config = self.configs[name]
        held = dict(arrays)
        for step in config.ensemble_scheduling.step:
            inputs = {inner: held[outer] for inner, outer in step.input_map.items()}
            for outer, value in self._run(step.model_name, inputs, list(step.output_map)).items():
                held[step.output_map[outer]] = value
        (output,) = config.output
        return held[output.name]

    def _run(self, name: str, inputs: dict[str, NDArray[Any]], wanted: list[str]) -> dict[str, NDArray[Any]]:
        config = self.configs[name]
        for tensor in config.input:
            dims = (-1, *tensor.dims)
            shape = inputs[tensor.name].shape
            assert len(shape) == len(dims) and all(dim in (-1, size) for dim, size in zip(dims, shape, strict=True))
        session = onnxruntime.InferenceSession(self.path / name / "1" / "model.onnx")
        assert {each.name for each in config.output} == {each.name for each in session.get_outputs()}
        return dict(zip(wanted, session.run(wanted, inputs), strict=True))


def test_plain_ensembles_code_as_the_graphs_do(codec: Codec, speech: NDArray[np.float32], tmp_path: Path) -> None:
    assert apcodec_triton(tmp_path / "models", "--plain").exit_code == 0
    ensembles = Ensembles(tmp_path / "models")
    assert ensembles.configs.keys() == RUNTIME | GRAPHS
    rows = np.stack([speech[:9000], speech[9000:18000]])
    codes = ensembles("apcodec_encode", AUDIO=rows)
    coded = [codec.encode(row, window="whole") for row in rows]
    np.testing.assert_array_equal(codes, np.stack([each.codes[0] for each in coded]))
    audio = ensembles("apcodec_decode", CODES=codes)
    np.testing.assert_allclose(audio[:, :9000], np.stack([codec.decode(each) for each in coded]), atol=1e-5)


def test_plain_graphs_come_in_the_precision_that_was_asked_for(tmp_path: Path) -> None:
    assert apcodec_triton(tmp_path / "models", "--plain", "--precision", "int8").exit_code == 0
    bundle = Bundle.embedded()
    for name in ("encoder", "stft"):
        assert (tmp_path / "models" / f"apcodec_{name}" / "1" / "model.onnx").read_bytes() == bundle.graph(name, "int8")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--profile", "fast"), "there is no profile 'fast'; name one of latency, balanced, throughput"),
        (("--window", "-1"), "a window of '-1'"),
        (("--max-seconds", "0"), "a number of seconds above 0 is expected"),
        (("--max-seconds", "nan"), "a number of seconds above 0 is expected"),
        (("--plain", "--window", "1"), "--plain has ONNX graphs only"),
        (("--plain", "--backend", "openvino"), "--plain has ONNX graphs only"),
        (("--backend", "tensorflow"), "no backend is called"),
    ],
)
def test_what_cannot_be_served_is_told(words: tuple[str, ...], message: str, tmp_path: Path) -> None:
    answer = apcodec_triton(tmp_path / "models", *words)
    assert isinstance(answer.exception, ApcodecError)
    assert message in str(answer.exception)
    assert list(tmp_path.iterdir()) == []


def test_a_repository_is_replaced_when_asked_and_nothing_else_ever(tmp_path: Path) -> None:
    models = tmp_path / "models"
    assert apcodec_triton(models, "--plain").exit_code == 0
    assert "--overwrite replaces a repository" in str(apcodec_triton(models).exception)
    assert apcodec_triton(models, "--overwrite").exit_code == 0
    assert {path.name for path in models.iterdir()} == RUNTIME
    (models / "my-own-model").mkdir()
    assert "holds more than 'apcodec triton' writes (my-own-model)" in str(
        apcodec_triton(models, "--overwrite").exception
    )
    (tmp_path / "file").touch()
    assert "is no repository" in str(apcodec_triton(tmp_path / "file", "--overwrite").exception)
    assert {path.name for path in tmp_path.iterdir()} == {"models", "file"}


def test_more_than_two_paths_are_refused(tmp_path: Path) -> None:
    assert "a bundle and a repository" in str(apcodec_triton("a", "b", "c").exception)


def test_every_profile_is_offered_in_the_help() -> None:
    text = apcodec_triton("--help").stdout
    assert all(name in text for name in PROFILES)
