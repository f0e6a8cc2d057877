"""The published code, written down anew, layer by layer, in PyTorch's own functions and float64; and a small network.

What the deployed form and its graphs must agree with, clip ends and the shortest clips included.
"""

from __future__ import annotations

import math

import onnx
import onnxruntime
import torch
from torch import Tensor
from torch.nn import functional as F

from apcodec_export.checkpoint import Checkpoint
from apcodec_export.network import NetworkConfig

SMALL = NetworkConfig(
    block="grn",
    projections=True,
    sample_rate=24000,
    n_fft=32,
    win_size=24,
    hop_size=8,
    ratio=4,
    dim=6,
    intermediate_dim=8,
    num_layers=1,
    embed_kernel=7,
    depthwise_kernel=7,
    encoder_amp_channels=6,
    encoder_pha_channels=8,
    decoder_amp_channels=6,
    decoder_pha_channels=8,
    amp_down_kernel=7,
    pha_down_kernel=7,
    amp_up_kernel=16,
    pha_up_kernel=16,
    latent_output_kernel=7,
    latent_input_kernel=7,
    amp_output_kernel=7,
    real_output_kernel=7,
    imag_output_kernel=7,
    latent_dim=5,
    num_codebooks=2,
    codebook_size=16,
    codebook_dim=3,
)
"""The published kernels at ratio 4, and small."""


class Published:
    """The published networks as functions of a state dict."""

    def __init__(self, network: NetworkConfig, checkpoint: Checkpoint) -> None:
        self.network = network
        modules = {"encoder": checkpoint.encoder, "decoder": checkpoint.decoder}
        self.state = {
            f"{part}.{key}": value.double()
            for part, module in modules.items()
            for key, value in module.state_dict().items()
        }

    def encode(self, logamp: Tensor, phase: Tensor) -> Tensor:
        halves = [
            self.convolve(f"encoder.{name}_Encoder_downsample_output_conv", branch, stride=self.network.ratio)
            for name, branch in (
                ("AMP", self.backbone("encoder", "logamp", logamp)),
                ("PHA", self.backbone("encoder", "pha", phase)),
            )
        ]
        return self.convolve("encoder.latent_output_conv", torch.cat(halves, dim=1))

    def decode(self, latent: Tensor) -> tuple[Tensor, Tensor]:
        hidden = self.convolve("decoder.latent_input_conv", latent)
        logamp, phase = (
            self.backbone("decoder", branch, self.raise_(f"decoder.{name}_Decoder_upsample_input_conv", hidden))
            for name, branch in (("AMP", "logamp"), ("PHA", "pha"))
        )
        amplitude = self.convolve("decoder.AMP_Decoder_output_conv", logamp).exp()
        r, i = (self.convolve(f"decoder.PHA_Decoder_output_{part}_conv", phase) for part in "RI")
        angle = torch.atan2(i, r)
        return amplitude * angle.cos(), amplitude * angle.sin()

    def normed(self, name: str) -> tuple[Tensor, Tensor]:
        weight = torch._weight_norm(self.state[f"{name}.weight_v"], self.state[f"{name}.weight_g"], 0)
        return weight, self.state[f"{name}.bias"]

    def convolve(self, name: str, x: Tensor, stride: int = 1) -> Tensor:
        weight, bias = self.normed(name)
        return F.conv1d(x, weight, bias, stride=stride, padding=(weight.shape[2] - 1) // 2)

    def raise_(self, name: str, x: Tensor) -> Tensor:
        (weight, bias), ratio = self.normed(name), self.network.ratio
        return F.conv_transpose1d(x, weight, bias, stride=ratio, padding=(weight.shape[2] - ratio) // 2)

    def backbone(self, part: str, branch: str, x: Tensor) -> Tensor:
        def held(name: str) -> tuple[Tensor, Tensor]:
            return self.state[f"{part}.{name}.weight"], self.state[f"{part}.{name}.bias"]

        def normal(name: str, y: Tensor) -> Tensor:
            return F.layer_norm(y, (y.shape[-1],), *held(name), eps=1e-6)

        x = F.conv1d(x, *held(f"embed_{branch}"), padding="same")
        x = normal(f"norm_{branch}", x.transpose(1, 2))
        for layer in range(self.network.num_layers):
            name = f"convnext_{branch}.{layer}"
            y = F.conv1d(x.transpose(1, 2), *held(f"{name}.dwconv"), padding="same", groups=self.network.dim)
            y = F.gelu(F.linear(normal(f"{name}.norm", y.transpose(1, 2)), *held(f"{name}.pwconv1")))
            if self.network.block == "grn":
                gamma, beta = (self.state[f"{part}.{name}.grn.{which}"] for which in ("gamma", "beta"))
                energy = torch.norm(y, p=2, dim=1, keepdim=True)
                y = gamma * (y * (energy / (energy.mean(dim=-1, keepdim=True) + 1e-6))) + beta + y
            y = F.linear(y, *held(f"{name}.pwconv2"))
            x = x + (y if self.network.block == "grn" else self.state[f"{part}.{name}.gamma"] * y)
        return F.linear(normal(f"final_layer_norm_{branch}", x), *held(f"out_{branch}")).transpose(1, 2)


def noise(*shape: int) -> Tensor:
    return torch.randn(2, *shape, generator=torch.Generator().manual_seed(math.prod(shape)), dtype=torch.float64)


def error(found: Tensor, expected: Tensor) -> float:
    assert found.shape == expected.shape
    return float((found - expected).abs().max() / expected.abs().max().clamp(min=1))


def ran(model: onnx.ModelProto, *inputs: Tensor) -> list[Tensor]:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    feed = {value.name: tensor.float().numpy() for value, tensor in zip(session.get_inputs(), inputs, strict=True)}
    return [torch.from_numpy(output) for output in session.run(None, feed)]
