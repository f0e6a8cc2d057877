"""A network's numbers: read off weights and config, refused where they cannot work, and the context they imply."""

from __future__ import annotations

import json
import math
import re
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from apcodec_deploy.errors import CheckpointError
from apcodec_export.checkpoint import random_checkpoint
from apcodec_export.model.network import Decoder, Encoder
from apcodec_export.model.transforms import Istft, Stft
from apcodec_export.network import NetworkConfig
from apcodec_export.published import detect

Shapes = dict[str, tuple[int, ...]]

KERNELS = [name for name in NetworkConfig.__dataclass_fields__ if name.endswith("_kernel")]
FULL_SIZE = {48: 256, 96: 512, 24: 128}
"""The widths of the golden checkpoints, and what they are in the published ones; no other size equals one of them."""


@pytest.fixture(scope="module")
def config(family: Path) -> dict[str, Any]:
    return json.loads((family / "config.json").read_text())


@pytest.fixture(scope="module")
def shapes(family: Path) -> Shapes:
    parts = {part: torch.load(family / f"{part}_00001000")[part] for part in ("encoder", "decoder")}
    return {f"{part}.{key}": tuple(value.shape) for part, state in parts.items() for key, value in state.items()}


@pytest.fixture
def published(config: dict[str, Any], shapes: Shapes) -> tuple[dict[str, Any], Shapes]:
    """The config and shapes of a full-size checkpoint: the golden keys, wider, and eight layers of them."""
    full: Shapes = {}
    for key, shape in shapes.items():
        layers = range(8) if ".0." in key and "convnext" in key else range(1)
        for layer in layers:
            name = key.replace(".0.", f".{layer}.") if "convnext" in key else key
            full.setdefault(name, tuple(FULL_SIZE.get(size, size) for size in shape))
    sizes = {key: FULL_SIZE[48] if key.endswith("_channel") else value for key, value in config.items()}
    return {key: sizes[key] for key in sizes.keys() - {"dim", "intermediate_dim", "num_layers"}}, full


def test_both_families_are_recognised(family: Path, config: dict[str, Any], shapes: Shapes) -> None:
    network, _ = detect(config, shapes)
    small = {"dim": 48, "intermediate_dim": 96, "num_layers": 2, "n_fft": 1024, "hop_size": 40, "ratio": 8}
    expected = {
        "apcodec_48k_grn_tiny": {
            "block": "grn",
            "projections": True,
            "sample_rate": 48000,
            "win_size": 320,
            "latent_dim": 32,
            "num_codebooks": 4,
            "amp_down_kernel": 7,
        },
        "apcodec_16k_layerscale_tiny": {
            "block": "layer_scale",
            "projections": False,
            "sample_rate": 16000,
            "win_size": 160,
            "latent_dim": 64,
            "num_codebooks": 8,
            "amp_down_kernel": 15,
        },
    }[family.name]
    assert expected.items() | small.items() <= asdict(network).items()


def test_the_published_layout_is_recognised_at_full_size(published: tuple[dict[str, Any], Shapes]) -> None:
    config, shapes = published
    network, _ = detect(config, shapes)
    assert (network.dim, network.intermediate_dim, network.num_layers) == (256, 512, 8)
    with torch.device("meta"):
        modules = {"encoder": Encoder(network), "decoder": Decoder(network)}
    built = {
        f"{part}.{key}": tuple(value.shape)
        for part, module in modules.items()
        for key, value in module.state_dict().items()
    }
    assert built == shapes


def test_the_published_models_have_the_published_sizes(family: Path, published: tuple[dict[str, Any], Shapes]) -> None:
    network, _ = detect(*published)
    with torch.device("meta"):
        encoder, decoder = Encoder(network), Decoder(network)
    # Only those of the 48 kHz model were published, the encoder's with the quantizer in it.
    assert (_size(encoder), _size(encoder.quantizer), _size(decoder)) == {
        "apcodec_48k_grn_tiny": (6_893_120, 139_776, 10_232_582),
        "apcodec_16k_layerscale_tiny": (7_847_040, 524_288, 10_277_638),
    }[family.name]


def test_the_published_models_have_the_published_contexts(published: tuple[dict[str, Any], Shapes]) -> None:
    network, _ = detect(*published)
    down = 0 if network.block == "grn" else 4  # half of 15 taps instead of half of 7
    window = {320: 4, 160: 2}[network.win_size]
    assert network.encoder_context_frames == 54 + down + window
    assert network.decoder_context_frames == 62 + window


def test_the_published_defaults_fill_what_neither_config_nor_weights_say(
    published: tuple[dict[str, Any], Shapes],
) -> None:
    config, shapes = published
    known, _ = detect(config, shapes)
    unseen = ("encoder.embed_logamp.weight", "encoder.convnext_logamp.")
    network, notes = detect(config, {key: shape for key, shape in shapes.items() if not key.startswith(unseen)})
    assert network == known
    assert not [note for note in notes if "dim" in note or "layers" in note]


