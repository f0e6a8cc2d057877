"""Files that only bear a checkpoint's name, or hold half of one."""

from __future__ import annotations

import argparse
import gzip
import pickle
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from field_checkpoints import State, loaded
from safetensors.torch import save_file
from torch import Tensor, nn

from apcodec_deploy.errors import CheckpointError
from apcodec_export.checkpoint import read_state


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
