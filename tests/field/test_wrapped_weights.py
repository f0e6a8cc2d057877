"""Weights as training frameworks save them: other names, both parts in one file, one model in several pieces."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from field_checkpoints import State, loaded, prefixed
from safetensors.torch import save_file
from torch import nn

from apcodec_deploy.errors import CheckpointError
from apcodec_export.checkpoint import Checkpoint, read_state


@pytest.mark.parametrize(
    "rename",
    [
        lambda key: f"_orig_mod.{key}",
        lambda key: f"_orig_mod.module.{key}",
        lambda key: f"module._orig_mod.{key}",
        lambda key: key.replace("quantizer.", "quantizer._orig_mod.").replace("pha.1.", "pha.1._orig_mod."),
        lambda key: f"_fsdp_wrapped_module.{key}".replace("logamp.0.", "logamp.0._fsdp_wrapped_module."),
        lambda key: key.replace("logamp.0.", "logamp.0._checkpoint_wrapped_module."),
        lambda key: f"_forward_module.module.module.{key}",
        lambda key: f"generator._orig_mod.{key}",
    ],
    ids=["compiled", "compiled DDP", "DDP of compiled", "compiled inside", "FSDP", "checkpointed", "deep", "generator"],
)
def test_what_wraps_a_module_is_left_out_of_its_names(
    tmp_path: Path, model: Checkpoint, states: dict[str, State], rename: Callable[[str], str]
) -> None:
    for part, state in states.items():
        torch.save({part: {rename(key): value for key, value in state.items()}}, tmp_path / f"{part}_5")
    found = loaded(tmp_path)
    assert found.fingerprint == model.fingerprint
    assert [note for note in found.notes if "encoder_5" in note]


@pytest.mark.filterwarnings("ignore:.*is deprecated:DeprecationWarning")  # PyTorch's own, as it imports its compiler
def test_what_torch_compile_and_its_relatives_write_is_read(tmp_path: Path, model: Checkpoint) -> None:
    compiled = torch.compile(model.encoder)
    torch.save({"model": nn.DataParallel(compiled).state_dict()}, tmp_path / "encoder_5")
    inside = nn.Module()
    inside.decoder = model.decoder
    inside.decoder.convnext_pha[0] = torch.compile(inside.decoder.convnext_pha[0])
    try:
        torch.save({"state_dict": inside.state_dict()}, tmp_path / "decoder_5")
    finally:
        inside.decoder.convnext_pha[0] = inside.decoder.convnext_pha[0]._orig_mod
    assert loaded(tmp_path).fingerprint == model.fingerprint


WRAPPED: dict[str, Callable[[State, State], dict[str, Any]]] = {
    "both keys": lambda e, d: {"encoder": e, "decoder": d},
    "state_dict": lambda e, d: {"state_dict": prefixed("encoder.", e) | prefixed("decoder.", d)},
    "model": lambda e, d: {"model": {"encoder": e, "decoder": d}, "epoch": 3},
    "generator": lambda e, d: {"generator": prefixed("module.encoder.", e) | prefixed("module.decoder.", d)},
    "net_g": lambda e, d: {
        "net_g": prefixed("encoder.", e) | prefixed("decoder.", d), "net_d": {"conv.bias": torch.ones(3)},
    },
    "model_state_dict": lambda e, d: {"model_state_dict": {"enc": e, "dec": d}, "optimizer_state_dict": {}},
    "lightning": lambda e, d: {
        "state_dict": prefixed("generator.encoder.", e) | prefixed("generator.decoder.", d)
        | {"discriminator.convs.0.weight": torch.ones(3, 3)},
        "pytorch-lightning_version": "2.5",
        "hyper_parameters": {"lr": 1e-4},
        "optimizer_states": [{"state": {0: {"exp_avg": torch.ones(3)}}, "param_groups": []}],
    },
    "bare": lambda e, d: prefixed("encoder.", e) | prefixed("decoder.", d),
    "optimizer by name": lambda e, d: {
        "encoder": e, "decoder": d, "optim_g": {"state": {"embed_pha.bias": {"exp_avg": torch.ones(4)}}, "exp_avg": e},
    },
    "same twice": lambda e, d: {"encoder": e, "decoder": d, "last": prefixed("encoder.", e)},
    "averaged model": lambda e, d: {
        "encoder": {"n_averaged": torch.tensor(7)} | prefixed("module.", e), "decoder": prefixed("module.", d),
    },
}  # fmt: skip


@pytest.mark.parametrize("layout", WRAPPED)
def test_both_parts_are_found_in_one_file(
    tmp_path: Path, model: Checkpoint, states: dict[str, State], layout: str
) -> None:
    torch.save(WRAPPED[layout](states["encoder"], states["decoder"]), tmp_path / "last.ckpt")
    assert loaded(tmp_path).fingerprint == model.fingerprint


def test_it_is_said_what_was_taken(tmp_path: Path, states: dict[str, State]) -> None:
    torch.save(WRAPPED["lightning"](states["encoder"], states["decoder"]), tmp_path / "last.ckpt")
    notes = "\n".join(loaded(tmp_path).notes)
    assert "the encoder is what stands under state_dict.generator.encoder" in notes
    assert "the decoder is what stands under state_dict.generator.decoder" in notes


@pytest.mark.parametrize(
    ("file", "message"),
    [
        (lambda s, o: {"generator": s["encoder"], "best": o["encoder"]}, r"more than one encoder \(best, generator\)"),
        (lambda s, o: {**s["decoder"], **s["encoder"]}, "encoder and decoder under the same names"),
        (lambda s, o: s["encoder"] | prefixed("module.", o["encoder"]), "twice"),
        (lambda s, o: {"decoder": s["decoder"], "mpd": {"conv.bias": torch.ones(1)}}, "holds decoder; expected"),
    ],
    ids=["two", "merged", "collision", "other part"],
)
def test_what_is_ambiguous_is_refused_and_listed(
    tmp_path: Path, states: dict[str, State], others: dict[str, State], file: Callable[..., Any], message: str
) -> None:
    torch.save(file(states, others), tmp_path / "encoder_1")
    with pytest.raises(CheckpointError, match=message):
        read_state(tmp_path / "encoder_1", "encoder")


def test_several_files_of_weights_without_a_parts_name_are_refused(tmp_path: Path, states: dict[str, State]) -> None:
    for name in ("a.pt", "b.pt"):
        torch.save(states, tmp_path / name)
    with pytest.raises(CheckpointError, match=r"several files of weights \(a.pt, b.pt\).*--encoder, --decoder"):
        loaded(tmp_path)


@pytest.mark.parametrize("index", [".safetensors.index.json", ".bin.index.json"])
def test_pieces_are_put_together_by_their_index(
    tmp_path: Path, model: Checkpoint, states: dict[str, State], index: str
) -> None:
    everything = prefixed("encoder.", states["encoder"]) | prefixed("decoder.", states["decoder"])
    suffix = index.removesuffix(".index.json")
    names = {key: f"model-{1 + number % 3:05d}-of-00003{suffix}" for number, key in enumerate(everything)}
    for name in set(names.values()):
        piece = {key: value.contiguous() for key, value in everything.items() if names[key] == name}
        (save_file if suffix == ".safetensors" else torch.save)(piece, tmp_path / name)
    (tmp_path / f"model{index}").write_text(json.dumps({"metadata": {}, "weight_map": names}))
    assert loaded(tmp_path).fingerprint == model.fingerprint
    (tmp_path / f"model-00002-of-00003{suffix}").unlink()
    with pytest.raises(CheckpointError, match=r"not there: model-00002-of-00003.*download"):
        loaded(tmp_path)


def test_an_index_reaches_no_file_outside_its_folder(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "../b.safetensors"}}))
    with pytest.raises(CheckpointError, match="outside its folder"):
        loaded(tmp_path)


@pytest.mark.parametrize("suffix", ["", ".pt", ".safetensors"])
def test_a_format_is_known_by_content_whatever_the_name(
    tmp_path: Path, model: Checkpoint, states: dict[str, State], suffix: str
) -> None:
    save_file({key: value.contiguous() for key, value in states["encoder"].items()}, tmp_path / f"encoder{suffix}")
    torch.save(states["decoder"], tmp_path / f"decoder{suffix}")
    assert loaded(tmp_path).fingerprint == model.fingerprint


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_weights_of_any_floating_point_type_are_read(
    tmp_path: Path, states: dict[str, State], dtype: torch.dtype
) -> None:
    torch.save({part: {key: value.to(dtype) for key, value in state.items()} for part, state in states.items()},
               tmp_path / "model.pt")  # fmt: skip
    found = loaded(tmp_path).decoder.state_dict()
    assert all(torch.equal(found[key], value.to(dtype).float()) for key, value in states["decoder"].items())
