"""Real servers for the slow tests, each started once: of the embedded model, and of a streamable one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from triton_server import TritonServer, repository

import apcodec_deploy
from apcodec_deploy import Codec
from apcodec_deploy.backends.base import ONNXRUNTIME


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    """A Triton server that is ready."""
    folder = tmp_path_factory.mktemp("server")
    with TritonServer(repository(folder / "models"), folder / "log") as started:
        yield started.wait()


@pytest.fixture(scope="session")
def alone() -> Iterator[Codec]:
    """The codec as the server has it."""
    with apcodec_deploy.load(backend=ONNXRUNTIME, threads=1) as codec:
        yield codec


@pytest.fixture(scope="session")
def live_server(streamable_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    """A Triton server of a streamable model that is ready."""
    folder = tmp_path_factory.mktemp("streams")
    with TritonServer(repository(folder / "models", streamable_bundle), folder / "log") as started:
        yield started.wait()


@pytest.fixture(scope="session")
def live_alone(streamable_bundle: Path) -> Iterator[Codec]:
    """The streamable codec as the server has it."""
    with apcodec_deploy.load(streamable_bundle, ONNXRUNTIME, threads=1) as codec:
        yield codec
