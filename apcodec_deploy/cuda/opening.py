"""Which CUDA package stands behind the device layer."""

from __future__ import annotations

from apcodec_deploy.cuda.device import Device
from apcodec_deploy.cuda.driver import driver_library
from apcodec_deploy.cuda.pycuda_device import pycuda_device


def open_device(index: int = 0) -> Device:
    """A GPU by its number.

    Raises:
        DeviceError: There is no driver, or no such GPU.
        MissingDependencyError: pycuda is not installed.
    """
    driver_library()
    return pycuda_device(index)
