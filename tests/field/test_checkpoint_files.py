"""Checkpoints as people have them: other names, other wrappings, and what only bears a checkpoint's name."""

from __future__ import annotations

import argparse
import gzip
import json
import pickle
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
import typer
from safetensors.torch import save_file
from torch import Tensor, nn
from typer.testing import CliRunner

from apcodec_deploy.errors import CheckpointError
from apcodec_export.checkpoint import Checkpoint, CheckpointFiles, random_checkpoint, read_state
from apcodec_export.commands import export
from apcodec_export.network import NetworkConfig
from apcodec_export.published import published_config

State = dict[str, Tensor]
PARTS = ("encoder", "decoder")
NETWORK = NetworkConfig(
    block="grn",
    projections=True,
    sample_rate=16000,
    n_fft=32,
    win_size=24,
    hop_size=8,
    ratio=2,
    dim=4,
    intermediate_dim=6,
    num_layers=2,
    embed_kernel=3,
    depthwise_kernel=3,
    encoder_amp_channels=4,
    encoder_pha_channels=6,
    decoder_amp_channels=4,
    decoder_pha_channels=6,
    amp_down_kernel=3,
    pha_down_kernel=3,
    amp_up_kernel=4,
    pha_up_kernel=4,
    latent_output_kernel=3,
    latent_input_kernel=3,
    amp_output_kernel=3,
    real_output_kernel=3,
    imag_output_kernel=3,
    latent_dim=5,
    num_codebooks=2,
    codebook_size=8,
    codebook_dim=3,
)


@pytest.fixture(scope="module")
def model() -> Checkpoint:
    return random_checkpoint(NETWORK)


@pytest.fixture(scope="module")
def states(model: Checkpoint) -> dict[str, State]:
    return {"encoder": dict(model.encoder.state_dict()), "decoder": dict(model.decoder.state_dict())}


@pytest.fixture(scope="module")
def others() -> dict[str, State]:
    """Of another model of the same shape."""
    other = random_checkpoint(NETWORK, seed=1)
    return {"encoder": dict(other.encoder.state_dict()), "decoder": dict(other.decoder.state_dict())}


def with_config(folder: Path) -> Path:
    (folder / "config.json").write_text(json.dumps(published_config(NETWORK)))
    return folder


def loaded(folder: Path, **options: bool) -> Checkpoint:
    return Checkpoint.load(CheckpointFiles.find(with_config(folder)), **options)


def prefixed(prefix: str, state: State) -> State:
    return {prefix + key: value for key, value in state.items()}


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


AVERAGED: dict[str, Callable[[State, State, State, State], dict[str, Any]]] = {
    "key beside": lambda e, d, f, g: {"encoder": e, "decoder": d, "encoder_ema": f, "decoder_ema": g},
    "one ema": lambda e, d, f, g: {"model": {"encoder": e, "decoder": d}, "ema": {"encoder": f, "decoder": g}},
    "params_ema": lambda e, d, f, g: {
        "params": prefixed("encoder.", e) | prefixed("decoder.", d),
        "params_ema": prefixed("encoder.", f) | prefixed("decoder.", g),
    },
    "prefixes": lambda e, d, f, g: {
        "state_dict": prefixed("encoder.", e) | prefixed("decoder.", d)
        | prefixed("ema_model.encoder.", f) | prefixed("ema_model.decoder.", g) | {"ema_model.step": torch.tensor(3)},
    },
}  # fmt: skip


@pytest.mark.parametrize("layout", AVERAGED)
@pytest.mark.parametrize("averaged", [True, False])
def test_averaged_weights_are_taken_before_plain_ones_unless_those_are_asked_for(
    tmp_path: Path, states: dict[str, State], others: dict[str, State], layout: str, averaged: bool
) -> None:
    file = AVERAGED[layout](*(held[part] for held in (states, others) for part in PARTS))
    torch.save(file, tmp_path / "model.pt")
    found = loaded(tmp_path, averaged=averaged)
    expected = others if averaged else states
    assert all(torch.equal(value, expected["decoder"][key]) for key, value in found.decoder.state_dict().items())
    assert all(torch.equal(value, expected["encoder"][key]) for key, value in found.encoder.state_dict().items())
    assert all(
        ("averaged (EMA) weights; plain" if averaged else "plain weights; averaged") in note for note in found.notes
    )


@pytest.mark.parametrize(("options", "averaged"), [([], True), (["--plain"], False)])
def test_the_command_line_has_that_choice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], averaged: bool
) -> None:
    def load(files: CheckpointFiles, **given: bool) -> Checkpoint:
        raise CheckpointError(f"asked for {given}")

    monkeypatch.setattr(Checkpoint, "load", load)
    (tmp_path / "model.pt").touch()
    command = typer.Typer(add_completion=False)
    command.command()(export)
    found = CliRunner().invoke(command, [str(with_config(tmp_path)), "x", *options])
    assert str(found.exception) == f"asked for {{'averaged': {averaged}}}"


