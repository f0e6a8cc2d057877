"""APCodec by the backends of this project, as its users run it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from importlib import metadata
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from apcodec_benchmarks.contenders.base import Push, Settings
from apcodec_benchmarks.facts import Facts, Weights
from apcodec_deploy.backends.base import CPU, BackendOptions
from apcodec_deploy.backends.choice import create
from apcodec_deploy.backends.onnxruntime import OnnxRuntimeBackend
from apcodec_deploy.backends.onnxruntime_cuda import CudaBackend
from apcodec_deploy.backends.openvino import OpenVinoBackend
from apcodec_deploy.backends.pipelined import PipelinedBackend
from apcodec_deploy.bundle import Bundle
from apcodec_deploy.codec import Codec
from apcodec_deploy.cuda.opening import open_device
from apcodec_deploy.encoded import EncodedAudio
from apcodec_deploy.errors import ApcodecError, ContenderError, EngineError
from apcodec_deploy.families import StreamSpec
from apcodec_deploy.ort import onnxruntime
from apcodec_deploy.precision import FLOAT32, SHORT

if TYPE_CHECKING:
    from apcodec_export.network import NetworkConfig

RANDOM = "weights are random"
"""What the exporter notes in a bundle whose weights nobody trained."""


class ApcodecContender:
    """A ``Codec``: resampling, windows and batches are what ``apcodec encode`` and ``decode`` do.

    Its backends take and give host memory, so copies cannot be left out; ``device_seconds`` does.

    Attributes:
        facts: What it is.
        resident: False: what it takes and gives is host memory.
    """

    resident = False

    def __init__(self, settings: Settings) -> None:
        """Load a bundle.

        Args:
            settings: Of its options, ``backend`` is ``onnxruntime``, ``openvino`` or ``tensorrt``, ``window`` as for a
                ``Codec``, ``precision`` and ``model`` those that this contender has whatever the others have, ``label``
                what the model is called in its title.

        Raises:
            ContenderError: The bundle, the backend or the window cannot be had.
        """
        try:
            model = settings.options.get("model", settings.model)
            bundle = Bundle.find(model)
            random = RANDOM in bundle.manifest.get("notes", ())
            options = BackendOptions(
                name=str(settings.options.get("backend", "onnxruntime")),
                device=settings.device,
                precision=str(settings.options.get("precision", settings.precision)),
                threads=settings.threads,
                unproven=random,  # what it codes means nothing, so only its speed counts
            )
            self._hold(Codec(bundle, create(bundle, options)), settings)
        except ApcodecError as error:
            raise ContenderError(str(error)) from error

    @classmethod
    def of(cls, codec: Codec, settings: Settings) -> ApcodecContender:
        """A loaded codec. Of the settings, ``device`` and the options ``window`` and ``label`` count."""
        made = cls.__new__(cls)
        made._hold(codec, settings)
        return made

    def _hold(self, codec: Codec, settings: Settings) -> None:
        self.codec = codec
        self._window = settings.options.get("window")
        self.facts = self._facts(settings, random=RANDOM in codec.bundle.manifest.get("notes", ()))

    def _facts(self, settings: Settings, *, random: bool) -> Facts:
        codec, bundle = self.codec, self.codec.bundle
        weights: Weights = "random" if random else "trained"
        backend = codec.backend
        names = {
            "onnxruntime": f"onnxruntime {onnxruntime.__version__}",
            "tensorrt": "TensorRT",
            "openvino": f"openvino {_version('openvino')}",
        }
        live = isinstance(codec.spec, StreamSpec)
        windows = [] if live else [codec.layout(self._window).title(codec.latent_rate)]
        label = settings.options.get("label")
        return Facts(
            title=", ".join([_name(bundle), *([str(label)] if label else []), self._kind, *windows]),
            library=names[backend.name],
            sample_rate=codec.sample_rate,
            bitrate=codec.bitrate,
            frame=codec.samples_per_latent,
            latency=codec.encoder().latency_seconds + codec.decoder().latency_seconds if live else None,
            weights=weights,
            weights_hash=bundle.fingerprint[:16],
            precision=backend.precision,
            device=_device_name(settings.device),
            notes=() if random else (f"model {bundle.name}",),
        )

    def describe(self) -> Facts:
        """With what the bundle tells of its network: the parameters, and the arithmetic before and after folding."""
        network = network_of(self.codec.bundle)
        if network is None:
            return self.facts
        arithmetic = _arithmetic(self.codec.bundle, network, self.codec.backend.precision)
        return replace(self.facts, parameters=parameters_of(network), notes=(*self.facts.notes, arithmetic))

    @property
    def _kind(self) -> str:
        """For the title."""
        backend = self.codec.backend
        if backend.name == "tensorrt":
            return "TensorRT"
        name = "OpenVINO" if backend.name == "openvino" else "ONNX Runtime"
        return name if backend.precision == FLOAT32 else f"{name} {SHORT[backend.precision]}"

    def upload(self, audio: NDArray[np.float32]) -> NDArray[np.float32]:
        return audio

    def encode(self, audio: NDArray[np.float32]) -> list[EncodedAudio]:
        return self.codec.encode_batch(list(audio), window=self._window)

    def decode(self, codes: list[EncodedAudio]) -> list[NDArray[np.float32]]:
        return self.codec.decode_batch(codes)

    def download(self, audio: list[NDArray[np.float32]], samples: int) -> NDArray[np.float32]:
        return np.stack(audio)[:, :samples]

    def codes(self, codes: list[EncodedAudio]) -> NDArray[np.int64]:
        return np.concatenate([each.codes for each in codes]).astype(np.int64)

    def synchronize(self) -> None:
        """Nothing is ever pending: calls return when their result is on the host."""

    def device_seconds(self, operation: str, audio: NDArray[np.float32]) -> float:
        """Of the card alone, on audio (B, N) as one piece.

        Raises:
            ContenderError: The backend tells no such time, or does not take that audio in one go.
        """
        if self.facts.device == "cpu":
            raise ContenderError("it has no device with a clock of its own")
        backend = self.codec.backend
        if not isinstance(backend, PipelinedBackend):
            raise ContenderError("graph by graph, ONNX Runtime tells no device time; see mode 'throughput'")
        try:
            return backend.device_seconds(operation, backend.encode(audio) if operation == "decode" else audio)
        except EngineError as error:
            raise ContenderError(str(error)) from error

    def stream(self, blocks: Iterator[NDArray[np.float32]]) -> int:
        """Audio of any length through ``encode_stream`` and ``decode_stream``; only codes are kept."""
        codec, layout = self.codec, self.codec.layout(self._window)
        samples = 0

        def counted() -> Iterator[NDArray[np.float32]]:
            nonlocal samples
            for block in blocks:
                samples += len(block)
                yield block[None]

        codes = list(codec.encode_stream(counted(), codec.sample_rate, layout))
        latents = sum(each.shape[2] for each in codes)
        header = codec.header(codec.sample_rate, 1, layout, one_dimensional=True).counted(samples, latents)
        return sum(each.shape[1] for each in codec.decode_stream(iter(codes), header))

    def sessions(self, count: int) -> Push:
        """Encoders and decoders in pairs; each push is a batch for the ones and a batch for the others."""
        codec = self.codec
        encoders, decoders = ([make() for _ in range(count)] for make in (codec.encoder, codec.decoder))

        def push(audio: NDArray[np.float32]) -> list[NDArray[np.float32]]:
            return codec.push_many(decoders, codec.push_many(encoders, list(audio)))

        return push

    def stages(self, audio: NDArray[np.float32]) -> Iterator[str]:
        """The graphs one by one, on the clip as one piece; TensorRT does not run them apart."""
        backend = self.codec.backend
        if not isinstance(backend, OnnxRuntimeBackend | CudaBackend | OpenVinoBackend):
            return
        spec = self.codec.spec
        missing = spec.axes_of_audio(audio.shape[1])["samples"] - audio.shape[1]
        rows: Any = np.pad(audio, ((0, 0), (0, missing)))
        for direction, names in backend.chains.items():
            for name, outputs in backend.steps(names, (rows, *spec.start(direction, len(audio)))):
                rows = outputs[0]
                yield name

    def work(self, samples: int) -> Mapping[str, tuple[float, float]]:
        """FLOP and least bytes of each graph, counted from the graphs."""
        from apcodec_benchmarks.arithmetic.graphs import bundle_work

        counted = bundle_work(self.codec.bundle, samples, self.codec.backend.precision)
        return {name: (work.products, work.least_bytes) for name, work in counted.items()}

    def close(self) -> None:
        self.codec.close()


def _name(bundle: Bundle) -> str:
    """What papers call models of its family."""
    return "APCodec-S" if isinstance(bundle.spec, StreamSpec) else "APCodec"


def _version(package: str) -> str:
    """The installed version, or a question mark."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "?"


