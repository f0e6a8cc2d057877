"""Networks that the published code runs and nobody published: each is deployed as the same function, or refused.

The published code is written down here anew, layer by layer, in PyTorch's own functions and float64: what the deployed
form and its graphs must agree with, clip ends and the shortest clips included.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import onnx
import onnxruntime
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from apcodec_deploy.errors import CheckpointError
from apcodec_export.checkpoint import Checkpoint, random_checkpoint
from apcodec_export.deployed.network import DeployedDecoder, DeployedEncoder
from apcodec_export.deployed.precision import HALF, INTEGER, PrecisionPlan
from apcodec_export.forms import layer_paths
from apcodec_export.graphs import decoder_graph, encoder_graph, graphs, to_onnx
from apcodec_export.network import PUBLISHED_48K, NetworkConfig
from apcodec_export.published import detect, published_config

DOUBLE = PrecisionPlan(name="float64")
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


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """So little work is done sooner by one thread than shared out."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


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


@st.composite
def networks(draw: st.DrawFn) -> NetworkConfig:
    """Configurations that the published code runs."""
    ratio = draw(st.integers(1, 6))
    odd = st.sampled_from([1, 3, 7, 15])
    amp, pha = draw(st.tuples(st.integers(2, 9), st.integers(2, 9)))
    beyond = draw(st.tuples(*[st.integers(0, 4 * ratio + 3)] * 2))
    outputs = [2 * draw(st.integers(1, 4)) - 1 + beyond[branch] % 2 for branch in (0, 1, 1)]
    projections = draw(st.booleans())
    latent = draw(st.integers(1, 8))
    return replace(
        SMALL,
        block=draw(st.sampled_from(["grn", "layer_scale"])),
        projections=projections,
        ratio=ratio,
        dim=draw(st.integers(2, 8)),
        num_layers=draw(st.integers(1, 2)),
        encoder_amp_channels=amp,
        decoder_amp_channels=amp,
        encoder_pha_channels=pha,
        decoder_pha_channels=pha,
        amp_down_kernel=draw(odd),
        pha_down_kernel=draw(odd),
        latent_output_kernel=draw(odd),
        latent_input_kernel=draw(odd),
        amp_up_kernel=ratio + beyond[0],
        pha_up_kernel=ratio + beyond[1],
        amp_output_kernel=outputs[0],
        real_output_kernel=outputs[1],
        imag_output_kernel=outputs[2],
        latent_dim=latent,
        codebook_dim=draw(st.integers(1, 8)) if projections else latent,
        num_codebooks=draw(st.integers(1, 3)),
    )


def noise(*shape: int) -> Tensor:
    return torch.randn(2, *shape, generator=torch.Generator().manual_seed(math.prod(shape)), dtype=torch.float64)


def error(found: Tensor, expected: Tensor) -> float:
    assert found.shape == expected.shape
    return float((found - expected).abs().max() / expected.abs().max().clamp(min=1))


RATIO_4 = SMALL
"""What the issue names: a frame of a clip of one latent is near both of its ends."""
ODD_SURPLUS = replace(SMALL, ratio=8, amp_up_kernel=17, amp_output_kernel=8)
"""One branch gives a frame more on its way up and a frame less at its end."""


@example(network=RATIO_4, latents=1)
@example(network=replace(SMALL, ratio=1, amp_up_kernel=15, pha_up_kernel=9), latents=1)
@example(network=ODD_SURPLUS, latents=2)
@given(network=networks(), latents=st.integers(1, 12))
@settings(max_examples=60)
@torch.no_grad()
def test_a_decoder_that_runs_is_deployed_as_it_is(network: NetworkConfig, latents: int) -> None:
    checkpoint = random_checkpoint(network)
    latent = noise(network.latent_dim, latents)
    expected = Published(network, checkpoint).decode(latent)
    assert expected[0].shape[2] == network.ratio * latents
    made = DeployedDecoder(checkpoint.decoder.double(), DOUBLE)
    for found, part in zip(made(latent), expected, strict=True):
        assert error(found, part) < 1e-9


@example(network=replace(SMALL, encoder_amp_channels=5, decoder_amp_channels=5), frames=1)
@given(network=networks(), frames=st.integers(1, 40))
@settings(max_examples=60)
@torch.no_grad()
def test_an_encoder_that_runs_is_deployed_as_it_is(network: NetworkConfig, frames: int) -> None:
    checkpoint = random_checkpoint(network)
    features = noise(network.bins, frames), noise(frames, network.bins).transpose(1, 2)
    expected = Published(network, checkpoint).encode(*features)
    assert expected.shape[2] == math.ceil(frames / network.ratio)
    made = DeployedEncoder(checkpoint.encoder.double(), DOUBLE)
    assert error(made(*features), expected) < 1e-9


@given(network=networks())
@settings(max_examples=40)
def test_a_network_is_read_off_its_own_files(network: NetworkConfig) -> None:
    checkpoint = random_checkpoint(network)
    modules = {"encoder": checkpoint.encoder, "decoder": checkpoint.decoder}
    shapes = {
        f"{part}.{key}": tuple(value.shape)
        for part, module in modules.items()
        for key, value in module.state_dict().items()
    }
    assert detect(published_config(network), shapes) == (network, [])


