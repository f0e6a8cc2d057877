"""Read a trained checkpoint: find its files, load them safely, name its tensors canonically, build the modules."""

from __future__ import annotations

import hashlib
import json
import re
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from apcodec_deploy.errors import CheckpointError
from apcodec_export.model.layers import GlobalResponseNorm
from apcodec_export.model.network import Decoder, Encoder
from apcodec_export.network import NetworkConfig
from apcodec_export.published import detect

_PARTS = ("encoder", "decoder")


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointFiles:
    """Where a checkpoint's three files are."""

    encoder: Path
    decoder: Path
    config: Path

    @classmethod
    def find(cls, directory: Path) -> CheckpointFiles:
        """``config.json`` with the newest ``encoder_*`` and ``decoder_*`` of a directory.

        Newest is the largest step that both have; a name without a step counts as older than any with one.
        """
        if not directory.is_dir():
            raise CheckpointError(
                f"{directory} is not a directory; name the one that holds encoder_*, decoder_*, config.json"
            )
        steps = {part: _by_step(directory, part) for part in _PARTS}
        for part, found in steps.items():
            if not found:
                raise CheckpointError(
                    f"{directory} holds no {part}_* file; expected encoder_*, decoder_* and config.json"
                )
        if not (config := directory / "config.json").is_file():
            raise CheckpointError(f"{directory} holds no config.json; copy the one the model was trained with")
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
    for path in sorted(directory.glob(f"{part}_*")):
        label = path.name.removeprefix(f"{part}_").removesuffix(".safetensors").removesuffix(".pth").removesuffix(".pt")
        if path.is_file():
            found[(int(label), "") if label.isdecimal() else (-1, label)] = path
    return found


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
    def load(cls, files: CheckpointFiles) -> Checkpoint:
        """Load and check a checkpoint.

        Raises:
            CheckpointError: A file cannot be read, or the tensors make no known model; every missing, unexpected and
                misshapen key is named.
        """
        config = _read_config(files.config)
        tensors = {f"encoder.{key}": value for key, value in read_state(files.encoder, "encoder").items()}
        tensors |= {f"decoder.{key}": value for key, value in read_state(files.decoder, "decoder").items()}
        tensors = canonical(tensors)
        network, notes = detect(config, {key: tuple(value.shape) for key, value in tensors.items()})
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
            notes=tuple(notes),
        )


def _read_config(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(config, dict):
        raise CheckpointError(f"{path} holds a {type(config).__name__}; a JSON object is expected")
    return config


def read_state(path: Path, part: str) -> dict[str, Tensor]:
    """The state dict of one part from a ``torch.save`` file (``{part: state_dict}`` or bare) or safetensors.

    Pickles are loaded with ``weights_only=True`` always: a checkpoint cannot run code.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            state: Any = (
                load_file(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
            )
    except Exception as error:  # unpickling what is no pickle can raise anything
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise CheckpointError(
            f"{path} cannot be read as weights ({reason}); expected a torch.save or safetensors file"
        ) from error
    if isinstance(state, Mapping) and isinstance(state.get(part), Mapping):
        state = state[part]
    if not isinstance(state, Mapping) or not state or not all(isinstance(value, Tensor) for value in state.values()):
        held = sorted(map(str, state))[:8] if isinstance(state, Mapping) else type(state).__name__
        raise CheckpointError(f"{path} holds {held}; expected a state dict, or one under the key {part!r}")
    return {str(key).removeprefix("module.").removeprefix(f"{part}."): value for key, value in state.items()}


def canonical(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Name and type tensors as the published code does: float32, weight norm as ``weight_g`` and ``weight_v``.

    Takes the parametrised keys of newer PyTorch, and plain weights where weight norm was folded already.
    """
    plain = re.compile(r".*(_conv|in_proj|out_proj)\.weight$")
    result: dict[str, Tensor] = {}
    for key, value in tensors.items():
        if not value.is_floating_point():
            raise CheckpointError(f"{key} holds {value.dtype}; weights must be floating point")
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
        listing = "\n  ".join(problems)
        raise CheckpointError(f"{files.encoder} and {files.decoder} do not make a known model:\n  {listing}")


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
