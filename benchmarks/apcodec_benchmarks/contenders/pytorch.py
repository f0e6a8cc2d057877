"""What all contenders that run in PyTorch share: the device, its clock, and counting of their arithmetic."""

from __future__ import annotations

import hashlib
import time
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from apcodec_benchmarks.contenders.base import Settings
from apcodec_benchmarks.facts import Facts
from apcodec_deploy.errors import ContenderError

_DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


class PyTorchContender(ABC):
    """A contender whose handles are tensors. Subclasses give ``facts``, ``encode`` and ``decode``.

    Attributes:
        facts: What it is.
        resident: True: tensors stay where they are.
    """

    facts: Facts
    resident = True

    def __init__(self, settings: Settings) -> None:
        torch.set_num_threads(settings.threads)
        if settings.precision not in _DTYPES:
            raise ContenderError(f"PyTorch contenders run in {', '.join(_DTYPES)}, not {settings.precision}")
        # Float32 means float32 for every contender alike, as it does for our own backends.
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
        self.device = device_of(settings)
        self.dtype = _DTYPES[settings.precision]

    @property
    def device_name(self) -> str:
        """For the results."""
        return "cpu" if self.device.type == "cpu" else torch.cuda.get_device_name(self.device)

    def upload(self, audio: NDArray[np.float32]) -> Tensor:
        return torch.from_numpy(audio).to(self.device)

    def download(self, audio: Tensor, samples: int) -> NDArray[np.float32]:
        """Audio (B, n) or (B, channels, n) on the host, mono, trimmed or followed by silence."""
        mono = audio.mean(dim=1) if audio.ndim == 3 else audio
        found = mono[:, :samples].float().cpu()
        result: NDArray[np.float32] = torch.nn.functional.pad(found, (0, samples - found.shape[1])).numpy()
        return result

    def synchronize(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def device_seconds(self, operation: str, audio: NDArray[np.float32]) -> float:
        """By CUDA events around a call whose input is on the device; by the host's clock on a CPU."""
        rows: Any = self.upload(audio)
        call: Any = self.encode
        if operation == "decode":
            rows, call = self.encode(rows), self.decode
        self.synchronize()
        if self.device.type == "cpu":
            begun = time.perf_counter()
            call(rows)
            return time.perf_counter() - begun
        event: Any = torch.cuda.Event
        start, end = event(enable_timing=True), event(enable_timing=True)
        call(rows)  # the device is busy with this one while the host queues the one that counts
        start.record()
        call(rows)
        end.record()
        end.synchronize()
        return float(start.elapsed_time(end)) / 1000

    def work(self, samples: int) -> Mapping[str, tuple[float, float]]:
        """FLOP and least bytes by direction, counted while a clip passes through."""
        audio = self.upload(np.zeros((1, samples), np.float32))
        weights = sum(each.numel() * each.element_size() for module in self.modules() for each in module.parameters())
        counted: dict[str, tuple[float, float]] = {}
        codes: Any = None
        for direction in ("encode", "decode"):
            with (
                _without_onednn(),
                FlopCounterMode(display=False) as counter,
                _LstmWork(self.modules(), counter) as lstm,
            ):
                if direction == "encode":
                    codes = self.encode(audio)
                else:
                    self.decode(codes)
            # Each direction uses about half of the weights; its audio goes in or out once.
            counted[direction] = counter.get_total_flops() + lstm.flops, weights / 2 + audio.numel() * 4
        return counted

    def describe(self) -> Facts:
        """With the parameters and, where nobody has told it, the hash of the weights."""
        weights_hash = self.facts.weights_hash or hash_of(self.modules())
        return replace(self.facts, parameters=parameters_of(self.modules()), weights_hash=weights_hash)

    @abstractmethod
    def modules(self) -> Iterable[nn.Module]:
        """The networks."""

    @abstractmethod
    def encode(self, audio: Any) -> Any:
        """As a contender does."""

    @abstractmethod
    def decode(self, codes: Any) -> Any:
        """As a contender does."""

    def close(self) -> None:
        """Let the device come to its end; the memory goes with the process."""
        self.synchronize()


@contextmanager
def _without_onednn() -> Iterator[None]:
    """What is counted does not depend on oneDNN, whose LSTM fails under a counter where the processor lacks a type."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="TF32 acceleration on top of oneDNN")  # which is for Intel's GPUs
        with torch.backends.mkldnn.flags(enabled=False):
            yield


class _LstmWork:
    """Counts LSTMs where PyTorch's own counter does not see them: where oneDNN or cuDNN runs them as one operation."""

    def __init__(self, modules: Iterable[nn.Module], counter: FlopCounterMode) -> None:
        self.flops = 0.0
        self._counter, self._counted = counter, 0
        self._found = [each for module in modules for each in module.modules() if isinstance(each, nn.LSTM)]
        self._hooks: list[Any] = []

    def __enter__(self) -> _LstmWork:
        self._hooks = [each.register_forward_pre_hook(self._begin) for each in self._found]
        self._hooks += [each.register_forward_hook(self._count) for each in self._found]
        return self

    def __exit__(self, *raised: object) -> None:
        for hook in self._hooks:
            hook.remove()

    def _begin(self, module: nn.LSTM, inputs: tuple[Any, ...]) -> None:
        self._counted = self._counter.get_total_flops()

    def _count(self, module: nn.LSTM, inputs: tuple[Any, ...], outputs: Any) -> None:
        """Each step of each clip meets every weight once, in products with the input and with the state."""
        if self._counter.get_total_flops() == self._counted:  # else it ran as plain products, which are counted
            steps = inputs[0].numel() // inputs[0].shape[-1]
            weights = sum(each.numel() for name, each in module.named_parameters() if name.startswith("weight"))
            self.flops += 2.0 * steps * weights


def device_of(settings: Settings) -> torch.device:
    """The device that the settings name.

    Raises:
        ContenderError: PyTorch does not see it.
    """
    if settings.device != "cpu" and not torch.cuda.is_available():
        raise ContenderError("this torch sees no CUDA device; install a CUDA build of it, or leave out --device")
    return torch.device(settings.device)


def parameters_of(modules: Iterable[nn.Module]) -> int:
    """How many numbers were, or would be, trained."""
    return sum(each.numel() for module in modules for each in module.parameters())


def hash_of(modules: Iterable[nn.Module]) -> str:
    """The first 16 hex digits of the SHA-256 of all weights and buffers, in the order of their names."""
    digest = hashlib.sha256()
    for module in modules:
        for name, tensor in sorted(module.state_dict().items()):
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]