@pytest.mark.parametrize(
    "network",
    [RATIO_4, ODD_SURPLUS, replace(SMALL, ratio=2, amp_up_kernel=15, amp_output_kernel=4, num_layers=2)],
    ids=["ratio 4", "odd surplus", "both"],
)
@torch.no_grad()
def test_windows_have_all_the_context_that_a_sample_depends_on(network: NetworkConfig) -> None:
    network = replace(network, block="layer_scale")
    decoder = random_checkpoint(network).decoder.double()
    context = network.decoder_context_frames - math.ceil(network.win_size / 2 / network.hop_size)
    latents = 2 * (context // network.ratio) + 5
    latent, middle = noise(network.latent_dim, latents)[:1], latents // 2
    nudged = latent.clone()
    nudged[:, :, middle] += 1
    before, after = (torch.cat(decoder.heads(x), dim=1) for x in (latent, nudged))
    changed = (before != after).any(dim=1)[0].nonzero().flatten()
    reach = max(network.ratio * middle - int(changed.min()), int(changed.max()) - network.ratio * (middle + 1) + 1)
    assert context - network.ratio < reach <= context


def ran(model: onnx.ModelProto, *inputs: Tensor) -> list[Tensor]:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    feed = {value.name: tensor.float().numpy() for value, tensor in zip(session.get_inputs(), inputs, strict=True)}
    return [torch.from_numpy(output) for output in session.run(None, feed)]


@torch.no_grad()
def test_the_exported_decoder_of_ratio_4_is_the_published_one() -> None:
    network = replace(RATIO_4, pha_up_kernel=17, real_output_kernel=8, imag_output_kernel=6)
    checkpoint = random_checkpoint(network)
    model = to_onnx(decoder_graph(checkpoint, PrecisionPlan(name="float32")), checkpoint.fingerprint)
    # What engines are built of: no branches, no transposed convolutions.
    assert not {"If", "Loop", "Scan", "ConvTranspose"} & {node.op_type for node in model.graph.node}
    published = Published(network, checkpoint)
    for latents in (1, 2, 3, 10):
        latent = noise(network.latent_dim, latents)
        for found, expected in zip(ran(model, latent), published.decode(latent), strict=True):
            assert error(found.double(), expected) < 1e-4


@torch.no_grad()
def test_the_exported_encoder_of_odd_channels_and_ratio_1_is_the_published_one() -> None:
    network = replace(SMALL, ratio=1, encoder_amp_channels=5, decoder_amp_channels=5, amp_output_kernel=8,
                      real_output_kernel=8, imag_output_kernel=8)  # fmt: skip
    checkpoint = random_checkpoint(network)
    model = to_onnx(encoder_graph(checkpoint, PrecisionPlan(name="float32")), checkpoint.fingerprint)
    published = Published(network, checkpoint)
    for frames in (1, 2, 3, 10):
        features = noise(network.bins, frames), noise(frames, network.bins).transpose(1, 2)
        assert error(ran(model, *features)[0].double(), published.encode(*features)) < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize(("win_size", "hop_size"), [(13, 8), (16, 8), (24, 8), (31, 10)])
@torch.no_grad()
def test_the_exported_transforms_of_short_and_odd_windows_are_those_of_torch(win_size: int, hop_size: int) -> None:
    checkpoint = random_checkpoint(replace(SMALL, win_size=win_size, hop_size=hop_size))
    made = graphs(checkpoint)
    stft, istft = (to_onnx(made[name], checkpoint.fingerprint) for name in ("stft", "istft"))
    sizes = {
        "n_fft": SMALL.n_fft,
        "hop_length": hop_size,
        "win_length": win_size,
        "window": torch.hann_window(win_size),
    }
    for samples in (max(SMALL.n_fft // 2 + 1, checkpoint.network.spec().min_samples), 39, 40, 41, 1000):
        audio = noise(samples).float()
        spectrum = torch.stft(audio, **sizes, return_complex=True)
        logamp, phase = ran(stft, audio)
        assert error(torch.polar(logamp.exp() - 1e-5, phase), spectrum) < 1e-5
        (found,) = ran(istft, spectrum.real, spectrum.imag)
        kept = samples // hop_size * hop_size  # the last frame's centre; torch stops there, too
        assert error(found[:, :kept], audio[:, :kept]) < 1e-4


def test_layers_that_are_not_folded_can_be_typed_by_name_and_are_not_quantised() -> None:
    checkpoint = random_checkpoint(RATIO_4)
    paths = [f"decoder.{branch}.embed.{layer}" for branch in ("amplitude", "phase")
             for layer in ("hidden", "raised", "frames")]  # fmt: skip
    assert set(paths) <= set(layer_paths(checkpoint, HALF))
    replace(HALF, float32=("*.raised",)).check(layer_paths(checkpoint, HALF))
    assert not any(INTEGER.quantizes(path) for path in paths)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"amp_up_kernel": 17}, "amp_up_kernel is 17 with ratio 4 and amp_output_kernel is 7"),
        ({"real_output_kernel": 8}, "pha_up_kernel is 16 with ratio 4 and real_output_kernel is 8"),
        ({"pha_up_kernel": 3}, "pha_up_kernel is 3 with ratio 4, but it must be at least the ratio"),
        ({"pha_down_kernel": 8}, "pha_down_kernel is 8, but only an odd kernel"),
        ({"latent_input_kernel": 6}, "latent_input_kernel is 6, but only an odd kernel"),
        ({"decoder_pha_channels": 10}, "they must be equal"),
        ({"encoder_amp_channels": 1, "decoder_amp_channels": 1}, "half of it must be left"),
    ],
)
def test_what_breaks_the_length_law_or_the_published_code_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        replace(SMALL, **change)


def test_the_published_kernels_have_their_context_at_any_even_ratio() -> None:
    for ratio in range(2, 17, 2):
        spec = replace(PUBLISHED_48K, ratio=ratio).spec()
        frames = 3 * ratio + math.ceil((16 - ratio) / 2 / ratio) * ratio + 3 + 8 * 3 + 3 + 4
        assert spec.decoder_context_frames == frames
        assert spec.context_latents * ratio >= frames
