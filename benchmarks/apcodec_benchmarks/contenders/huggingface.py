"""Encodec, DAC and Mimi as ``transformers`` has them: published weights or, where those are not here, random ones."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import huggingface_hub.constants
import numpy as np
import torch
import transformers
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils import parametrize

from apcodec_benchmarks.contenders.base import Push, Settings
from apcodec_benchmarks.contenders.pytorch import PyTorchContender
from apcodec_benchmarks.facts import Facts, Weights
from apcodec_deploy.errors import ContenderError

_BITS_PER_SECOND = 6000
"""What the published APCodec takes; the others come as near to it as their codebooks allow."""

# The numbers of the published configurations; what is not named is the library's default.
_ENCODEC: dict[str, tuple[str, dict[str, Any]]] = {
    "24k": ("facebook/encodec_24khz", {}),
    "48k": (
        "facebook/encodec_48khz",
        {
            "target_bandwidths": [3.0, 6.0, 12.0, 24.0],
            "sampling_rate": 48000,
            "audio_channels": 2,
            "normalize": True,
            "chunk_length_s": 1.0,
            "overlap": 0.01,
            "norm_type": "time_group_norm",
            "use_causal_conv": False,
        },
    ),
}
_DAC: dict[str, tuple[str, dict[str, Any]]] = {
    "44k": ("descript/dac_44khz", {"sampling_rate": 44100, "downsampling_ratios": [2, 4, 8, 8], "n_codebooks": 9}),
    "24k": ("descript/dac_24khz", {"sampling_rate": 24000, "downsampling_ratios": [2, 4, 5, 8], "n_codebooks": 32}),
    "16k": ("descript/dac_16khz", {"sampling_rate": 16000, "downsampling_ratios": [2, 4, 5, 8], "n_codebooks": 12}),
}
_MIMI = "kyutai/mimi"
_ENCODEC_LIVE = (
    "live: transformers keeps no state of it, so every push computes the {} frames before it again, which its "
    "convolutions reach back to; its LSTMs begin anew each time"
)
_MIMI_LIVE = (
    "live: transformers keeps the state of its encoder and of the decoder's attention, but not of the decoder's "
    "convolutions; the time is right, and what it decodes has seams"
)


class _Transformers(PyTorchContender):
    """A model of ``transformers`` at its own rate.

    Args:
        settings: Device, precision, and whether weights may be downloaded; without that only a local copy is taken.
        name: Of the published weights.
        kind: Its class.
        config: Its shape.
    """

    def __init__(self, settings: Settings, name: str, kind: type[Any], config: Any) -> None:
        super().__init__(settings)
        # With telemetry the hub asks the network who is calling, even for files that are here or nowhere.
        huggingface_hub.constants.HF_HUB_DISABLE_TELEMETRY = True
        transformers.logging.set_verbosity_error()
        transformers.logging.disable_progress_bar()
        self._kind = kind
        self.weights: Weights = "trained"
        try:
            self.model: Any = kind.from_pretrained(name, local_files_only=not settings.trained)
        except Exception as error:  # the hub, the network and the files raise whatever they like
            if settings.trained:
                reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
                raise ContenderError(f"{name} cannot be had: {reason}") from error
            self.model, self.weights = _random(kind, config), "random"
        self.model.eval().requires_grad_(False)
        _fold_weight_norm(self.model)  # before any rounding to half precision
        self.model.to(self.device, self.dtype)
        self.config: Any = self.model.config
        self.name = name

    def modules(self) -> Iterable[nn.Module]:
        return (self.model,)

    def _facts(
        self, title: str, bitrate: float, frame: int, *notes: str, channels: int = 1, causal: bool = False
    ) -> Facts:
        return Facts(
            title=title,
            library=f"transformers {transformers.__version__}, torch {torch.__version__}",
            sample_rate=self.config.sampling_rate,
            channels=channels,
            bitrate=bitrate,
            frame=frame,
            latency=frame / self.config.sampling_rate if causal else None,
            weights=self.weights,
            precision=str(self.dtype).removeprefix("torch."),
            device=self.device_name,
            notes=notes,
        )


def _random(kind: type[Any], config: Any) -> Any:
    """A model of random weights. Its codebooks start at zero, which would give the decoder nothing but silence."""
    torch.manual_seed(0)
    model = kind(config)
    with torch.no_grad():
        for name, buffer in model.named_buffers():
            if name.rsplit(".", 1)[-1] in ("embed", "embed_sum"):
                buffer.normal_()
    return model


def _fold_weight_norm(model: nn.Module) -> None:
    """Compute normalised weights once instead of at every call, as is done for our own models."""
    for module in model.modules():
        if parametrize.is_parametrized(module, "weight"):
            parametrize.remove_parametrizations(module, "weight")
            weight = module.weight  # PyTorch leaves a buffer where nothing is trained
            del module.weight
            module.weight = nn.Parameter(torch.as_tensor(weight), requires_grad=False)


class _Encodec(_Transformers):
    def __init__(self, settings: Settings) -> None:
        variant = str(settings.options["variant"])
        name, numbers = _ENCODEC[variant]
        super().__init__(settings, name, transformers.EncodecModel, transformers.EncodecConfig(**numbers))
        join = self.model._linear_overlap_add
        # Half precision would round the weights at a chunk's ends to zero, and the library divides by their sum.
        self.model._linear_overlap_add = lambda chunks, stride: join([each.float() for each in chunks], stride)
        self.bandwidth = min(self.config.target_bandwidths, key=lambda each: abs(1000 * each - _BITS_PER_SECOND))
        stereo, causal = self.config.audio_channels > 1, self.config.use_causal_conv
        self.reach = reach(self.config)
        self.facts = self._facts(
            f"Encodec {variant.removesuffix('k')} kHz",
            1000 * self.bandwidth,
            self.config.hop_length,
            *(["stereo: both channels are coded, RTF is per second of the clip"] if stereo else []),
            *([_ENCODEC_LIVE.format(self.reach)] if causal else []),
            channels=self.config.audio_channels,
            causal=causal,
        )

    @torch.inference_mode()
    def encode(self, audio: Tensor) -> Any:
        samples = self._joinable(audio)[:, None].expand(-1, self.config.audio_channels, -1).to(self.dtype)
        return self.model.encode(samples, bandwidth=self.bandwidth)

    def _joinable(self, audio: Tensor) -> Tensor:
        """Followed by silence where the last chunk would end within the one before, which the library cannot join."""
        stride = self.config.chunk_stride
        if stride is None or audio.shape[1] <= stride:
            return audio
        overlap, rest = self.config.chunk_length - stride, audio.shape[1] % stride
        return torch.nn.functional.pad(audio, (0, overlap - rest)) if 0 < rest < overlap else audio

    @torch.inference_mode()
    def decode(self, codes: Any) -> Tensor:
        audio: Tensor = self.model.decode(
            codes.audio_codes, codes.audio_scales, last_frame_pad_length=codes.last_frame_pad_length
        ).audio_values
        return audio

    def sessions(self, count: int) -> Push:
        """What its convolutions reach back to is computed again with every push."""
        if not self.config.use_causal_conv:
            raise ContenderError("it is not causal, so it cannot code what is still coming")
        hop = self.config.hop_length
        heard = torch.zeros(count, self.reach * hop)
        coded: Tensor | None = None

        @torch.inference_mode()
        def push(audio: NDArray[np.float32]) -> NDArray[np.float32]:
            nonlocal heard, coded
            new, held = audio.shape[1] // hop, torch.cat((heard, torch.from_numpy(audio)), dim=1)
            heard = held[:, -self.reach * hop :]
            made = self.encode(self.upload(held.numpy())).audio_codes[0]  # (B, Q, reach + new)
            coded = made if coded is None else torch.cat((coded, made[:, :, -new:]), dim=2)[:, :, -self.reach - new :]
            decoded: Tensor = self.model.decode(coded[None], [None]).audio_values
            return self.download(decoded[:, :, -new * hop :], new * hop)

        return push

    def codes(self, codes: Any) -> NDArray[np.int64]:
        found: Tensor = codes.audio_codes  # (chunks, B, Q, n), of which the last one is filled up with zeros
        joined = found.permute(1, 2, 0, 3).flatten(2)
        result: NDArray[np.int64] = joined[:, :, : joined.shape[2] - codes.last_frame_pad_length].cpu().numpy()
        return result


class _Dac(_Transformers):
    def __init__(self, settings: Settings) -> None:
        variant = str(settings.options["variant"])
        name, numbers = _DAC[variant]
        super().__init__(settings, name, transformers.DacModel, transformers.DacConfig(**numbers))
        hop, bits = self.config.hop_length, (self.config.codebook_size - 1).bit_length()
        per_codebook = self.config.sampling_rate / hop * bits
        self.codebooks = min(self.config.n_codebooks, max(1, round(_BITS_PER_SECOND / per_codebook)))
        title = {"44k": "DAC 44.1 kHz", "24k": "DAC 24 kHz", "16k": "DAC 16 kHz"}[variant]
        note = f"{self.codebooks} of its {self.config.n_codebooks} codebooks"
        self.facts = self._facts(title, self.codebooks * per_codebook, hop, note)

    @torch.inference_mode()
    def encode(self, audio: Tensor) -> Tensor:
        hop = self.config.hop_length  # what its feature extractor does: whole frames, followed by silence
        padded = torch.nn.functional.pad(audio, (0, -audio.shape[1] % hop))
        codes: Tensor = self.model.encode(padded[:, None].to(self.dtype), n_quantizers=self.codebooks).audio_codes
        return codes

    @torch.inference_mode()
    def decode(self, codes: Tensor) -> Tensor:
        audio: Tensor = self.model.decode(audio_codes=codes).audio_values
        return audio

    def codes(self, codes: Tensor) -> NDArray[np.int64]:
        result: NDArray[np.int64] = codes.cpu().numpy()
        return result


class _Mimi(_Transformers):
    def __init__(self, settings: Settings) -> None:
        super().__init__(settings, _MIMI, transformers.MimiModel, transformers.MimiConfig())
        self.codebooks = 8
        bits = (self.config.codebook_size - 1).bit_length()
        rate = self.config.frame_rate
        note = f"{self.codebooks} of its {self.config.num_quantizers} codebooks, as speech models use it"
        frame = round(self.config.sampling_rate / rate)
        self.facts = self._facts("Mimi 24 kHz", rate * bits * self.codebooks, frame, note, _MIMI_LIVE, causal=True)

    @torch.inference_mode()
    def encode(self, audio: Tensor) -> Tensor:
        samples = audio[:, None].to(self.dtype)
        codes: Tensor = self.model.encode(samples, num_quantizers=self.codebooks).audio_codes
        return codes

    @torch.inference_mode()
    def decode(self, codes: Tensor) -> Tensor:
        audio: Tensor = self.model.decode(codes).audio_values
        return audio

    def sessions(self, count: int) -> Push:
        """With the caches that transformers has."""
        caches: dict[str, Any] = {"encoder_cache": None, "padding_cache": None}
        decoder_cache: Any = None

        @torch.inference_mode()
        def push(audio: NDArray[np.float32]) -> NDArray[np.float32]:
            nonlocal decoder_cache
            samples = self.upload(audio)[:, None].to(self.dtype)
            coded = self.model.encode(samples, num_quantizers=self.codebooks, use_streaming=True, **caches)
            caches.update({name: coded[name] for name in caches})
            decoded = self.model.decode(coded.audio_codes, decoder_cache=decoder_cache, use_cache=True)
            decoder_cache = decoded.decoder_cache
            return self.download(decoded.audio_values, audio.shape[1])

        return push

    def codes(self, codes: Tensor) -> NDArray[np.int64]:
        result: NDArray[np.int64] = codes.cpu().numpy()
        return result


def reach(config: Any) -> int:
    """Frames before its own that a frame of an Encodec depends on through the encoder's convolutions, rounded up.

    Those of the decoder are their mirror image. The LSTMs between them reach further.
    """
    samples: int = config.kernel_size - 1  # before the last one that is heard
    stride = 1
    for ratio in reversed(config.upsampling_ratios):
        for layer in range(config.num_residual_layers):
            samples += (config.residual_kernel_size - 1) * config.dilation_growth_rate**layer * stride
        samples += (2 * ratio - 1) * stride
        stride *= ratio
    samples += (config.last_kernel_size - 1) * stride
    return -(-(samples - (stride - 1)) // stride)  # what is left of them before its own frame


def encodec(settings: Settings) -> _Encodec:
    """Encodec (Défossez et al., 2022); option ``variant``: ``24k`` or ``48k``."""
    return _Encodec(settings)


def dac(settings: Settings) -> _Dac:
    """Descript Audio Codec (Kumar et al., 2023); option ``variant``: ``44k``, ``24k`` or ``16k``."""
    return _Dac(settings)


def mimi(settings: Settings) -> _Mimi:
    """Mimi (Défossez et al., 2024)."""
    return _Mimi(settings)
