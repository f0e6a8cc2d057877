"""Clients of a Triton server, as users write them: arrays in, arrays out."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from triton_server import TritonServer
from tritonclient import grpc
from tritonclient.utils import InferenceServerException, triton_to_np_dtype

Arrays = dict[str, NDArray[Any]]
Ask = Callable[..., Arrays]
TYPES = {"AUDIO": "FP32", "CODES": "INT32", "SAMPLES": "INT64", "SAMPLE_RATE": "INT32", "FINGERPRINT": "BYTES"}


def grpc_input(name: str, array: NDArray[Any]) -> Any:
    """An input of a request."""
    tensor = grpc.InferInput(name, list(array.shape), TYPES[name])
    tensor.set_data_from_numpy(array)
    return tensor


def over_grpc(server: TritonServer, model: str, **arrays: NDArray[Any]) -> Arrays:
    """A client of its own for one request."""
    with grpc.InferenceServerClient(f"127.0.0.1:{server.grpc}") as client:
        return infer(client, model, arrays)


def infer(client: grpc.InferenceServerClient, model: str, arrays: Arrays, **sequence: Any) -> Arrays:
    """One request.

    Args:
        client: Who asks.
        model: Which.
        arrays: Its inputs.
        sequence: ``sequence_id``, ``sequence_start`` and ``sequence_end`` of a push.
    """
    answer = client.infer(model, [grpc_input(name, array) for name, array in arrays.items()], **sequence)
    return {output.name: answer.as_numpy(output.name) for output in answer.get_response().outputs}


def over_http(server: TritonServer, model: str, **arrays: NDArray[Any]) -> Arrays:
    """As JSON, as curl would."""
    return post(server, model, arrays)


def post(server: TritonServer, model: str, arrays: Arrays, **sequence: Any) -> Arrays:
    """One request as JSON; see ``infer``."""

    def plain(value: Any) -> Any:
        return value.decode() if isinstance(value, bytes) else value

    inputs = [
        {"name": name, "datatype": TYPES[name], "shape": array.shape, "data": list(map(plain, array.ravel().tolist()))}
        for name, array in arrays.items()
    ]
    status, answer = server.post(model, json.dumps({"inputs": inputs, "parameters": sequence}).encode())
    if status != 200:
        raise InferenceServerException(answer["error"])
    found = {}
    for output in answer["outputs"]:
        values = [value.encode() if isinstance(value, str) else value for value in output["data"]]
        found[output["name"]] = np.array(values, triton_to_np_dtype(output["datatype"])).reshape(output["shape"])
    return found
