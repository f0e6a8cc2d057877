"""The deployed network is the published one: exactly so in float64, clip ends and shortest clips included."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from apcodec_export.checkpoint import Checkpoint, random_checkpoint
from apcodec_export.deployed.layers import Convolution, Linear, Product
from apcodec_export.deployed.network import DeployedDecoder, DeployedEncoder
from apcodec_export.deployed.precision import FULL, HALF, PrecisionPlan
from apcodec_export.network import NetworkConfig

DOUBLE = PrecisionPlan(name="float64")
LENGTHS = (1, 2, 3, 7, 8, 9, 100)


@pytest.fixture(scope="module", params=["golden", "unpublished", "unpublished grn"])
def model(
    request: pytest.FixtureRequest, checkpoint: Checkpoint, unpublished: NetworkConfig, unpublished_grn: Checkpoint
) -> Checkpoint:
    if request.param == "golden":
        return checkpoint
    return unpublished_grn if request.param == "unpublished grn" else random_checkpoint(unpublished)


def noise(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=torch.float64)


def _error(found: Tensor, expected: Tensor) -> float:
    assert found.shape == expected.shape
    return float((found - expected).abs().max() / expected.abs().max())


@pytest.fixture(scope="module")
def encoders(model: Checkpoint) -> tuple[nn.Module, nn.Module]:
    """The published encoder and the deployed one, in float64."""
    published = copy.deepcopy(model.encoder).double()
    return published, DeployedEncoder(published, DOUBLE)


@pytest.fixture(scope="module")
def decoders(model: Checkpoint) -> tuple[nn.Module, nn.Module]:
    """The published decoder and the deployed one, in float64."""
    published = copy.deepcopy(model.decoder).double()
    return published, DeployedDecoder(published, DOUBLE)


@pytest.mark.parametrize("frames", LENGTHS)
def test_the_deployed_encoder_is_the_published_one(
    model: Checkpoint, encoders: tuple[nn.Module, nn.Module], frames: int
) -> None:
    published, deployed = encoders
    features = noise(2, model.network.bins, frames), noise(2, model.network.bins, frames + 1)[:, :, :-1]
    assert _error(deployed(*features), published(*features)) < 1e-9


@pytest.mark.parametrize("latents", LENGTHS)
def test_the_deployed_decoder_is_the_published_one(
    model: Checkpoint, decoders: tuple[nn.Module, nn.Module], latents: int
) -> None:
    published, deployed = decoders
    latent = noise(2, model.network.latent_dim, latents)
    for found, expected in zip(deployed(latent), published(latent), strict=True):
        assert _error(found, expected) < 1e-9


def test_the_published_network_is_left_as_it_was(model: Checkpoint) -> None:
    before = {name: value.clone() for name, value in model.encoder.state_dict().items()}
    network = DeployedEncoder(model.encoder, HALF)
    for parameter in network.parameters():
        parameter.zero_()
    for name, value in model.encoder.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_a_decoder_of_nothing_points_along_the_real_axis(model: Checkpoint) -> None:
    published = copy.deepcopy(model.decoder)
    for head in (published.PHA_Decoder_output_R_conv, published.PHA_Decoder_output_I_conv):
        head.weight_g.zero_()
        head.bias.zero_()
    real, imag = DeployedDecoder(published, FULL)(torch.zeros(1, model.network.latent_dim, 3))
    assert (real > 0).all()
    assert not imag.any()


def _networks(model: Checkpoint, plan: PrecisionPlan) -> tuple[DeployedEncoder, DeployedDecoder]:
    return DeployedEncoder(model.encoder, plan), DeployedDecoder(model.decoder, plan)


def test_every_product_has_the_type_of_the_plan(model: Checkpoint) -> None:
    plan = PrecisionPlan(name="float16", float32=("decoder.real_head", "encoder.*.expand"))
    for network in _networks(model, plan):
        for name, module in network.named_modules():
            if isinstance(module, Product):
                path = f"{network.part}.{name}"
                kept = path == "decoder.real_head" or (path.startswith("encoder") and path.endswith("expand"))
                assert module.weight.dtype == module.bias.dtype == (torch.float32 if kept else torch.float16), path


def test_everything_else_is_float32_under_every_plan(model: Checkpoint) -> None:
    for network in _networks(model, HALF):
        products = {id(value) for module in network.modules() if isinstance(module, Product) for value in
                    module.parameters()}  # fmt: skip
        others = [value for value in network.parameters() if id(value) not in products]
        assert others
        assert {value.dtype for value in others} == {torch.float32}


def test_inputs_and_outputs_are_float32(model: Checkpoint) -> None:
    encoder, decoder = _networks(model, HALF)
    features = [noise(1, model.network.bins, 9).float() for _ in range(2)]
    latent = encoder(*features)
    assert latent.dtype == torch.float32
    assert {part.dtype for part in decoder(latent)} == {torch.float32}


def test_what_blocks_pass_on_has_the_type_of_the_stream(model: Checkpoint) -> None:
    for pattern, expected in (((), torch.float16), (("*.stream",), torch.float32)):
        encoder = DeployedEncoder(model.encoder, PrecisionPlan(name="float16", float32=pattern))
        seen: list[torch.dtype] = []
        for block in encoder.amplitude.blocks:
            block.register_forward_hook(lambda module, inputs, output, seen=seen: seen.append(output.dtype))
        encoder(*(noise(1, model.network.bins, 9).float() for _ in range(2)))
        assert set(seen) == {expected}


def test_a_plan_can_name_every_layer(model: Checkpoint) -> None:
    network = model.network
    encoder, decoder = (deployed.paths() for deployed in _networks(model, FULL))
    branches = (network.encoder_amp_channels, network.encoder_pha_channels)
    unfolded = sum(channels < network.dim for channels in branches)
    # Per branch: stream and three products a block. An embedding each, two convolutions down, one to the latent.
    assert len(set(encoder)) == len(encoder) == 2 * (1 + 3 * network.num_layers) + 2 + 2 + 1 + unfolded
    # A front has three products; one head for the amplitude, two for the direction.
    assert len(set(decoder)) == len(decoder) == 2 * (1 + 3 * network.num_layers) + 2 * 3 + 3 + unfolded


def test_a_branchs_last_linear_is_folded_where_that_is_no_more_work(model: Checkpoint) -> None:
    for network in _networks(model, FULL):
        for branch, channels in (
            (network.amplitude, model.network.encoder_amp_channels),
            (network.phase, model.network.encoder_pha_channels),
        ):
            assert isinstance(branch.out, nn.Identity) == (channels >= model.network.dim)
    unfolded = DeployedEncoder(model.encoder, PrecisionPlan(name="int8"))
    assert isinstance(unfolded.amplitude.out, Linear)


def test_nothing_but_plain_layers_is_left(model: Checkpoint) -> None:
    for network in _networks(model, FULL):
        kinds = {type(module) for module in network.modules()}
        assert not kinds & {nn.Conv1d, nn.ConvTranspose1d, nn.Linear, nn.LayerNorm}
        assert {Convolution, Linear} <= kinds
