"""What this machine can do at best, by two calls that do nothing else; timed in the same rounds as codecs.

No codec computes faster than one large matrix product, and none reaches memory faster than a plain copy. Both vary
with temperature and neighbours as codecs do, so a share of them says more than a share of a data sheet.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from apcodec_benchmarks.contenders.base import Settings
from apcodec_benchmarks.contenders.pytorch import device_of
from apcodec_benchmarks.measurements import Case
from apcodec_deploy.errors import BenchmarkError, ContenderError
from apcodec_deploy.ort import onnxruntime

COPY_BYTES = 256 << 20
"""Well beyond the caches that a GPU has, or that a few cores of a CPU share."""
SIDES = {"cpu": 2048, "cuda": 8192}
"""Rows and columns of the product's matrices: about 0.1 s on two CPU cores, milliseconds on a GPU."""
_DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


class Ceiling:
    """The operations ``product`` and ``copy``.

    Attributes:
        precision: What the product computes in: as asked, and float32 where float16 is asked of a CPU. There PyTorch
            takes far longer for it, and ONNX Runtime computes float16 graphs in float32.
    """

    def __init__(self, settings: Settings) -> None:
        """Choose device and precision for this whole process; nothing is allocated before ``prepare``.

        Args:
            settings: Threads, device (``cpu``, ``cuda``, ``cuda:1``) and precision (also ``bfloat16``) count.

        Raises:
            BenchmarkError: There is no such precision.
            ContenderError: PyTorch sees no such device.
        """
        if settings.precision not in _DTYPES:
            raise BenchmarkError(f"no product is timed in {settings.precision!r}; choose {', '.join(_DTYPES)}")
        self._device = device_of(settings)
        if self._device.type not in SIDES:
            raise ContenderError(f"ceilings are timed on {', '.join(SIDES)}, not on {settings.device!r}")
        half_on_cpu = self._device.type == "cpu" and settings.precision == "float16"
        self.precision = "float32" if half_on_cpu else settings.precision
        self._side = SIDES[self._device.type]
        self._prepared: dict[str, Callable[[], None]] = {}
        torch.set_num_threads(settings.threads)
        torch.set_float32_matmul_precision("highest")  # no TF32: float32 means float32, as for the codecs

    def prepare(self, case: Case) -> Callable[[], None]:
        """Allocate what ``case.operation`` needs, once; the function does it and waits until it is done.

        Raises:
            BenchmarkError: It is neither ``product`` nor ``copy``.
        """
        if case.operation not in self._prepared:
            makers = {"product": self._product, "copy": self._copy}
            self._prepared[case.operation] = makers[self._known(case.operation)]()
        return self._prepared[case.operation]

    def amount(self, operation: str) -> float:
        """FLOP of one ``product``, two per multiply-add; bytes of one ``copy``, those read plus those written.

        Many CPUs read what they are about to overwrite, so a copy can move half as much again as is counted.
        """
        return float(2 * self._side**3 if self._known(operation) == "product" else 2 * COPY_BYTES)

    def size(self, operation: str) -> str:
        """What one call does, in words."""
        side = self._side
        if self._known(operation) == "product":
            return f"{side} × {side} times {side} × {side} in {self.precision}"
        return f"{COPY_BYTES >> 20} MiB to another place"

    def synchronize(self) -> None:
        """Wait until the device is done."""
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)

    def close(self) -> None:
        """Free the memory."""
        self._prepared.clear()

    def _known(self, operation: str) -> str:
        if operation not in ("product", "copy"):
            raise BenchmarkError(f"{operation!r} is no ceiling; there are: product, copy")
        return operation

    def _product(self) -> Callable[[], None]:
        """The faster of the libraries that contenders use: on some CPUs one of them takes half the other's time."""
        left, right, result = (self._matrix() for _ in range(3))

        def product() -> None:
            torch.mm(left, right, out=result)
            self.synchronize()

        if self._device.type != "cpu" or self.precision != "float32":
            return product
        session, binding = _session(left, right, torch.get_num_threads())
        return min((product, lambda: session.run_with_iobinding(binding)), key=_least_seconds)

    def _matrix(self) -> Tensor:
        # Numbers as a network has them: of zeros, GPUs compute faster, since less switches.
        return torch.randn(self._side, self._side, device=self._device).to(_DTYPES[self.precision])

    def _copy(self) -> Callable[[], None]:
        # Both are written once: memory that was never touched is not there yet.
        source = torch.full((COPY_BYTES,), 1, dtype=torch.uint8, device=self._device)
        target = torch.full_like(source, 2)

        def copy() -> None:
            target.copy_(source)
            self.synchronize()

        return copy


def _session(left: Tensor, right: Tensor, threads: int) -> tuple[Any, Any]:
    """ONNX Runtime on ``left @ right``, where ``right`` is a constant as weights are, and its memory."""
    from onnx import TensorProto, helper, numpy_helper

    matrix = [helper.make_tensor_value_info(name, TensorProto.FLOAT, list(left.shape)) for name in ("left", "result")]
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["left", "right"], ["result"])],
        "product",
        matrix[:1],
        matrix[1:],
        [numpy_helper.from_array(right.numpy(), "right")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    binding = session.io_binding()
    binding.bind_cpu_input("left", left.numpy())
    binding.bind_output("result", "cpu")
    return session, binding


def _least_seconds(call: Callable[[], None], calls: int = 3) -> float:
    times = []
    for _ in range(calls):
        begun = time.perf_counter()
        call()
        times.append(time.perf_counter() - begun)
    return min(times)
