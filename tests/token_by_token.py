"""APCodec-S a second time: token by token, in float64 numpy, straight from the formulas. Nothing is shared with ours.

Everything that a token needs of those before it lies in plain lists of what a layer was given: its history.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
erf = np.vectorize(math.erf)


class TokenByToken:
    """A codec that is given one token's samples, or codes, at a time."""

    def __init__(self, network: Any, encoder: Mapping[str, Array], decoder: Mapping[str, Array]) -> None:
        self.network = network
        self.weights = {"encoder": encoder, "decoder": decoder}
        self.reset()
        size, window = network.n_fft, network.win_size
        self.window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)
        self.first = (size - window) // 2
        self.energy = (self.window**2).sum() / network.hop_size

    def reset(self) -> None:
        delay = self.network.win_size - self.network.hop_size
        self.heard, self.adding = np.zeros(delay), np.zeros(delay)
        self.histories: dict[str, list[Array]] = {}

    def normed(self, part: str, key: str) -> tuple[Array, Array]:
        held = self.weights[part]
        direction = held[f"{key}.weight_v"]
        length = np.sqrt((direction**2).sum(axis=(1, 2), keepdims=True))
        return held[f"{key}.weight_g"] * direction / length, held[f"{key}.bias"]

    def convolved(self, part: str, key: str, x: Array, *, normed: bool, depthwise: bool = False) -> Array:
        """One step of a causal convolution: its history and the vector that comes in."""
        held = self.weights[part]
        weight, bias = self.normed(part, key) if normed else (held[f"{key}.weight"], held[f"{key}.bias"])
        taps = weight.shape[2]
        history = self.histories.setdefault(f"{part}.{key}", [np.zeros_like(x) for _ in range(taps - 1)])
        seen = [*history, x]
        self.histories[f"{part}.{key}"] = seen[1:]
        if depthwise:
            return bias + sum(weight[:, 0, tap] * seen[tap] for tap in range(taps))
        return bias + sum(weight[:, :, tap] @ seen[tap] for tap in range(taps))

    def linear(self, part: str, key: str, x: Array) -> Array:
        return self.weights[part][f"{key}.weight"] @ x + self.weights[part][f"{key}.bias"]

    def layer_norm(self, part: str, key: str, x: Array) -> Array:
        scaled = (x - x.mean()) / np.sqrt(x.var() + 1e-6)
        return scaled * self.weights[part][f"{key}.weight"] + self.weights[part][f"{key}.bias"]

    def branch(self, part: str, name: str, x: Array) -> Array:
        """One frame through a backbone."""
        x = self.layer_norm(part, f"norm_{name}", self.convolved(part, f"embed_{name}", x, normed=False))
        for index in range(self.network.num_layers):
            block = f"convnext_{name}.{index}"
            y = self.convolved(part, f"{block}.dwconv", x, normed=False, depthwise=True)
            y = self.linear(part, f"{block}.pwconv1", self.layer_norm(part, f"{block}.norm", y))
            y = y * 0.5 * (1 + erf(y / np.sqrt(2)))
            y = y * self.weights[part][f"{block}.affine.weight"] + self.weights[part][f"{block}.affine.bias"]
            x = x + self.linear(part, f"{block}.pwconv2", y)
        return self.linear(part, f"out_{name}", self.layer_norm(part, f"final_layer_norm_{name}", x))

    def latent(self, samples: Array) -> Array:
        """The latent of a token's samples."""
        network = self.network
        self.heard = np.concatenate([self.heard, samples])
        amplitudes, phases = [], []
        for frame in range(network.ratio):
            segment = self.heard[frame * network.hop_size :][: network.win_size] * self.window
            at = np.arange(network.win_size) + self.first
            turns = np.outer(np.arange(network.n_fft // 2 + 1), at) / network.n_fft
            spectrum = np.exp(-2j * np.pi * turns) @ segment
            # What is zero in mathematics is +0, not what rounding left of it: the phase is 0 or +pi there.
            parts = np.stack([spectrum.real, spectrum.imag])
            real, imag = np.where(np.abs(parts) < 1e-11 * np.abs(segment).max(initial=1e-300), 0.0, parts)
            amplitudes.append(self.branch("encoder", "logamp", np.log(np.hypot(real, imag) + 1e-5)))
            phases.append(self.branch("encoder", "pha", np.arctan2(imag, real)))
        self.heard = self.heard[network.ratio * network.hop_size :]
        down = []
        for name, frames in (("AMP", amplitudes), ("PHA", phases)):
            weight, bias = self.normed("encoder", f"{name}_Encoder_downsample_output_conv")
            down.append(bias + sum(weight[:, :, tap] @ frames[tap] for tap in range(network.ratio)))
        return self.convolved("encoder", "latent_output_conv", np.concatenate(down), normed=True)

    def quantized(self, latent: Array) -> tuple[list[int], Array]:
        """Codes of a latent, and what they stand for."""
        codes, total = [], np.zeros_like(latent)
        for book in range(self.network.num_codebooks):
            key = f"quantizer.quantizers.{book}"
            entries = self.weights["encoder"][f"{key}.codebook.weight"]
            residual = latent - total
            searched = residual
            if self.network.projections:
                weight, bias = self.normed("encoder", f"{key}.in_proj")
                searched = weight[:, :, 0] @ residual + bias
            cosines = entries @ searched / np.linalg.norm(entries, axis=1)
            codes.append(int(np.argmax(cosines)))
            total = total + self.meant(book, codes[-1])
        return codes, total

    def meant(self, book: int, code: int) -> Array:
        key = f"quantizer.quantizers.{book}"
        vector = self.weights["encoder"][f"{key}.codebook.weight"][code]
        if self.network.projections:
            weight, bias = self.normed("encoder", f"{key}.out_proj")
            vector = weight[:, :, 0] @ vector + bias
        return vector

    def encode(self, samples: Array) -> list[int]:
        return self.quantized(self.latent(samples))[0]

    def decode(self, codes: list[int]) -> Array:
        """The samples that are final with a token: its own, as late as the delay."""
        network = self.network
        latent = sum(self.meant(book, code) for book, code in enumerate(codes))
        hidden = self.convolved("decoder", "latent_input_conv", latent, normed=True)
        previous = self.histories.get("up", [np.zeros_like(hidden)])[0]
        self.histories["up"] = [hidden]
        for frame in range(network.ratio):
            raised = []
            for name in ("AMP", "PHA"):
                weight, bias = self.normed("decoder", f"{name}_Decoder_upsample_input_conv")
                own, before = weight[:, :, frame], weight[:, :, frame + network.ratio]
                raised.append(own.T @ hidden + before.T @ previous + bias)
            amplitude = self.branch("decoder", "logamp", raised[0])
            phase = self.branch("decoder", "pha", raised[1])
            log = self.convolved("decoder", "AMP_Decoder_output_conv", amplitude, normed=True)
            r = self.convolved("decoder", "PHA_Decoder_output_R_conv", phase, normed=True)
            i = self.convolved("decoder", "PHA_Decoder_output_I_conv", phase, normed=True)
            spectrum = np.exp(np.minimum(log, 15.0) + 1j * np.arctan2(i, r))
            frame_samples = np.fft.irfft(spectrum, network.n_fft)[self.first :][: network.win_size] * self.window
            at = frame * network.hop_size
            self.adding = np.concatenate([self.adding, np.zeros(at + network.win_size - len(self.adding))])
            self.adding[at : at + network.win_size] += frame_samples / self.energy
        unit = network.ratio * network.hop_size
        final, self.adding = self.adding[:unit], self.adding[unit:]
        return final
