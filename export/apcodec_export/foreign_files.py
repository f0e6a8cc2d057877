"""What a file is that was taken for weights and holds none, in words that say what to do.

People name a file by what it should hold. What a download, a copy or another program left under that name is known by
its first bytes; of pickles, by the classes that they ask for. Nothing is executed to find out.
"""

from __future__ import annotations

import json
import pickletools
import re
import zipfile
from pathlib import Path
from typing import BinaryIO

import onnx

from apcodec_deploy.disguise import AGAIN, HEAD_BYTES, disguise

_OTHERS = {
    b"\x93NUMPY": "a NumPy array",
    b"\x89HDF\r\n\x1a\n": "an HDF5 file",
    b"GGUF": "a GGUF file",
    b"RIFF": "a RIFF file, such as WAV audio",
    b"fLaC": "FLAC audio",
    b"OggS": "Ogg audio",
    b"ID3": "MP3 audio",
    b"\x89PNG": "a picture",
    b"%PDF": "a PDF document",
}
_OWN_CLASSES = re.compile(r"torch\.(cuda\.)?\w+|torch\.(_\w+|storage|nn\.parameter)\..+|collections\.OrderedDict")
"""What PyTorch itself writes around tensors."""


def first_bytes(path: Path) -> bytes:
    """Enough of a file to tell what it is.

    Raises:
        OSError: The file cannot be read.
    """
    with path.open("rb") as file:
        return file.read(HEAD_BYTES)


def no_weights(path: Path) -> str | None:
    """Why a file cannot hold weights; None where it begins as one of PyTorch or safetensors does.

    Raises:
        OSError: The file cannot be read.
    """
    head = first_bytes(path)
    if reason := disguise(head):
        return reason
    if is_safetensors(path):
        return _cut_safetensors(path)
    if head.startswith(b"PK\x03\x04"):
        return _no_zipped_weights(path)
    if head.startswith(b"\x80"):
        return None
    for magic, name in _OTHERS.items():
        if head.startswith(magic):
            return f"it is {name}"
    if head.startswith(b"\x08") and _is_onnx(path):
        return "it is an ONNX graph; an export starts from the weights that PyTorch trained"
    if text := _text(head):
        return f"it is text that begins with {text[:40]!r}"
    return f"it begins with the bytes {head[:4].hex(' ')}"


def is_safetensors(path: Path) -> bool:
    """Whether a file begins as safetensors do: the length of a header, and the header."""
    head = first_bytes(path)
    return len(head) > 8 and head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 1 << 32


def unreadable(path: Path) -> str:
    """Why PyTorch did not read a file that begins as its own do."""
    try:
        foreign = sorted(name for name in _pickled_classes(path) if not _OWN_CLASSES.fullmatch(name))
    except (ValueError, EOFError, OSError, zipfile.BadZipFile):
        return f"it ends early or is damaged; {AGAIN}"
    if not foreign:
        return f"it ends early or is damaged; {AGAIN}"
    named = ", ".join(foreign[:4]) + (", and more" if len(foreign) > 4 else "")
    if any(name.startswith("torch.nn.modules.") for name in foreign):
        held = [name for name in foreign if not name.startswith(("torch.", "collections.", "builtins."))] or foreign
        return (
            f"it holds a whole model ({', '.join(held[:4])}), which to load would run its code; where its classes are "
            "at hand, save the weights alone: torch.save(model.state_dict(), ...)"
        )
    return (
        f"besides tensors it holds objects of other classes ({named}), and to load those can run any code; where it "
        "was written, save the weights alone: torch.save(model.state_dict(), ...)"
    )


def _text(head: bytes) -> str:
    """The first line of what can be read as text."""
    try:
        text = head[:256].decode("utf-8-sig")
    except UnicodeDecodeError:
        return ""
    return text.strip().partition("\n")[0] if text.replace("\n", "").replace("\t", "").strip("\r").isprintable() else ""


def _is_onnx(path: Path) -> bool:
    model = onnx.ModelProto()
    try:
        model.ParseFromString(path.read_bytes())
    except Exception:  # protobuf's own error type depends on its implementation
        return False
    return bool(model.graph.node)


def _cut_safetensors(path: Path) -> str | None:
    """Whether the file is shorter than its header says."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if 8 + length > size:
            return f"it is safetensors cut off within its header, after {size:,} bytes; {AGAIN}"
        try:
            header = json.loads(file.read(length))
            ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
        except (ValueError, TypeError, KeyError, IndexError, AttributeError):
            return f"its header is not that of safetensors; {AGAIN}"
    declared = 8 + length + max(ends, default=0)
    return f"it is safetensors of {declared:,} bytes, cut off after {size:,}; {AGAIN}" if declared > size else None


def _no_zipped_weights(path: Path) -> str | None:
    """What a zip archive is, where it is none of ``torch.save``."""
    if not zipfile.is_zipfile(path):
        return f"it is cut off after {path.stat().st_size:,} bytes; {AGAIN}"
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    inner = {name.partition("/")[2] for name in names}
    if "constants.pkl" in inner or any(name.startswith("code/") for name in inner):
        return (
            "it is a TorchScript archive, which holds a program; save the weights alone: "
            "torch.save(torch.jit.load(...).state_dict(), ...)"
        )
    if "data.pkl" in inner:
        return None
    if any(name.endswith(".npy") for name in names):
        return "it is an archive of NumPy arrays"
    if any(name.endswith("archive_format") for name in names):
        return "it is a program of torch.export; save the weights alone: torch.save(model.state_dict(), ...)"
    return f"it is a zip archive ({', '.join(names[:3])}); unpack it and name the file inside"


def _pickled_classes(path: Path) -> set[str]:
    """The classes and functions that a file of ``torch.save`` asks for, by their full names."""
    if not zipfile.is_zipfile(path):
        with path.open("rb") as file:
            return _asked_for(file, pickles=4)  # a magic number, a version, the machine, and the tensors
    with zipfile.ZipFile(path) as archive:
        name = next(name for name in archive.namelist() if name.endswith("/data.pkl"))
        with archive.open(name) as file:
            return _asked_for(file, pickles=1)  # type: ignore[arg-type]


def _asked_for(file: BinaryIO, *, pickles: int) -> set[str]:
    """Read pickles without running them. What asks for nothing is followed by the next."""
    found: set[str] = set()
    for _ in range(pickles):
        strings: list[str] = []
        memo: dict[int, str] = {}
        last = ""
        for opcode, argument, _position in pickletools.genops(file):
            if opcode.name == "GLOBAL":
                found.add(str(argument).replace(" ", ".", 1))
            elif opcode.name == "STACK_GLOBAL":
                found.add(".".join(strings[-2:]))
            elif opcode.name == "MEMOIZE":
                memo[len(memo)] = last
            elif opcode.name in ("PUT", "BINPUT", "LONG_BINPUT"):
                memo[int(argument or 0)] = last
            else:
                if opcode.name in ("GET", "BINGET", "LONG_BINGET"):
                    argument = memo.get(int(argument or 0))
                last = argument if isinstance(argument, str) else ""
                strings += [last] if last else []
        if found:
            return found
    return found