def test_codebooks_are_counted_where_the_config_says_nothing(config: dict[str, Any], shapes: Shapes) -> None:
    silent = {key: value for key, value in config.items() if key != "n_codebooks"}
    assert detect(silent, shapes)[0].num_codebooks == detect(config, shapes)[0].num_codebooks


@pytest.mark.parametrize(
    ("key", "wrong"),
    [
        ("dim", 256),
        ("intermediate_dim", 512),
        ("latent_dim", 16),
        ("AMP_Encoder_channel", 256),
        ("PHA_Decoder_input_upconv_kernel_size", 24),
        ("latent_output_conv_kernel_size", 3),
        ("num_layers", 6),
        ("n_codebooks", 16),
    ],
)
def test_the_weights_win_over_the_config_and_a_note_says_so(
    config: dict[str, Any], shapes: Shapes, key: str, wrong: int
) -> None:
    right, notes = detect(config, shapes)
    network, more = detect({**config, key: wrong}, shapes)
    assert network == right
    (note,) = set(more) - set(notes)
    assert key in note
    assert str(wrong) in note


def test_the_16_khz_config_is_overruled_by_its_weights(family: Path, config: dict[str, Any], shapes: Shapes) -> None:
    _, notes = detect(config, shapes)
    overruled = [key for key in config if any(f" {key} = " in note for note in notes)]
    assert overruled == (
        []
        if "grn" in family.name
        else ["AMP_Encoder_output_downconv_kernel_size", "PHA_Encoder_output_downconv_kernel_size"]
    )


def test_missing_rates_are_all_named(config: dict[str, Any], shapes: Shapes) -> None:
    rates = ["sampling_rate", "n_fft", "win_size", "hop_size", "ratio"]
    with pytest.raises(CheckpointError) as caught:
        detect({key: value for key, value in config.items() if key not in rates}, shapes)
    assert all(key in str(caught.value) for key in rates)


def test_what_neither_weights_nor_config_tell_is_named(config: dict[str, Any], shapes: Shapes) -> None:
    lost = "encoder.AMP_Encoder_downsample_output_conv.weight_v"
    key = "AMP_Encoder_output_downconv_kernel_size"
    with pytest.raises(CheckpointError, match=f"{re.escape(lost)}.*{key}"):
        detect(
            {name: value for name, value in config.items() if name != key},
            {name: shape for name, shape in shapes.items() if name != lost},
        )


@pytest.mark.parametrize("name", [name for name in KERNELS if "_up_" not in name])
def test_an_even_kernel_is_refused(unpublished: NetworkConfig, name: str) -> None:
    with pytest.raises(CheckpointError, match=f"{name} is 6.*odd kernel"):
        replace(unpublished, **{name: 6})


@pytest.mark.parametrize("name", [name for name in KERNELS if "_up_" in name])
@pytest.mark.parametrize("kernel", [2, 9])
def test_an_up_kernel_that_breaks_the_length_law_is_refused(unpublished: NetworkConfig, name: str, kernel: int) -> None:
    with pytest.raises(CheckpointError, match=f"{name} is {kernel} with ratio 4"):
        replace(unpublished, **{name: kernel})


@pytest.mark.parametrize("name", [name for name in KERNELS if "_up_" in name])
@pytest.mark.parametrize("kernel", [4, 6, 12, 16, 40])
def test_an_up_kernel_of_an_even_surplus_keeps_the_length_law(
    unpublished: NetworkConfig, name: str, kernel: int
) -> None:
    network = replace(unpublished, **{name: kernel})
    real, _ = random_checkpoint(network).decoder(torch.zeros(1, network.latent_dim, 5))
    assert real.shape == (1, network.bins, 5 * network.ratio)


@pytest.mark.parametrize("down", [1, 3, 15])
@pytest.mark.parametrize("frames", [1, 3, 4, 5, 17])
def test_every_odd_down_kernel_keeps_the_length_law(unpublished: NetworkConfig, down: int, frames: int) -> None:
    network = replace(unpublished, amp_down_kernel=down)
    features = torch.zeros(1, network.bins, frames)
    latent = random_checkpoint(network).encoder(features, features)
    assert latent.shape == (1, network.latent_dim, math.ceil(frames / network.ratio))


def test_codebooks_of_another_width_need_projections(unpublished: NetworkConfig) -> None:
    with pytest.raises(CheckpointError, match="codebooks of 6 without projections cannot code 12 channels"):
        replace(unpublished, projections=False)


@pytest.mark.parametrize("name", ["decoder_amp_channels", "decoder_pha_channels"])
def test_a_decoder_whose_channels_are_not_the_encoders_is_refused(unpublished: NetworkConfig, name: str) -> None:
    # The decoder's branches end in as many channels as the encoder's, and its output convolutions expect its own.
    with pytest.raises(CheckpointError, match="channels"):
        replace(unpublished, **{name: 18})


