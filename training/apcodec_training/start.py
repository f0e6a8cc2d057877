"""How weights start: as the published code draws them, or nearer to the data, which counts where steps are few.

Shapes: B clips, F bins, T frames, D latent channels, L latents, K entries, C codebook channels.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict

import torch
from torch import Tensor, nn

from apcodec_deploy.errors import TrainingError
from apcodec_export.checkpoint import Checkpoint, CheckpointFiles
from apcodec_export.model.layers import WeightNormConv1d
from apcodec_export.model.network import Decoder, Encoder
from apcodec_export.model.quantizer import ResidualVectorQuantizer, VectorQuantizer
from apcodec_export.network import NetworkConfig
from apcodec_training.config import TrainingConfig
from apcodec_training.generator import Generator

CLUSTER_ROUNDS = 12


def new_generator(network: NetworkConfig, seed: int) -> Generator:
    """A generator with weights drawn as in the published code.

    Convolutions and linears of the backbones are normal of 0.02 cut at two, biases zero; all others are as PyTorch
    starts them, weight-normed ones with the length of what was drawn.
    """
    random = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder, decoder = Encoder(network), Decoder(network)
    for part in (encoder, decoder):
        for name, module in part.named_modules():
            if isinstance(module, WeightNormConv1d):
                _as_torch(module, random)
            elif isinstance(module, (nn.Conv1d, nn.Linear)) and not name.startswith("out_"):
                nn.init.trunc_normal_(module.weight, std=0.02, generator=random)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
    return Generator(network, encoder, decoder)


@torch.no_grad()
def _as_torch(conv: WeightNormConv1d, random: torch.Generator) -> None:
    """Draw what ``nn.Conv1d`` or its transpose starts from, and take its length as the weight's."""
    bound = 1 / math.sqrt(conv.weight_v[0].numel())
    conv.weight_v.uniform_(-bound, bound, generator=random)
    conv.weight_g.copy_(torch.linalg.vector_norm(conv.weight_v.flatten(1), dim=1)[:, None, None])
    conv.bias.uniform_(-bound, bound, generator=random)


@torch.no_grad()
def centre_on_mean_spectrum(generator: Generator, batches: Iterable[Tensor]) -> None:
    """Let the amplitude encoder see the difference from the mean log-amplitude, and its decoder start from it.

    Only biases change. The decoder's last weights shrink, so that it starts *from* the mean, not around it.

    Args:
        generator: To change.
        batches: Audio (B, N).
    """
    means = [generator.spectrum(audio).logamp.mean(dim=(0, 2)) for audio in batches]
    mean = torch.stack(means).mean(dim=0)
    embed = generator.encoder.embed_logamp
    assert embed.bias is not None
    embed.bias.sub_(torch.einsum("cfk,f->c", embed.weight, mean))
    head = generator.decoder.AMP_Decoder_output_conv
    head.bias.copy_(mean)
    head.weight_g.mul_(0.1)


@torch.no_grad()
def fill_codebooks(quantizer: ResidualVectorQuantizer, latents: Tensor, seed: int) -> None:
    """Start every codebook from clusters of what it is to code, and its projections as identities.

    Args:
        quantizer: To change.
        latents: (M, D), more than there are entries.
        seed: Of the first centres.
    """
    residual = latents.T[None]
    random = torch.Generator().manual_seed(seed)
    for stage in quantizer.stages:
        _pass_through(stage)
        found = clusters(stage.project(residual)[0].T, stage.codebook.num_embeddings, random)
        stage.codebook.weight.copy_(found)
        residual = residual - stage.dequantize(stage.search(residual))


def _pass_through(stage: VectorQuantizer) -> None:
    for projection in (stage.in_proj, stage.out_proj):
        if projection is not None and projection.weight_v.shape[0] == projection.weight_v.shape[1]:
            nn.init.dirac_(projection.weight_v)
            nn.init.ones_(projection.weight_g)
            nn.init.zeros_(projection.bias)


def clusters(points: Tensor, count: int, random: torch.Generator) -> Tensor:
    """Centres (K, C) of points (M, C) by k-means under the cosine, which is how codebooks are searched.

    A centre that loses all its points takes one at random. With fewer points than centres, some stand twice, apart by a
    little noise.
    """
    order = torch.randperm(len(points), generator=random).to(points.device)
    centres = points[order[torch.arange(count, device=points.device) % len(points)]].clone()
    if len(points) < count:
        noise = torch.randn(centres.shape, generator=random).to(points) * 0.01 * points.std()
        return centres + noise
    directions = nn.functional.normalize(points, dim=1)
    for _ in range(CLUSTER_ROUNDS):
        nearest = (directions @ nn.functional.normalize(centres, dim=1).T).argmax(dim=1)
        sums = torch.zeros_like(centres).index_add_(0, nearest, points)
        sizes = torch.bincount(nearest, minlength=count)[:, None]
        strays = points[torch.randint(len(points), (count,), generator=random).to(points.device)]
        centres = torch.where(sizes > 0, sums / sizes.clamp(min=1), strays)
    return centres


def started(config: TrainingConfig, start: CheckpointFiles | None) -> Generator:
    """A generator with the weights to start from.

    Raises:
        CheckpointError: They cannot be read.
        TrainingError: They are of another network than the config's.
    """
    if start is None:
        return new_generator(config.network, config.run.seed)
    checkpoint = Checkpoint.load(start)
    if checkpoint.network != config.network:
        different = differences(checkpoint.network, config.network)
        raise TrainingError(
            f"{start.encoder.parent} is another network than the config's: {different}; "
            "name the --preset of its size, or change [network] in --config"
        )
    checkpoint.encoder.requires_grad_(True)
    checkpoint.decoder.requires_grad_(True)
    return Generator(config.network, checkpoint.encoder, checkpoint.decoder)


def differences(there: NetworkConfig, here: NetworkConfig) -> str:
    """The numbers in which two networks differ, for a message; empty where they are the same."""
    now = asdict(here)
    return "; ".join(
        f"{name} is {value} there and {now[name]} here" for name, value in asdict(there).items() if now[name] != value
    )
