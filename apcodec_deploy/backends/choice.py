"""Which backend is taken. A backend's module is imported when its turn comes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from apcodec_deploy.backends.base import CPU, ONNXRUNTIME, OPENVINO, TENSORRT, Backend, BackendOptions
from apcodec_deploy.bundle import Bundle
from apcodec_deploy.cuda.driver import driver_library
from apcodec_deploy.errors import ApcodecError, BackendError, DeviceError
from apcodec_deploy.precision import AUTO, BFLOAT16, FLOAT32

_DEFAULT = f"{ONNXRUNTIME} on the CPU"
"""What nothing has to be built or installed for, and what all others are compared with."""


def create(bundle: Bundle, options: BackendOptions | None = None) -> Backend:
    """Make the backend that was asked for, or the best that is made ready here.

    Left to us, that is TensorRT where there are engines, else ONNX Runtime on a GPU, else ONNX Runtime on the CPU in
    float32. OpenVINO is never taken unasked: with a package that may have come for another reason, codes would change.

    Args:
        bundle: The model.
        options: ``auto`` in everything where None.

    Raises:
        BackendError: What was asked for does not work here; why not is told.
        EngineError: TensorRT was asked for, and there are no engines that may run here.
    """
    options = options or BackendOptions()
    ways: list[tuple[str, Callable[[str], Backend]]] = []
    failed: list[str] = []
    if options.may_be_cpu and options.may_be_gpu and options.engines is None:
        try:
            driver_library()
        except DeviceError as error:
            options, failed = replace(options, device=CPU), [str(error)]
    if options.may_be_gpu and options.name in (AUTO, TENSORRT):
        ways.append((TENSORRT, lambda reason: _tensorrt(bundle, options, reason)))
    if options.may_be_gpu and options.name in (AUTO, ONNXRUNTIME) and options.engines is None:
        ways.append((f"{ONNXRUNTIME} on CUDA", lambda reason: _onnxruntime_cuda(bundle, options, reason)))
    if options.may_be_cpu and options.engines is None and options.name != OPENVINO and options.precision != BFLOAT16:
        ways.append((_DEFAULT, lambda reason: _onnxruntime(bundle, options, reason)))
    elif options.may_be_cpu and options.engines is None:
        if options.name == ONNXRUNTIME:
            raise BackendError(f"ONNX Runtime has no {BFLOAT16} on the CPU; take --backend {OPENVINO}")
        ways.append((OPENVINO, lambda reason: _openvino(bundle, options, reason)))
    for label, make in ways:
        why = "the default on a CPU" if label == _DEFAULT else "the fastest that works here"
        reason = "; ".join([why if options.chosen else "asked for", *failed])
        try:
            return make(reason)
        except ApcodecError as error:
            if len(ways) == 1:
                raise
            failed.append(f"{label} does not: {error}")
    raise BackendError("no backend works here: " + "; ".join(failed))


def _tensorrt(bundle: Bundle, options: BackendOptions, reason: str) -> Backend:
    from apcodec_deploy.backends.tensorrt import open_tensorrt

    def beyond() -> Backend:
        return create(bundle, replace(options, name=ONNXRUNTIME))

    return open_tensorrt(
        bundle,
        engines=options.engines,
        precision=options.precision,
        device=options.index,
        reason=reason,
        # Where the choice is ours, building engines must not take away what worked without them.
        beyond=beyond if options.name == AUTO and options.engines is None else None,
    )


def _onnxruntime_cuda(bundle: Bundle, options: BackendOptions, reason: str) -> Backend:
    from apcodec_deploy.backends.onnxruntime import open_cuda

    precision = FLOAT32 if options.precision == AUTO else options.precision
    return open_cuda(
        bundle,
        index=options.index,
        precision=precision,
        threads=options.threads,
        reason=reason,
        unproven=options.unproven,
    )


def _onnxruntime(bundle: Bundle, options: BackendOptions, reason: str) -> Backend:
    from apcodec_deploy.backends.onnxruntime import open_cpu

    precision = FLOAT32 if options.precision == AUTO else options.precision
    return open_cpu(bundle, precision=precision, threads=options.threads, reason=reason, unproven=options.unproven)


def _openvino(bundle: Bundle, options: BackendOptions, reason: str) -> Backend:
    from apcodec_deploy.backends.openvino import open_openvino

    return open_openvino(
        bundle,
        precision=options.precision,
        threads=options.threads,
        calls=options.calls,
        reason=reason,
        unproven=options.unproven,
    )
