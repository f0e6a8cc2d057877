"""Checkpoints: which files are taken, which forms give one model, and which tensors and configs are refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from apcodec_deploy.errors import CheckpointError
from apcodec_export.checkpoint import Checkpoint, CheckpointFiles, random_checkpoint
from apcodec_export.model.layers import GlobalResponseNorm
from apcodec_export.network import NetworkConfig

State = dict[str, Tensor]
PARTS = ("encoder", "decoder")


def golden_state(family: Path, part: str) -> State:
    state: State = torch.load(family / f"{part}_00001000")[part]
    return state


@pytest.fixture
def rewritten(family: Path, tmp_path: Path) -> Callable[..., CheckpointFiles]:
    """Write a golden checkpoint anew: its tensors changed, and saved in another way."""

    def write(
        change: Callable[[str, State], State] = lambda part, state: state,
        save: Callable[[str, State, Path], None] = lambda part, state, path: torch.save({part: state}, path),
        suffix: str = "",
    ) -> CheckpointFiles:
        paths = {part: tmp_path / f"{part}_7{suffix}" for part in PARTS}
        for part, path in paths.items():
            save(part, change(part, golden_state(family, part)), path)
        shutil.copy(family / "config.json", tmp_path)
        return CheckpointFiles(encoder=paths["encoder"], decoder=paths["decoder"], config=tmp_path / "config.json")

    return write


def test_a_published_checkpoint_loads_with_its_own_tensors(family: Path, checkpoint: Checkpoint) -> None:
    for part, module in (("encoder", checkpoint.encoder), ("decoder", checkpoint.decoder)):
        held = module.state_dict()
        stored = golden_state(family, part)
        assert held.keys() == stored.keys()
        assert all(torch.equal(held[key], value) for key, value in stored.items())


def test_a_loaded_model_is_for_inference(checkpoint: Checkpoint) -> None:
    for module in (checkpoint.encoder, checkpoint.decoder):
        assert not module.training
        assert not any(parameter.requires_grad for parameter in module.parameters())


def _touch(directory: Path, *names: str) -> Path:
    for name in (*names, "config.json"):
        (directory / name).touch()
    return directory


@pytest.mark.parametrize(
    ("names", "encoder", "decoder"),
    [
        (["encoder_00001000", "encoder_00002000", "decoder_00001000", "decoder_00002000"], "_00002000", "_00002000"),
        (["encoder_9", "encoder_10", "decoder_9", "decoder_10"], "_10", "_10"),
        (["encoder_100", "encoder_300", "decoder_100", "decoder_200"], "_100", "_100"),
        (["encoder_16k_4kbps", "decoder_16k_4kbps"], "_16k_4kbps", "_16k_4kbps"),
        (["encoder_best", "encoder_1", "decoder_best", "decoder_1"], "_1", "_1"),
        (["encoder_best", "encoder_2", "decoder_best", "decoder_1"], "_best", "_best"),
        (["encoder_5.safetensors", "decoder_5.pth"], "_5.safetensors", "_5.pth"),
        (["encoder_5.pt", "encoder_4.pt", "decoder_00000005.safetensors"], "_5.pt", "_00000005.safetensors"),
    ],
    ids=["newest", "by number", "common", "no step", "step first", "common name", "suffixes", "zeros"],
)
def test_the_newest_step_that_both_parts_have_is_taken(
    tmp_path: Path, names: list[str], encoder: str, decoder: str
) -> None:
    files = CheckpointFiles.find(_touch(tmp_path, *names))
    assert files.encoder.name == f"encoder{encoder}"
    assert files.decoder.name == f"decoder{decoder}"
    assert files.config == tmp_path / "config.json"


def test_parts_of_different_steps_are_not_paired(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"encoder_1, decoder_2"):
        CheckpointFiles.find(_touch(tmp_path, "encoder_1", "decoder_2"))


@pytest.mark.parametrize("lacking", ["encoder", "decoder", "config.json"])
def test_a_directory_that_lacks_a_file_is_refused_by_the_files_name(tmp_path: Path, lacking: str) -> None:
    _touch(tmp_path, *(f"{part}_1" for part in PARTS if part != lacking))
    (tmp_path / f"{lacking}_dir").mkdir()
    if lacking == "config.json":
        (tmp_path / lacking).unlink()
    with pytest.raises(CheckpointError, match=f"holds no {lacking}"):
        CheckpointFiles.find(tmp_path)


@pytest.mark.parametrize("name", ["absent", "config.json"])
def test_what_is_no_directory_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(CheckpointError, match="is not a directory"):
        CheckpointFiles.find(_touch(tmp_path) / name)


def _parametrised(part: str, state: State) -> State:
    """The keys of ``torch.nn.utils.parametrizations.weight_norm``."""
    return {
        key.replace("weight_g", "parametrizations.weight.original0").replace(
            "weight_v", "parametrizations.weight.original1"
        ): value
        for key, value in state.items()
    }


def _prefixed(prefix: str) -> Callable[[str, State], State]:
    return lambda part, state: {prefix.format(part=part) + key: value for key, value in state.items()}


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(_parametrised, id="parametrised"),
        pytest.param(_prefixed("module."), id="module."),
        pytest.param(_prefixed("{part}."), id="encoder. and decoder."),
        pytest.param(lambda part, state: {key: value.double() for key, value in state.items()}, id="float64"),
        pytest.param(lambda part, state: dict(reversed(state.items())), id="reordered"),
    ],
)
def test_other_names_and_types_of_the_same_tensors_are_the_same_model(
    rewritten: Callable[..., CheckpointFiles], checkpoint: Checkpoint, change: Callable[[str, State], State]
) -> None:
    assert Checkpoint.load(rewritten(change)).fingerprint == checkpoint.fingerprint


def _safetensors(part: str, state: State, path: Path) -> None:
    save_file({key: value.contiguous() for key, value in state.items()}, path)


@pytest.mark.parametrize(
    ("save", "suffix"),
    [
        pytest.param(_safetensors, ".safetensors", id="safetensors"),
        pytest.param(lambda part, state, path: torch.save(state, path), "", id="bare"),
        pytest.param(
            lambda part, state, path: torch.save({part: state}, path, _use_new_zipfile_serialization=False),
            ".pth",
            id="old pickle",
        ),
        pytest.param(
            lambda part, state, path: torch.save({part: state, "steps": 5, "epoch": 1}, path), "", id="with counters"
        ),
    ],
)
def test_other_containers_of_the_same_tensors_are_the_same_model(
    rewritten: Callable[..., CheckpointFiles],
    checkpoint: Checkpoint,
    save: Callable[[str, State, Path], None],
    suffix: str,
) -> None:
    assert Checkpoint.load(rewritten(save=save, suffix=suffix)).fingerprint == checkpoint.fingerprint


def _folded(part: str, state: State) -> State:
    """Weight norm removed, as ``remove_weight_norm`` does it."""
    plain = {key: value for key, value in state.items() if not key.endswith(("weight_g", "weight_v"))}
    for key, v in state.items():
        if key.endswith("weight_v"):
            stem = key.removesuffix("_v")
            plain[stem] = torch._weight_norm(v, state[f"{stem}_g"], 0)
    return plain


def test_folded_weights_are_the_same_function(
    rewritten: Callable[..., CheckpointFiles], checkpoint: Checkpoint, clips: Mapping[str, Mapping[str, Any]]
) -> None:
    folded = Checkpoint.load(rewritten(_folded))
    clip = next(clip for clip in clips.values() if "logamp" in clip)
    features = [torch.from_numpy(clip[name])[None] for name in ("logamp", "phase")]
    latent = checkpoint.encoder(*features)
    torch.testing.assert_close(folded.encoder(*features), latent, rtol=0, atol=1e-5 * float(latent.abs().max()))
    quantized = torch.from_numpy(clip["quantized"])[None]
    for found, expected in zip(folded.decoder.heads(quantized), checkpoint.decoder.heads(quantized), strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-5 * float(expected.abs().max()))


def test_a_folded_channel_of_zeros_stays_zero(rewritten: Callable[..., CheckpointFiles]) -> None:
    def prune(part: str, state: State) -> State:
        plain = _folded(part, state)
        if part == "encoder":
            plain["latent_output_conv.weight"][3] = 0
        return plain

    weight = Checkpoint.load(rewritten(prune)).encoder.latent_output_conv.weight
    assert torch.equal(weight[3], torch.zeros_like(weight[3]))


def test_half_precision_weights_load_as_float32(rewritten: Callable[..., CheckpointFiles]) -> None:
    loaded = Checkpoint.load(rewritten(lambda part, state: {key: value.half() for key, value in state.items()}))
    assert {value.dtype for value in loaded.encoder.state_dict().values()} == {torch.float32}


def test_the_fingerprint_changes_with_any_tensor(
    rewritten: Callable[..., CheckpointFiles], checkpoint: Checkpoint
) -> None:
    def nudge(part: str, state: State) -> State:
        key = next(key for key in reversed(state) if key.endswith("bias"))
        return state | ({key: state[key] + 1} if part == "decoder" else {})

    assert Checkpoint.load(rewritten(nudge)).fingerprint != checkpoint.fingerprint


@pytest.mark.parametrize(("key", "value", "same"), [("hop_size", 20, False), ("seed", 99, True), ("new", [1], True)])
def test_the_fingerprint_changes_with_the_networks_numbers_only(
    rewritten: Callable[..., CheckpointFiles], checkpoint: Checkpoint, key: str, value: object, same: bool
) -> None:
    files = rewritten()
    files.config.write_text(json.dumps({**json.loads(files.config.read_text()), key: value}))
    assert (Checkpoint.load(files).fingerprint == checkpoint.fingerprint) is same


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_all_named(rewritten: Callable[..., CheckpointFiles], value: float) -> None:
    def spoil(part: str, state: State) -> State:
        spoilt = {key: state[key].clone() for key in ("embed_pha.bias", "out_logamp.weight")}
        for tensor in spoilt.values():
            tensor.view(-1)[5] = value
        return state | spoilt

    with pytest.raises(CheckpointError) as caught:
        Checkpoint.load(rewritten(spoil))
    keys = [f"{part}.{key}" for part in PARTS for key in ("embed_pha.bias", "out_logamp.weight")]
    assert all(key in str(caught.value) for key in keys)


def test_integer_weights_are_refused(rewritten: Callable[..., CheckpointFiles]) -> None:
    with pytest.raises(CheckpointError, match=r"out_pha\.bias holds torch\.int8; weights must be floating point"):
        Checkpoint.load(rewritten(lambda part, state: state | {"out_pha.bias": state["out_pha.bias"].to(torch.int8)}))


def test_missing_unexpected_and_misshapen_keys_are_listed_in_one_message(
    rewritten: Callable[..., CheckpointFiles],
) -> None:
    def spoil(part: str, state: State) -> State:
        if part == "encoder":
            return {key: value for key, value in state.items() if key != "norm_pha.bias"}
        return state | {"extra.weight": torch.ones(3), "embed_pha.bias": torch.ones(5)}

    with pytest.raises(CheckpointError) as caught:
        Checkpoint.load(rewritten(spoil))
    assert set(str(caught.value).partition(" known model: ")[2].split("; ")) == {
        "missing encoder.norm_pha.bias [48]",
        "unexpected decoder.extra.weight [3]",
        "misshapen decoder.embed_pha.bias: [5], expected [48]",
    }


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("dim: 48", "cannot be read as JSON"),
        ('{"a":' * 100_000, "cannot be read as JSON: too many brackets"),
        ("[1]", "holds a list"),
        ("", "cannot be read"),
        (None, "cannot be read"),
    ],
)
def test_a_config_that_is_no_json_object_is_refused(
    rewritten: Callable[..., CheckpointFiles], text: str | None, reason: str
) -> None:
    files = rewritten()
    files.config.unlink()
    if text is not None:
        files.config.write_text(text)
    with pytest.raises(CheckpointError, match=f"config.json {reason}"):
        Checkpoint.load(files)


def test_a_random_checkpoint_is_settled_by_its_seed(unpublished: NetworkConfig) -> None:
    first, again, other = (random_checkpoint(unpublished, seed).fingerprint for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_global_response_norm_has_an_effect_in_a_random_checkpoint(unpublished: NetworkConfig) -> None:
    checkpoint = random_checkpoint(replace(unpublished, block="grn"))
    modules = (*checkpoint.encoder.modules(), *checkpoint.decoder.modules())
    norms = [module for module in modules if isinstance(module, GlobalResponseNorm)]
    assert norms
    assert all(norm.gamma.abs().min() > 0 for norm in norms)
