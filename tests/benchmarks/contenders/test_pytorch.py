"""What contenders in PyTorch share, on small networks: their arithmetic by hand, weights, time, the way to the host."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from apcodec_benchmarks.contenders.base import (
    Contender,
    Facts,
    HasDescription,
    HasDeviceTime,
    HasWork,
    Settings,
)
from apcodec_benchmarks.contenders.pytorch import PyTorchContender, device_of, hash_of, parameters_of
from apcodec_deploy.errors import ContenderError

RATE, STRIDE, CHANNELS, HIDDEN = 8000, 4, 6, 10
SAMPLES = 80
STEPS = SAMPLES // STRIDE
LSTM = {
    "one layer": ({}, 4 * HIDDEN * (CHANNELS + HIDDEN)),
    "two layers": ({"num_layers": 2}, 4 * HIDDEN * (CHANNELS + HIDDEN) + 4 * HIDDEN * (HIDDEN + HIDDEN)),
    "both ways": ({"bidirectional": True}, 2 * 4 * HIDDEN * (CHANNELS + HIDDEN)),
    "clips first": ({"batch_first": True}, 4 * HIDDEN * (CHANNELS + HIDDEN)),
}
"""Options, and how often one step multiplies: four gates, each on the input and on the state."""


class Small(PyTorchContender):
    """A strided convolution and an LSTM; back by a transposed convolution."""

    facts = Facts(title="Small", library="torch", sample_rate=RATE, bitrate=1.0, frame=STRIDE, weights="random")

    def __init__(self, settings: Settings, **lstm: Any) -> None:
        super().__init__(settings)
        torch.manual_seed(1)
        self.down = nn.Conv1d(1, CHANNELS, kernel_size=8, stride=STRIDE, padding=2)
        self.lstm = nn.LSTM(CHANNELS, HIDDEN, **lstm)
        self.up = nn.ConvTranspose1d(CHANNELS, 1, kernel_size=STRIDE, stride=STRIDE)
        self.steps_first = not lstm.get("batch_first", False)
        for module in self.modules():
            module.eval().requires_grad_(False).to(self.device, self.dtype)

    def modules(self) -> Iterable[nn.Module]:
        return iter((self.down, self.lstm, self.up))

    @torch.inference_mode()
    def encode(self, audio: Any) -> Tensor:
        codes: Tensor = self.down(audio[:, None].to(self.dtype))
        self.lstm(codes.permute(2, 0, 1) if self.steps_first else codes.permute(0, 2, 1))
        return codes

    @torch.inference_mode()
    def decode(self, codes: Any) -> Tensor:
        audio: Tensor = self.up(codes)
        return audio


@pytest.fixture(autouse=True)
def _process() -> Iterator[None]:
    """What belongs to the whole process is left as it was."""
    threads, tf32 = torch.get_num_threads(), (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32)
    yield
    torch.set_num_threads(threads)
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = tf32


def test_it_is_a_contender_with_all_that_it_says() -> None:
    subject: Contender = Small(Settings(threads=1))
    assert isinstance(subject, HasDescription) and isinstance(subject, HasDeviceTime) and isinstance(subject, HasWork)
    assert subject.resident


@pytest.mark.processor
@pytest.mark.filterwarnings("ignore:TF32 acceleration on top of oneDNN")
@pytest.mark.parametrize("fused", [True, False], ids=["oneDNN", "plain products"])
@pytest.mark.parametrize("precision", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize(("options", "products"), LSTM.values(), ids=LSTM)
def test_its_arithmetic_is_what_one_counts_by_hand(
    options: dict[str, Any], products: int, precision: str, fused: bool
) -> None:
    """Whoever runs the LSTM, it counts once: PyTorch's counter sees it in some of these cases and not in others."""
    subject = Small(Settings(threads=1, precision=precision), **options)
    with torch.backends.mkldnn.flags(enabled=fused):
        work = subject.work(SAMPLES)
    assert work.keys() == {"encode", "decode"}
    assert work["encode"][0] == 2 * STEPS * (8 * CHANNELS + products)
    assert work["decode"][0] == 2 * STEPS * STRIDE * CHANNELS
    held = sum(each.numel() for module in subject.modules() for each in module.parameters())
    size = 4 if precision == "float32" else 2
    assert sum(moved for _, moved in work.values()) == held * size + 2 * SAMPLES * 4


