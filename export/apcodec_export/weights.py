"""A file of weights as people have it: read safely, and what of it is an encoder or a decoder.

The published code saves each part as ``{part: state_dict}``. Training frameworks put more around that: both parts in
one file, keys such as ``state_dict`` or ``generator``, modules that wrap modules, averaged (EMA) weights beside plain
ones. A part is known by the names of its layers, wherever they stand.
"""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from apcodec_deploy.errors import CheckpointError
from apcodec_export.foreign_files import is_safetensors, no_weights, unreadable
from apcodec_export.model.network import Decoder, Encoder
from apcodec_export.network import PUBLISHED_48K

PARTS = ("encoder", "decoder")
INDEX = ".index.json"
"""How the list of the pieces of a model ends, where it is cut into several files."""
_WRAPPERS = frozenset(
    {"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "_forward_module", "_ddp_module"}
)
"""What DataParallel, torch.compile, FSDP, activation checkpointing and Lightning put into the names of layers."""
_AVERAGED = frozenset({"ema", "shadow", "averaged", "average", "avg", "swa"})
_DEPTH = 6


@dataclass(frozen=True, slots=True)
class Candidate:
    """Tensors of one part, as they stand in a file.

    Attributes:
        part: ``encoder``, ``decoder``, ``both`` where one name can be either's, or empty where no name tells.
        place: The keys above them and what their names begin with, without wrappers.
        tensors: By name, as the model calls them.
        wrappers: What was left out of their names.
    """

    part: str
    place: tuple[str, ...]
    tensors: dict[str, Tensor]
    wrappers: frozenset[str]

    @property
    def averaged(self) -> bool:
        """Whether they are called averages of what was trained."""
        words = (word for step in self.place for word in re.split(r"[^a-z]+", step.lower()))
        return not _AVERAGED.isdisjoint(words)

    @property
    def label(self) -> str:
        """Where they stand, for people."""
        return ".".join(self.place) or "no key"


@dataclass(frozen=True, slots=True)
class PartWeights:
    """What a file holds of one part.

    Attributes:
        path: The file.
        part: ``encoder`` or ``decoder``.
        candidates: Everything that can be it.
    """

    path: Path
    part: str
    candidates: tuple[Candidate, ...]

    @property
    def offers_averaged(self) -> bool:
        """Whether averaged weights are among them."""
        return any(candidate.averaged for candidate in self.candidates)

    @property
    def choice(self) -> bool:
        """Whether averaged weights stand beside plain ones."""
        return len({candidate.averaged for candidate in self.candidates}) == 2

    def take(self, *, averaged: bool) -> tuple[dict[str, Tensor], str | None]:
        """The tensors, and what the user should know of where they stood.

        Args:
            averaged: Which to take where there is a choice.

        Raises:
            CheckpointError: Several are equally likely and not the same, or two parts have overwritten each other.
        """
        likely = [each for each in self.candidates if not self.choice or each.averaged == averaged]
        first, *others = likely
        if any(not _same(first.tensors, other.tensors) for other in others):
            places = ", ".join(sorted(each.label for each in likely))
            raise CheckpointError(
                f"{self.path} holds more than one {self.part} ({places}); save the one that is meant alone: "
                f"torch.save({{{self.part!r}: state_dict}}, ...)"
            )
        if first.part == "both":
            raise CheckpointError(
                f"{self.path} holds encoder and decoder under the same names ({first.label}), so one has overwritten "
                "the other; save each under a key of its own: torch.save({'encoder': ..., 'decoder': ...}, ...)"
            )
        return first.tensors, self._note(first)

    def _note(self, taken: Candidate) -> str | None:
        if taken.place in ((), (self.part,)) and not taken.wrappers and not self.choice:
            return None
        note = f"{self.path.name}: the {self.part} is what stands under {taken.label}"
        if self.choice:
            kinds = ("averaged (EMA)", "plain") if taken.averaged else ("plain", "averaged (EMA)")
            note += f", the {kinds[0]} weights; {kinds[1]} ones stand beside them"
        if taken.wrappers:
            note += f", its names without {', '.join(f'{name}.' for name in sorted(taken.wrappers))}"
        return note


def find_part(path: Path, tree: Any, part: str) -> PartWeights:
    """What of a file's content is one part.

    Raises:
        CheckpointError: Nothing is, or a layer stands there twice.
    """
    expected = f"expected a state dict, or one under the key {part!r}"
    if not isinstance(tree, Mapping):
        raise CheckpointError(f"{path} holds a {type(tree).__name__}; {expected}")
    found = list(_candidates(path, tree))
    own = [each for each in found if each.part == part]
    unknown = [each for each in found if each.part in ("", "both") and (len(found) == 1 or part in each.place)]
    if likely := tuple(own or unknown):
        return PartWeights(path, part, likely)
    # Nothing has a name that the model knows; the published layout is taken at its word, and what is wrong is listed.
    bare = tree.get(part) if isinstance(tree.get(part), Mapping) else tree
    if not found and isinstance(bare, Mapping) and bare and all(isinstance(each, Tensor) for each in bare.values()):
        names = {str(key).removeprefix(f"{part}."): value for key, value in bare.items()}
        return PartWeights(path, part, (Candidate("", (), names, frozenset()),))
    held = ", ".join(each.label for each in found) or ", ".join(sorted(map(str, tree))[:8]) or "nothing"
    raise CheckpointError(f"{path} holds {held}; {expected}")


def read_tree(path: Path) -> Any:
    """The content of a ``torch.save`` or safetensors file, whatever it is called, or of all pieces that an index names.

    Pickles are loaded with ``weights_only=True`` always: a checkpoint cannot run code.

    Raises:
        CheckpointError: It cannot be read; the message says what the file is and what to do.
    """
    try:
        if path.name.endswith(INDEX):
            return _pieces(path)
        reason = no_weights(path)
    except OSError as error:
        reason = "it does not exist" if isinstance(error, FileNotFoundError) else str(error.strerror or error)
    if reason:
        raise CheckpointError(f"{path} cannot be read as weights: {reason}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if is_safetensors(path):
                return load_file(path)
            with path.open("rb") as file:  # by its name PyTorch would take it for safetensors
                return torch.load(file, "cpu", weights_only=True)
    except Exception as error:  # unpickling what is no pickle can raise anything, and advise to run its code
        raise CheckpointError(f"{path} cannot be read as weights: {unreadable(path)}") from error


def _pieces(path: Path) -> dict[str, Any]:
    """The tensors of all files that an index names."""
    try:
        names = set(json.loads(path.read_text(encoding="utf-8"))["weight_map"].values())
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path} cannot be read as weights: it is no index with a 'weight_map'") from error
    if foreign := sorted(str(name) for name in names if Path(str(name)).name != name):
        raise CheckpointError(f"{path} names files outside its folder: {', '.join(foreign)}")
    if missing := sorted(name for name in names if not (path.parent / name).is_file()):
        raise CheckpointError(f"{path} names files that are not there: {', '.join(missing)}; download them, too")
    held: dict[str, Any] = {}
    for name in sorted(names):
        held |= read_tree(path.parent / name)
    return held


def _candidates(path: Path, tree: Mapping[str, Any]) -> Iterator[Candidate]:
    """Everything in a file that has names of a part's layers."""
    for keys, tensors in _tables(tree, ()):
        above = tuple(step for key in keys for step in key.split(".") if step not in _WRAPPERS)
        dropped = {step for key in keys for step in key.split(".") if step in _WRAPPERS}
        split = {name: _split(name) for name in tensors}
        prefixes = {prefix for prefix, own in split.values() if own}
        for prefix in sorted(prefixes):
            group: dict[str, Tensor] = {}
            wrappers = set(dropped)
            for name, value in tensors.items():
                at, own = split[name]
                if not own:  # a layer that no model has: reported as unexpected, unless it is a mere counter
                    steps = [step for step in name.split(".") if step not in _WRAPPERS]
                    at = max((p for p in prefixes if steps[: len(p)] == list(p)), key=len, default=("",))
                    own = ".".join(steps[len(at) :]) if value.ndim else ""
                if at == prefix and own:
                    if own in group:
                        raise CheckpointError(
                            f"{path} holds {own} twice, as {name} and under another name; save one of them alone"
                        )
                    group[own] = value
                    wrappers |= {step for step in name.split(".") if step in _WRAPPERS}
            place = (*above, *prefix)
            yield Candidate(_part(group, place), place, group, frozenset(wrappers))


def _tables(tree: Mapping[Any, Any], keys: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], dict[str, Tensor]]]:
    """Every mapping of names to tensors, with the keys above it. What optimizers keep is left out."""
    tensors = {key: value for key, value in tree.items() if isinstance(key, str) and isinstance(value, Tensor)}
    if tensors:
        yield keys, tensors
    for key, value in tree.items():
        if isinstance(value, Mapping) and len(keys) < _DEPTH and not str(key).lower().startswith("optim"):
            yield from _tables(value, (*keys, str(key)))


