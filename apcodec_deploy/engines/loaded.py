"""An engine in TensorRT's hands: each call checked, each disagreement with its manifest found before the first one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from apcodec_deploy.cuda.device import Memory, Stream
from apcodec_deploy.engines.flavour import TensorRT
from apcodec_deploy.engines.manifest import Engine
from apcodec_deploy.errors import BackendError, EngineError

_TYPES = {"float32": "FLOAT", "int32": "INT32"}


class LoadedEngine:
    """A deserialised engine with one execution context, which one thread uses at a time."""

    def __init__(self, tensorrt: TensorRT, runtime: Any, engine: Engine, data: bytes, *, graphs: bool) -> None:
        """Deserialise an engine whose checksum was verified.

        Args:
            tensorrt: The flavour that built it.
            runtime: Its ``Runtime``.
            engine: What the manifest says of it.
            data: The engine.
            graphs: Whether calls are to be recorded as CUDA graphs, where the flavour does that by itself.

        Raises:
            EngineError: TensorRT does not take it, or it is not what the manifest says.
        """
        self.manifest = engine
        self._trt, self._title = tensorrt.trt, tensorrt.title
        self._logger, self._runtime = tensorrt.logger, runtime
        self._engine = runtime.deserialize_cuda_engine(data)
        if self._engine is None:
            raise EngineError(f"{self._title} cannot load the engine {engine.name}: {self._why()}; build it again")
        self._check()
        self._context = self._create_context(graphs=graphs and tensorrt.records_graphs)
        if self._context is None:
            raise EngineError(f"{self._title} cannot run the engine {engine.name}: {self._why()}")
        self._selected: int | None = None

    @property
    def scratch(self) -> int:
        """Bytes of working memory that it needs, whatever the shapes."""
        return int(self._engine.device_memory_size_v2)

    def lend(self, scratch: Memory) -> None:
        """Give it working memory, which no other engine may use at the same time."""
        self._context.set_device_memory(scratch.address, scratch.size)

    def bind(self, name: str, memory: Memory) -> None:
        """Say where an input is, or where an output goes.

        Raises:
            BackendError: TensorRT refuses.
        """
        self._demand(self._context.set_tensor_address(name, memory.address), f"take an address for {name}")

    def select(self, index: int, stream: Stream) -> bool:
        """Switch to an optimisation profile; whether it was another one."""
        if index == self._selected:
            return False
        done = self._context.set_optimization_profile_async(index, stream.handle)
        self._demand(done, f"switch to optimisation profile {index}")
        self._selected = index
        return True

    def reshape(self, axes: Mapping[str, int]) -> None:
        """Set the shapes of all inputs, within the selected profile.

        Raises:
            BackendError: TensorRT refuses them, or derives other output shapes than we do.
        """
        for binding in self.manifest.bindings:
            if not binding.output:
                shape = binding.shape(axes)
                self._demand(self._context.set_input_shape(binding.name, shape), f"take {binding.name} of {shape}")
        try:
            unknown = self._context.infer_shapes()
        except RuntimeError as error:
            raise BackendError(f"{self._title} cannot derive shapes in {self.manifest.name}: {error}") from error
        if unknown:
            raise BackendError(f"{self._title} lacks the shape of {', '.join(unknown)} in {self.manifest.name}")
        for binding in self.manifest.bindings:
            found, expected = tuple(self._context.get_tensor_shape(binding.name)), binding.shape(axes)
            if found != expected:
                raise BackendError(f"{self.manifest.name} gives {binding.name} of {found}; {expected} is expected")

    def enqueue(self, stream: Stream) -> None:
        """Queue one call.

        Raises:
            BackendError: TensorRT refuses, which some versions tell by nothing but this.
        """
        self._demand(self._context.execute_async_v3(stream.handle), "run")

    def close(self) -> None:
        """Let go of context, engine and runtime, in this order."""
        self._context = None
        self._engine = None
        self._runtime = None

    def _create_context(self, *, graphs: bool) -> Any:
        """A context that uses the working memory it is given, and records graphs where the flavour can."""
        strategy = self._trt.ExecutionContextAllocationStrategy.USER_MANAGED
        if not graphs:
            return self._engine.create_execution_context(strategy)
        config = self._engine.create_runtime_config()
        config.set_execution_context_allocation_strategy(strategy)
        config.cuda_graph_strategy = self._trt.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
        return self._engine.create_execution_context(config)

    def _check(self) -> None:
        """Hold names, directions, types and dimensions against the manifest."""
        held = {}
        for index in range(self._engine.num_io_tensors):
            name = self._engine.get_tensor_name(index)
            output = self._engine.get_tensor_mode(name) == self._trt.TensorIOMode.OUTPUT
            dims = tuple(self._engine.get_tensor_shape(name))
            held[name] = (output, self._engine.get_tensor_dtype(name).name, dims)
        expected = {
            binding.name: (
                binding.output,
                _TYPES[binding.dtype],
                tuple(-1 if isinstance(dim, str) else dim for dim in binding.dims),
            )
            for binding in self.manifest.bindings
        }
        # An axis that every profile fixes is no longer dynamic in the engine.
        for name, (output, dtype, dims) in expected.items():
            found = held.get(name)
            if found is None or found[:2] != (output, dtype) or not _compatible(found[2], dims):
                raise EngineError(
                    f"the engine {self.manifest.name} has {name} as {found}, its manifest says "
                    f"{(output, dtype, dims)}; build it again"
                )
        if extra := sorted(held.keys() - expected.keys()):
            raise EngineError(f"the engine {self.manifest.name} also has {', '.join(extra)}; build it again")

    def _demand(self, done: object, what: str) -> None:
        if not done:
            raise BackendError(f"{self._title} did not {what} in {self.manifest.name}: {self._why()}")

    def _why(self) -> str:
        return self._logger.last or "it gave no reason"


def _compatible(found: tuple[int, ...], expected: tuple[int, ...]) -> bool:
    return len(found) == len(expected) and all(
        wanted in (-1, held) for held, wanted in zip(found, expected, strict=True)
    )
