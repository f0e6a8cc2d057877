"""An engine in TensorRT's hands: each disagreement with its manifest is found before the first call."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from apcodec_deploy.engines.context import Context
from apcodec_deploy.engines.flavour import TensorRT
from apcodec_deploy.engines.manifest import Engine
from apcodec_deploy.errors import BackendError, EngineError

_TYPES = {"float32": "FLOAT", "int32": "INT32"}


class LoadedEngine:
    """A deserialised engine."""

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
        self._tensorrt, self._runtime = tensorrt, runtime
        self._graphs = graphs and tensorrt.records_graphs
        with tensorrt.calls(f"load the engine {engine.name}"):
            self._engine = runtime.deserialize_cuda_engine(data)
        if self._engine is None:
            raise EngineError(f"{tensorrt.title} cannot load the engine {engine.name}: {tensorrt.why}; build it again")
        self._check()

    @property
    def scratch(self) -> int:
        """Bytes of working memory that it needs, whatever the shapes."""
        return int(self._engine.device_memory_size_v2)

    def context(self) -> Context:
        """A new context, which keeps its shapes and addresses and uses the working memory that it is lent.

        Raises:
            EngineError: There is none to be had, for lack of memory mostly.
        """
        trt, made = self._tensorrt.trt, None
        strategy = trt.ExecutionContextAllocationStrategy.USER_MANAGED
        with self._tensorrt.calls(f"make a context for {self.manifest.name}"):
            if self._graphs:
                config = self._engine.create_runtime_config()
                config.set_execution_context_allocation_strategy(strategy)
                config.cuda_graph_strategy = trt.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
                made = self._engine.create_execution_context(config)
            else:
                made = self._engine.create_execution_context(strategy)
        if made is None:
            why = self._tensorrt.why
            raise EngineError(f"{self._tensorrt.title} cannot run the engine {self.manifest.name}: {why}")
        return Context(self._tensorrt, self.manifest, made)

    def layer_types(self) -> Counter[str]:
        """How many layers compute in which type, as TensorRT's inspector tells it: by the format of what they give.

        Raises:
            BackendError: TensorRT does not tell.
        """
        with self._tensorrt.calls(f"look into the engine {self.manifest.name}"):
            inspector = self._engine.create_engine_inspector()
            told = inspector.get_engine_information(self._tensorrt.trt.LayerInformationFormat.JSON)
        counts: Counter[str] = Counter()
        try:
            for row in json.loads(told)["Layers"]:
                # An engine that was built without details gives names only.
                outputs = row.get("Outputs", []) if isinstance(row, dict) else []
                counts[str(outputs[0]["Format/Datatype"]).split()[-1] if outputs else "untold"] += 1
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise BackendError(f"{self._tensorrt.title} tells of its layers in a way that is not known") from error
        return counts

    def close(self) -> None:
        """Let go of engine and runtime, in this order; its contexts must be gone."""
        self._engine = None
        self._runtime = None

    def _check(self) -> None:
        """Hold names, directions, types and dimensions against the manifest."""
        held = {}
        for index in range(self._engine.num_io_tensors):
            name = self._engine.get_tensor_name(index)
            output = self._engine.get_tensor_mode(name) == self._tensorrt.trt.TensorIOMode.OUTPUT
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


def _compatible(found: tuple[int, ...], expected: tuple[int, ...]) -> bool:
    return len(found) == len(expected) and all(
        wanted in (-1, held) for held, wanted in zip(found, expected, strict=True)
    )
