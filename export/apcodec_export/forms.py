"""The two forms in which a checkpoint is deployed, and what an export asks of either: graphs, and coders to compare.

A coder codes one piece as a call of a backend does. A form has three: the model in PyTorch, its deployed networks under
a precision plan, and exported graphs as ONNX Runtime runs them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import onnx
import torch
from torch import Tensor, nn

from apcodec_deploy.families import StreamSpec
from apcodec_deploy.ort import onnxruntime, session_options
from apcodec_export.checkpoint import Checkpoint
from apcodec_export.deployed.network import DeployedDecoder, DeployedEncoder
from apcodec_export.deployed.precision import FULL, INTEGER, STREAM_INTEGER, PrecisionPlan
from apcodec_export.deployed.streaming import StreamDecoder, StreamEncoder
from apcodec_export.graphs import TRACED_BATCH, TRACED_LATENTS, Graph, example_noise, graphs, reduced_graphs, to_onnx
from apcodec_export.model.causal import CausalIstft, CausalStft, features
from apcodec_export.model.transforms import Istft, Stft
from apcodec_export.quantization import Feed
from apcodec_export.stream_verification import calls_of_other_sizes, described_stream, verify_stream
from apcodec_export.verification import verify


class Coder(Protocol):
    """Codes and decodes one piece, like a call of a backend."""

    def encode(self, audio: Tensor) -> Tensor:
        """Audio (B, N) to codes (B, Q, L)."""

    def decode(self, codes: Tensor) -> Tensor:
        """Codes (B, Q, L) to audio (B, L x samples_per_latent)."""


class Form(Protocol):
    """How a checkpoint is deployed.

    Attributes:
        checkpoint: The model.
        integer: The plan of its 8-bit graphs.
        late: Samples by which what its coders decode lags behind what they code.
    """

    checkpoint: Checkpoint
    integer: PrecisionPlan
    late: int

    def graphs(self) -> dict[str, Graph]:
        """What the float32 graphs compute, by name."""

    def reduced(self, plan: PrecisionPlan) -> dict[str, Graph]:
        """What those graphs compute under a plan that a precision has of its own."""

    def before_integers(self, models: Mapping[str, bytes]) -> dict[str, onnx.ModelProto]:
        """The float32 graphs whose products become 8-bit ones; ``models`` are the exported float32 graphs."""

    def networks(self, plan: PrecisionPlan) -> dict[str, Any]:
        """The deployed networks under a plan, by the name of their graph; ``paths`` of each names its layers."""

    def model(self) -> Coder:
        """The model in PyTorch."""

    def deployed(self, networks: Mapping[str, Any]) -> Coder:
        """The deployed networks."""

    def exported(self, models: Mapping[str, bytes]) -> Coder:
        """Graphs of a reduced precision, run by ONNX Runtime."""

    def verify(self, models: Mapping[str, bytes]) -> dict[str, Any]:
        """What ``model.json`` says of the float32 graphs beside PyTorch; an ``ExportError`` where they differ."""

    def verify_integers(self, models: Mapping[str, bytes]) -> dict[str, Any]:
        """What ``model.json`` says of the 8-bit graphs besides their judgement."""

    def described(self) -> dict[str, Any]:
        """What ``model.json`` says besides what it says of every model."""

    def feeds(self, audio: Tensor) -> dict[str, Feed]:
        """Inputs of each graph with a network in it, as a clip (1, N) makes them."""


def form_of(checkpoint: Checkpoint) -> Form:
    """The form of a checkpoint's family."""
    return StreamForm(checkpoint) if checkpoint.network.causal else WindowForm(checkpoint)


def layer_paths(checkpoint: Checkpoint, plan: PrecisionPlan = FULL) -> list[str]:
    """The path of every layer that a precision plan types."""
    return [path for network in form_of(checkpoint).networks(plan).values() for path in network.paths()]