def test_averaged_and_plain_parts_are_not_mixed(
    tmp_path: Path, model: Checkpoint, states: dict[str, State], others: dict[str, State]
) -> None:
    torch.save({**states, "encoder_ema": others["encoder"]}, tmp_path / "model.pt")
    assert loaded(tmp_path).fingerprint == model.fingerprint


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


# --- what only bears a checkpoint's name ------------------------------------------------------------------------------


class Foreign:
    """A class that PyTorch does not know; it travels by its name alone."""

    def __init__(self) -> None:
        self.value = 3


def cut(path: Path, keep: float) -> None:
    path.write_bytes(path.read_bytes()[: int(keep * path.stat().st_size)])


def _zip(path: Path, states: dict[str, State]) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("folder/encoder_1", b"weights")


def _tar(path: Path, states: dict[str, State]) -> None:
    with tarfile.open(path, "w") as archive:
        archive.add(__file__, "encoder_1")


def _onnx(path: Path, states: dict[str, State]) -> None:
    value = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
    graph = onnx.helper.make_graph([onnx.helper.make_node("Identity", ["x"], ["y"])], "g", [value], [value])
    onnx.save(onnx.helper.make_model(graph, ir_version=10), path)


def _numpy(path: Path, states: dict[str, State]) -> None:
    with path.open("wb") as file:
        np.save(file, np.zeros(3))


def _npz(path: Path, states: dict[str, State]) -> None:
    with path.open("wb") as file:
        np.savez(file, a=np.zeros(3))


def _safetensors(path: Path, state: State) -> None:
    save_file({key: value.contiguous() for key, value in state.items()}, path)


def _script(path: Path, states: dict[str, State]) -> None:
    torch.jit.save(torch.jit.trace(nn.Linear(2, 2), torch.ones(1, 2)), path)


def _with(value: object, **options: Any) -> Callable[[Path, dict[str, State]], None]:
    return lambda path, states: torch.save({"encoder": states["encoder"], "args": value}, path, **options)


LEGACY = {"_use_new_zipfile_serialization": False}
FOREIGN: dict[str, tuple[Callable[[Path, dict[str, State]], object], str]] = {
    "lfs": (
        lambda path, s: path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 27605512\n"),
        r"Git LFS pointer to 27,605,512 bytes.*git lfs pull",
    ),
    "html": (lambda path, s: path.write_text("\n<!DOCTYPE html><html><title>Sign in"), "web page.*download"),
    "xml": (lambda path, s: path.write_text("<?xml version='1.0'?><Error><Code>AccessDenied</Code>"), "web page"),
    "empty": (lambda path, s: path.touch(), "it is empty; copy or download it again"),
    "zeros": (lambda path, s: path.write_bytes(bytes(5000)), "nothing but zeros"),
    "json": (lambda path, s: path.write_text('{"error": "not found"}'), "text that begins with"),
    "gzip": (lambda path, s: path.write_bytes(gzip.compress(b"weights")), "gzip archive; unpack"),
    "zip": (_zip, r"zip archive \(folder/encoder_1\); unpack"),
    "tar": (_tar, "tar archive; unpack"),
    "onnx": (_onnx, "an ONNX graph"),
    "numpy": (_numpy, "NumPy array"),
    "npz": (_npz, "NumPy arrays"),
    "torchscript": (_script, r"TorchScript archive.*torch\.save"),
    "namespace": (_with(argparse.Namespace(lr=1)), r"argparse\.Namespace.*save the weights alone"),
    "legacy namespace": (_with(argparse.Namespace(lr=1), **LEGACY), r"argparse\.Namespace.*save the weights alone"),
    "own class": (_with(Foreign()), r"Foreign.*save the weights alone"),
    "numpy scalar": (_with(np.float64(3)), r"numpy.*save the weights alone"),
    "plain pickle": (lambda path, s: path.write_bytes(pickle.dumps({"args": Foreign()})), "Foreign"),
    "module": (lambda path, s: torch.save(nn.Linear(2, 2), path), r"whole model.*state_dict"),
    "legacy module": (lambda path, s: torch.save(nn.Linear(2, 2), path, **LEGACY), r"whole model.*state_dict"),
}


@pytest.mark.filterwarnings("ignore:.*is deprecated:DeprecationWarning")  # TorchScript is, and lies about all the same
@pytest.mark.parametrize("kind", FOREIGN)
@pytest.mark.parametrize("suffix", ["", ".safetensors"])
def test_a_file_that_holds_no_weights_is_called_what_it_is(
    tmp_path: Path, states: dict[str, State], kind: str, suffix: str
) -> None:
    write, message = FOREIGN[kind]
    path = tmp_path / f"encoder_1{suffix}"
    write(path, states)
    with pytest.raises(CheckpointError, match=message) as caught:
        read_state(path, "encoder")
    said = str(caught.value)
    assert said.startswith(f"{path} cannot be read as weights: ")
    assert "weights_only" not in said
    assert "trust" not in said


