"""Networks that the published code runs and nobody published: each is deployed as the same function, or refused."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from field_networks import SMALL, Published, error, noise, ran
from hypothesis import example, given, settings
from hypothesis import strategies as st

from apcodec_deploy.errors import CheckpointError
from apcodec_export.checkpoint import random_checkpoint
from apcodec_export.deployed.network import DeployedDecoder, DeployedEncoder
from apcodec_export.deployed.precision import HALF, INTEGER, PrecisionPlan
from apcodec_export.forms import layer_paths
from apcodec_export.graphs import decoder_graph, encoder_graph, to_onnx
from apcodec_export.network import PUBLISHED_48K, NetworkConfig
from apcodec_export.published import detect, published_config

DOUBLE = PrecisionPlan(name="float64")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """So little work is done sooner by one thread than shared out."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


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


@pytest.mark.slow
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


@pytest.mark.slow
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
