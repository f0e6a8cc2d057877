"""The streamable family: what makes one, how a checkpoint of it is recognised, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from apcodec_deploy.errors import CheckpointError
from apcodec_deploy.families import StreamSpec, read_spec
from apcodec_export.checkpoint import Checkpoint, CheckpointFiles, random_checkpoint
from apcodec_export.network import PUBLISHED_48K, NetworkConfig, streamable
from apcodec_export.published import published_config


def saved(checkpoint: Checkpoint, folder: Path) -> CheckpointFiles:
    for part, module in (("encoder", checkpoint.encoder), ("decoder", checkpoint.decoder)):
        torch.save({part: module.state_dict()}, folder / f"{part}_00000001")
    (folder / "config.json").write_text(json.dumps(published_config(checkpoint.network)))
    return CheckpointFiles.find(folder)


@pytest.mark.parametrize("context", [0, 6])
def test_a_checkpoint_is_recognised_by_its_keys_and_shapes(
    unpublished: NetworkConfig, context: int, tmp_path: Path
) -> None:
    network = streamable(replace(unpublished, win_size=128), context)
    made = random_checkpoint(network)
    loaded = Checkpoint.load(saved(made, tmp_path))
    assert loaded.network == network and loaded.fingerprint == made.fingerprint
    spec = loaded.network.spec()
    assert isinstance(spec, StreamSpec) and (spec.family, spec.context) == ("apcodec-s", context)
    assert read_spec(json.loads(json.dumps(spec.to_dict()))) == spec


def test_keys_are_the_published_ones_where_the_layer_is_the_same(unpublished: NetworkConfig) -> None:
    own = random_checkpoint(streamable(replace(unpublished, win_size=128)))
    published = random_checkpoint(replace(unpublished, block="grn"))
    for part in ("encoder", "decoder"):
        mine, theirs = (set(getattr(each, part).state_dict()) for each in (own, published))
        assert {key for key in mine - theirs if ".affine." not in key} == set()
        assert {key for key in theirs - mine if ".grn." not in key} == set()


def test_a_mismatch_lists_everything_at_once(unpublished: NetworkConfig, tmp_path: Path) -> None:
    made = random_checkpoint(streamable(replace(unpublished, win_size=128)))
    files = saved(made, tmp_path)
    state = {key: value for key, value in made.decoder.state_dict().items() if ".affine." not in key}
    state["convnext_logamp.0.grn.gamma"] = torch.ones(1, 1, 24)
    torch.save({"decoder": state}, files.decoder)
    with pytest.raises(CheckpointError) as caught:
        Checkpoint.load(files)
    message = str(caught.value)
    assert "grn" in message and "affine" in message


def test_kernels_that_cannot_be_coded_token_by_token_are_all_named(unpublished: NetworkConfig) -> None:
    network = streamable(replace(unpublished, win_size=128), 2)
    with pytest.raises(CheckpointError) as caught:
        replace(network, embed_kernel=5, amp_down_kernel=7, pha_up_kernel=4, win_size=120)
    for part in ("one kernel", "amp_down_kernel is 7, 4 is expected", "pha_up_kernel is 4, 8 is", "win_size is 120"):
        assert part in str(caught.value)


def test_the_published_model_made_streamable() -> None:
    network = streamable(PUBLISHED_48K)
    assert (network.embed_kernel, network.amp_down_kernel, network.amp_up_kernel) == (1, 8, 16)
    for name in ("dim", "num_layers", "latent_dim"):
        assert getattr(network, name) == getattr(PUBLISHED_48K, name)
