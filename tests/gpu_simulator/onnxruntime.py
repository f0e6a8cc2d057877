"""ONNX Runtime's GPU build on the simulated GPU: its sessions run on the CPU, queued on the stream they were given.

What is simulated: options of the CUDA provider, memory bound by its address, runs that are queued and not waited for,
CUDA graphs by their number, an arena with a limit. What is not: speed, cuDNN, TF32's rounding, per-thread recordings.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnxruntime as real

from gpu_simulator.cuda import Cuda
from gpu_simulator.streams import Misuse, Operation

CUDA = "CUDAExecutionProvider"
_KNOWN = {
    *("device_id", "cudnn_conv_algo_search", "use_tf32", "user_compute_stream", "do_copy_in_default_stream"),
    *("enable_cuda_graph", "arena_extend_strategy", "gpu_mem_limit"),
}
"""Options of the provider that we know; ONNX Runtime refuses others, too."""


@dataclass
class Faults:
    """What goes wrong, where a test wants it to.

    Attributes:
        graphs: Sessions cannot be loaded for recording.
        provider: The provider's library does not load, which ONNX Runtime only logs.
        driver: What CUDA says of the driver, when a session is made.
        most_rows: Runs of more have no memory.
        corrupt: Changes what a graph gives.
    """

    graphs: bool = False
    provider: bool = False
    driver: str | None = None
    most_rows: int | None = None
    corrupt: Callable[[dict[str, Any]], None] | None = None


class RunOptions:
    """As ONNX Runtime's, readable."""

    def __init__(self) -> None:
        self.entries: dict[str, str] = {}

    def add_run_config_entry(self, key: str, value: str) -> None:
        self.entries[key] = value


@dataclass
class Binding:
    """What is bound to a session, by name: address, numpy type and shape; None for ONNX Runtime's own memory."""

    session: Session
    values: dict[str, Any] = field(default_factory=dict)
    plain: Any = None

    def bind_input(self, name: str, device: str, index: int, dtype: Any, shape: list[int], address: int) -> None:
        assert (device, index) == ("cuda", self.session.index)
        self.values[name] = (address, np.dtype(dtype), tuple(shape))

    def bind_output(self, name: str, device: str = "cpu", index: int = 0, *memory: Any) -> None:
        if not memory:
            self._ours().bind_output(name, "cpu")
            return
        self.bind_input(name, device, index, *memory[:2], memory[2])

    def bind_ortvalue_input(self, name: str, value: Any) -> None:
        self._ours().bind_ortvalue_input(name, value)

    def get_outputs(self) -> Any:
        return self._ours().get_outputs()

    def _ours(self) -> Any:
        self.plain = self.plain or self.session.held.io_binding()
        return self.plain


class Session:
    """In the place of ``InferenceSession`` with the CUDA provider."""

    def __init__(self, module: OnnxRuntime, data: bytes, options: dict[str, str]) -> None:
        if unknown := options.keys() - _KNOWN:
            raise RuntimeError(f"unknown provider option {unknown}")
        self.module, self.options, self.index = module, options, int(options["device_id"])
        if module.faults.driver:
            raise RuntimeError(f'Failed to parse provider option "device_id": {module.faults.driver} ; GPU=-1')
        self.records = options.get("enable_cuda_graph") == "1"
        if self.records and module.faults.graphs:
            raise RuntimeError("This session cannot use the graph capture feature as requested by the user")
        session_options = real.SessionOptions()
        session_options.intra_op_num_threads = 1
        self.held = real.InferenceSession(data, session_options, providers=["CPUExecutionProvider"])
        self.recorded: dict[str, dict[str, Any]] = {}
        self.replays = 0

    def get_providers(self) -> list[str]:
        return ["CPUExecutionProvider"] if self.module.faults.provider else [CUDA, "CPUExecutionProvider"]

    def get_inputs(self) -> Any:
        return self.held.get_inputs()

    def get_outputs(self) -> Any:
        return self.held.get_outputs()

    def io_binding(self) -> Binding:
        return Binding(self)

    def run_with_iobinding(self, binding: Binding, options: RunOptions | None = None) -> None:
        if binding.plain is not None:
            self.held.run_with_iobinding(binding.plain)
            return
        cuda = self.module.cuda
        cuda.require_context()
        handle = int(self.options["user_compute_stream"])
        if handle not in cuda.streams:
            raise Misuse(f"{handle} is no stream, or the default one")
        entries = options.entries if options else {}
        inputs, outputs = self.held.get_inputs(), self.held.get_outputs()
        if missing := {each.name for each in (*inputs, *outputs)} - binding.values.keys():
            raise Misuse(f"nothing is bound to {missing}")
        values = dict(binding.values)
        rows = next(iter(values.values()))[2][0]
        if self.module.faults.most_rows is not None and rows > self.module.faults.most_rows:
            raise RuntimeError("Available memory of 1 is smaller than requested bytes of 2")
        self._replayed(entries.get("gpu_graph_id", "0"), values)
        memory = {
            name: cuda.at(address, int(np.prod(shape)) * dtype.itemsize)
            for name, (address, dtype, shape) in values.items()
        }

        def view(name: str) -> Any:
            _, dtype, shape = values[name]
            return memory[name].data[: int(np.prod(shape)) * dtype.itemsize].view(dtype).reshape(shape)

        def run() -> None:
            given = {each.name: view(each.name).copy() for each in inputs}
            names = [each.name for each in outputs]
            for row in range(rows):  # so that results do not depend on the batch
                found = self.held.run(names, {name: array[row : row + 1] for name, array in given.items()})
                results = dict(zip(names, found, strict=True))
                if self.module.faults.corrupt:
                    self.module.faults.corrupt(results)
                for name, result in results.items():
                    view(name)[row : row + 1] = result

        stream = cuda.streams[handle]
        stream.add(Operation(run=run, memory=tuple(memory.values())))
        self.module.runs += 1
        if "disable_synchronize_execution_providers" not in entries:
            stream.synchronize()

    def _replayed(self, number: str, values: dict[str, Any]) -> None:
        """The first run of a number is recorded; a later one gets what was recorded, whatever is bound."""
        if not self.records or number == "-1":
            return
        if number not in self.recorded:
            self.recorded[number] = values
            return
        if self.recorded[number] != values:
            raise Misuse(f"graph {number} is replayed, but was recorded with other shapes or addresses")
        self.replays += 1


class OnnxRuntime:
    """In the place of the module ``onnxruntime``: what asks for CUDA gets the simulated GPU, all else is as it is."""

    RunOptions = RunOptions

    def __init__(self, cuda: Cuda) -> None:
        self.cuda, self.faults = cuda, Faults()
        self.sessions: list[Session] = []
        self.runs = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(real, name)

    def get_available_providers(self) -> list[str]:
        return [CUDA, "CPUExecutionProvider"]

    def InferenceSession(self, data: bytes, options: Any, providers: list[Any], enable_fallback: int = 1) -> Any:
        (first, *_) = providers
        name, values = first if isinstance(first, tuple) else (first, {})
        if name != CUDA:
            return real.InferenceSession(data, options, providers=providers)
        try:
            session = Session(self, data, values)
        except RuntimeError as error:
            if not enable_fallback:
                raise
            sys.stdout.write(f"EP Error {error} when using {providers}\n")  # as ONNX Runtime 1.31 does
            return real.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        self.sessions.append(session)
        return session