class WindowForm:
    """Six graphs, of which encoder and decoder are the network."""

    integer = INTEGER
    late = 0

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.checkpoint = checkpoint
        spec = checkpoint.network.spec()
        self.stft, self.istft = Stft(spec), Istft(spec)

    def graphs(self) -> dict[str, Graph]:
        return graphs(self.checkpoint)

    def reduced(self, plan: PrecisionPlan) -> dict[str, Graph]:
        return reduced_graphs(self.checkpoint, plan)

    def before_integers(self, models: Mapping[str, bytes]) -> dict[str, onnx.ModelProto]:
        # Not those of float32: what is folded there would share a scale with values of another size.
        made = self.reduced(self.integer)
        return {name: to_onnx(graph, self.checkpoint.fingerprint) for name, graph in made.items()}

    def networks(self, plan: PrecisionPlan) -> dict[str, Any]:
        encoder, decoder = self.checkpoint.encoder, self.checkpoint.decoder
        return {"encoder": DeployedEncoder(encoder, plan), "decoder": DeployedDecoder(decoder, plan)}

    def model(self) -> Coder:
        return self.deployed({"encoder": self.checkpoint.encoder, "decoder": self.checkpoint.decoder})

    def deployed(self, networks: Mapping[str, Any]) -> Coder:
        return _WindowCoder(self, networks)

    def exported(self, models: Mapping[str, bytes]) -> Coder:
        sessions = _sessions(models)
        inputs = self.checkpoint.network.spec().graphs

        def run(name: str) -> Any:
            def call(*values: Tensor) -> Any:
                feed = {each.name: value.numpy() for each, value in zip(inputs[name].inputs, values, strict=True)}
                found = [torch.from_numpy(output) for output in sessions[name].run(None, feed)]
                return found if len(found) > 1 else found[0]

            return call

        return _WindowCoder(self, {name: run(name) for name in models})

    def verify(self, models: Mapping[str, bytes]) -> dict[str, Any]:
        return verify(self.checkpoint, models)

    def verify_integers(self, models: Mapping[str, bytes]) -> dict[str, Any]:
        return {}

    def described(self) -> dict[str, Any]:
        return {}

    def feeds(self, audio: Tensor) -> dict[str, Feed]:
        logamp, phase = self.stft(audio)
        quantizer = self.checkpoint.encoder.quantizer
        latent = quantizer.decode(quantizer.encode(self.checkpoint.encoder(logamp, phase)))
        return {
            "encoder": {"logamp": logamp.numpy(), "phase": phase.numpy()},
            "decoder": {"latent": latent.numpy()},
        }


class _WindowCoder:
    """Encoder and decoder with PyTorch's transforms and quantizer around them."""

    def __init__(self, form: WindowForm, networks: Mapping[str, Any]) -> None:
        self._form, self._networks = form, networks
        self._quantizer = form.checkpoint.encoder.quantizer

    def encode(self, audio: Tensor) -> Tensor:
        return self._quantizer.encode(self._networks["encoder"](*self._form.stft(audio)))

    def decode(self, codes: Tensor) -> Tensor:
        audio: Tensor = self._form.istft(*self._networks["decoder"](self._quantizer.decode(codes)))
        return audio