@pytest.mark.parametrize("rate", [999, 655_351, 10**12])
def test_a_rate_that_no_file_can_have_is_refused(unpublished: NetworkConfig, rate: int) -> None:
    with pytest.raises(CheckpointError, match=rf"sample_rate is {rate}; 1000 to 655350 Hz are expected"):
        replace(unpublished, sample_rate=rate)


@pytest.mark.parametrize("value", [0, -1, 2.0, True, "8", None])
def test_a_number_that_is_no_positive_integer_is_refused(config: dict[str, Any], shapes: Shapes, value: object) -> None:
    with pytest.raises(CheckpointError, match=r"ratio is .* positive integer"):
        detect({**config, "ratio": value}, shapes)


@pytest.fixture(
    params=[
        {"ratio": 8, "amp_up_kernel": 16, "pha_up_kernel": 16, "num_layers": 2},
        {"ratio": 8, "amp_up_kernel": 12, "pha_up_kernel": 12, "amp_down_kernel": 15, "num_layers": 2},
        {"depthwise_kernel": 7, "pha_up_kernel": 12},
        {"win_size": 128, "amp_output_kernel": 9, "latent_output_kernel": 7},
    ],
    ids=["published kernels", "16 kHz down kernel", "wide up kernel", "whole hops"],
)
def local(request: pytest.FixtureRequest, unpublished: NetworkConfig) -> NetworkConfig:
    """Networks without GRN, whose context is finite."""
    return replace(unpublished, **request.param)


def test_a_latent_depends_on_exactly_the_frames_that_the_context_claims(local: NetworkConfig) -> None:
    encoder = random_checkpoint(local).encoder.double()
    context = local.encoder_context_frames - math.ceil(local.win_size / 2 / local.hop_size)
    frames = local.ratio * (2 * context // local.ratio + 4)
    logamp, phase = _noise(local.bins, frames), _noise(local.bins, frames)
    before = encoder(logamp, phase)
    distances = set()
    for frame in range(frames // 2, frames // 2 + local.ratio):
        nudge = torch.zeros_like(logamp)
        nudge[:, :, frame] = 1
        after = encoder(logamp + nudge, phase + nudge)
        distances |= {local.ratio * latent - frame for latent in _changed(before, after)}
    assert (min(distances), max(distances)) == (-context, context)


def test_a_latent_depends_on_no_sample_outside_the_context(local: NetworkConfig) -> None:
    spec, encoder = local.spec(), random_checkpoint(local).encoder.double()
    stft = Stft(spec).double()
    context = local.encoder_context_frames * local.hop_size
    audio = _noise(2 * context + 8 * spec.samples_per_latent)[0][None]
    before = encoder(*stft(audio))
    for sample in range(audio.shape[1] // 2, audio.shape[1] // 2 + spec.samples_per_latent, 37):
        nudged = audio.clone()
        nudged[0, sample] += 1
        distances = [
            abs(spec.samples_per_latent * latent - sample) for latent in _changed(before, encoder(*stft(nudged)))
        ]
        assert context - spec.samples_per_latent <= max(distances) <= context


def test_a_sample_depends_on_no_latent_outside_the_context(local: NetworkConfig) -> None:
    spec, decoder = local.spec(), random_checkpoint(local).decoder.double()
    istft = Istft(spec).double()
    context, unit = local.decoder_context_frames * local.hop_size, spec.samples_per_latent
    latent = _noise(local.latent_dim, 2 * (context // unit + 3))
    before = istft(*decoder(latent))[:, None]
    middle = latent.shape[2] // 2
    nudged = latent.clone()
    nudged[:, :, middle] += 1
    changed = _changed(before, istft(*decoder(nudged))[:, None])
    reach = max(unit * middle - min(changed), max(changed) - (unit * middle + unit - 1))
    assert context - unit <= reach <= context


def test_with_grn_a_latent_depends_on_every_frame(unpublished_grn: Any) -> None:
    encoder, network = unpublished_grn.encoder, unpublished_grn.network
    features = _noise(network.bins, 40 * network.encoder_context_frames).float()
    nudged = features.clone()
    nudged[:, :, 0] += 1
    before, after = encoder(features, features), encoder(nudged, nudged)
    assert before.shape[2] - 1 in _changed(before, after)


def _size(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _noise(*shape: int) -> Tensor:
    return torch.randn(1, *shape, generator=torch.Generator().manual_seed(math.prod(shape)), dtype=torch.float64)


def _changed(before: Tensor, after: Tensor) -> list[int]:
    """Where along the last axis of (1, C, T) anything differs."""
    return (before != after).any(dim=1)[0].nonzero().flatten().tolist()