def _device_name(device: str) -> str:
    """The GPU's name, or what was asked for where nothing here can tell it."""
    if device == CPU:
        return device
    try:
        return open_device(BackendOptions(device=device).index).gpu.name
    except ApcodecError:
        return device


def network_of(bundle: Bundle) -> NetworkConfig | None:
    """The shape of the network that a bundle was made from; None where its exporter did not note it."""
    numbers = bundle.manifest.get("network")
    if not isinstance(numbers, dict):
        return None
    from apcodec_export.network import NetworkConfig

    return NetworkConfig(**numbers)


def parameters_of(network: NetworkConfig) -> int:
    """How many numbers were trained."""
    import torch

    from apcodec_export.model.network import Decoder, Encoder

    with torch.device("meta"):
        networks = Encoder(network), Decoder(network)
    return sum(each.numel() for network in networks for each in network.parameters())


def _arithmetic(bundle: Bundle, network: NetworkConfig, precision: str) -> str:
    """What a second of audio takes before and after folding, in words."""
    from apcodec_benchmarks.arithmetic.graphs import bundle_work
    from apcodec_benchmarks.arithmetic.published import published_products

    spec = bundle.spec
    latents = round(spec.latent_rate)
    frames = latents * spec.ratio
    before = sum(published_products(network, frames).values())
    counted = bundle_work(bundle, spec.samples_range(latents)[1], precision)
    after = sum(counted[name].products for name in spec.reduced)
    plain, exported = (
        ("published", "exported") if spec.networks_apart else ("defined", "exported with transforms and code search")
    )
    return (
        f"{before / 1e9:.4g} GFLOP for {frames} frames in the convolutions and products of encoder and decoder as "
        f"{plain}, {after / 1e9:.4g} as {exported}"
    )


def apcodec(settings: Settings) -> ApcodecContender:
    """APCodec; options ``backend`` and ``window``."""
    return ApcodecContender(settings)
