"""AudioDec (Wu et al., ICASSP 2023), run by its own code from a checkout that the user names."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import io
import logging
import math
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from apcodec_benchmarks.contenders.base import Push, Settings
from apcodec_benchmarks.contenders.pytorch import PyTorchContender, parameters_of
from apcodec_benchmarks.facts import Facts, Weights
from apcodec_deploy.errors import BenchmarkError, ContenderError

_ORIGIN = "https://github.com/facebookresearch/AudioDec"
_PACKAGES = ("bin", "layers", "models", "utils")
"""Folders of the checkout that its codec imports from; none has an ``__init__.py``."""
_CODE = ("bin/stream.py", "models/autoencoder/AudioDec.py", "models/vocoder/HiFiGAN.py", "utils/audiodec.py")
_WARM_UP = 8192
"""Samples of silence that its demonstrations pass through a network before the first clip."""


class AudioDec(PyTorchContender):
    """One of AudioDec's models, used as its ``demoFile.py`` does. Options ``checkout``, ``model`` and ``weights``.

    Its networks stream: each convolution keeps the end of what it saw. Every call starts from the state that they have
    after loading, so that a clip's codes do not depend on the clips before. Each clip of a batch gets that state;
    AudioDec itself codes one clip at a time.

    Attributes:
        facts: What it is.
    """

    def __init__(self, settings: Settings) -> None:
        """Load a model.

        Args:
            settings: Of its options, ``checkout`` is the folder, ``model`` a name that AudioDec knows (``vctk_v1`` if
                left out), and ``weights`` is ``trained`` (the checkpoints in the folder; if left out) or ``random``.

        Raises:
            BenchmarkError: ``weights`` is something else.
            ContenderError: There is no checkout, it lacks something, or what it has cannot be loaded.
        """
        checkout = _checkout(settings.options.get("checkout"))
        if settings.precision != "float32":
            raise ContenderError(f"AudioDec runs in float32, not in {settings.precision}")
        super().__init__(settings)
        model = str(settings.options.get("model", "vctk_v1"))
        weights = _weights(settings.options.get("weights", "trained"))
        with _guest(checkout), torch.no_grad():
            code = _imported(checkout)
            files = _files(code, checkout, model)
            configs = [_config(checkout / file) for file in files]
            if weights == "random":
                codec = _random(code, configs, settings.device)
            else:
                codec = _trained(code, checkout, files, settings.device)
            for network in (codec.tx_encoder, codec.decoder):
                network.remove_weight_norm()  # computed once instead of at every call, as for our own models
                network.requires_grad_(False)
        self._coder, self._dequantizer, self._vocoder = codec.tx_encoder, codec.rx_encoder, codec.decoder
        self._coder_state, self._vocoder_state = _State(self._coder), _State(self._vocoder)
        parameters, rate = configs[0]["generator_params"], configs[0]["sampling_rate"]
        self._codebook_size = int(parameters["codebook_size"])
        frame = math.prod(parameters["enc_strides"])
        notes = ["causal: made for streaming; here a clip is one piece", "weights are licensed CC BY-NC 4.0"]
        if weights == "random":
            notes[1] = "random weights in the shape of its configuration"
        self.facts = Facts(
            title=f"AudioDec {rate / 1000:g} kHz, {model}",
            library=f"AudioDec's own code, torch {torch.__version__}",
            sample_rate=rate,
            bitrate=rate / frame * parameters["codebook_num"] * math.log2(self._codebook_size),
            frame=frame,
            latency=frame / rate,
            parameters=parameters_of(self.modules()),
            weights=weights,
            weights_hash=None if weights == "random" else _hash(checkout / file for file in files),
            device=self.device_name,
            notes=tuple(notes),
        )

    def modules(self) -> Iterable[nn.Module]:
        """Encoder, projector and decoder; of two models that each have both halves, the halves that are used."""
        return self._coder.encoder, self._coder.projector, getattr(self._vocoder, "decoder", self._vocoder)

    @torch.inference_mode()
    def encode(self, audio: Tensor) -> Tensor:
        """Audio (B, N) to codes (Q, B, L), or (Q, L) of one clip: AudioDec's, counted through all codebooks."""
        self._coder_state.restore(len(audio))
        codes: Tensor = self._coder.quantize(self._coder.encode(audio[:, None]))
        return codes

    @torch.inference_mode()
    def decode(self, codes: Tensor) -> Tensor:
        """Codes to audio (B, 1, frame L), which is no shorter than what was encoded."""
        latent = self._latent(codes)
        self._vocoder_state.restore(len(latent))
        audio: Tensor = self._vocoder.decode(latent)
        return audio

    def _latent(self, codes: Tensor) -> Tensor:
        latent: Tensor = self._dequantizer.lookup(codes)  # (1, L, D) of one clip, (1, B, L, D) of several
        return latent[0] if latent.ndim == 4 else latent

    def sessions(self, count: int) -> Push:
        """Streams from the state after loading. Its networks hold it themselves, so these end all that were before."""
        self._coder_state.restore(count)
        self._vocoder_state.restore(count)

        @torch.inference_mode()
        def push(audio: NDArray[np.float32]) -> NDArray[np.float32]:
            codes = self._coder.quantize(self._coder.encode(self.upload(audio)[:, None]))
            return self.download(self._vocoder.decode(self._latent(codes)), audio.shape[1])

        return push

    def codes(self, codes: Tensor) -> NDArray[np.int64]:
        rows = codes[:, None] if codes.ndim == 2 else codes
        first = self._codebook_size * torch.arange(len(rows), device=rows.device)
        result: NDArray[np.int64] = (rows - first[:, None, None]).permute(1, 0, 2).cpu().numpy()
        return result


