"""The part of TensorRT's runtime that this project uses, on the simulated GPU. Engines are graphs with a header."""

from __future__ import annotations

import enum
import itertools
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime

from gpu_simulator.cuda import Cuda
from gpu_simulator.streams import Allocation, Misuse, Operation

MAGIC = b"simulated engine\n"
SCRATCH = 4096
Shapes = list[dict[str, list[list[int]]]]
_NUMPY = {"tensor(float)": ("FLOAT", np.float32), "tensor(int32)": ("INT32", np.int32)}


def engine_bytes(model: bytes, shapes: Shapes, *, scratch: int = SCRATCH) -> bytes:
    """What the simulated builder makes of a graph.

    Args:
        model: Serialized ONNX.
        shapes: For each optimisation profile, the least, usual and greatest shape of each input.
        scratch: Bytes of working memory.
    """
    header = json.dumps({"shapes": shapes, "scratch": scratch}).encode()
    return MAGIC + header + b"\n" + model


@dataclass
class Faults:
    """What goes wrong, where a test wants it to."""

    context: bool = False
    enqueue: bool = False
    enqueue_after: int | None = None
    address: bool = False
    seconds: float = 0  # of each call of an engine, besides what it really takes
    corrupt: Callable[[dict[str, Any]], None] | None = None


class _Strategy(enum.Enum):
    STATIC, ON_PROFILE_CHANGE, USER_MANAGED = range(3)


class _Mode(enum.Enum):
    NONE, INPUT, OUTPUT = range(3)


class _Severity(enum.IntEnum):
    INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = range(5)


class _ILogger:
    Severity = _Severity


class _LayerInformation(enum.Enum):
    ONELINE, JSON = range(2)


class TensorRTModule:
    """In the place of the module ``tensorrt`` or, with ``rtx``, of ``tensorrt_rtx``."""

    ExecutionContextAllocationStrategy = _Strategy
    TensorIOMode = _Mode
    ILogger = _ILogger
    LayerInformationFormat = _LayerInformation

    def __init__(self, cuda: Cuda, *, version: str = "11.4.0.106", rtx: bool = False) -> None:
        self.cuda, self.__version__ = cuda, version
        self.faults = Faults()
        self.engines: list[Engine] = []
        if rtx:
            self.ComputeCapability = SimpleNamespace()
            self.CudaGraphStrategy = SimpleNamespace(WHOLE_GRAPH_CAPTURE="whole")

    def Runtime(self, logger: Any) -> Runtime:
        return Runtime(self, logger)


class Runtime:
    def __init__(self, module: TensorRTModule, logger: Any) -> None:
        self._module, self.logger = module, logger

    def deserialize_cuda_engine(self, data: bytes) -> Engine | None:
        self._module.cuda.require_context()
        if not data.startswith(MAGIC):
            self.logger.log(_Severity.ERROR, "Serialization assertion stdVersionRead == kSERIALIZATION_VERSION failed")
            return None
        header, _, model = data[len(MAGIC) :].partition(b"\n")
        engine = Engine(self._module, self.logger, json.loads(header), model)
        self._module.engines.append(engine)
        return engine


