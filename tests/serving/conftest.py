"""A real server for the slow tests, started once."""

from __future__ import annotations

from collections.abc import Iterator

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
