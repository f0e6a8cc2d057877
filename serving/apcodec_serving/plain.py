"""The six ONNX graphs and two ensembles of them: no Python in the server, and only what the graphs themselves do.

That is clips at the model's rate, coded whole: no windows, no resampling, and audio of whole columns.
"""

from __future__ import annotations

from typing import Any

from apcodec_deploy.bundle import Bundle
from apcodec_deploy.signatures import GraphSignature, TensorSignature
from apcodec_deploy.spec import ModelSpec
from apcodec_serving.configs import Config, Files, Placement
from apcodec_serving.interface import ANY, AUDIO, CODES, DECODE, ENCODE, audio, codes

_TYPES = {"float32": "TYPE_FP32", "int32": "TYPE_INT32"}
_ENDS = {"audio": AUDIO, "codes": CODES}
"""What the ensembles' own tensors are called in the graphs."""


def plain_models(bundle: Bundle, placement: Placement, precision: str) -> tuple[dict[str, Config], Files]:
    """The configuration of each model, and the graphs.

    Raises:
        BundleError: The bundle has no graphs of that precision, or a damaged one.
    """
    configs = {_model(graph.name): _graph_config(graph, placement) for graph in bundle.spec.graphs.values()}
    into, out = audio().config(), codes(bundle.spec).config()
    configs[ENCODE] = _ensemble(ENCODE, "encode", bundle.spec, into, out, placement)
    configs[DECODE] = _ensemble(DECODE, "decode", bundle.spec, out, into, placement)
    files = {f"{_model(name)}/1/model.onnx": bundle.graph(name, precision) for name in bundle.spec.graphs}
    # Triton wants a folder for the version of an ensemble, too; Git and object stores keep no empty one.
    return configs, {**files, **{f"{name}/1/.ensemble": b"" for name in (ENCODE, DECODE)}}


def _model(graph: str) -> str:
    return f"apcodec_{graph}"


def _graph_config(graph: GraphSignature, placement: Placement) -> Config:
    def tensor(value: TensorSignature) -> Config:
        dims = [ANY if isinstance(dim, str) else dim for dim in value.dims[1:]]
        return {"name": value.name, "data_type": _TYPES[value.dtype], "dims": dims}

    return {
        "name": _model(graph.name),
        "backend": "onnxruntime",
        "input": [tensor(value) for value in graph.inputs],
        "output": [tensor(value) for value in graph.outputs],
        "parameters": {"intra_op_thread_count": {"string_value": str(placement.threads)}},
        **placement.for_clips(),
    }


def _ensemble(name: str, direction: str, spec: ModelSpec, into: Config, out: Config, placement: Placement) -> Config:
    def names(values: tuple[TensorSignature, ...]) -> dict[str, str]:
        return {value.name: _ENDS.get(value.name, value.name) for value in values}

    steps: list[dict[str, Any]] = [
        {
            "model_name": _model(graph),
            "model_version": -1,
            "input_map": names(spec.graphs[graph].inputs),
            "output_map": names(spec.graphs[graph].outputs),
        }
        for graph in spec.chains[direction]
    ]
    return {
        "name": name,
        "platform": "ensemble",
        "max_batch_size": placement.profile.rows,
        "input": [into],
        "output": [out],
        "ensemble_scheduling": {"step": steps},
    }
