"""A trained checkpoint: find its files, take its parts, name their tensors canonically, build the modules."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from apcodec_deploy.errors import CheckpointError
from apcodec_export.config_file import read_config
from apcodec_export.model.layers import GlobalResponseNorm
from apcodec_export.model.network import Decoder, Encoder
from apcodec_export.network import NetworkConfig
from apcodec_export.published import detect
from apcodec_export.weights import INDEX, PARTS, find_part, read_tree

_SUFFIXES = tuple(
    f"{suffix}{index}" for index in (INDEX, "") for suffix in (".safetensors", ".pth", ".pt", ".ckpt", ".bin")
)
_TEXTS = (".json", ".yaml", ".yml", ".toml", ".txt", ".md", ".log", ".part")
_PIECE = re.compile(r"-\d+-of-\d+(?=\.\w+$)")
"""One file of a model that is cut into several, which an index names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointFiles:
    """Where a checkpoint's three files are."""

    encoder: Path
    decoder: Path
    config: Path

    @classmethod
    def find(cls, directory: Path) -> CheckpointFiles:
        """``config.json`` with the newest ``encoder_*`` and ``decoder_*`` of a directory, or the one file with both.

        Newest is the largest step that both have; a name without a step counts as older than any with one.

        Raises:
            CheckpointError: They are not there, or the directory cannot be read.
        """
        try:
            return cls._in(directory)
        except OSError as error:
            raise CheckpointError(f"{directory} cannot be read: {error.strerror or error}") from error

    @classmethod
    def _in(cls, directory: Path) -> CheckpointFiles:
        if not directory.is_dir():
            raise CheckpointError(
                f"{directory} is not a directory; name the one that holds encoder_*, decoder_*, config.json"
            )
        steps = {part: _by_step(directory, part) for part in PARTS}
        single = _single(directory) if not any(steps.values()) else None
        for part, found in steps.items():
            if not found and not single:
                raise CheckpointError(
                    f"{directory} holds no {part}_* file; expected encoder_*, decoder_* and config.json"
                )
        if not (config := directory / "config.json").is_file():
            others = sorted(path.name for path in directory.iterdir() if path.suffix in (".json", ".yaml", ".yml"))
            beside = f" (but {', '.join(others)})" if others else ""
            raise CheckpointError(f"{directory} holds no config.json{beside}; copy the one the model was trained with")
        if single:
            return cls(encoder=single, decoder=single, config=config)
        common = steps["encoder"].keys() & steps["decoder"].keys()
        if not common:
            names = ", ".join(path.name for found in steps.values() for path in found.values())
            raise CheckpointError(
                f"no encoder and decoder of {directory} are of one step ({names}); name them one by one"
            )
        newest = max(common)
        return cls(encoder=steps["encoder"][newest], decoder=steps["decoder"][newest], config=config)


def _by_step(directory: Path, part: str) -> dict[tuple[int, str], Path]:
    """The files of one part by their step, or by their name where it holds none."""
    found = {}
    for path in sorted(directory.iterdir()):
        named = re.fullmatch(rf"{part}(?:[_.-](.*))?", path.name)
        if named and path.is_file() and _may_hold_weights(path):
            label = f".{named[1] or ''}"  # so that a suffix is one where nothing else is left, too
            suffix = next((suffix for suffix in _SUFFIXES if label.endswith(suffix)), "")
            label = label.removesuffix(suffix).removeprefix(".")
            found[(int(label), "") if label.isdecimal() else (-1, label)] = path
    return found


def _single(directory: Path) -> Path | None:
    """The one file of a directory that may hold both parts.

    Raises:
        CheckpointError: There are several.
    """
    found = [path for path in sorted(directory.iterdir()) if path.name.endswith(_SUFFIXES) and _may_hold_weights(path)]
    if len(found) > 1:
        raise CheckpointError(
            f"{directory} holds several files of weights ({', '.join(path.name for path in found)}) and none called "
            "encoder_* or decoder_*; name one for both parts, or two, with --encoder, --decoder and --config"
        )
    return found[0] if found else None


