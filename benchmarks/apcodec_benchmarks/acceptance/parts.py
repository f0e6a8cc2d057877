"""What an acceptance is made of, in its order, and how large each part is: data."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from apcodec_benchmarks.modes import BATCH_SECONDS
from apcodec_benchmarks.timing import Schedule
from apcodec_deploy.errors import BenchmarkError


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One process of an acceptance.

    Attributes:
        name: As users call it.
        title: What it does, for people.
        seconds: What it takes on an H100, about; a run that has less left leaves it out.
        limit: Seconds after which it is ended.
        function: ``module:function``, which takes a ``Journal`` and a ``Scale``.
    """

    name: str
    title: str
    seconds: float
    limit: float
    function: str

    def load(self) -> Callable[..., None]:
        """The function."""
        module, _, name = self.function.partition(":")
        found: Callable[..., None] = getattr(importlib.import_module(module), name)
        return found


_HERE = "apcodec_benchmarks.acceptance"
PARTS = (
    Part(
        name="model",
        title="the full-size model with random weights",
        seconds=40,
        limit=180,
        function=f"{_HERE}.model:run",
    ),
    Part(
        name="device",
        title="device layer, events, CUDA graphs, ceilings of the card, transforms against the CPU",
        seconds=20,
        limit=120,
        function=f"{_HERE}.device:run",
    ),
    Part(
        name="onnxruntime",
        title="ONNX Runtime on CUDA: codes, quality, speed",
        seconds=90,
        limit=180,
        function=f"{_HERE}.networks:on_onnxruntime",
    ),
    Part(
        name="tensorrt",
        title="TensorRT: builds, codes, quality, speed, refusals, cold start",
        seconds=150,
        limit=300,
        function=f"{_HERE}.engines:run",
    ),
    Part(
        name="others",
        title="the same model in PyTorch, and other codecs, in the same minutes",
        seconds=90,
        limit=180,
        function=f"{_HERE}.networks:on_others",
    ),
    Part(
        name="folder",
        title="a folder of files through transcode",
        seconds=60,
        limit=120,
        function=f"{_HERE}.folder:run",
    ),
    Part(name="training", title="steps of training", seconds=40, limit=120, function=f"{_HERE}.training:run"),
    Part(
        name="streams",
        title="live streams: codes, time of a push by sessions and tokens, sessions that fit",
        seconds=120,
        limit=300,
        function=f"{_HERE}.streams:run",
    ),
)


_SCHEDULE = Schedule(warm_up_calls=5, warm_up_seconds=1.0, calls=20, seconds=1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How large the parts are: a real run, or a rehearsal of it.

    Attributes:
        device: Of our own backends.
        torch_device: Of PyTorch.
        bundle: The model that is timed; None for the full-size one that the part ``model`` makes.
        precisions: Of the networks; first the one that a card is bought for, should a part come to its limit.
        batches: Clips at a time; the largest that fits comes on top.
        seconds: Of each clip.
        schedule: How often a case is repeated.
        profiles: Engines are built for each.
        streaming: Changes to the network of the streamable model.
        sessions: Live streams that are pushed together.
        push_tokens: By which they go on at a time.
        pushes: That are timed of each case, at most.
        others: Contenders beside ours, by their names.
        files: Of the folder.
        file_seconds: Of each of them.
        tests: What is asked of tests besides their subject, as pytest's ``-k`` takes it.
        steps: Of training.
        training: Changes to its recipe.
        bytes_moved: Of each copy that the device layer is checked and timed with.
    """

    device: str = "cuda"
    torch_device: str = "cuda"
    bundle: str | None = None
    precisions: tuple[str, ...] = ("float16", "float32")
    batches: tuple[int, ...] = (1, 8, 64)
    seconds: float = BATCH_SECONDS
    schedule: Schedule = _SCHEDULE
    profiles: tuple[str, ...] = ("low-latency", "throughput")
    streaming: Mapping[str, Any] = field(default_factory=dict)
    sessions: tuple[int, ...] = (1, 16, 64, 256)
    push_tokens: tuple[int, ...] = (1, 4, 8)
    pushes: int = 200
    others: tuple[str, ...] = (
        "apcodec-pytorch",
        "apcodec-compiled",
        "apcodec-captured",
        "encodec-24k",
        "encodec-48k",
        "dac-44k",
        "mimi",
    )
    files: int = 2000
    file_seconds: float = 2.0
    tests: str = ""
    steps: int = 5
    training: Mapping[str, Any] = field(default_factory=lambda: {"run": {"log_every": 1, "validate_every": 0}})
    bytes_moved: int = 1 << 28


REAL = Scale()
REHEARSAL = Scale(
    torch_device="cpu",
    bundle="demo",
    batches=(1,),
    seconds=0.1,
    schedule=Schedule(warm_up_calls=0, warm_up_seconds=0, calls=1, seconds=0.01, least=1),
    profiles=("low-latency",),
    streaming={
        **dict.fromkeys(("dim", "intermediate_dim", "latent_dim", "codebook_dim"), 8),
        **{f"{side}_{half}_channels": 8 for side in ("encoder", "decoder") for half in ("amp", "pha")},
        "num_layers": 1,
    },
    sessions=(1, 3),
    push_tokens=(1, 8),
    pushes=2,
    others=("apcodec-pytorch",),
    files=3,
    file_seconds=0.3,
    tests=" and not float16 and not parts and not rtx and not encode-3 and not decode",
    steps=1,
    training={
        "network": {
            **dict.fromkeys(("dim", "intermediate_dim", "latent_dim", "codebook_dim"), 8),
            **{f"{side}_{half}_channels": 8 for side in ("encoder", "decoder") for half in ("amp", "pha")},
            "num_layers": 1,
            "codebook_size": 16,
            "num_codebooks": 2,
        },
        "data": {"segment_samples": 1240, "batch_size": 2, "workers": 0, "validation_clips": 1},
        "discriminators": {
            "periods": [2],
            "period_channels": 2,
            "resolutions": [[128, 16, 64]],
            "resolution_channels": 4,
        },
        "run": {"log_every": 1, "validate_every": 0},
    },
    bytes_moved=1 << 16,
)


def parts_named(names: list[str] | None) -> list[Part]:
    """The parts of some names in their order, or all.

    Raises:
        BenchmarkError: There is no such part.
    """
    known: dict[str, Any] = {part.name: part for part in PARTS}
    if unknown := [name for name in names or () if name not in known]:
        raise BenchmarkError(f"there is no part {', '.join(unknown)}; there are: {', '.join(known)}")
    return [part for part in PARTS if not names or part.name in names]
