"""Libraries of stubs that let TensorRT's real bindings load: enough to ask what they define, and to hear them fail."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

_ZERO = "void *{}(void) {{ return 0; }}\n"
_NEEDED = {
    "libnvinfer.so.11": [
        "createInferRefitter_INTERNAL",
        "createInferRuntime_INTERNAL",
        "getBuilderPluginRegistry",
        "getPluginRegistry",
    ],
    "libnvonnxparser.so.11": [
        "createNvOnnxParserRefitter_INTERNAL",
        "createNvOnnxParser_INTERNAL",
        "getNvOnnxParserVersion",
    ],
    "libnvinfer_plugin.so.11": ["initLibNvInferPlugins"],
}
_BUILDER = "void *createInferBuilder_INTERNAL(void **logger, int version) {{ {} return 0; }}\n"
# The method ``log`` is the fifth of a logger's in the bindings of TensorRT 11.
_SAID = '((void (**)(void *, int, const char *))*logger)[4](logger, 1, "{}");'
_DIED = 'fputs("terminate called\\n  what():  {}\\n", stderr); abort();'
_HEADERS = "#include <stdio.h>\n#include <stdlib.h>\n"


def tensorrt_stubs(directory: Path, *, says: str = "", dies: bool = False) -> Path:
    """Make them.

    Args:
        directory: Where to.
        says: What the builder says before it gives up, which it does without a word otherwise.
        dies: Whether it aborts its process instead, as TensorRT 10.6 does.

    Returns:
        The directory.
    """
    body = (_DIED if dies else _SAID).format(says) if says else ""
    for library, symbols in _NEEDED.items():
        text = "".join(map(_ZERO.format, symbols))
        if library == "libnvinfer.so.11":
            text = _HEADERS + text + _BUILDER.format(body)
        library_of(directory, library, text)
    return directory


def driver_stub(directory: Path, version: int) -> Path:
    """A driver's library for a version of CUDA, like 12020, and for nothing else."""
    return library_of(directory, "libcuda.so.1", f"int cuDriverGetVersion(int *v) {{ *v = {version}; return 0; }}\n")


def library_of(directory: Path, name: str, text: str) -> Path:
    """A library of C."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    assert compiler, "the stubs need a C compiler: apt-get install gcc"
    source = directory / f"{name}.c"
    source.write_text(text)
    command = [compiler, "-shared", "-fPIC", f"-Wl,-soname,{name}", "-o", directory / name, source]
    subprocess.run(command, check=True)
    return directory
