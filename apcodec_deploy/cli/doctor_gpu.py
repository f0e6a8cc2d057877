"""What ``apcodec doctor`` says about GPUs: each part that TensorRT or CUDA needs, in one line with its remedy."""

from __future__ import annotations

from apcodec_deploy.backends.base import BackendOptions
from apcodec_deploy.bundle import Bundle
from apcodec_deploy.cli.finding import Finding, State, optional, version_of
from apcodec_deploy.cuda.device import Gpu
from apcodec_deploy.cuda.driver import driver_version
from apcodec_deploy.cuda.opening import open_device
from apcodec_deploy.engines.flavour import FLAVOURS, Flavour
from apcodec_deploy.engines.store import stored_sets
from apcodec_deploy.engines.trouble import trouble_of
from apcodec_deploy.errors import ApcodecError, DeviceError, EngineError


def examine_gpu(bundle: Bundle | None) -> list[Finding]:
    """Driver, GPU, ONNX Runtime's CUDA, both flavours of TensorRT, and the engines of a bundle."""
    driver = _driver()
    gpu, device = _device() if driver.state == State.OK else (None, [_pycuda()])
    findings = [driver, *device, _onnxruntime_cuda(bundle, driver)]
    findings += [_flavour(flavour) for flavour in FLAVOURS.values()]
    return findings + (_engines(bundle, gpu) if bundle else [])


def _driver() -> Finding:
    try:
        version = driver_version()
    except DeviceError as error:
        return optional("driver", State.OPTIONAL, f"{error}; everything runs on the CPU")
    return optional("driver", State.OK, f"for CUDA {version or '?'}")


def _device() -> tuple[Gpu | None, list[Finding]]:
    try:
        gpu = open_device().gpu
    except DeviceError as error:
        return None, [optional("gpu", State.BROKEN, f"{error}; nvidia-smi should list the GPU")]
    except ApcodecError as error:
        return None, [optional("pycuda", State.OPTIONAL, f"{error}; it runs TensorRT engines")]
    memory = f"{gpu.memory / 2**30:.1f} GiB"
    facts = f"compute capability {gpu.compute_capability}, {memory}, driver for CUDA {gpu.driver}"
    return gpu, [optional("gpu", State.OK, f"{gpu.name}, {facts}"), _pycuda()]


def _pycuda() -> Finding:
    if version := version_of("pycuda"):
        return optional("pycuda", State.OK, version)
    return optional("pycuda", State.OPTIONAL, "runs TensorRT engines: pip install 'apcodec-deploy[cuda]'")


def _onnxruntime_cuda(bundle: Bundle | None, driver: Finding) -> Finding:
    subject = "onnxruntime cuda"
    swap = "pip uninstall onnxruntime onnxruntime-gpu, then pip install 'onnxruntime-gpu[cuda,cudnn]'"
    if not version_of("onnxruntime-gpu"):
        return optional(subject, State.OPTIONAL, f"the CPU build is installed. To swap: {swap}")
    if driver.state != State.OK:
        return optional(subject, State.OPTIONAL, "onnxruntime-gpu is installed, but there is no driver to run it")
    if bundle is None:
        return optional(subject, State.OPTIONAL, "onnxruntime-gpu is installed, but there is no model to try it with")
    from apcodec_deploy.backends.onnxruntime_cuda import open_cuda

    try:
        backend = open_cuda(bundle, index=BackendOptions().index)
        backend.close()
    except ApcodecError as error:
        return optional(subject, State.BROKEN, str(error))
    return optional(subject, State.OK, f"onnxruntime-gpu {version_of('onnxruntime-gpu')}: {backend.reason}")


def _flavour(flavour: Flavour) -> Finding:
    install = f"pip install 'apcodec-deploy[{flavour.name}]'"
    if not flavour.installed:
        return optional(flavour.name, State.OPTIONAL, f"{flavour.title} is not installed: {install}")
    try:
        found = flavour.load().title
    except ApcodecError as error:
        return optional(flavour.name, State.BROKEN, str(error))
    except Exception as error:  # a broken native library can raise anything
        return optional(flavour.name, State.BROKEN, f"{flavour.title} does not load: {error}; reinstall it: {install}")
    if trouble := trouble_of(flavour):
        return optional(flavour.name, State.BROKEN, f"{found}: {trouble}")
    return optional(flavour.name, State.OK, found)


def _engines(bundle: Bundle, gpu: Gpu | None) -> list[Finding]:
    found = []
    for stored in stored_sets(bundle):
        identity = stored.manifest.identity
        label = f"{stored.path.name}: {identity.profile.name}, {identity.precision}"
        flavour = FLAVOURS[identity.flavour]
        try:
            version = flavour.load().version
        except Exception:
            found.append(
                optional("engines", State.BROKEN, f"{label}; {flavour.title}, which built them, does not load")
            )
            continue
        target = identity.target
        refusals = stored.refusals(
            bundle,
            flavour=flavour.name,
            version=version,
            # Without a GPU all else can still be looked at.
            gpu=gpu.name if gpu else target.gpu or "",
            compute_capability=gpu.compute_capability if gpu else target.compute_capabilities[0],
        )
        try:
            for engine in stored.manifest.engines:
                stored.read(engine)
        except EngineError as error:
            refusals.append(str(error))
        why = f"; {'; '.join(refusals)}; apcodec build {bundle.path}" if refusals else ""
        found.append(optional("engines", State.BROKEN if refusals else State.OK, label + why))
    none = f"none of {bundle.name} yet: apcodec build {bundle.path}"
    return found or [optional("engines", State.OPTIONAL, none)]