class StreamForm:
    """Two graphs, one a direction, with state in and out."""

    integer = STREAM_INTEGER

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.checkpoint = checkpoint
        spec = checkpoint.network.spec()
        assert isinstance(spec, StreamSpec)
        self.spec, self.late = spec, spec.delay_samples

    def graphs(self) -> dict[str, Graph]:
        return self.reduced(FULL)

    def reduced(self, plan: PrecisionPlan) -> dict[str, Graph]:
        spec, noise, unit = self.spec, example_noise(), self.spec.samples_per_latent
        codes = torch.randint(0, spec.codebook_size, (TRACED_BATCH, spec.num_codebooks, TRACED_LATENTS))
        examples: dict[str, Tensor] = {"encode": noise(unit * TRACED_LATENTS), "decode": codes.to(torch.int32)}
        return {
            name: Graph(
                spec.graphs[name],
                network,
                (examples[name], tuple(noise(*tensor.shape) for tensor in spec.states[name])),
                units={"samples": unit},
            )
            for name, network in self.networks(plan).items()
        }

    def before_integers(self, models: Mapping[str, bytes]) -> dict[str, onnx.ModelProto]:
        return {name: onnx.load_from_string(data) for name, data in models.items()}

    def networks(self, plan: PrecisionPlan) -> dict[str, Any]:
        return {"encode": StreamEncoder(self.checkpoint, plan), "decode": StreamDecoder(self.checkpoint, plan)}

    def start(self, name: str, rows: int) -> tuple[Tensor, ...]:
        """The state of new streams."""
        return tuple(torch.from_numpy(array) for array in self.spec.start(name, rows))

    def model(self) -> Coder:
        return _StreamModel(self)

    def deployed(self, networks: Mapping[str, nn.Module]) -> Coder:
        return _StreamCoder(self, networks)

    def exported(self, models: Mapping[str, bytes]) -> Coder:
        sessions, signatures = _sessions(models), self.spec.graphs

        def run(name: str) -> Any:
            def call(rows: Tensor, state: tuple[Tensor, ...]) -> list[Tensor]:
                values = zip(signatures[name].inputs, (rows, *state), strict=True)
                feed = {tensor.name: value.numpy() for tensor, value in values}
                return [torch.from_numpy(output) for output in sessions[name].run(None, feed)]

            return call

        return _StreamCoder(self, {name: run(name) for name in models})

    def verify(self, models: Mapping[str, bytes]) -> dict[str, Any]:
        return verify_stream(self.model(), self.spec, models)

    def verify_integers(self, models: Mapping[str, bytes]) -> dict[str, Any]:
        return {"calls_of_other_sizes": calls_of_other_sizes(self.spec, models)}

    def described(self) -> dict[str, Any]:
        return {"stream": described_stream(self.spec)}

    def feeds(self, audio: Tensor) -> dict[str, Feed]:
        codes = self.model().encode(audio).to(torch.int32)
        return {
            name: {
                tensor.name: value.numpy()
                for tensor, value in zip(self.spec.graphs[name].inputs, (rows, *self.start(name, 1)), strict=True)
            }
            for name, rows in (("encode", audio), ("decode", codes))
        }


class _StreamModel:
    """The published layers in PyTorch, on whole tokens from the start of a stream."""

    def __init__(self, form: StreamForm) -> None:
        self._checkpoint, self._form = form.checkpoint, form
        self._stft, self._istft = CausalStft(form.spec), CausalIstft(form.spec)

    def encode(self, audio: Tensor) -> Tensor:
        silence = audio.new_zeros(audio.shape[0], self._form.spec.delay_samples)
        logamp, phase = features(*self._stft.following(torch.cat((silence, audio), dim=1)))
        latent = self._checkpoint.encoder(logamp.transpose(1, 2), phase.transpose(1, 2))
        return self._checkpoint.encoder.quantizer.encode(latent)

    def decode(self, codes: Tensor) -> Tensor:
        real, imag = self._checkpoint.decoder(self._checkpoint.encoder.quantizer.decode(codes))
        silence = real.new_zeros(real.shape[0], self._form.spec.delay_samples)
        return self._istft.following(real.transpose(1, 2), imag.transpose(1, 2), silence)[0]


class _StreamCoder:
    """One call of each network from the start of a stream."""

    def __init__(self, form: StreamForm, networks: Mapping[str, Any]) -> None:
        self._form, self._networks = form, networks

    def encode(self, audio: Tensor) -> Tensor:
        codes: Tensor = self._networks["encode"](audio, self._form.start("encode", len(audio)))[0]
        return codes

    def decode(self, codes: Tensor) -> Tensor:
        rows = codes.to(torch.int32)
        audio: Tensor = self._networks["decode"](rows, self._form.start("decode", len(codes)))[0]
        return audio


def _sessions(models: Mapping[str, bytes]) -> dict[str, Any]:
    return {
        name: onnxruntime.InferenceSession(data, session_options(), providers=["CPUExecutionProvider"])
        for name, data in models.items()
    }
