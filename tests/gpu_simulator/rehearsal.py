"""A part of an acceptance with stand-ins for the GPU: ``python -m gpu_simulator.rehearsal PART FOLDER WHERE``.

Stand-ins: the driver's library, ``pycuda``, ONNX Runtime's CUDA provider, TensorRT's runtime, and its builder, whose
engines are the graphs. PyTorch runs on the CPU. All else is what runs on a card.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

from apcodec_deploy.cuda.driver import LIBRARIES
from apcodec_deploy.engines.profile import Shapes
from gpu_simulator.cuda import Cuda
from gpu_simulator.library import Library
from gpu_simulator.onnxruntime import OnnxRuntime
from gpu_simulator.tensorrt import TensorRTModule, engine_bytes


def install() -> Cuda:
    """Put the stand-ins in place of what is not here; before anything of ours opens a GPU."""
    cuda = Cuda(memory=1 << 30)
    load = ctypes.CDLL

    def library(name: Any, *arguments: Any, **options: Any) -> Any:
        return Library(cuda) if name in LIBRARIES else load(name, *arguments, **options)

    ctypes.CDLL = library  # type: ignore[assignment, misc]
    package = ModuleType("pycuda")
    package.__spec__, package.__path__ = ModuleSpec("pycuda", None), []
    sys.modules |= {"pycuda": package, "pycuda.driver": cuda}  # type: ignore[dict-item]
    tensorrt: Any = TensorRTModule(cuda)
    tensorrt.__spec__ = ModuleSpec("tensorrt", None)
    sys.modules["tensorrt"] = tensorrt
    from apcodec_deploy import ort
    from apcodec_deploy.engines import trouble

    ort.onnxruntime = OnnxRuntime(cuda)  # type: ignore[assignment]
    from apcodec_engines import acceptance, building

    building.Compiler = _Compiler  # type: ignore[assignment, misc]
    # Whoever asks whether TensorRT works asks in another process, where nothing stands in for it.
    trouble.trouble_of = lambda flavour: None
    # New engines are checked on a fifth of a second instead of whole windows.
    acceptance._sizes = lambda profile: [(1, 30)]
    return cuda


class _Compiler:
    """In the place of the process that builds an engine."""

    def __init__(self, flavour: Any, identity: Any, spec: Any, work: Path, timings: Any, device: Any) -> None:
        self._profile, self._spec, self._work = identity.profile, spec, work

    def run(self, network: Any, progress: Callable[[float], None]) -> dict[str, Any]:
        from apcodec_engines.subprocesses import input_shapes

        shapes: list[Shapes] = list(self._profile.shapes)
        data = engine_bytes(network.model, [input_shapes(network, each, self._spec) for each in shapes])
        (self._work / "engine").write_bytes(data)
        progress(1.0)
        return {"audit": {}, "seconds": 0.0}


def main() -> int:
    """Run the part; exit as the real one does."""
    install()
    if sys.argv[1] == "device":  # the others do without PyTorch, as on a card
        from apcodec_benchmarks.contenders import ceiling

        ceiling.SIDES["cpu"], ceiling.COPY_BYTES = 64, 1 << 16
    from apcodec_benchmarks.acceptance.parts import REHEARSAL
    from apcodec_benchmarks.acceptance.process import main as run

    return run(REHEARSAL)


if __name__ == "__main__":
    sys.exit(main())
