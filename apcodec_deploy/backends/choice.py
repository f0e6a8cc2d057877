"""Which backend is taken. A backend's module is imported when its turn comes."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec

from apcodec_deploy.backends.base import CPU, ONNXRUNTIME, OPENVINO, TENSORRT, Backend, BackendOptions
from apcodec_deploy.bundle import Bundle
from apcodec_deploy.cuda.driver import driver_library
from apcodec_deploy.errors import ApcodecError, BackendError, DeviceError
from apcodec_deploy.precision import AUTO, BFLOAT16, FLOAT32

CPU_VARIABLE = "APCODEC_CPU_BACKEND"
"""Environment variable that names the backend ``auto`` takes on a CPU: for those who want the same codes everywhere."""
_DEFAULT = f"{ONNXRUNTIME} on the CPU"
"""What nothing has to be built or installed for, and what all others are compared with."""
_Ways = list[tuple[str, Callable[[str], Backend]]]
"""What is tried in turn: how each is called, and what makes it for a reason."""


def create(bundle: Bundle, options: BackendOptions | None = None) -> Backend:
    """Make the backend that was asked for, or the fastest that is ready here and right.

    Left to us, that is TensorRT where there are engines, else ONNX Runtime on a GPU, else OpenVINO on the CPU where it
    is installed, else ONNX Runtime on the CPU in float32. float32 that is asked for by itself is ONNX Runtime's, which
    everything is compared with.

    Args:
        bundle: The model.
        options: ``auto`` in everything where None.

    Raises:
        BackendError: What was asked for does not work here; why not is told. Or ``APCODEC_CPU_BACKEND`` names none.
        EngineError: TensorRT was asked for, and there are no engines that may run here.
    """
    options = options or BackendOptions()
    ways: _Ways = []
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
    if options.may_be_cpu and options.engines is None:
        ways += _on_cpu(bundle, options)
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


def _on_cpu(bundle: Bundle, options: BackendOptions) -> _Ways:
    """What may be tried on the CPU, the best first.

    Raises:
        BackendError: ONNX Runtime was asked for in bfloat16, or the environment names no backend of a CPU.
    """
    openvino = (OPENVINO, lambda reason: _openvino(bundle, options, reason))
    onnxruntime = (_DEFAULT, lambda reason: _onnxruntime(bundle, options, reason))
    if options.precision == BFLOAT16:
        if options.name == ONNXRUNTIME:
            raise BackendError(f"ONNX Runtime has no {BFLOAT16} on the CPU; take --backend {OPENVINO}")
        return [openvino]
    if options.name != AUTO:
        return [openvino if options.name == OPENVINO else onnxruntime]
    named = os.environ.get(CPU_VARIABLE) or None
    if named not in (None, ONNXRUNTIME, OPENVINO):
        raise BackendError(f"{CPU_VARIABLE} is {named!r}; {ONNXRUNTIME} or {OPENVINO} is expected")
    if named == ONNXRUNTIME or (named is None and (options.precision == FLOAT32 or find_spec(OPENVINO) is None)):
        return [onnxruntime]
    return [openvino, onnxruntime]


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
    from apcodec_deploy.backends.onnxruntime_cuda import open_cuda

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
