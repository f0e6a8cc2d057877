"""A machine with a simulated GPU that builds engines, with everything but TensorRT itself as it is."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from apcodec_deploy.backends import tensorrt as backend
from apcodec_deploy.cuda.pycuda_device import PycudaDevice
from apcodec_deploy.engines.flavour import Flavour, TensorRT
from apcodec_engines import building, planning
from apcodec_engines.networks import Network
from gpu_simulator.building import simulated_engine
from gpu_simulator.cuda import Cuda
from gpu_simulator.library import Library
from gpu_simulator.tensorrt import TensorRTModule


class Machine:
    """A machine with a simulated GPU and builder; ``spoil`` changes what engines of a network give."""

    def __init__(self, patch: pytest.MonkeyPatch, *, compute_capability: tuple[int, int] = (8, 9)) -> None:
        self.cuda = Cuda(compute_capability=compute_capability)
        self.module = TensorRTModule(self.cuda)
        self.device = PycudaDevice(self.cuda, Library(self.cuda), 0)
        self.built: list[tuple[str, str]] = []
        self.spoil: Callable[[Network, bytes], bytes] = lambda network, data: data
        machine = self

        class Compiler:
            def __init__(
                self, flavour: Flavour, identity: Any, spec: Any, work: Path, timings: Path | None, device: int | None
            ) -> None:
                self._identity, self._spec, self._work, self._timings = identity, spec, work, timings
                assert device == (None if flavour.name == "rtx" else 0)

            def run(self, network: Network, progress: Callable[[float], None]) -> dict[str, Any]:
                machine.built.append((network.name, network.precision))
                assert self._timings is not None
                progress(1.0)
                data = simulated_engine(network, self._identity.profile, self._spec)
                (self._work / "engine").write_bytes(machine.spoil(network, data))
                return {"audit": {}, "seconds": 0.1}

        patch.setattr(building, "Compiler", Compiler)
        patch.setattr(Flavour, "installed", property(lambda flavour: flavour.name == "tensorrt"))
        patch.setattr(Flavour, "load", lambda flavour: TensorRT(flavour, self.module))
        patch.setattr(ctypes, "CDLL", lambda name: object())
        for module in (planning, building, backend):
            patch.setattr(module, "open_device", lambda index=0: self.device)
