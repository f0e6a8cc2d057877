"""The six graphs of a bundle: what each computes, its names and its shapes; and how one becomes ONNX."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from apcodec_deploy.bundle import OPSET
from apcodec_deploy.errors import ExportError
from apcodec_deploy.signatures import GraphSignature
from apcodec_deploy.version import __version__
from apcodec_export.checkpoint import Checkpoint
from apcodec_export.deployed.network import DeployedDecoder, DeployedEncoder
from apcodec_export.deployed.precision import FULL, PrecisionPlan
from apcodec_export.model.quantizer import FoldedSearch, FoldedTables
from apcodec_export.model.transforms import Istft, Stft

if TYPE_CHECKING:
    from collections.abc import Iterator

IR_VERSION = 10
PRODUCTS = ("Conv", "MatMul")
"""The operators that convolutions and linears become."""
TRACED_LATENTS, TRACED_BATCH = 9, 2
"""Size of the example clips: an odd length and more than one, so that no size is mistaken for a constant."""


@dataclass(frozen=True, slots=True)
class Graph:
    """One graph before it is exported.

    Attributes:
        signature: Names, element types and dynamic axes of its inputs and outputs.
        module: The PyTorch module that it must agree with.
        example: Inputs that it is traced with; a state is a tuple of its own.
        least: What PyTorch is told of a dynamic axis, by name, where it would derive an impossible bound by itself. It
            is told no more than that: the graph takes shorter ones, too.
        units: Dynamic axes of which only multiples of a number are taken, by name.
    """

    signature: GraphSignature
    module: nn.Module
    example: tuple[Tensor | tuple[Tensor, ...], ...]
    least: Mapping[str, int] = field(default_factory=dict)
    units: Mapping[str, int] = field(default_factory=dict)


def graphs(checkpoint: Checkpoint) -> dict[str, Graph]:
    """What the six float32 graphs of a checkpoint with windows compute, by name."""
    spec, quantizer = checkpoint.network.spec(), checkpoint.encoder.quantizer
    held, latents, noise = spec.graphs, TRACED_LATENTS, example_noise()
    codes = torch.randint(0, spec.codebook_size, (TRACED_BATCH, spec.num_codebooks, latents))
    samples = max(spec.samples_per_latent * latents - spec.hop_size - 1, spec.min_samples)
    spectrum = (noise(spec.bins, latents * spec.ratio), noise(spec.bins, latents * spec.ratio))
    return {
        "stft": Graph(held["stft"], Stft(spec).eval(), (noise(samples),), {"samples": 2 * spec.hop_size + 1}),
        "encoder": encoder_graph(checkpoint, FULL),
        "quantizer": Graph(held["quantizer"], FoldedSearch(quantizer).eval(), (noise(spec.latent_dim, latents),)),
        "dequantizer": Graph(held["dequantizer"], FoldedTables(quantizer).eval(), (codes.to(torch.int32),)),
        "decoder": decoder_graph(checkpoint, FULL),
        "istft": Graph(held["istft"], Istft(spec).eval(), spectrum),
    }


def reduced_graphs(checkpoint: Checkpoint, plan: PrecisionPlan) -> dict[str, Graph]:
    """Encoder and decoder under a plan. Transforms and code search stay float32."""
    return {"encoder": encoder_graph(checkpoint, plan), "decoder": decoder_graph(checkpoint, plan)}


def encoder_graph(checkpoint: Checkpoint, plan: PrecisionPlan) -> Graph:
    """The encoder under a precision plan; float32 goes in and comes out."""
    bins, frames, noise = checkpoint.network.bins, TRACED_LATENTS * checkpoint.network.ratio - 1, example_noise()
    module = DeployedEncoder(checkpoint.encoder, plan)
    return Graph(checkpoint.network.spec().graphs["encoder"], module, (noise(bins, frames), noise(bins, frames)))


def decoder_graph(checkpoint: Checkpoint, plan: PrecisionPlan) -> Graph:
    """The decoder under a precision plan; float32 goes in and comes out."""
    module, latent = DeployedDecoder(checkpoint.decoder, plan), (checkpoint.network.latent_dim, TRACED_LATENTS)
    return Graph(checkpoint.network.spec().graphs["decoder"], module, (example_noise()(*latent),))


def example_noise() -> Callable[..., Tensor]:
    """Makes example inputs: the same ones each time."""
    generator = torch.Generator().manual_seed(0)
    return lambda *shape: torch.randn(TRACED_BATCH, *shape, generator=generator)


def to_onnx(graph: Graph, fingerprint: str) -> onnx.ModelProto:
    """Export one graph, checked by ONNX's own checker, without external data or anything of this machine in it.

    Raises:
        ExportError: PyTorch could not export it, or its names or types are not those of its signature.
    """
    signature = graph.signature
    named = {dim for value in signature.inputs for dim in value.dims if isinstance(dim, str)}
    dims = {
        dim: graph.units.get(dim, 1) * torch.export.Dim(f"{dim}_", min=graph.least.get(dim)) for dim in sorted(named)
    }
    flat = iter(
        {axis: dims[dim] for axis, dim in enumerate(value.dims) if isinstance(dim, str)} for value in signature.inputs
    )
    shapes = tuple(tuple(islice(flat, len(each))) if isinstance(each, tuple) else next(flat) for each in graph.example)
    try:
        with _quiet(), _shapes_computed_anew():
            program = torch.onnx.export(
                graph.module,
                graph.example,
                input_names=[value.name for value in signature.inputs],
                output_names=[value.name for value in signature.outputs],
                opset_version=OPSET,
                dynamic_shapes=shapes,
                dynamo=True,
                external_data=False,
                optimize=True,
                verbose=False,
            )
    except Exception as error:  # the exporter raises whatever the layer below it raised
        raise ExportError(f"PyTorch {torch.__version__} could not export {signature.name}: {error}") from error
    if program is None:
        raise ExportError(f"PyTorch {torch.__version__} returned no graph for {signature.name}")
    model = program.model_proto
    _strip(model)
    _name_axes(model, signature)
    _name_products(model)
    _steady_logarithm(model)
    model.ir_version = IR_VERSION
    model.producer_name, model.producer_version = "apcodec-deploy", __version__
    model.graph.name = f"apcodec_{signature.name}"
    onnx.helper.set_model_props(model, {"apcodec.graph": signature.name, "apcodec.fingerprint": fingerprint})
    onnx.checker.check_model(model, full_check=True)
    return model


def _strip(model: onnx.ModelProto) -> None:
    """Remove stack traces and local paths, which the exporter keeps in every node."""
    for node in model.graph.node:
        node.ClearField("metadata_props")
        node.ClearField("doc_string")
    for value in (*model.graph.value_info, *model.graph.input, *model.graph.output, *model.graph.initializer):
        value.ClearField("metadata_props")
        value.ClearField("doc_string")
    for function in model.functions:
        function.ClearField("metadata_props")
    model.graph.ClearField("metadata_props")
    model.graph.ClearField("doc_string")
    model.ClearField("doc_string")


def _name_axes(model: onnx.ModelProto, signature: GraphSignature) -> None:
    """Give dynamic axes the names of the signature, and fixed ones their size; the exporter writes formulas."""
    model.graph.ClearField("value_info")
    values = zip((*model.graph.input, *model.graph.output), (*signature.inputs, *signature.outputs), strict=True)
    for held, expected in values:
        for dim, size in zip(held.type.tensor_type.shape.dim, expected.dims, strict=True):
            if isinstance(size, str):
                dim.dim_param = size
            else:
                dim.dim_value = size


def _name_products(model: onnx.ModelProto) -> None:
    """Call convolutions and linears as their layers are called, so that plans, audits and profiles can be compared."""
    for node in model.graph.node:
        if node.op_type in PRODUCTS and len(node.input) > 1 and node.input[1].endswith(".weight"):
            node.name = node.input[1].removesuffix(".weight")


def _steady_logarithm(model: onnx.ModelProto) -> None:
    """Write ``Log`` as ``ReduceLogSum`` over a new axis of one.

    ONNX Runtime's ``Log`` takes a vector routine, and a scalar one for what is left at the end of each thread's share;
    they differ in the last bit, so features would depend on the number of threads. The reduction takes one routine for
    all, is as fast, and is closer to the true value.
    """
    nodes = []
    for node in model.graph.node:
        if node.op_type != "Log":
            nodes.append(node)
            continue
        axis, widened = f"{node.output[0]}_axis", f"{node.output[0]}_widened"
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([0], np.int64), axis))
        nodes.append(onnx.helper.make_node("Unsqueeze", [node.input[0], axis], [widened]))
        nodes.append(onnx.helper.make_node("ReduceLogSum", [widened, axis], list(node.output), keepdims=0))
    model.graph.ClearField("node")
    model.graph.node.extend(nodes)


@contextmanager
def _shapes_computed_anew() -> Iterator[None]:
    """Have PyTorch keep no results of operators on shapes: to look one up takes longer than to compute it.

    A stream's graph, with its many small operators of unlike shapes, takes a fifth less time without.
    """
    config, name = torch._dynamo.config, "fake_tensor_cache_enabled"
    with config.patch({name: False}) if hasattr(config, name) else nullcontext():
        yield


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's own warnings and progress lines away from our users."""
    names = ("torch.onnx", "onnxscript", "torch.export", "onnx_ir")
    levels = {name: logging.getLogger(name).level for name in names}
    try:
        for name in names:
            logging.getLogger(name).setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
