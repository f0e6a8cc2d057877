"""What a card can do at best, measured on it, and which of its limits a figure is nearest to."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from apcodec_benchmarks.acceptance.journal import Journal, found_in
from apcodec_benchmarks.acceptance.parts import Scale
from apcodec_benchmarks.contenders.base import Settings
from apcodec_benchmarks.measurements import Case, Distribution

FACT = "ceilings"
"""Where the part ``device`` keeps them in its journal."""
_CALLS = 3
_LAUNCHES = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """What a call asks of a card.

    Attributes:
        flops: Of products and convolutions.
        moved: Bytes of the card's memory that it must read and write at least.
        bus: Bytes between host and card.
        launches: Operators, each of which is a launch at least where nothing is fused; 0 where nobody counted, and
            where calls are replayed from a recording.
    """

    flops: float
    moved: float
    bus: float = 0.0
    launches: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ceilings:
    """Of one card.

    Attributes:
        products: FLOP/s of a large product, by precision.
        memory: Bytes/s of a copy on the card, those read plus those written.
        bus: Bytes/s from pinned memory of the host to the card.
        launch: Seconds from one small operator to the next.
    """

    products: Mapping[str, float]
    memory: float
    bus: float
    launch: float

    def judge(self, need: Need, seconds: float, precision: str) -> tuple[float, str]:
        """The share of the card's own speed that a call reached, and what limits it.

        The share is that of the longest of computing, moving and copying, which may overlap. Launches have no part in
        it, since they can be saved; but where they would take the longest, they are what limits.
        """
        least = {
            "arithmetic": need.flops / self.products.get(precision, self.products["float32"]),
            "memory": need.moved / self.memory,
            "copies": need.bus / self.bus,
        }
        share = max(least.values()) / seconds
        return share, max((taken, what) for what, taken in {**least, "launches": need.launches * self.launch}.items())[
            1
        ]

    def to_dict(self) -> dict[str, Any]:
        """For a journal."""
        return asdict(self)

    @classmethod
    def of(cls, journal: Journal) -> Ceilings | None:
        """What the part ``device`` of the same run found; None where it did not come so far."""
        held = found_in(journal.folder, "device", journal.where).get("facts", {}).get(FACT)
        return cls(**held) if held else None


def measure_ceilings(scale: Scale) -> Ceilings:
    """Measure a card through PyTorch.

    Raises:
        ContenderError: PyTorch sees no such device.
    """
    import torch

    from apcodec_benchmarks.contenders.ceiling import Ceiling

    products: dict[str, float] = {}
    memory = 0.0
    for precision in scale.precisions:
        ceiling = Ceiling(Settings(threads=torch.get_num_threads(), device=scale.torch_device, precision=precision))
        products[precision] = _rate(ceiling.prepare(_case("product")), ceiling.amount("product"))
        memory = memory or _rate(ceiling.prepare(_case("copy")), ceiling.amount("copy"))
        ceiling.close()
    device = torch.device(scale.torch_device)

    def wait() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    host = torch.ones(scale.bytes_moved, dtype=torch.uint8, pin_memory=device.type == "cuda")
    target, small = torch.empty_like(host, device=device), torch.zeros(1, device=device)

    def copy() -> None:
        target.copy_(host, non_blocking=True)
        wait()

    def launches() -> None:
        for _ in range(_LAUNCHES):
            small.add_(1)
        wait()

    bus = _rate(copy, float(scale.bytes_moved))
    return Ceilings(products=products, memory=memory, bus=bus, launch=1 / _rate(launches, float(_LAUNCHES)))


def _case(operation: str) -> Case:
    return Case(operation=operation, seconds=0.0)


def _rate(call: Callable[[], None], amount: float) -> float:
    """Amount per second, by the median of some calls after a first one."""
    seconds = []
    for _ in range(1 + _CALLS):
        begun = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - begun)
    return amount / Distribution(tuple(seconds[1:])).median
