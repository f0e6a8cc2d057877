"""A real Triton server on this machine, without a GPU: the one that the package nvidia-pytriton carries.

It runs in an environment of its own, since that package wants numpy 1. The environment is made once, in ``build/``,
from the package index: where that cannot be reached, the tests that need a server fail and say so. What the server
computes with has the versions of the tests' environment, so its codes are equal to the bit.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import time
import urllib.error
import urllib.request
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest
from filelock import FileLock
from import_graph import PACKAGES, ROOT

from apcodec_deploy.backends.base import ONNXRUNTIME, BackendOptions
from apcodec_deploy.bundle import Bundle
from apcodec_serving.profiles import PROFILES
from apcodec_serving.repository import ServingOptions, write_repository

SERVER = "nvidia-pytriton==0.7.0"
"""Triton 2.51, with its Python backend for Python 3.8 to 3.13."""
COMPUTES = ("onnxruntime", "soundfile", "soxr", "platformdirs")
START_SECONDS = 60.0


def repository(folder: Path, bundle: Path | None = None) -> Path:
    """A repository of a model: two instances of one thread each, for at most a minute of audio.

    Args:
        folder: To write.
        bundle: The embedded model where None.
    """
    options = ServingOptions(
        profile=PROFILES["balanced"], backend=BackendOptions(name=ONNXRUNTIME, threads=1), max_seconds=60.0
    )
    write_repository(Bundle.embedded() if bundle is None else Bundle.open(bundle), folder, options)
    return folder


def environment() -> Path:
    """The folder of the environment; made by the first test that asks."""
    needs = ["numpy<2", *(f"{name}=={version(name)}" for name in COMPUTES)]
    wanted = "\n".join([SERVER, *needs, sys.version, sys.executable])
    path = ROOT / "build" / f"triton-{hashlib.sha256(wanted.encode()).hexdigest()[:12]}"
    path.parent.mkdir(exist_ok=True)
    with FileLock(f"{path}.lock"):
        if not path.exists():
            fresh = path.with_suffix(".part")
            shutil.rmtree(fresh, ignore_errors=True)
            subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(fresh)], check=True)
            _install(fresh, "--no-deps", SERVER)
            _install(fresh, *needs)
            _prepare(_packages(fresh))
            fresh.rename(path)
    return path


def _install(folder: Path, *needs: str) -> None:
    command = [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python"), "install"]
    command += ["--quiet", "--no-compile", *needs]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    if ran.returncode:
        pytest.fail(f"no Triton server to test with: {' '.join(needs)} cannot be installed:\n{ran.stderr[-2000:]}")


def _prepare(packages: Path) -> None:
    """Put the Python backend together, and let it find this project: it does not read PYTHONPATH."""
    triton = packages / "pytriton" / "tritonserver"
    stub = (
        triton / "python_backend_stubs" / f"{sys.version_info[0]}.{sys.version_info[1]}" / "triton_python_backend_stub"
    )
    shutil.copy(stub, triton / "backends" / "python")
    places = {str(directory.parent) for directory in PACKAGES.values()}
    (packages / "this-project.pth").write_text("".join(f"{place}\n" for place in sorted(places)))


def _packages(folder: Path) -> Path:
    return folder / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"


def _free_ports(count: int) -> list[int]:
    held = [socket.socket() for _ in range(count)]
    for each in held:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in held]
    for each in held:
        each.close()
    return ports


class TritonServer:
    """A server of one repository; it is stopped when the block ends."""

    def __init__(self, repository: Path, log: Path) -> None:
        self.http, self.grpc, self.metrics = _free_ports(3)
        self._log = log
        folder = environment()
        packages = _packages(folder)
        triton = packages / "pytriton" / "tritonserver"
        libraries = (str(sysconfig.get_config_var("LIBDIR")), str(packages / "nvidia_pytriton.libs"))
        surroundings = {
            **{name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
            "LD_LIBRARY_PATH": os.pathsep.join(libraries),  # of the interpreter, which the backend is linked with
            "PATH": os.pathsep.join((str(folder / "bin"), os.environ["PATH"])),
        }
        options = {
            "model-repository": repository,
            "backend-directory": triton / "backends",
            "cache-directory": triton / "caches",
            **{f"{name}-address": "127.0.0.1" for name in ("http", "grpc", "metrics")},
            "http-port": self.http,
            "grpc-port": self.grpc,
            "metrics-port": self.metrics,
            "allow-gpu-metrics": "false",
        }
        command = [str(triton / "bin" / "tritonserver"), *(f"--{name}={value}" for name, value in options.items())]
        with log.open("wb") as file:
            self.process = subprocess.Popen(command, env=surroundings, stdout=file, stderr=subprocess.STDOUT)

    def __enter__(self) -> TritonServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(START_SECONDS)
        finally:
            self.process.kill()
            self.process.wait()

    def log(self) -> str:
        """What it has said."""
        return self._log.read_text(errors="replace")

    def ready(self) -> bool:
        """Whether it says that it is ready."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.http}/v2/health/ready", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def wait(self) -> TritonServer:
        """Wait until it is ready."""
        end = time.monotonic() + START_SECONDS
        while not self.ready():
            assert self.process.poll() is None, self.log()
            assert time.monotonic() < end, self.log()
            time.sleep(0.1)
        return self

    def metric(self, name: str, model: str) -> float:
        """A metric of a model, all of its instances together."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics}/metrics") as answer:
            lines = answer.read().decode().splitlines()
        mine = [line for line in lines if line.startswith(f"{name}{{") and f'model="{model}"' in line]
        return sum(float(line.rsplit(" ", 1)[1]) for line in mine)

    def post(self, model: str, body: bytes) -> tuple[int, dict[str, Any]]:
        """Send a request as JSON: the status, and the answer."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.http}/v2/models/{model}/infer", body)
        try:
            with urllib.request.urlopen(request) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)
