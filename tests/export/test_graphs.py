"""The exported graphs: what is in the files, and that they compute what the published code computed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray

from apcodec_deploy.errors import ExportError
from apcodec_export import graphs as exporter
from apcodec_export.checkpoint import Checkpoint

Array = NDArray[Any]
Clips = Mapping[str, Mapping[str, Array]]
Run = Callable[..., list[Array]]

FLOAT, INT32 = onnx.TensorProto.FLOAT, onnx.TensorProto.INT32
PAIR = ("logamp", "phase")
NAMES = ("stft", "encoder", "quantizer", "dequantizer", "decoder", "istft")


@pytest.fixture(scope="module")
def run(bundle: Path) -> Run:
    """Run one graph of the bundle on arrays, in the order of its inputs."""
    sessions = {
        name: onnxruntime.InferenceSession(str(bundle / f"{name}.onnx"), providers=["CPUExecutionProvider"])
        for name in NAMES
    }

    def call(name: str, *arrays: Array) -> list[Array]:
        feed = {value.name: array for value, array in zip(sessions[name].get_inputs(), arrays, strict=True)}
        return list(sessions[name].run(None, feed))

    return call


@pytest.fixture(scope="module")
def models(bundle: Path) -> dict[str, onnx.ModelProto]:
    return {name: onnx.load(bundle / f"{name}.onnx") for name in NAMES}


def with_features(clips: Clips) -> list[Mapping[str, Array]]:
    found = [clip for clip in clips.values() if "logamp" in clip]
    assert len(found) == 2
    return found


def snr(expected: Array, found: Array) -> float:
    """Signal to noise ratio in dB."""
    noise = np.square(expected.astype(np.float64) - found).sum()
    return float(10 * np.log10(np.square(expected.astype(np.float64)).sum() / noise))


def test_the_stft_is_that_of_torch(run: Run, checkpoint: Checkpoint, clips: Clips) -> None:
    spec = checkpoint.network.spec()
    for clip in clips.values():
        logamp, phase = run("stft", clip["audio"][None])
        window = torch.hann_window(spec.win_size, dtype=torch.float64)
        audio = torch.from_numpy(clip["audio"]).double()
        expected = torch.stft(audio, 1024, 40, spec.win_size, window, center=True, return_complex=True).numpy()
        found = (np.exp(logamp[0].astype(np.float64)) - 1e-5) * np.exp(1j * phase[0])
        assert found.shape == expected.shape
        assert np.abs(found - expected).max() < 1e-5 * np.abs(expected).max()


def test_the_stft_leaves_no_phase_to_chance(run: Run, checkpoint: Checkpoint) -> None:
    audio = np.random.default_rng(0).standard_normal((2, 40 * 50 + 1)).astype(np.float32)
    _, phase = run("stft", audio)
    for symmetric in (phase[:, 0], phase[:, -1], phase[:, :, 0], phase[:, :, -1]):
        assert set(np.unique(symmetric)) == {np.float32(0), np.float32(np.pi)}


def test_silence_has_no_phase_and_a_finite_amplitude(run: Run) -> None:
    logamp, phase = run("stft", np.zeros((1, 4000), np.float32))
    np.testing.assert_allclose(logamp, np.log(1e-5), rtol=1e-6)
    assert not phase.any()


def test_the_encoder_gives_the_published_latents(run: Run, clips: Clips) -> None:
    for clip in with_features(clips):
        (latent,) = run("encoder", clip["logamp"][None], clip["phase"][None])
        assert np.abs(latent[0] - clip["latent"]).max() < 1e-3 * np.abs(clip["latent"]).max()


def test_features_give_the_published_codes(run: Run, clips: Clips) -> None:
    agree = []
    for clip in with_features(clips):
        (codes,) = run("quantizer", *run("encoder", clip["logamp"][None], clip["phase"][None]))
        agree.append(codes[0] == clip["codes"])
    assert np.concatenate(agree, axis=1).mean() >= 0.995


def test_latents_give_the_published_codes(run: Run, clips: Clips) -> None:
    for clip in clips.values():
        (codes,) = run("quantizer", clip["latent"][None])
        assert (codes[0] == clip["codes"]).mean() >= 0.995


def test_codes_give_the_published_quantized_latents(run: Run, clips: Clips) -> None:
    for clip in clips.values():
        (latent,) = run("dequantizer", clip["codes"][None].astype(np.int32))
        assert np.abs(latent[0] - clip["quantized"]).max() < 1e-4 * np.abs(clip["quantized"]).max()


def test_the_decoder_gives_the_published_spectrum(run: Run, clips: Clips) -> None:
    for clip in with_features(clips):
        real, imag = run("decoder", clip["quantized"][None])
        expected = clip["decoded_real"] + 1j * clip["decoded_imag"]
        assert np.abs(real[0] + 1j * imag[0] - expected).max() < 1e-3 * np.abs(expected).max()


def test_codes_decode_to_the_published_audio(run: Run, clips: Clips) -> None:
    for clip in clips.values():
        (latent,) = run("dequantizer", clip["codes"][None].astype(np.int32))
        (audio,) = run("istft", *run("decoder", latent))
        assert audio.shape == (1, 320 * clip["codes"].shape[1])
        assert snr(clip["decoded_audio"], audio[0, : len(clip["decoded_audio"])]) >= 60


def test_the_inverse_transform_is_that_of_torch(run: Run, checkpoint: Checkpoint, clips: Clips) -> None:
    spec = checkpoint.network.spec()
    for clip in with_features(clips):
        (audio,) = run("istft", clip["decoded_real"][None], clip["decoded_imag"][None])
        spectrum = torch.complex(torch.from_numpy(clip["decoded_real"]), torch.from_numpy(clip["decoded_imag"]))
        window = torch.hann_window(spec.win_size)
        expected = torch.istft(spectrum, 1024, 40, spec.win_size, window, center=True, length=audio.shape[1]).numpy()
        assert snr(expected, audio[0]) >= 100


@pytest.mark.parametrize("level", [1e4, 1e18])
def test_latents_of_any_size_give_finite_audio(run: Run, checkpoint: Checkpoint, level: float) -> None:
    latent = np.random.default_rng(0).standard_normal((1, checkpoint.network.latent_dim, 9)).astype(np.float32)
    (audio,) = run("istft", *run("decoder", np.float32(level) * latent))
    assert np.isfinite(audio).all()


@pytest.mark.parametrize("latents", [1, 2, 31])
def test_every_graph_takes_any_batch_and_length(run: Run, checkpoint: Checkpoint, latents: int) -> None:
    network, random = checkpoint.network, np.random.default_rng(latents)

    def noise(*shape: int) -> Array:
        return random.standard_normal((3, *shape)).astype(np.float32)

    frames = 8 * latents - 7  # the fewest that give so many latents
    samples = max(40 * (frames - 1) + 13, network.spec().min_samples)
    inputs = {
        "stft": [noise(samples)],
        "encoder": [noise(513, frames), noise(513, frames)],
        "quantizer": [noise(network.latent_dim, latents)],
        "dequantizer": [random.integers(0, 1024, (3, network.num_codebooks, latents), dtype=np.int32)],
        "decoder": [noise(network.latent_dim, latents)],
        "istft": [noise(513, 8 * latents), noise(513, 8 * latents)],
    }
    shapes = {
        "stft": (3, 513, samples // 40 + 1),
        "encoder": (3, network.latent_dim, latents),
        "quantizer": (3, network.num_codebooks, latents),
        "dequantizer": (3, network.latent_dim, latents),
        "decoder": (3, 513, 8 * latents),
        "istft": (3, 320 * latents),
    }
    for name, arrays in inputs.items():
        for output in run(name, *arrays):
            assert output.shape == shapes[name]
            assert np.isfinite(output).all()


@pytest.mark.parametrize("frames", [1, 7, 8, 9, 101])
def test_a_loud_neighbour_in_the_batch_changes_nothing(run: Run, clips: Clips, frames: int) -> None:
    clip = max(with_features(clips), key=lambda found: found["logamp"].shape[1])
    logamp, phase = (
        np.stack([np.roll(clip[name], -30 * row, axis=1)[:, :frames] for row in range(3)]) for name in PAIR
    )
    logamp[1] += 5
    latents = run("encoder", logamp, phase)[0]
    audio = run("istft", *run("decoder", latents))[0]
    for row in range(3):
        latent = run("encoder", logamp[row : row + 1], phase[row : row + 1])[0]
        # Not to the bit: ONNX Runtime sums a product of another width in another order.
        assert np.abs(latent[0] - latents[row]).max() < 1e-5 * np.abs(latent).max()
        alone = run("istft", *run("decoder", latents[row : row + 1]))[0]
        assert np.abs(alone[0] - audio[row]).max() < 1e-4 * np.abs(alone).max()


def test_names_types_and_axes_are_those_that_were_promised(models: Mapping[str, Any], checkpoint: Checkpoint) -> None:
    latent, codes = checkpoint.network.latent_dim, checkpoint.network.num_codebooks
    spectrum, signal = ["batch", 513, "frames"], ["batch", "samples"]
    promised = {
        "stft": ({"audio": (FLOAT, signal)}, {"logamp": (FLOAT, spectrum), "phase": (FLOAT, spectrum)}),
        "encoder": (
            {"logamp": (FLOAT, spectrum), "phase": (FLOAT, spectrum)},
            {"latent": (FLOAT, ["batch", latent, "latents"])},
        ),
        "quantizer": (
            {"latent": (FLOAT, ["batch", latent, "latents"])},
            {"codes": (INT32, ["batch", codes, "latents"])},
        ),
        "dequantizer": (
            {"codes": (INT32, ["batch", codes, "latents"])},
            {"latent": (FLOAT, ["batch", latent, "latents"])},
        ),
        "decoder": (
            {"latent": (FLOAT, ["batch", latent, "latents"])},
            {"real": (FLOAT, spectrum), "imag": (FLOAT, spectrum)},
        ),
        "istft": ({"real": (FLOAT, spectrum), "imag": (FLOAT, spectrum)}, {"audio": (FLOAT, signal)}),
    }
    for name, model in models.items():
        found = tuple({value.name: _type(value) for value in side} for side in (model.graph.input, model.graph.output))
        assert found == promised[name]


def _type(value: onnx.ValueInfoProto) -> tuple[int, list[str | int]]:
    tensor = value.type.tensor_type
    return tensor.elem_type, [dim.dim_param or dim.dim_value for dim in tensor.shape.dim]


def test_every_graph_is_one_file_of_the_promised_versions(models: Mapping[str, onnx.ModelProto]) -> None:
    for model in models.values():
        assert {opset.domain: opset.version for opset in model.opset_import} == {"": 20}
        assert model.ir_version == 10
        assert not model.functions
        assert all(tensor.data_location != onnx.TensorProto.EXTERNAL for tensor in model.graph.initializer)


def test_only_plain_operators_are_used(models: Mapping[str, onnx.ModelProto], checkpoint: Checkpoint) -> None:
    operators = {name: [node.op_type for node in model.graph.node] for name, model in models.items()}
    for used in operators.values():
        assert not {"If", "Loop", "Scan", "STFT", "DFT", "Sin", "Cos", "Atan2", "ConvTranspose"} & set(used)
    assert operators["encoder"].count("Gelu") == 2 * checkpoint.network.num_layers


def test_nothing_of_the_machine_that_exported_is_in_the_files(models: Mapping[str, onnx.ModelProto]) -> None:
    for model in models.values():
        everything = model.SerializeToString()
        for trace in (
            str(Path(__file__).parents[2]),
            str(Path(torch.__file__).parents[1]),
            "site-packages",
            "Traceback",
        ):
            assert trace.encode() not in everything
        written = onnx.ModelProto()
        written.CopyFrom(model)
        for tensor in written.graph.initializer:
            tensor.ClearField("raw_data")  # three bytes of weights can be anything
        assert b".py" not in written.SerializeToString()
        assert not any(node.metadata_props or node.doc_string for node in written.graph.node)


def test_every_graph_names_itself_and_its_model(models: Mapping[str, onnx.ModelProto], checkpoint: Checkpoint) -> None:
    for name, model in models.items():
        assert {prop.key: prop.value for prop in model.metadata_props} == {
            "apcodec.graph": name,
            "apcodec.fingerprint": checkpoint.fingerprint,
        }


@pytest.mark.slow
def test_exporting_again_gives_identical_bytes(checkpoint: Checkpoint, bundle: Path) -> None:
    graph = exporter.graphs(checkpoint)["dequantizer"]
    again = exporter.to_onnx(graph, checkpoint.fingerprint).SerializeToString(deterministic=True)
    assert again == (bundle / "dequantizer.onnx").read_bytes()


def test_exporting_leaves_the_checkpoint_as_it_was(checkpoint: Checkpoint) -> None:
    before = {key: value.clone() for key, value in checkpoint.encoder.state_dict().items()}
    exporter.graphs(checkpoint)
    after = checkpoint.encoder.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(after[key], value) for key, value in before.items())


def test_a_module_that_cannot_be_exported_is_an_export_error(checkpoint: Checkpoint) -> None:
    class Undecided(torch.nn.Module):
        def forward(self, latent: torch.Tensor) -> torch.Tensor:
            return latent.int() if latent.sum() > 0 else latent.int() + 1

    given = exporter.graphs(checkpoint)["quantizer"]
    with pytest.raises(ExportError, match=r"could not export quantizer"):
        exporter.to_onnx(exporter.Graph(given.signature, Undecided(), given.example), checkpoint.fingerprint)


def test_the_features_do_not_depend_on_the_number_of_threads(bundle: Path, clips: Clips) -> None:
    features = []
    for threads in (1, 2, 3):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        session = onnxruntime.InferenceSession(str(bundle / "stft.onnx"), options, providers=["CPUExecutionProvider"])
        longest = max((clip["audio"] for clip in clips.values()), key=len)
        features.append(session.run(None, {"audio": longest[None]}))
    for other in features[1:]:
        assert all(np.array_equal(found, expected) for found, expected in zip(other, features[0], strict=True))
