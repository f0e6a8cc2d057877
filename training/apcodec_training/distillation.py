"""Distillation: a causal student is told what a trained teacher, which sees both sides of a frame, gives everywhere.

Both see the spectrum of causal frames. A latent of the teacher is centred on a frame, one of the student on the middle
of its ``ratio`` frames. So the teacher gets the frames from half a latent on; then latent ``j`` of both is of the same
audio, and frame ``t`` of the teacher is frame ``t + ratio // 2`` of the student.

Shapes: B clips, C channels, T frames, L latents.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from apcodec_deploy.errors import TrainingError
from apcodec_export.checkpoint import Checkpoint
from apcodec_export.model.layers import GRN_EPS, GlobalResponseNorm
from apcodec_export.network import NetworkConfig
from apcodec_training.spectra import Spectrum

Features = dict[str, Tensor]
"""What layers gave, (B, C, T) or (B, C, L), by part and name."""

TERMS = {
    "distil_input": ".input",
    "distil_blocks": ".blocks.",
    "distil_down": ".down",
    "distil_latent": ".latent",
    "distil_up": ".up",
    "distil_heads": ".head.",
}
"""The terms of the loss, by their names in ``LossWeights``, and what stands in the names of their layers."""
_AT_LATENTS = ("encoder.down", "encoder.latent")
_ALIKE = (
    *("sample_rate", "n_fft", "win_size", "hop_size", "ratio", "dim", "num_layers", "latent_dim"),
    *("encoder_amp_channels", "encoder_pha_channels", "decoder_amp_channels", "decoder_pha_channels"),
)
"""The numbers in which teacher and student must agree for their layers to be compared."""


class Teacher:
    """A frozen codec. No module of the student's, so that it is neither trained nor saved with it."""

    def __init__(self, checkpoint: Checkpoint, student: NetworkConfig, device: torch.device) -> None:
        """Make it ready.

        Args:
            checkpoint: The trained model.
            student: Who is to learn from it.
            device: Where both compute.

        Raises:
            TrainingError: Their layers cannot be compared; every number that differs is named.
        """
        network = checkpoint.network
        different = [
            f"{name} is {getattr(network, name)} in the teacher and {getattr(student, name)} in the student"
            for name in _ALIKE
            if getattr(network, name) != getattr(student, name)
        ]
        if network.causal and not student.causal:
            different.append("the teacher is causal and the student is not")
        if different:
            raise TrainingError(f"this teacher's layers cannot be compared with the student's: {'; '.join(different)}")
        self.network, self.fingerprint = network, checkpoint.fingerprint
        self.encoder, self.decoder = checkpoint.encoder.to(device), checkpoint.decoder.to(device)
        self.shift = student.ratio // 2 if student.causal and not network.causal else 0

    @torch.no_grad()
    def features(self, spectrum: Spectrum) -> Features:
        """What its layers give for a spectrum of the student's frames."""
        encoder: Features = {}
        decoder: Features = {}
        latent = self.encoder(spectrum.logamp[:, :, self.shift :], spectrum.phase[:, :, self.shift :], encoder).float()
        with torch.autocast(latent.device.type, enabled=False):
            quantized = self.encoder.quantizer.decode(self.encoder.quantizer.encode(latent))
        self.decoder.heads(quantized, decoder)
        return by_part(encoder, decoder)

    def losses(self, spectrum: Spectrum, student: Features) -> dict[str, Tensor]:
        """How far a student's layers are from its own, by the terms' names.

        Each layer counts with its mean absolute error by the mean absolute value that the teacher gives there, so that
        1 is as good as nothing and layers of all sizes count alike; each term is the mean of its layers.
        """
        held = self.features(spectrum)
        far = {name: self._distance(name, value, student[name]) for name, value in held.items()}
        return {
            term: torch.stack([value for name, value in far.items() if part in name]).mean()
            for term, part in TERMS.items()
        }

    def _distance(self, name: str, expected: Tensor, found: Tensor) -> Tensor:
        if name not in _AT_LATENTS:
            found = found[:, :, self.shift :]
        expected, found = expected[:, :, : found.shape[2]].float(), found.float()
        return (found - expected).abs().mean() / expected.abs().mean().clamp(min=1e-6)

    @torch.no_grad()
    def mean_responses(self, spectra: Iterable[Spectrum]) -> Mapping[str, Tensor]:
        """By what every GRN scales each channel on average, ``1 + gamma x`` its normalised norm, by module's name."""
        sums: dict[str, Tensor] = {}
        count = 0

        def noting(name: str, norm: GlobalResponseNorm) -> RemovableHandle:
            def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
                (x,) = inputs
                rms = torch.linalg.vector_norm(x, dim=1) * x.shape[1] ** -0.5
                scale = rms / (rms.mean(dim=1, keepdim=True) + GRN_EPS * x.shape[1] ** -0.5)
                sums[name] = sums.get(name, 0) + scale.mean(dim=0)

            return norm.register_forward_hook(hook)

        norms = {
            f"{part}.{name}": module
            for part, network in (("encoder", self.encoder), ("decoder", self.decoder))
            for name, module in network.named_modules()
            if isinstance(module, GlobalResponseNorm)
        }
        handles = [noting(name, norm) for name, norm in norms.items()]
        try:
            for spectrum in spectra:
                self.features(spectrum)
                count += 1
        finally:
            for handle in handles:
                handle.remove()
        return {name: 1 + norms[name].gamma.flatten() * total / count for name, total in sums.items()}


def by_part(encoder: Features, decoder: Features) -> Features:
    """The features of both parts in one."""
    return {f"encoder.{name}": value for name, value in encoder.items()} | {
        f"decoder.{name}": value for name, value in decoder.items()
    }