class _State:
    """What the convolutions of a network remember, as it is now."""

    def __init__(self, network: nn.Module) -> None:
        found = ((each, getattr(each, "pad_buffer", None)) for each in network.modules())
        self._buffers = [(each, buffer.detach().clone()) for each, buffer in found if isinstance(buffer, Tensor)]

    def restore(self, clips: int) -> None:
        """Put it back, once for each clip of a batch."""
        for module, buffer in self._buffers:
            module.pad_buffer = buffer.expand(clips, -1, -1)


@contextlib.contextmanager
def _guest(checkout: Path) -> Iterator[None]:
    """Let the code of a checkout run as it would in its own folder, and undo all that this changes in the process.

    An installed package of a name like ``utils`` would win over a folder without ``__init__.py``, wherever that is on
    ``sys.path``. So each folder is made a package by hand, and taken out of ``sys.modules`` again; classes live on.
    """

    def taken() -> list[str]:
        return [name for name in sys.modules if name.partition(".")[0] in _PACKAGES]

    hidden = {name: sys.modules.pop(name) for name in taken()}
    handlers = list(logging.root.handlers)  # a first call of logging.info adds one
    try:
        for name in _PACKAGES:
            package = ModuleType(name)
            package.__path__ = [str(checkout / name)]
            sys.modules[name] = package
        # Its configurations name files from the checkout on; loading prints; torch finds its weight norm outdated.
        with contextlib.chdir(checkout), contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.root.handlers[:] = handlers
        for name in taken():
            del sys.modules[name]
        sys.modules.update(hidden)


def _checkout(option: object) -> Path:
    if option is None:
        raise ContenderError(f"AudioDec is no package: clone {_ORIGIN} and name the folder with --audiodec")
    checkout = Path(str(option)).expanduser().resolve()
    lacking = [name for name in _CODE if not (checkout / name).is_file()]
    if lacking:
        raise ContenderError(f"{checkout} is no checkout of AudioDec: it has no {lacking[0]}; clone {_ORIGIN}")
    return checkout


