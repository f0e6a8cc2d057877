"""``apcodec doctor``: whether this machine is ready, and what could be added."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict

import numpy as np
import typer

from apcodec_deploy.backends.gains import gain
from apcodec_deploy.bundle import Bundle
from apcodec_deploy.cli import options as shared
from apcodec_deploy.cli.console import print_json, result, result_item
from apcodec_deploy.cli.doctor_gpu import examine_gpu
from apcodec_deploy.cli.finding import Finding, Findings, Purpose, State, optional, version_of
from apcodec_deploy.cli.units import counted
from apcodec_deploy.codec import load
from apcodec_deploy.errors import ApcodecError, BundleError
from apcodec_deploy.machine import available_cpus
from apcodec_deploy.processor import this_processor
from apcodec_deploy.version import __version__

_SYSTEM = f"{platform.system()} {platform.machine()}"
_OPENVINO = "pip install 'apcodec-deploy[openvino]'"
_EXTRAS: Mapping[Purpose, Mapping[str, tuple[tuple[str, ...], str]]] = {
    Purpose.EXPORT: {"export": (("torch", "onnx", "onnxscript", "safetensors"), "'apcodec export'")},
    Purpose.BENCH: {"bench": (("torch", "onnx", "transformers", "pystoi", "matplotlib"), "'apcodec bench'")},
    Purpose.TRAIN: {"train": (("torch", "onnx", "transformers", "pystoi", "tensorboard"), "'apcodec train'")},
    Purpose.LIVE: {"live": (("sounddevice",), "'apcodec live'")},
    Purpose.SERVE: {"serve": (("tritonclient",), "'apcodec triton'")},
    Purpose.FILES: {
        "av": (("av",), "reading m4a, aac, mp4 and webm"),
        "parquet": (("pyarrow",), "'apcodec pack --to parquet'"),
        "ray": (("ray",), "'apcodec transcode --executor ray'"),
    },
}
"""By purpose and extra: the packages, and what they are for."""


def doctor(model: shared.Model = None, json: shared.Json = False) -> None:
    """Say whether this machine is ready, and what each optional part would bring. Exit 1 if it is not ready."""
    found = examine(model)
    if json:
        print_json([{**asdict(each), "purpose": purpose} for purpose, group in found.items() for each in group])
    else:
        _print(found)
    if _broken(found, essential=True):
        raise typer.Exit(1)


def examine(model: shared.Model = None) -> Findings:
    """Everything that this program needs or could use, looked at."""
    coding = [
        Finding("apcodec-deploy", State.OK, __version__),
        Finding("python", State.OK, f"{platform.python_version()} on {_SYSTEM}, {counted(available_cpus(), 'CPU')}"),
        _onnxruntime(),
        _audio(),
        _codec(model),
    ]
    bundle = _bundle(model)
    found = {Purpose.CODING: coding, Purpose.CPU: [_openvino(bundle)], Purpose.GPU: examine_gpu(bundle)}
    for purpose, extras in _EXTRAS.items():
        found[purpose] = [_extra(extra, packages, use) for extra, (packages, use) in extras.items()]
    return found


def _print(found: Findings) -> None:
    result(_verdict(found))
    for purpose, group in found.items():
        if shown := _shown(purpose, group):
            result("")
            result(purpose if purpose is Purpose.CODING else f"{purpose} (optional)")
            for finding in shown:
                result_item(f"  {finding.state:<8}  {finding.subject:<16}  ", finding.detail)


def _verdict(found: Findings) -> str:
    if broken := _broken(found, essential=True):
        return f"Not ready: this machine cannot code audio. Broken: {', '.join(broken)}."
    text = "Ready: this machine turns audio into codes and back."
    if broken := _broken(found, essential=False):
        text += f" Optional parts are broken: {', '.join(broken)}."
    return text


def _broken(found: Findings, *, essential: bool) -> list[str]:
    findings = [finding for group in found.values() for finding in group]
    return [each.subject for each in findings if each.state is State.BROKEN and each.essential == essential]


def _shown(purpose: Purpose, group: Sequence[Finding]) -> list[Finding]:
    """What is worth a line: without a driver, none of the parts of a GPU that are not there either."""
    if purpose is not Purpose.GPU or group[0].state is State.OK:
        return list(group)
    return [group[0], *(each for each in group[1:] if each.state is not State.OPTIONAL)]


def _bundle(model: shared.Model) -> Bundle | None:
    try:
        return Bundle.find(model)
    except BundleError:
        return None  # which the finding about the model tells


def _onnxruntime() -> Finding:
    try:
        from apcodec_deploy.ort import onnxruntime
    except Exception as error:  # a broken native library can raise anything
        return Finding(
            "onnxruntime", State.BROKEN, f"cannot be imported: {error}; pip install --force-reinstall onnxruntime"
        )
    held = [name for name in ("onnxruntime", "onnxruntime-gpu") if version_of(name)]
    providers = [name.removesuffix("ExecutionProvider") for name in onnxruntime.get_available_providers()]
    detail = f"{onnxruntime.__version__}, runs on {', '.join(name for name in providers if name != 'Azure')}"
    if len(held) > 1:
        return Finding(
            "onnxruntime",
            State.BROKEN,
            f"{' and '.join(held)} are both installed and overwrite each other; "
            "pip uninstall both, then install the one you want",
        )
    return Finding("onnxruntime", State.OK, detail)


def _audio() -> Finding:
    try:
        import soundfile
        import soxr
    except Exception as error:
        return Finding(
            "audio", State.BROKEN, f"cannot be imported: {error}; pip install --force-reinstall soundfile soxr"
        )
    formats, subtypes = soundfile.available_formats(), soundfile.available_subtypes("OGG")
    reads = {"wav": "WAV" in formats, "flac": "FLAC" in formats, "mp3": "MP3" in formats}
    reads |= {"ogg": "VORBIS" in subtypes, "opus": "OPUS" in subtypes}
    versions = f"libsndfile {soundfile.__libsndfile_version__}, soxr {soxr.__version__}"
    if lacking := [name for name, there in reads.items() if not there]:
        return Finding("audio", State.BROKEN, f"{versions} cannot read {', '.join(lacking)}; pip install -U soundfile")
    return Finding("audio", State.OK, f"{versions}; reads {', '.join(reads)}")


def _codec(model: shared.Model) -> Finding:
    """Load a model, verify its files, and pass a tenth of a second through it."""
    try:
        with load(model) as codec:
            tone = 0.1 * np.sin(np.arange(codec.sample_rate // 10, dtype=np.float32) / 20)
            decoded = codec.decode(codec.encode(tone))
            if decoded.shape != tone.shape or not np.isfinite(decoded).all() or not decoded.any():
                return Finding(
                    "model", State.BROKEN, f"{codec!r} does not give back audio; export the checkpoint again"
                )
            backend = f"backend {codec.backend.name} ({codec.backend.reason})"
            return Finding(
                "model", State.OK, f"{codec.bundle.name}, {codec.fingerprint[:16]}, coded and decoded a tone; {backend}"
            )
    except (ApcodecError, ImportError) as error:
        return Finding("model", State.BROKEN, str(error))


def _openvino(bundle: Bundle | None) -> Finding:
    """What the faster backend on the CPU computes this model in, proved here."""
    if not (version := version_of("openvino")):
        times = gain(this_processor())
        faster = "faster" if times is None else f"{times:g} times as fast as ONNX Runtime on processors of this kind"
        return optional("openvino", State.OPTIONAL, f"{faster}: {_OPENVINO}")
    try:
        from apcodec_deploy.backends.openvino import capabilities, open_openvino
        from apcodec_deploy.ov import open_core

        able = ", ".join(sorted({"BF16", "INT8"} & capabilities(open_core())))
        detail = f"{version}; this processor multiplies {able or 'nothing less than float32'}"
        if bundle is not None:
            with closing(open_openvino(bundle)) as backend:
                detail += f"; --backend openvino computes this model in {backend.precision}"
                detail += f" ({backend.verdict})" if backend.verdict else f" ({backend.reason})"
        return optional("openvino", State.OK, detail)
    except Exception as error:  # a broken native library can raise anything
        return optional("openvino", State.BROKEN, f"{error}; pip install --force-reinstall openvino")


def _extra(extra: str, packages: tuple[str, ...], use: str) -> Finding:
    """Whether the packages of an extra are there."""
    versions = {name: version_of(name) for name in packages}
    if lacking := [name for name, version in versions.items() if not version]:
        advice = f"for {use}: pip install 'apcodec-deploy[{extra}]'"
        return optional(extra, State.OPTIONAL, f"{advice} (brings {', '.join(lacking)})")
    return optional(extra, State.OK, ", ".join(f"{name} {version}" for name, version in versions.items()))
