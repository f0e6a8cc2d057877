"""The models as Triton's Python backend runs them: ``model.py`` of the repository names one of the two classes.

Only the server's own process can import this: it brings ``triton_python_backend_utils``.
"""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable, Sequence
from typing import Any

import triton_python_backend_utils as triton

import apcodec_deploy
from apcodec_deploy.errors import ApcodecError
from apcodec_serving.services import Answer, Arrays, DecodeService, EncodeService, Limits, Service
from apcodec_serving.settings import Settings

CANCELLED = "the client has gone"


class _Model:
    """What Triton calls. One instance is one process."""

    service: Callable[[apcodec_deploy.Codec, Limits], Service[Any]]

    def initialize(self, args: dict[str, str]) -> None:
        """Load the model. The server is ready when all have returned."""
        config = json.loads(args["model_config"])
        settings = Settings.read({name: value["string_value"] for name, value in config["parameters"].items()})
        self._inputs = [tensor["name"] for tensor in config["input"]]
        gpu = args["model_instance_kind"] == "GPU"
        self._codec = settings.load(f"cuda:{args['model_instance_device_id']}" if gpu else None)
        self._service = type(self).service(self._codec, settings.limits)
        self._service.warm_up()
        triton.Logger.log_info(f"{config['name']}: {self._codec!r}: {self._codec.backend.reason}")

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Answer requests: one response each, in order."""
        waiting = [index for index, request in enumerate(requests) if not request.is_cancelled()]
        answers = self._service.answers([self._arrays(requests[index]) for index in waiting])
        responses = [triton.InferenceResponse(error=_error(CANCELLED, "CANCELLED")) for _ in requests]
        for index, answer in zip(waiting, answers, strict=True):
            responses[index] = _response(answer)
        return responses

    def finalize(self) -> None:
        """Free the model."""
        self._codec.close()

    def _arrays(self, request: Any) -> Arrays:
        found = {name: triton.get_input_tensor_by_name(request, name) for name in self._inputs}
        return {name: tensor.as_numpy() for name, tensor in found.items() if tensor is not None}


class EncodeModel(_Model):
    """``apcodec_encode``."""

    service = EncodeService


class DecodeModel(_Model):
    """``apcodec_decode``."""

    service = DecodeService


def _response(answer: Answer) -> Any:
    if isinstance(answer, ApcodecError):
        return triton.InferenceResponse(error=_error(str(answer), "INVALID_ARG"))
    if isinstance(answer, Exception):
        triton.Logger.log_error("".join(traceback.format_exception(answer)))
        return triton.InferenceResponse(error=_error(f"{type(answer).__name__}: {answer}", "INTERNAL"))
    return triton.InferenceResponse([triton.Tensor(name, array) for name, array in answer.items()])


def _error(message: str, code: str) -> Any:
    return triton.TritonError(message, getattr(triton.TritonError, code))
