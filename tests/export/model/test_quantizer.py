"""The folded quantizer against a brute-force search through the stored codebooks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from apcodec_export.checkpoint import Checkpoint
from apcodec_export.model.quantizer import FoldedSearch, FoldedTables, ResidualVectorQuantizer
from apcodec_export.network import NetworkConfig

Double = NDArray[np.float64]
Stage = tuple[Double, tuple[Double, Double] | None, tuple[Double, Double] | None]


def stages(quantizer: ResidualVectorQuantizer) -> list[Stage]:
    """Codebook, input projection and output projection of each stage, in float64, from the stored tensors."""
    state = {key: value.double().numpy() for key, value in quantizer.state_dict().items()}

    def projection(stem: str) -> tuple[Double, Double] | None:
        if f"{stem}.weight_v" not in state:
            return None
        v = state[f"{stem}.weight_v"][:, :, 0]
        return state[f"{stem}.weight_g"][:, :, 0] * v / np.linalg.norm(v, axis=1, keepdims=True), state[f"{stem}.bias"]

    count = len({key.split(".")[1] for key in state})
    stems = [f"quantizers.{index}" for index in range(count)]
    return [(state[f"{s}.codebook.weight"], projection(f"{s}.in_proj"), projection(f"{s}.out_proj")) for s in stems]


def brute_force(latent: Double, stages: list[Stage]) -> tuple[NDArray[np.int64], Double]:
    """Codes (Q, L) and the quantized latent (D, L) of one latent (D, L): cosine to every entry, one stage at a time."""
    residual, codes = latent.T.copy(), []
    for codebook, inward, outward in stages:
        encoded = residual if inward is None else residual @ inward[0].T + inward[1]
        lengths = np.linalg.norm(encoded, axis=1)[:, None] * np.linalg.norm(codebook, axis=1)
        codes.append(np.argmax(encoded @ codebook.T / lengths, axis=1))
        vectors = codebook[codes[-1]]
        residual -= vectors if outward is None else vectors @ outward[0].T + outward[1]
    return np.stack(codes), latent - residual.T


@pytest.fixture(scope="module")
def latent(checkpoint: Checkpoint, clips: Mapping[str, Mapping[str, Any]]) -> torch.Tensor:
    """Stored latents, and noise louder and quieter than them: (3, D, L)."""
    longest = max((clip["latent"] for clip in clips.values()), key=lambda found: found.shape[1])
    real = torch.from_numpy(longest)
    noise = torch.randn(2, *real.shape, generator=torch.Generator().manual_seed(0))
    return torch.stack((real, 10 * noise[0], 0.01 * noise[1]))


def test_the_folded_search_finds_the_nearest_entries(checkpoint: Checkpoint, latent: torch.Tensor) -> None:
    codes = FoldedSearch(checkpoint.encoder.quantizer)(latent).numpy()
    assert codes.dtype == np.int32
    expected = np.stack([brute_force(row, stages(checkpoint.encoder.quantizer))[0] for row in latent.double().numpy()])
    assert codes.shape == expected.shape
    assert (codes == expected).mean() >= 0.998


def test_the_published_form_of_the_search_agrees(checkpoint: Checkpoint, latent: torch.Tensor) -> None:
    codes = checkpoint.encoder.quantizer.encode(latent).numpy()
    expected = np.stack([brute_force(row, stages(checkpoint.encoder.quantizer))[0] for row in latent.double().numpy()])
    assert (codes == expected).mean() >= 0.998


def test_the_folded_tables_hold_what_codes_stand_for(checkpoint: Checkpoint, latent: torch.Tensor) -> None:
    held = stages(checkpoint.encoder.quantizer)
    codes, quantized = brute_force(latent[0].double().numpy(), held)
    found = FoldedTables(checkpoint.encoder.quantizer)(torch.from_numpy(codes[None].astype(np.int32)))[0].numpy()
    np.testing.assert_allclose(found, quantized, rtol=0, atol=1e-5 * np.abs(quantized).max())


def test_every_code_can_be_looked_up(checkpoint: Checkpoint) -> None:
    network = checkpoint.network
    codes = torch.arange(network.codebook_size, dtype=torch.int32).expand(1, network.num_codebooks, -1)
    found = FoldedTables(checkpoint.encoder.quantizer)(codes)
    expected = checkpoint.encoder.quantizer.decode(codes)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5 * float(expected.abs().max()))


@pytest.fixture
def line(unpublished: NetworkConfig) -> ResidualVectorQuantizer:
    """Three codebooks of one dimension: every entry points one way or the other, so all of a kind tie."""
    network = replace(unpublished, projections=False, latent_dim=1, codebook_dim=1, num_codebooks=3, codebook_size=5)
    quantizer = ResidualVectorQuantizer(network).requires_grad_(False)
    for stage in quantizer.quantizers:
        stage.codebook.weight.copy_(torch.tensor([[-1.0], [2.0], [1.0], [-3.0], [4.0]]))
    return quantizer


@pytest.mark.parametrize(("value", "codes"), [(0.5, [1, 0, 0]), (-0.5, [0, 1, 0]), (0.0, [0, 1, 0]), (7.0, [1, 1, 1])])
def test_ties_take_the_lowest_index(line: ResidualVectorQuantizer, value: float, codes: list[int]) -> None:
    latent = torch.tensor([[[value]]])
    assert FoldedSearch(line)(latent)[0, :, 0].tolist() == codes
    assert line.encode(latent)[0, :, 0].tolist() == codes


def test_entries_are_found_by_direction_whatever_their_length(unpublished: NetworkConfig) -> None:
    quantizer = ResidualVectorQuantizer(replace(unpublished, projections=False, codebook_dim=12)).requires_grad_(False)
    entries = quantizer.quantizers[0].codebook.weight
    entries *= torch.logspace(-2, 2, len(entries))[:, None]
    for scale in (0.1, 10.0):
        assert FoldedSearch(quantizer)(scale * entries.T[None])[0, 0].tolist() == list(range(len(entries)))
