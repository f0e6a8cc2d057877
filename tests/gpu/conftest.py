"""A real GPU, or the reason why these tests cannot run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from apcodec_deploy.cuda.device import Device
from apcodec_deploy.cuda.opening import open_device
from apcodec_deploy.engines.flavour import FLAVOURS, Flavour
from apcodec_deploy.errors import ApcodecError
from apcodec_engines.planning import COMPUTE_CAPABILITIES, choose_flavour


@pytest.fixture(scope="session")
def device() -> Device:
    """The first GPU, through pycuda."""
    try:
        return open_device()
    except ApcodecError as error:
        if os.environ.get("APCODEC_REQUIRE_GPU"):  # an acceptance test of a GPU without one has not passed
            pytest.fail(str(error))
        pytest.skip(str(error))


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Engines of these tests stay among themselves."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("APCODEC_ENGINE_CACHE", str(tmp_path_factory.mktemp("engines")))
        yield


@pytest.fixture(scope="session", params=sorted(FLAVOURS))
def flavour(request: pytest.FixtureRequest, device: Device) -> Flavour:
    """Each TensorRT that is installed and can build for this GPU."""
    found = FLAVOURS[request.param]
    if not found.installed:
        if os.environ.get("APCODEC_REQUIRE_TENSORRT") == found.name:
            pytest.fail(f"{found.title} is not installed")
        pytest.skip(f"{found.title} is not installed")
    if found.name == "rtx" and device.gpu.compute_capability not in COMPUTE_CAPABILITIES:
        pytest.skip(f"TensorRT-RTX does not run on {device.gpu.name}")
    return choose_flavour(found.name, device.gpu)


@pytest.fixture
def profile(tmp_path: Path) -> str:
    """A profile that is quick to build: single clips with graphs, and small batches of anything shorter."""
    path = tmp_path / "quick.toml"
    path.write_text(
        'cuda_graphs = true\n[[shapes]]\nbatch = [1, 1, 1]\nlatents = [1, "window", "window"]\n'
        '[[shapes]]\nbatch = [1, 4, 4]\nlatents = [1, "window", "window"]\n'
    )
    return str(path)
