"""The codec as one module that can be trained: audio in, spectra, codes and audio out.

Shapes: B clips, N samples, F bins, T frames, D latent channels, L latents.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from apcodec_export.model.causal import transforms
from apcodec_export.model.network import Decoder, Encoder, Seen
from apcodec_export.network import NetworkConfig
from apcodec_training.coherence import Incoherence
from apcodec_training.distillation import Features, Teacher, by_part
from apcodec_training.intelligibility import Unintelligibility
from apcodec_training.losses import spectral_losses
from apcodec_training.quantizing import Quantized, quantize
from apcodec_training.spectra import LogMel, Spectrum
from apcodec_training.spectral_distance import LogSpectralDistance


@dataclass(frozen=True, slots=True)
class Reconstruction:
    """What the generator made of a batch.

    Attributes:
        audio: (B, N).
        losses: Each term by its name in ``LossWeights``, but for the adversarial ones.
        quantized: What the quantizer did; None while it is left out.
    """

    audio: Tensor
    losses: dict[str, Tensor]
    quantized: Quantized | None


class Generator(nn.Module):
    """Encoder, quantizer, decoder and the transforms around them.

    Attributes:
        teacher: Who tells it what its layers should give while it learns; nobody at first.
    """

    def __init__(self, network: NetworkConfig, encoder: Encoder, decoder: Decoder) -> None:
        super().__init__()
        self.network = network
        self.encoder, self.decoder = encoder, decoder
        self.stft, self.istft = transforms(network.spec())
        self.mel = LogMel(network)
        self.unintelligibility = Unintelligibility(network.sample_rate)
        self.incoherence = Incoherence(network.sample_rate)
        self.log_spectral_distance = LogSpectralDistance()
        self.teacher: Teacher | None = None

    def weights(self) -> dict[str, dict[str, Tensor]]:
        """The state dicts of a published checkpoint, by part, on the CPU."""
        parts: dict[str, nn.Module] = {"encoder": self.encoder, "decoder": self.decoder}
        return {
            part: {key: value.detach().cpu() for key, value in module.state_dict().items()}
            for part, module in parts.items()
        }

    def load(self, weights: dict[str, dict[str, Tensor]]) -> None:
        """Take over weights that ``weights()`` gave.

        Raises:
            RuntimeError: They are of another network.
        """
        self.encoder.load_state_dict(weights["encoder"])
        self.decoder.load_state_dict(weights["decoder"])

    def spectrum(self, audio: Tensor) -> Spectrum:
        """Of audio (B, N), in float32 and without gradients."""
        with torch.no_grad(), torch.autocast(audio.device.type, enabled=False):
            return Spectrum.of(*self.stft.spectrum(audio))

    def encode(self, spectrum: Spectrum, seen: Seen = None) -> Tensor:
        """The latent (B, D, L) before the quantizer, in float32."""
        latent: Tensor = self.encoder(spectrum.logamp, spectrum.phase, seen)
        return latent.float()

    def decode(self, latent: Tensor, seen: Seen = None) -> Spectrum:
        """What the decoder says of a latent (B, D, L), in float32."""
        logamp, r, i = (head.float() for head in self.decoder.heads(latent, seen))
        return Spectrum(logamp, torch.atan2(i, r), *self.decoder.parts(logamp, r, i))

    def forward(self, audio: Tensor, *, quantizing: bool = True) -> Reconstruction:
        """Code a batch (B, N) and compare what comes out with it. Call it under autocast or without."""
        made = self.reconstruct(self.spectrum(audio), audio.shape[1], quantizing=quantizing)
        made.losses.update(self.sound_losses(audio, made.audio))
        return made

    # PyTorch compiles no complex numbers, and would say so.
    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def sound_losses(self, original: Tensor, decoded: Tensor) -> dict[str, Tensor]:
        """The terms that compare audio (B, N) with audio, but for those that need longer clips."""
        losses = {}
        with torch.autocast(original.device.type, enabled=False):
            for name in ("unintelligibility", "incoherence", "log_spectral_distance"):
                if original.shape[1] >= (term := getattr(self, name)).least_samples:
                    losses[name] = term(original, decoded)
        return losses

    def reconstruct(self, original: Spectrum, samples: int, *, quantizing: bool = True) -> Reconstruction:
        """Code spectra and compare what comes out with them."""
        encoder: Features = {}
        decoder: Features = {}
        latent = self.encode(original, encoder)
        with torch.autocast(latent.device.type, enabled=False):
            quantized = quantize(self.encoder.quantizer, latent) if quantizing else None
        decoded = self.decode(latent if quantized is None else quantized.latent, decoder)
        with torch.autocast(latent.device.type, enabled=False):
            audio = self.istft(decoded.real, decoded.imag)[:, :samples]
            losses = spectral_losses(original, decoded, self.stft.spectrum(audio), self.mel)
        if quantized is not None:
            losses |= {"codebook": quantized.codebook, "commitment": quantized.commitment}
        if self.teacher is not None:
            losses |= self.teacher.losses(original, by_part(encoder, decoder))
        return Reconstruction(audio, losses, quantized)

    @torch.no_grad()
    def convert(self, audio: Tensor) -> tuple[Tensor, Tensor]:
        """Code and decode audio (B, N) as deployed: decoded audio (B, N) and codes (B, Q, L)."""
        codes = self.encoder.quantizer.encode(self.encode(self.spectrum(audio)))
        decoded = self.decode(self.encoder.quantizer.decode(codes))
        return self.istft(decoded.real, decoded.imag)[:, : audio.shape[1]], codes


def autocast(device: torch.device, precision: str) -> Any:
    """The context in which a network runs in a precision."""
    kind = {"bfloat16": torch.bfloat16, "float16": torch.float16}.get(precision)
    return torch.autocast(device.type, dtype=kind, enabled=kind is not None)