def _weights(option: object) -> Weights:
    if option == "trained":
        return "trained"
    if option == "random":
        return "random"
    raise BenchmarkError(f"the option 'weights' of AudioDec is {option!r}; 'trained' or 'random' is expected")


def _imported(checkout: Path) -> ModuleType:
    try:
        return importlib.import_module("utils.audiodec")
    except (ImportError, OSError) as error:  # a package that lacks a shared library can raise either
        raise ContenderError(
            f"the code of AudioDec cannot be imported ({error}); install what {checkout / 'requirements.txt'} lists, "
            f"its torchaudio in a build for torch {torch.__version__}"
        ) from error


def _files(code: ModuleType, checkout: Path, model: str) -> tuple[Path, Path]:
    """The checkpoints of encoder and decoder, from the checkout on. Their folders hold their configurations."""
    try:
        _, encoder, decoder = code.assign_model(model)
    except NotImplementedError as error:  # which AudioDec's own code raises for a name that it does not know
        known = checkout / "utils" / "audiodec.py"
        raise ContenderError(
            f"AudioDec has no model {model!r}; assign_model in {known} names those that it has"
        ) from error
    return Path(encoder), Path(decoder)


def _config(file: Path) -> Mapping[str, Any]:
    yaml: Any = importlib.import_module("yaml")  # AudioDec's code has imported it, too
    path = file.parent / "config.yml"
    try:
        config = yaml.safe_load(path.read_text())
        return {key: config[key] for key in ("generator_params", "model_type", "sampling_rate")}
    except (OSError, KeyError, TypeError, yaml.YAMLError) as error:
        raise ContenderError(f"{path} does not describe a model of AudioDec ({error}); clone {_ORIGIN} anew") from error


def _trained(code: ModuleType, checkout: Path, files: Sequence[Path], device: str) -> Any:
    """AudioDec's codec with the checkpoints in place.

    Its code calls ``torch.load`` without ``weights_only``, which for every torch that we support means True: what is
    more than weights is refused.
    """
    lacking = [str(file) for file in files if not (checkout / file).is_file()]
    if lacking:
        raise ContenderError(
            f"{checkout} has no {' and no '.join(lacking)}; put the folder exp of the archive that its README links "
            "into it, or measure speed alone with the option 'weights' = 'random'"
        )
    encoder, decoder = map(str, files)
    codec = code.AudioDec(tx_device=device, rx_device=device)
    try:
        codec.load_transmitter(encoder)
        codec.load_receiver(encoder, decoder)
    except Exception as error:  # foreign code on foreign files raises whatever it likes
        reason = str(error).strip().splitlines()
        raise ContenderError(
            f"AudioDec cannot load {encoder} and {decoder} of {checkout} "
            f"({reason[0] if reason else type(error).__name__}); copy them there again"
        ) from error
    return codec


def _random(code: ModuleType, configs: Sequence[Mapping[str, Any]], device: str) -> Any:
    """AudioDec's codec with networks as their configurations have them, always of the same random weights."""
    codec = code.AudioDec(tx_device=device, rx_device=device)
    kinds = [
        code.generator_audiodec if config["model_type"].startswith("symAudioDec") else code.generator_hifigan
        for config in configs
    ]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        encoder, decoder = (
            kind(**config["generator_params"]).eval().to(device) for kind, config in zip(kinds, configs, strict=True)
        )
    decoder.initial_decoder(encoder.initial_encoder(_WARM_UP, device))
    codec.tx_encoder, codec.rx_encoder, codec.decoder = encoder, encoder, decoder
    return codec


def _hash(files: Iterable[Path]) -> str:
    """The first 16 hex digits of the SHA-256 of files one after another."""
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()[:16]


def audiodec(settings: Settings) -> AudioDec:
    """AudioDec; options ``checkout``, ``model`` and ``weights``."""
    return AudioDec(settings)