def test_counting_leaves_nothing_behind() -> None:
    subject = Small(Settings(threads=1))
    first = subject.work(SAMPLES)
    assert subject.work(SAMPLES) == first
    assert not subject.lstm._forward_hooks and not subject.lstm._forward_pre_hooks


def test_parameters_are_the_weights_and_the_hash_is_of_all_that_decides() -> None:
    subject = Small(Settings(threads=1))
    described = subject.describe()
    convolutions = CHANNELS * (8 + 1) + CHANNELS * STRIDE + 1
    assert described.parameters == convolutions + 4 * HIDDEN * (CHANNELS + HIDDEN + 2)
    assert described.weights_hash is not None and len(described.weights_hash) == 16
    assert int(described.weights_hash, 16) >= 0
    assert subject.facts.weights_hash is None
    assert Small(Settings(threads=1)).describe() == described
    subject.facts = described
    with torch.no_grad():
        subject.up.bias.add_(1)
    assert subject.describe().weights_hash == described.weights_hash  # what a contender told itself stands


@pytest.mark.parametrize(
    "change",
    [
        lambda norm: norm.weight.data[0].add_(1e-6),
        lambda norm: norm.running_var[0].mul_(2),
        lambda norm: norm.num_batches_tracked.add_(1),
    ],
    ids=["weight", "buffer", "scalar"],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_hash_changes_with_any_number(change: Callable[[nn.BatchNorm1d], object], dtype: torch.dtype) -> None:
    norm = nn.BatchNorm1d(5).to(dtype)
    norm.weight.data.copy_(torch.linspace(0, 1e-3, 5))
    before = hash_of([norm])
    assert hash_of([norm]) == before
    change(norm)
    assert hash_of([norm]) != before
    assert parameters_of([norm]) == 10


@pytest.mark.parametrize("precision", ["float32", "float16", "bfloat16"])
def test_audio_comes_to_the_host_in_float32_mono_and_as_long_as_it_was(precision: str) -> None:
    subject = Small(Settings(threads=1, precision=precision))
    assert subject.dtype == getattr(torch, precision)
    left, right = np.random.default_rng(0).uniform(-1, 1, (2, 3, 50)).astype(np.float32).round(2)
    stereo = torch.from_numpy(np.stack((left, right), axis=1)).to(subject.dtype)
    tolerance = 1e-7 if precision == "float32" else 0.01
    for samples in (1, 49, 50, 64):
        found = subject.download(stereo, samples)
        assert found.dtype == np.float32 and found.shape == (3, samples)
        np.testing.assert_allclose(found[:, :50], ((left + right) / 2)[:, :samples], atol=tolerance)
        assert not found[:, 50:].any()
        np.testing.assert_array_equal(subject.download(stereo.mean(dim=1), samples), found)


def test_each_direction_is_timed_alone() -> None:
    calls = []

    class Sleeper(Small):
        def encode(self, audio: Any) -> Tensor:
            calls.append("encode")
            time.sleep(0.3)
            return super().encode(audio)

        def decode(self, codes: Any) -> Tensor:
            calls.append("decode")
            time.sleep(0.05)
            return super().decode(codes)

    subject, audio = Sleeper(Settings(threads=1)), np.zeros((2, SAMPLES), np.float32)
    assert 0.3 <= subject.device_seconds("encode", audio) < 3
    assert calls == ["encode"]
    assert 0.05 <= subject.device_seconds("decode", audio) < 0.3  # less than the codes take, which are made before


def test_threads_and_precision_are_those_of_the_settings() -> None:
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    torch.set_num_threads(2)
    subject = Small(Settings(threads=1))
    assert torch.get_num_threads() == 1
    assert not torch.backends.cuda.matmul.allow_tf32 and not torch.backends.cudnn.allow_tf32
    assert (subject.device, subject.device_name) == (torch.device("cpu"), "cpu")
    with pytest.raises(ContenderError, match="run in float32, float16, bfloat16, not int8"):
        Small(Settings(threads=1, precision="int8"))


@pytest.mark.parametrize("device", ["cuda", "cuda:1"])
def test_a_gpu_that_is_not_there_is_refused(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert device_of(Settings(threads=1)) == torch.device("cpu")
    for ask in (device_of, Small):
        with pytest.raises(ContenderError, match="this torch sees no CUDA device"):
            ask(Settings(threads=1, device=device))