def _may_hold_weights(path: Path) -> bool:
    """Whether a file can be named as weights: no text, and no piece of a model that is cut into several files."""
    return path.name.endswith(INDEX) or not (path.name.endswith(_TEXTS) or _PIECE.search(path.name))


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A trained model, ready to run in PyTorch.

    Attributes:
        network: Its shape.
        encoder: The encoder with the quantizer, in eval mode.
        decoder: The decoder, in eval mode.
        fingerprint: Hex SHA-256 of the canonical tensors and the network's numbers: the same for the old and the new
            weight-norm keys, for pickles and safetensors, for every export, precision and backend.
        notes: What the user should know of how the files were read.
    """

    network: NetworkConfig
    encoder: Encoder
    decoder: Decoder
    fingerprint: str
    notes: tuple[str, ...]

    @classmethod
    def load(cls, files: CheckpointFiles, *, averaged: bool = True) -> Checkpoint:
        """Load and check a checkpoint.

        Args:
            files: Where it is; one file can hold both parts.
            averaged: Whether averaged (EMA) weights are taken where both parts have them beside plain ones.

        Raises:
            CheckpointError: A file cannot be read, or the tensors make no known model; every missing, unexpected and
                misshapen key is named.
        """
        config, notes = read_config(files.config)
        paths = {"encoder": files.encoder, "decoder": files.decoder}
        trees = {path: read_tree(path) for path in dict.fromkeys(paths.values())}
        found = {part: find_part(path, trees[path], part) for part, path in paths.items()}
        averaged = averaged and all(part.offers_averaged for part in found.values())
        tensors: dict[str, Tensor] = {}
        for part, weights in found.items():
            taken, note = weights.take(averaged=averaged)
            tensors |= {f"{part}.{key}": value for key, value in taken.items()}
            notes += [note] if note else []
        tensors = canonical(tensors)
        network, more = detect(config, {key: tuple(value.shape) for key, value in tensors.items()})
        with torch.device("meta"):
            modules = {"encoder": Encoder(network), "decoder": Decoder(network)}
        _check_keys(modules, tensors, files)
        encoder, decoder = Encoder(network), Decoder(network)
        for part, module in (("encoder", encoder), ("decoder", decoder)):
            own = {key.removeprefix(f"{part}."): value for key, value in tensors.items() if key.startswith(f"{part}.")}
            module.load_state_dict(own)
            module.eval().requires_grad_(False)
        return cls(
            network=network,
            encoder=encoder,
            decoder=decoder,
            fingerprint=fingerprint(network, tensors),
            notes=(*notes, *more),
        )


def read_state(path: Path, part: str) -> dict[str, Tensor]:
    """The tensors of one part, by the names that the model has for them.

    Raises:
        CheckpointError: The file cannot be read, or holds no such part.
    """
    return find_part(path, read_tree(path), part).take(averaged=True)[0]


def canonical(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Name and type tensors as the published code does: float32, weight norm as ``weight_g`` and ``weight_v``.

    Takes the parametrised keys of newer PyTorch, and plain weights where weight norm was folded already.
    """
    plain = re.compile(r".*(_conv|in_proj|out_proj)\.weight$")
    result: dict[str, Tensor] = {}
    for key, value in tensors.items():
        if not value.is_floating_point():
            raise CheckpointError(
                f"{key} holds {value.dtype}; weights must be floating point, as they are before anything quantises "
                "them: the export makes 8-bit graphs itself"
            )
        if value.is_meta:
            raise CheckpointError(f"{key} has a shape and no values: it was saved from a model on the meta device")
        tensor = value.detach().to(torch.float32).contiguous()
        if plain.match(key):
            stem = key.removesuffix("weight")
            length = tensor.double().flatten(1).norm(dim=1).float()[:, None, None]
            result[f"{stem}weight_g"] = length
            # A channel of zeros has no direction; any will do, since its length is zero.
            result[f"{stem}weight_v"] = torch.where(length == 0, torch.ones_like(tensor), tensor)
        else:
            name = key.replace("parametrizations.weight.original0", "weight_g")
            result[name.replace("parametrizations.weight.original1", "weight_v")] = tensor
    if broken := sorted(key for key, tensor in result.items() if not tensor.isfinite().all()):
        raise CheckpointError(f"these weights hold NaN or infinity: {', '.join(broken)}")
    return result


def _check_keys(modules: Mapping[str, nn.Module], tensors: Mapping[str, Tensor], files: CheckpointFiles) -> None:
    expected = {
        f"{part}.{key}": value.shape for part, module in modules.items() for key, value in module.state_dict().items()
    }
    problems = [f"missing {key} {list(shape)}" for key, shape in expected.items() if key not in tensors]
    problems += [f"unexpected {key} {list(value.shape)}" for key, value in tensors.items() if key not in expected]
    problems += [
        f"misshapen {key}: {list(tensors[key].shape)}, expected {list(shape)}"
        for key, shape in expected.items()
        if key in tensors and tensors[key].shape != shape
    ]
    if problems:
        raise CheckpointError(f"{files.encoder} and {files.decoder} do not make a known model: {'; '.join(problems)}")


def fingerprint(network: NetworkConfig, tensors: Mapping[str, Tensor]) -> str:
    """Hex SHA-256 of a network's numbers and its canonical tensors."""
    digest = hashlib.sha256(json.dumps(asdict(network), sort_keys=True).encode())
    for key in sorted(tensors):
        digest.update(f"{key} {list(tensors[key].shape)}\n".encode())
        digest.update(tensors[key].numpy().astype("<f4").tobytes())
    return digest.hexdigest()


def random_checkpoint(network: NetworkConfig, seed: int = 0) -> Checkpoint:
    """A model of random weights in which every branch and code matters: for speed and for tests, not for listening."""
    generator = torch.Generator().manual_seed(seed)
    encoder, decoder = Encoder(network).eval(), Decoder(network).eval()
    with torch.no_grad():
        for module in (*encoder.modules(), *decoder.modules()):
            for name, parameter in module.named_parameters(recurse=False):
                _randomise(module, name, parameter, generator)
    tensors = {f"encoder.{key}": value for key, value in encoder.state_dict().items()}
    tensors |= {f"decoder.{key}": value for key, value in decoder.state_dict().items()}
    return Checkpoint(
        network=network,
        encoder=encoder.requires_grad_(False),
        decoder=decoder.requires_grad_(False),
        fingerprint=fingerprint(network, tensors),
        notes=("weights are random",),
    )


def _randomise(module: nn.Module, name: str, parameter: nn.Parameter, generator: torch.Generator) -> None:
    """Fill one parameter so that activations keep their size and nothing is at its neutral value."""
    if isinstance(module, nn.Embedding) or name == "weight_v":
        parameter.normal_(0, 1, generator=generator)
    elif name == "weight" and parameter.ndim > 1:
        parameter.normal_(0, parameter[0].numel() ** -0.5, generator=generator)
    elif isinstance(module, GlobalResponseNorm) or name == "bias":
        parameter.normal_(0, 0.1, generator=generator)
    else:  # lengths of weight norm, scales of LayerNorm and of layer scale
        parameter.mul_(torch.empty_like(parameter).uniform_(0.8, 1.2, generator=generator))
