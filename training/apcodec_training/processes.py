"""One process, or several that train together, one per GPU, as ``torchrun`` starts them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from apcodec_deploy.errors import TrainingError


@dataclass(frozen=True, slots=True)
class Processes:
    """Which process this is, of how many.

    Attributes:
        rank: From 0; the process of rank 0 writes everything.
        world: How many there are.
        device: What this one computes on.
    """

    rank: int
    world: int
    device: torch.device

    def spread(self, module: nn.Module) -> nn.Module:
        """A module whose gradients are the mean over all processes."""
        if self.world == 1:
            return module
        devices = [self.device.index] if self.device.type == "cuda" else None
        # While the quantizer is left out its parameters have no gradients.
        return DistributedDataParallel(module, device_ids=devices, find_unused_parameters=True)

    def summed(self, tensor: Tensor) -> Tensor:
        """The sum over all processes of a tensor of theirs."""
        if self.world > 1:
            distributed.all_reduce(tensor)
        return tensor

    def gathered(self, tensor: Tensor) -> Tensor:
        """The rows of all processes, in the order of their ranks; everybody has as many."""
        if self.world == 1:
            return tensor
        parts = [torch.empty_like(tensor) for _ in range(self.world)]
        distributed.all_gather(parts, tensor.contiguous())
        return torch.cat(parts)

    def agreed(self, asked: bool) -> bool:
        """Whether any process says yes: all of them get the same answer after the same step."""
        if self.world == 1:
            return asked
        votes = torch.tensor(float(asked), device=self.device)
        distributed.all_reduce(votes)
        return bool(votes)

    def share(self, module: nn.Module) -> None:
        """Give everybody the weights that the first process has."""
        for parameter in module.parameters() if self.world > 1 else ():
            distributed.broadcast(parameter.data, 0)


@contextmanager
def processes(device: str) -> Iterator[Processes]:
    """Join the other processes of a run, if ``torchrun`` has started any, for the length of a block.

    Args:
        device: ``cpu``, ``cuda``, ``cuda:1``, or ``auto`` for a GPU where there is one.

    Raises:
        TrainingError: There is no such device.
    """
    rank, world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    chosen = _device(device, int(os.environ.get("LOCAL_RANK", "0")) if world > 1 else None)
    if world == 1:
        yield Processes(0, 1, chosen)
        return
    distributed.init_process_group("nccl" if chosen.type == "cuda" else "gloo")
    try:
        yield Processes(rank, world, chosen)
    finally:
        distributed.destroy_process_group()


def _device(name: str, local_rank: int | None) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise TrainingError(f"{name!r} is no device; cpu, cuda, cuda:0 or auto is expected") from error
    if device.type not in ("cpu", "cuda"):
        raise TrainingError(f"training runs on cpu or cuda, not on {device.type}")
    if device.type == "cpu":
        return device
    if not torch.cuda.is_available():
        raise TrainingError("there is no CUDA device that PyTorch can use; --device cpu trains without one")
    index = local_rank if local_rank is not None else device.index or 0
    if index >= torch.cuda.device_count():
        raise TrainingError(f"cuda:{index} is not here; PyTorch sees {torch.cuda.device_count()} CUDA devices")
    torch.cuda.set_device(index)
    return torch.device("cuda", index)
