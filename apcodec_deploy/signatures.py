"""What goes into a graph and what comes out: names, element types and axes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TensorSignature:
    """One input or output of a graph: its name, its numpy element type, and its axes, a name for each dynamic one."""

    name: str
    dtype: str
    dims: tuple[str | int, ...]

    def shape(self, sizes: Mapping[str, int]) -> tuple[int, ...]:
        """Its shape where the dynamic axes have these sizes."""
        return tuple(dim if isinstance(dim, int) else sizes[dim] for dim in self.dims)


@dataclass(frozen=True, slots=True)
class GraphSignature:
    """What goes in and out of one graph."""

    name: str
    inputs: tuple[TensorSignature, ...]
    outputs: tuple[TensorSignature, ...]


def signature(name: str, inputs: str, outputs: str, sizes: Mapping[str, int]) -> GraphSignature:
    """Read ``logamp:float32(batch,bins,frames)``.

    Args:
        name: Of the graph.
        inputs: Its inputs, a space between two.
        outputs: Its outputs, likewise.
        sizes: The axes that the model fixes, by the names that they have here.
    """

    def tensors(text: str) -> tuple[TensorSignature, ...]:
        result = []
        for part in text.split():
            tensor, dims = part.removesuffix(")").split("(")
            label, dtype = tensor.split(":")
            result.append(TensorSignature(label, dtype, tuple(sizes.get(dim, dim) for dim in dims.split(","))))
        return tuple(result)

    return GraphSignature(name, tensors(inputs), tensors(outputs))