@pytest.mark.parametrize("keep", [0.02, 0.3, 0.7, 0.999])
@pytest.mark.parametrize("save", ["zip", "legacy", "safetensors"])
def test_a_file_cut_anywhere_is_called_cut_or_damaged(
    tmp_path: Path, states: dict[str, State], save: str, keep: float
) -> None:
    path = tmp_path / "encoder_1"
    if save == "safetensors":
        _safetensors(path, states["encoder"])
    else:
        torch.save({"encoder": states["encoder"]}, path, **({} if save == "zip" else LEGACY))
    cut(path, keep)
    with pytest.raises(CheckpointError, match=r"(cut off|ends early).*copy or download it again") as caught:
        read_state(path, "encoder")
    assert "weights_only" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda value: value.to("meta"), "meta device"),
        (lambda value: torch.quantize_per_tensor(value.detach(), 0.1, 0, torch.qint8), "floating point"),
        (lambda value: value.to(torch.complex64), "floating point"),
    ],
    ids=["meta", "quantised", "complex"],
)
@pytest.mark.filterwarnings("ignore:.*deprecated")  # quantised tensors are, and are in files all the same
def test_tensors_that_hold_no_weights_are_named(
    tmp_path: Path, states: dict[str, State], change: Callable[[Tensor], Tensor], message: str
) -> None:
    spoilt = {**states, "encoder": states["encoder"] | {"out_pha.weight": change(states["encoder"]["out_pha.weight"])}}
    torch.save(spoilt, tmp_path / "model.pt")
    with pytest.raises(CheckpointError, match=rf"out_pha\.weight.*{message}"):
        loaded(tmp_path)


# --- config.json ------------------------------------------------------------------------------------------------------

CONFIG = published_config(NETWORK)
TEXT = json.dumps(CONFIG, indent=1)
RATES = ("sampling_rate", "n_fft", "win_size", "hop_size", "ratio")
CONFIGS: dict[str, bytes] = {
    "byte order mark": b"\xef\xbb\xbf" + TEXT.encode(),
    "UTF-16": TEXT.encode("utf-16"),
    "line comments": TEXT.replace("{", "{ // of 48 kHz, see http://x\n", 1).encode(),
    "block comments": b"/* the model */ # so\n" + TEXT.encode(),
    "trailing comma": TEXT.replace("\n}", ",\n}").encode(),
    "a path with slashes": json.dumps({"list": "s3://a/*b*/,]", **CONFIG}).replace("{", "{ # x\n", 1).encode(),
    "nested": json.dumps({"model": CONFIG, "train": {"lr": 1}}).encode(),
    "nested in parts": json.dumps(
        {"data": {key: CONFIG[key] for key in RATES}, "net": {"generator": {"num_layers": NETWORK.num_layers}}}
    ).encode(),
    "strings": json.dumps({key: str(value) for key, value in CONFIG.items()}).encode(),
    "decimals": json.dumps({key: float(value) for key, value in CONFIG.items()}).encode(),
}


@pytest.fixture
def folder(tmp_path: Path, states: dict[str, State]) -> Path:
    torch.save(states, tmp_path / "model.pt")
    return with_config(tmp_path)


@pytest.mark.parametrize("written", CONFIGS)
def test_a_config_is_read_however_it_is_written(folder: Path, model: Checkpoint, written: str) -> None:
    (folder / "config.json").write_bytes(CONFIGS[written])
    found = Checkpoint.load(CheckpointFiles.find(folder))
    assert asdict(found.network) == asdict(NETWORK)
    assert found.fingerprint == model.fingerprint


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"sampling_rate: 16000\nratio: 2\n", "YAML; write it as JSON"),
        (b"# of the demo\n---\nmodel:\n  ratio: 2\n", "YAML"),
        (b"[model]\nratio = 2\n", "TOML or INI"),
        (b"version https://git-lfs.github.com/spec/v1\nsize 3\n", "git lfs pull"),
        (b"<html>", "web page"),
        (b"", "it is empty"),
        (b"\x80\x02\xff\xfe", "no text"),
        (b'{"ratio": 2', "Expecting"),
        (
            json.dumps({"a": CONFIG, "b": CONFIG | {"ratio": 4}}).encode(),
            r"several values for ratio \(a.ratio = 2, b.ra",
        ),
        (json.dumps(CONFIG | {"ratio": "two"}).encode(), "ratio is 'two', a positive integer is expected"),
    ],
)
def test_a_config_that_cannot_be_read_is_called_what_it_is(folder: Path, content: bytes, message: str) -> None:
    (folder / "config.json").write_bytes(content)
    with pytest.raises(CheckpointError, match=message):
        Checkpoint.load(CheckpointFiles.find(folder))


def test_a_missing_config_is_missed_by_name(folder: Path) -> None:
    (folder / "config.json").rename(folder / "config.yaml")
    with pytest.raises(CheckpointError, match=r"holds no config\.json \(but config\.yaml\)"):
        CheckpointFiles.find(folder)
    files = CheckpointFiles(encoder=folder / "model.pt", decoder=folder / "model.pt", config=folder / "config.json")
    with pytest.raises(CheckpointError, match=r"does not exist; copy the config\.json"):
        Checkpoint.load(files)
