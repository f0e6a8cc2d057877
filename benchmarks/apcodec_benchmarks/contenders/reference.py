"""APCodec in plain PyTorch, as a checkpoint's owner has it before any export: the reference for speed and for codes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from apcodec_benchmarks.contenders.base import Settings
from apcodec_benchmarks.contenders.pytorch import PyTorchContender
from apcodec_benchmarks.facts import Facts
from apcodec_deploy.errors import ApcodecError, ContenderError
from apcodec_export.checkpoint import Checkpoint, CheckpointFiles, random_checkpoint
from apcodec_export.model.causal import transforms
from apcodec_export.network import PUBLISHED_48K

RANDOM = "random"


def checkpoint_of(settings: Settings) -> Checkpoint:
    """The checkpoint that the settings name.

    Raises:
        ContenderError: They name none, or one that cannot be loaded.
    """
    if settings.checkpoint is None:
        raise ContenderError("the PyTorch reference needs what the bundle was made from: --checkpoint CHECKPOINT_DIR")
    if settings.checkpoint == RANDOM:
        return random_checkpoint(PUBLISHED_48K)
    try:
        return Checkpoint.load(CheckpointFiles.find(Path(settings.checkpoint)))
    except ApcodecError as error:
        raise ContenderError(str(error)) from error


class PyTorchReference(PyTorchContender):
    """The whole clip through the PyTorch modules: transform, encoder, quantizer and back. Option ``compiled``."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        checkpoint = checkpoint_of(settings)
        self.spec = checkpoint.network.spec()
        self.stft, self.istft = (each.to(self.device) for each in transforms(self.spec))
        # The transforms and the code search stay in float32, as they do in our graphs.
        self.quantizer = checkpoint.encoder.quantizer.to(self.device)
        self.encoder, self.decoder = (each.to(self.device) for each in (checkpoint.encoder, checkpoint.decoder))
        self.autocast = torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32)
        compiled = bool(settings.options.get("compiled"))
        self._encoder: Any = torch.compile(self.encoder) if compiled else self.encoder
        self._decoder: Any = torch.compile(self.decoder) if compiled else self.decoder
        self.facts = Facts(
            title=f"APCodec, PyTorch{' compiled' if compiled else ''}, whole clips",
            library=f"torch {torch.__version__}",
            sample_rate=self.spec.sample_rate,
            bitrate=self.spec.bitrate,
            frame=self.spec.samples_per_latent,
            weights="random" if settings.checkpoint == RANDOM else "trained",
            weights_hash=checkpoint.fingerprint[:16],
            precision=str(self.dtype).removeprefix("torch."),
            device=self.device_name,
        )

    def modules(self) -> Iterable[nn.Module]:
        return self.encoder, self.decoder

    @torch.inference_mode()
    def encode(self, audio: Tensor) -> Tensor:
        features = self.stft(self._reflectable(audio))
        with self.autocast:
            latent = self._encoder(*features)
        codes: Tensor = self.quantizer.encode(latent.float())
        return codes

    @torch.inference_mode()
    def decode(self, codes: Tensor) -> Tensor:
        latent = self.quantizer.decode(codes)
        with self.autocast:
            real, imag = self._decoder(latent)
        audio: Tensor = self.istft(real.float(), imag.float())
        return audio

    def codes(self, codes: Tensor) -> NDArray[np.int64]:
        result: NDArray[np.int64] = codes.cpu().numpy()
        return result

    @torch.inference_mode()
    def stages(self, audio: NDArray[np.float32]) -> Iterator[str]:
        samples = self.upload(audio)
        if self.device.type == "cuda":
            self.synchronize()
            yield "copy in"
        features = self.stft(self._reflectable(samples))
        self.synchronize()
        yield "stft"
        with self.autocast:
            latent = self._encoder(*features)
        self.synchronize()
        yield "encoder"
        codes = self.quantizer.encode(latent.float())
        self.synchronize()
        yield "quantizer"
        latent = self.quantizer.decode(codes)
        self.synchronize()
        yield "dequantizer"
        with self.autocast:
            spectrum = self._decoder(latent)
        self.synchronize()
        yield "decoder"
        decoded = self.istft(*(part.float() for part in spectrum))
        self.synchronize()
        yield "istft"
        if self.device.type == "cuda":
            self.download(decoded, audio.shape[1])
            yield "copy out"

    def _reflectable(self, audio: Tensor) -> Tensor:
        return torch.nn.functional.pad(audio, (0, max(self.spec.min_samples - audio.shape[1], 0)))


def pytorch(settings: Settings) -> PyTorchReference:
    """The PyTorch modules of a checkpoint; option ``compiled`` for ``torch.compile``."""
    return PyTorchReference(settings)
