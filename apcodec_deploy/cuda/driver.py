"""The library of NVIDIA's driver: whether there is one."""

from __future__ import annotations

import ctypes

from apcodec_deploy.errors import DeviceError

LIBRARIES = ("libcuda.so.1", "nvcuda.dll")


def driver_library() -> ctypes.CDLL:
    """The driver's library.

    Raises:
        DeviceError: There is none.
    """
    for name in LIBRARIES:
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    raise DeviceError(f"no NVIDIA driver is installed here ({' or '.join(LIBRARIES)} does not load)")


def driver_version() -> str | None:
    """The newest CUDA version that the driver supports, like ``13.0``; None where it does not tell.

    Raises:
        DeviceError: There is no driver.
    """
    held = ctypes.c_int()
    if driver_library().cuDriverGetVersion(ctypes.byref(held)):
        return None
    return f"{held.value // 1000}.{held.value % 1000 // 10}"
