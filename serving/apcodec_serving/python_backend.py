"""The models as Triton's Python backend runs them: ``model.py`` of the repository names one of the classes.

Only the server's own process can import this: it brings ``triton_python_backend_utils``.
"""

from __future__ import annotations

import json
import threading
import traceback
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import triton_python_backend_utils as triton

from apcodec_deploy.errors import ApcodecError
from apcodec_serving.services import Answer, Arrays, DecodeService, EncodeService, Limits, Service
from apcodec_serving.settings import Settings
from apcodec_serving.streams import Push, StreamDecodeService, StreamEncodeService, StreamService

CANCELLED = "the client has gone"


class _Model(ABC):
    """What Triton calls. One instance is one process."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the model. The server is ready when all have returned."""
        self._config = json.loads(args["model_config"])
        settings = Settings.read({name: value["string_value"] for name, value in self._config["parameters"].items()})
        self._inputs = [tensor["name"] for tensor in self._config["input"]]
        gpu = args["model_instance_kind"] == "GPU"
        self._codec = settings.load(f"cuda:{args['model_instance_device_id']}" if gpu else None)
        self._service = self._opened(settings.limits)
        self._service.warm_up()
        triton.Logger.log_info(f"{self._config['name']}: {self._codec!r}: {self._codec.backend.reason}")

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Answer requests: one response each, in order."""
        waiting = [index for index, request in enumerate(requests) if not self._cancelled(request)]
        answers = self._service.answers([self._asked(requests[index]) for index in waiting])
        responses = [triton.InferenceResponse(error=_error(CANCELLED, "CANCELLED")) for _ in requests]
        for index, answer in zip(waiting, answers, strict=True):
            responses[index] = _response(answer)
        return responses

    def finalize(self) -> None:
        """Free the model."""
        self._codec.close()

    @abstractmethod
    def _opened(self, limits: Limits) -> Service[Any, Any]:
        """What answers requests."""

    def _asked(self, request: Any) -> Any:
        return self._arrays(request)

    def _cancelled(self, request: Any) -> bool:
        return bool(request.is_cancelled())

    def _arrays(self, request: Any) -> Arrays:
        found = {name: triton.get_input_tensor_by_name(request, name) for name in self._inputs}
        return {name: tensor.as_numpy() for name, tensor in found.items() if tensor is not None}


class EncodeModel(_Model):
    """``apcodec_encode``."""

    def _opened(self, limits: Limits) -> EncodeService:
        return EncodeService(self._codec, limits)


class DecodeModel(_Model):
    """``apcodec_decode``."""

    def _opened(self, limits: Limits) -> DecodeService:
        return DecodeService(self._codec, limits)


class _StreamModel(_Model):
    """A model whose requests are pushes of streams.

    Triton does not tell a model when it gives up a stream whose client has gone. So a thread looks for them.
    """

    service: ClassVar[type[StreamService[Any]]]
    _service: StreamService[Any]

    def initialize(self, args: dict[str, str]) -> None:
        """Load the model, and begin to look for streams whose clients have gone."""
        super().initialize(args)
        kind = triton.MetricFamily
        self._metrics = kind(name="apcodec_streams", description="Streams that an instance keeps", kind=kind.GAUGE)
        labels = {"model": self._config["name"], "instance": args["model_instance_name"]}
        self._open = self._metrics.Metric(labels=labels)
        self._ending = threading.Event()
        self._watch = threading.Thread(target=self._forget_idle, daemon=True)
        self._watch.start()

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Answer pushes: one response each, in order."""
        before = len(self._service)
        responses = super().execute(requests)
        if len(self._service) != before:  # asking the server for it takes time
            self._open.set(len(self._service))
        return responses

    def finalize(self) -> None:
        """Free the model and its streams."""
        self._ending.set()
        self._watch.join()
        super().finalize()

    def _opened(self, limits: Limits) -> StreamService[Any]:
        idle_us = int(self._config["sequence_batching"]["max_sequence_idle_microseconds"])
        return self.service(self._codec, limits, idle_us / 1e6)

    def _asked(self, request: Any) -> Push:
        flags = request.flags()
        return Push(
            stream=request.correlation_id(),
            first=bool(flags & triton.TRITONSERVER_REQUEST_FLAG_SEQUENCE_START),
            last=bool(flags & triton.TRITONSERVER_REQUEST_FLAG_SEQUENCE_END),
            arrays=self._arrays(request),
        )

    def _cancelled(self, request: Any) -> bool:
        """A push that is cancelled ends its stream, as it does in Triton while it waits."""
        cancelled = super()._cancelled(request)
        if cancelled:
            self._service.forget(request.correlation_id())
        return cancelled

    def _forget_idle(self) -> None:
        while not self._ending.wait(self._service.idle):
            if forgotten := self._service.forget_idle():
                self._open.set(len(self._service))
                triton.Logger.log_info(f"{self._config['name']}: {forgotten} streams forgotten: their clients went")


class StreamEncodeModel(_StreamModel):
    """``apcodec_stream_encode``."""

    service = StreamEncodeService


class StreamDecodeModel(_StreamModel):
    """``apcodec_stream_decode``."""

    service = StreamDecodeService


def _response(answer: Answer) -> Any:
    if isinstance(answer, ApcodecError):
        return triton.InferenceResponse(error=_error(str(answer), "INVALID_ARG"))
    if isinstance(answer, Exception):
        triton.Logger.log_error("".join(traceback.format_exception(answer)))
        return triton.InferenceResponse(error=_error(f"{type(answer).__name__}: {answer}", "INTERNAL"))
    return triton.InferenceResponse([triton.Tensor(name, array) for name, array in answer.items()])


def _error(message: str, code: str) -> Any:
    return triton.TritonError(message, getattr(triton.TritonError, code))