class Engine:
    def __init__(self, module: TensorRTModule, logger: Any, header: dict[str, Any], model: bytes) -> None:
        self.module, self.logger, self.shapes = module, logger, header["shapes"]
        self.device_memory_size_v2: int = header["scratch"]
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self.inputs = {value.name: value for value in self.session.get_inputs()}
        self.outputs = {value.name: value for value in self.session.get_outputs()}
        self.runs = 0
        self._row_shapes: dict[Any, dict[str, tuple[int, ...]]] = {}

    @property
    def num_io_tensors(self) -> int:
        return len(self.inputs) + len(self.outputs)

    def get_tensor_name(self, index: int) -> str:
        return [*self.inputs, *self.outputs][index]

    def get_tensor_mode(self, name: str) -> _Mode:
        return _Mode.INPUT if name in self.inputs else _Mode.OUTPUT

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        held = (self.inputs | self.outputs)[name].shape
        return tuple(dim if isinstance(dim, int) else -1 for dim in held)

    def get_tensor_dtype(self, name: str) -> Any:
        return SimpleNamespace(name=_NUMPY[(self.inputs | self.outputs)[name].type][0])

    def row_shapes(self, inputs: dict[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
        """Shapes of a row of each output for those of the inputs, found out by a run on one row."""
        rows = {name: (1, *shape[1:]) for name, shape in inputs.items()}
        key = tuple(sorted(rows.items()))
        if key not in self._row_shapes:
            zeros = {name: np.zeros(shape, _NUMPY[self.inputs[name].type][1]) for name, shape in rows.items()}
            results = zip(self.outputs, self.session.run(None, zeros), strict=True)
            self._row_shapes[key] = {name: array.shape[1:] for name, array in results}
        return self._row_shapes[key]

    def create_engine_inspector(self) -> Any:
        """As an engine with details tells them: one layer per input and output of the graph."""
        layers = [{"Outputs": [{"Format/Datatype": "Row major linear FP32"}]} for _ in range(self.num_io_tensors)]
        return SimpleNamespace(get_engine_information=lambda form: json.dumps({"Layers": layers}))

    def create_runtime_config(self) -> Any:
        return SimpleNamespace(set_execution_context_allocation_strategy=lambda strategy: None)

    def create_execution_context(self, strategy: Any) -> Context | None:
        self.module.cuda.require_context()
        return None if self.module.faults.context else Context(self)

    def run(self, arrays: dict[str, Any]) -> dict[str, Any]:
        """Row by row, so that results do not depend on the batch."""
        self.runs += 1
        self.module.cuda.clock.sleep(self.module.faults.seconds)
        rows = len(next(iter(arrays.values())))
        results = [
            self.session.run(list(self.outputs), {name: array[row : row + 1] for name, array in arrays.items()})
            for row in range(rows)
        ]
        joined = {
            name: np.concatenate(parts) for name, parts in zip(self.outputs, zip(*results, strict=True), strict=True)
        }
        if self.module.faults.corrupt:
            self.module.faults.corrupt(joined)
        return joined


@dataclass(eq=False)
class Context:
    engine: Engine
    profile: int | None = None
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    addresses: dict[str, int] = field(default_factory=dict)
    scratch: tuple[int, int] | None = None
    changes: int = 0
    ran: int = -1
    busy: threading.Lock = field(default_factory=threading.Lock)

    def set_device_memory(self, memory: int, size: int) -> None:
        if size < self.engine.device_memory_size_v2:
            raise Misuse(f"{size} bytes of working memory, {self.engine.device_memory_size_v2} are needed")
        self._cuda.at(memory, size)
        self.scratch = (memory, size)
        self.changes += 1

    def set_optimization_profile_async(self, index: int, stream: int) -> bool:
        self._stream(stream)
        if not 0 <= index < len(self.engine.shapes):
            return False
        self.profile, self.shapes = index, {}
        self.changes += 1
        return True

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        if self.profile is None:
            raise Misuse("shapes before an optimisation profile")
        least, _, greatest = self.engine.shapes[self.profile][name]
        if len(shape) != len(least) or not all(
            low <= size <= high for low, size, high in zip(least, shape, greatest, strict=True)
        ):
            self.engine.logger.log(_Severity.ERROR, f"{name} of {shape} is outside of [{least}, {greatest}]")
            return False
        self.shapes[name] = tuple(shape)
        self.changes += 1
        return True

    def infer_shapes(self) -> list[str]:
        return [name for name in self.engine.inputs if name not in self.shapes]

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        if name in self.shapes:
            return self.shapes[name]
        rows = next(iter(self.shapes.values()))[0]
        return (rows, *self.engine.row_shapes(self.shapes)[name])

    def set_tensor_address(self, name: str, address: int) -> bool:
        if self.engine.module.faults.address or name not in self.engine.inputs | self.engine.outputs:
            return False
        self.addresses[name] = address
        self.changes += 1
        return True

    def execute_async_v3(self, stream_handle: int) -> bool:
        if not self.busy.acquire(blocking=False):
            raise Misuse("two threads use one context")
        try:
            return self._execute(stream_handle)
        finally:
            self.busy.release()

    def _execute(self, stream_handle: int) -> bool:
        engine, cuda = self.engine, self._cuda
        cuda.require_context()
        stream = self._stream(stream_handle)
        if stream.recording is not None and self.ran != self.changes:
            raise Misuse("a call is recorded before a plain one of its shapes and addresses has run")
        faults = engine.module.faults
        if faults.enqueue_after is not None:
            faults.enqueue, faults.enqueue_after = faults.enqueue_after == 0, max(faults.enqueue_after - 1, 0)
        if faults.enqueue:
            return False  # without a word, as in the field
        if self.infer_shapes():
            raise Misuse(f"no shape for {self.infer_shapes()}")
        if missing := [name for name in (*engine.inputs, *engine.outputs) if name not in self.addresses]:
            raise Misuse(f"no address for {missing}")
        if self.scratch is None:
            raise Misuse("no working memory")
        scratch = cuda.at(*self.scratch)
        if any(
            scratch in operation.memory
            for other in cuda.streams.values()
            if other is not stream
            for operation in other.queue
        ):
            raise Misuse("two streams use one working memory at the same time")
        shapes, memory = self._shapes(), self._memory()

        def view(name: str) -> Any:
            dtype = _NUMPY[(engine.inputs | engine.outputs)[name].type][1]
            count = int(np.prod(shapes[name])) * np.dtype(dtype).itemsize
            return memory[name].data[:count].view(dtype).reshape(shapes[name])

        def run() -> None:
            for name, result in engine.run({name: view(name).copy() for name in engine.inputs}).items():
                view(name)[:] = result

        changes = self.changes
        operation = Operation(run=run, memory=(*memory.values(), scratch), replayable=lambda: changes == self.changes)
        stream.add(operation)
        self.ran = self.changes
        return True

    def _shapes(self) -> dict[str, tuple[int, ...]]:
        return {name: self.get_tensor_shape(name) for name in itertools.chain(self.engine.inputs, self.engine.outputs)}

    def _memory(self) -> dict[str, Allocation]:
        found = {}
        for name, shape in self._shapes().items():
            found[name] = self._cuda.at(self.addresses[name], int(np.prod(shape)) * 4)
        return found

    def _stream(self, handle: int) -> Any:
        if handle not in self._cuda.streams:
            raise Misuse(f"{handle} is no stream, or the default one")
        return self._cuda.streams[handle]

    @property
    def _cuda(self) -> Cuda:
        return self.engine.module.cuda