def _split(name: str) -> tuple[tuple[str, ...], str]:
    """What stands before a layer's own name, and that; nothing of the latter where no layer is called so."""
    steps = [step for step in name.split(".") if step not in _WRAPPERS]
    for index, step in enumerate(steps):
        if step in _layers()["encoder"] | _layers()["decoder"]:
            return tuple(steps[:index]), ".".join(steps[index:])
    return (), ""


def _part(tensors: Mapping[str, Tensor], place: tuple[str, ...]) -> str:
    """Whose layers these are; where their names are both parts', the last key above that names one."""
    names = {name.partition(".")[0] for name in tensors}
    encoder, decoder = _layers()["encoder"], _layers()["decoder"]
    own = [part for part, layers in (("encoder", encoder - decoder), ("decoder", decoder - encoder)) if names & layers]
    if own:
        return own[0] if len(own) == 1 else "both"
    words = [word for step in place for word in re.split(r"[^a-z]+", step.lower()) if word in PARTS]
    return words[-1] if words else ""


@cache
def _layers() -> dict[str, frozenset[str]]:
    """What the layers of each part are called."""
    with torch.device("meta"):
        modules = {"encoder": Encoder(PUBLISHED_48K), "decoder": Decoder(PUBLISHED_48K)}
    return {part: frozenset(name for name, _ in module.named_children()) for part, module in modules.items()}


def _same(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(value, second[name]) for name, value in first.items())
