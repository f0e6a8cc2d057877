"""An execution context of an engine: every call of TensorRT is checked, and what it raises is translated."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from apcodec_deploy.cuda.device import Memory, Stream
from apcodec_deploy.engines.flavour import TensorRT
from apcodec_deploy.engines.manifest import Engine
from apcodec_deploy.errors import BackendError


class Context:
    """An engine with shapes, addresses and working memory; for one thread at a time."""

    def __init__(self, tensorrt: TensorRT, engine: Engine, context: Any) -> None:
        """Wrap a context of TensorRT.

        Args:
            tensorrt: Whose it is.
            engine: What the manifest says of its engine.
            context: As TensorRT made it.
        """
        self.engine = engine
        self._tensorrt, self._context = tensorrt, context
        self._selected: int | None = None

    def lend(self, scratch: Memory) -> None:
        """Give it working memory, which nothing else may use at the same time."""
        with self._tensorrt.calls(f"take working memory for {self.engine.name}"):
            self._context.set_device_memory(scratch.address, scratch.size)

    def bind(self, name: str, memory: Memory) -> None:
        """Say where an input is, or where an output goes.

        Raises:
            BackendError: TensorRT refuses.
        """
        with self._tensorrt.calls(f"take an address for {name}"):
            done = self._context.set_tensor_address(name, memory.address)
        self._demand(done, f"take an address for {name}")

    def select(self, index: int, stream: Stream) -> None:
        """Switch to an optimisation profile.

        Raises:
            BackendError: TensorRT refuses.
        """
        if index == self._selected:
            return
        with self._tensorrt.calls(f"switch to optimisation profile {index}"):
            done = self._context.set_optimization_profile_async(index, stream.handle)
        self._demand(done, f"switch to optimisation profile {index}")
        self._selected = index

    def reshape(self, axes: Mapping[str, int]) -> None:
        """Set the shapes of all inputs, within the selected profile.

        Raises:
            BackendError: TensorRT refuses them, or derives other output shapes than we do.
        """
        engine = self.engine
        with self._tensorrt.calls(f"derive the shapes of {engine.name}"):
            for binding in engine.bindings:
                if not binding.output:
                    shape = binding.shape(axes)
                    self._demand(self._context.set_input_shape(binding.name, shape), f"take {binding.name} of {shape}")
            if unknown := self._context.infer_shapes():
                raise BackendError(f"{self._tensorrt.title} lacks the shape of {', '.join(unknown)} in {engine.name}")
            for binding in engine.bindings:
                found, expected = tuple(self._context.get_tensor_shape(binding.name)), binding.shape(axes)
                if found != expected:
                    raise BackendError(f"{engine.name} gives {binding.name} of {found}; {expected} is expected")

    def enqueue(self, stream: Stream) -> None:
        """Queue one call.

        Raises:
            BackendError: TensorRT refuses, which some versions tell by nothing but this.
        """
        with self._tensorrt.calls(f"run {self.engine.name}"):
            done = self._context.execute_async_v3(stream.handle)
        self._demand(done, "run")

    def close(self) -> None:
        """Let go of it; nothing of it may be queued any more."""
        self._context = None

    def _demand(self, done: object, what: str) -> None:
        if not done:
            raise BackendError(f"{self._tensorrt.title} did not {what} in {self.engine.name}: {self._tensorrt.why}")
