"""``apcodec doctor``: what works here, what does not and why."""

from __future__ import annotations

import platform
from contextlib import closing
from dataclasses import asdict
from importlib import metadata

import numpy as np
import typer

from apcodec_deploy.bundle import Bundle
from apcodec_deploy.cli import options as shared
from apcodec_deploy.cli.console import print_json, result
from apcodec_deploy.cli.doctor_gpu import examine_gpu
from apcodec_deploy.cli.finding import Finding
from apcodec_deploy.codec import load
from apcodec_deploy.errors import ApcodecError, BundleError
from apcodec_deploy.machine import available_cpus
from apcodec_deploy.version import __version__

_OPTIONAL = {
    "export": ("torch", "onnx", "onnxscript", "safetensors"),
    "bench": ("torch", "onnx", "transformers", "pystoi", "matplotlib"),
}
"""What the commands of those names need, which are the extras' names, too."""


def doctor(model: shared.Model = None, json: shared.Json = False) -> None:
    """Say what runs here, what does not and why, with versions; exit 1 if audio cannot be coded."""
    findings = examine(model)
    if json:
        print_json([asdict(finding) for finding in findings])
    else:
        for finding in findings:
            result(f"{finding.state:<8} {finding.subject:<17} {finding.detail}")
    if any(finding.state == "broken" and finding.essential for finding in findings):
        raise typer.Exit(1)


def examine(model: shared.Model = None) -> list[Finding]:
    """Everything that this program needs, looked at."""
    return [
        Finding("apcodec-deploy", "ok", __version__),
        Finding("python", "ok", f"{platform.python_version()} on {platform.platform()}, {available_cpus()} CPUs"),
        _onnxruntime(),
        _audio(),
        _codec(model),
        _openvino(_bundle(model)),
        *(_optional(extra, packages) for extra, packages in _OPTIONAL.items()),
        *examine_gpu(_bundle(model)),
    ]


def _bundle(model: shared.Model) -> Bundle | None:
    try:
        return Bundle.embedded() if model is None else Bundle.open(model)
    except BundleError:
        return None  # which the finding about the model tells


def _onnxruntime() -> Finding:
    try:
        from apcodec_deploy.ort import onnxruntime
    except Exception as error:  # a broken native library can raise anything
        return Finding(
            "onnxruntime", "broken", f"cannot be imported: {error}; pip install --force-reinstall onnxruntime"
        )
    held = [name for name in ("onnxruntime", "onnxruntime-gpu") if _version(name)]
    detail = f"{onnxruntime.__version__}, providers {', '.join(onnxruntime.get_available_providers())}"
    if len(held) > 1:
        return Finding(
            "onnxruntime",
            "broken",
            f"{' and '.join(held)} are both installed and overwrite each other; "
            "pip uninstall both, then install the one you want",
        )
    return Finding("onnxruntime", "ok", detail)


def _audio() -> Finding:
    try:
        import soundfile
        import soxr
    except Exception as error:
        return Finding("audio", "broken", f"cannot be imported: {error}; pip install --force-reinstall soundfile soxr")
    formats, subtypes = soundfile.available_formats(), soundfile.available_subtypes("OGG")
    reads = {"wav": "WAV" in formats, "flac": "FLAC" in formats, "mp3": "MP3" in formats}
    reads |= {"ogg": "VORBIS" in subtypes, "opus": "OPUS" in subtypes}
    versions = f"libsndfile {soundfile.__libsndfile_version__}, soxr {soxr.__version__}"
    if lacking := [name for name, there in reads.items() if not there]:
        return Finding("audio", "broken", f"{versions} cannot read {', '.join(lacking)}; pip install -U soundfile")
    return Finding("audio", "ok", f"{versions}; reads {', '.join(reads)}")


def _codec(model: shared.Model) -> Finding:
    """Load a model, verify its files, and pass a tenth of a second through it."""
    try:
        with load(model) as codec:
            tone = 0.1 * np.sin(np.arange(codec.sample_rate // 10, dtype=np.float32) / 20)
            decoded = codec.decode(codec.encode(tone))
            if decoded.shape != tone.shape or not np.isfinite(decoded).all() or not decoded.any():
                return Finding("model", "broken", f"{codec!r} does not give back audio; export the checkpoint again")
            backend = f"backend {codec.backend.name} ({codec.backend.reason})"
            return Finding("model", "ok", f"{codec.bundle.name}, {codec.fingerprint[:16]}, coded a tone; {backend}")
    except (ApcodecError, ImportError) as error:
        return Finding("model", "broken", str(error))


def _openvino(bundle: Bundle | None) -> Finding:
    """What the faster backend on the CPU computes this model in, proved here."""
    if not (version := _version("openvino")):
        return Finding("openvino", "missing", "optional, and faster on a CPU: pip install 'apcodec-deploy[openvino]'")
    try:
        from apcodec_deploy.backends.openvino import capabilities, open_openvino
        from apcodec_deploy.ov import import_openvino

        able = ", ".join(sorted({"BF16", "INT8"} & capabilities(import_openvino().Core())))
        detail = f"{version}; this processor multiplies {able or 'nothing less than float32'}"
        if bundle is not None:
            with closing(open_openvino(bundle)) as backend:
                detail += f"; --backend openvino computes this model in {backend.precision}"
                detail += f" ({backend.verdict})" if backend.verdict else f" ({backend.reason})"
        return Finding("openvino", "ok", detail)
    except Exception as error:  # a broken native library can raise anything
        return Finding("openvino", "broken", f"{error}; pip install --force-reinstall openvino", essential=False)


def _optional(extra: str, packages: tuple[str, ...]) -> Finding:
    """Whether the packages of a command that not everybody needs are there."""
    versions = {name: _version(name) for name in packages}
    if lacking := [name for name, version in versions.items() if not version]:
        advice = f"only 'apcodec {extra}' needs them: pip install 'apcodec-deploy[{extra}]'"
        return Finding(extra, "missing", f"{', '.join(lacking)} not installed; {advice}")
    return Finding(extra, "ok", ", ".join(f"{name} {version}" for name, version in versions.items()))


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None
