"""The library of NVIDIA's driver: whether there is one, and what is wrong with it by the words of those who use it."""

from __future__ import annotations

import ctypes
import re

from apcodec_deploy.errors import DeviceError

LIBRARIES = ("libcuda.so.1", "nvcuda.dll")
_CODE = r"(?:error|failure|CUDA_ERROR)\D{0,3}"
_TOO_OLD = re.compile(
    rf"{_CODE}3[56]\b|driver version is insufficient|not supported in the installed CUDA driver", re.IGNORECASE
)
_MISMATCH = re.compile(rf"{_CODE}80[34]\b|SYSTEM_DRIVER_MISMATCH|COMPAT_NOT_SUPPORTED_ON_DEVICE", re.IGNORECASE)
_NO_GPU = re.compile(rf"{_CODE}100\b|no CUDA-capable device", re.IGNORECASE)


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


def driver_trouble(title: str, said: str, *, instead: str) -> str | None:
    """What is wrong with driver or GPU, and what to do, by what a library said; None where it said nothing of them.

    Args:
        title: The library.
        said: Its messages. CUDA says the same of no driver and of one that is too old.
        instead: What to install for an older driver.
    """
    if _TOO_OLD.search(said):
        try:
            version = driver_version()
        except DeviceError as error:
            return f"{title} needs a GPU, and {error}"
        found = f"the NVIDIA driver is for CUDA {version or '?'}, too old for {title}"
        return f"{found}; update the driver, or install {instead}"
    if _MISMATCH.search(said):
        return (
            "the library of the NVIDIA driver does not fit its kernel module; restart the machine after an update of "
            "the driver, or take CUDA's 'compat' folder out of LD_LIBRARY_PATH"
        )
    if _NO_GPU.search(said):
        return f"{title} sees no GPU; nvidia-smi should list one"
    return None
