"""PyTorch under CUDA graphs, with stand-ins for its streams and graphs: what is recorded, and when it is replayed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from apcodec_benchmarks.contenders.base import Settings
from apcodec_benchmarks.contenders.captured import CapturedReference


class Graph:
    """Counts its replays, and does the work again that a recording would."""

    made: list[Graph]

    def __init__(self) -> None:
        self.replays = 0
        self.again: Callable[[], None] = lambda: None
        Graph.made.append(self)

    def replay(self) -> None:
        self.replays += 1
        self.again()


@pytest.fixture
def subject(monkeypatch: pytest.MonkeyPatch) -> CapturedReference:
    Graph.made = []
    stream = SimpleNamespace(wait_stream=lambda other: None)

    @contextmanager
    def recording(graph: Graph) -> Iterator[None]:
        yield

    monkeypatch.setattr(torch.cuda, "Stream", lambda device: stream)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: stream)
    monkeypatch.setattr(torch.cuda, "stream", lambda each: nullcontext())
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "graph", recording)
    checkpoint = Path(__file__).parents[2] / "golden" / "apcodec_48k_grn_tiny"
    return CapturedReference(Settings(threads=1, checkpoint=str(checkpoint)))


def test_a_shape_is_recorded_once_and_replayed_on_the_new_rows(subject: CapturedReference) -> None:
    calls: list[int] = []

    def call(rows: Tensor) -> Tensor:
        calls.append(len(rows))
        return 2 * rows

    first = subject._replayed("encode", torch.ones(2, 3), call)
    (graph,) = Graph.made
    assert calls == [2, 2, 2, 2]  # three plain calls, and the one that is recorded
    held = subject._recorded["encode", torch.Size((2, 3))][1]
    graph.again = lambda: first.copy_(2 * held)  # type: ignore[assignment, return-value]
    assert torch.equal(subject._replayed("encode", torch.full((2, 3), 5.0), call), torch.full((2, 3), 10.0))
    assert (len(calls), graph.replays) == (4, 2)
    subject._replayed("encode", torch.ones(1, 3), call)
    subject._replayed("decode", torch.ones(2, 3), call)
    assert len(Graph.made) == 3


def test_both_directions_give_what_plain_calls_give(subject: CapturedReference, speech: Any) -> None:
    audio = torch.from_numpy(speech[None, 30_000:40_000].copy())
    plain = super(CapturedReference, subject)
    codes = subject.encode(audio)
    assert torch.equal(codes, plain.encode(audio))
    assert torch.equal(subject.decode(codes), plain.decode(codes))
    assert subject.facts.title == "APCodec, PyTorch with CUDA graphs, whole clips"
