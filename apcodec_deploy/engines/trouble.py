"""Why a TensorRT that is installed does not work, in words: from what it said before it gave up, or died.

Its libraries say little, and versions differ: without a driver, 10.6 aborts its process, and 10.15 gives no builder.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys

from apcodec_deploy.cuda.driver import driver_trouble
from apcodec_deploy.engines.flavour import Flavour

_RESOURCE = re.compile(r"libnvinfer_builder_resource[\w.]*|nvinfer_builder_resource[\w.]*\.dll")
_SECONDS = 60.0
_MARK = "apcodec-trial:"
_TRIAL = f"""
import json, sys
from apcodec_deploy.engines.flavour import flavour_named
from apcodec_deploy.errors import ApcodecError

try:
    tensorrt = flavour_named(sys.argv[1]).load()
    with tensorrt.calls("make a builder"):
        tensorrt.trt.Builder(tensorrt.logger)
    said = ""
except (ApcodecError, ImportError, OSError) as error:
    said = str(error)
print({_MARK!r} + json.dumps(said), flush=True)
"""


def known_trouble(title: str, said: str) -> str | None:
    """What a TensorRT lacks, and what to do, by what it said; None where that tells nothing that is known.

    Args:
        title: Which TensorRT.
        said: Its messages and those of its libraries.
    """
    if found := _RESOURCE.search(said):
        return (
            f"{title} has no {found[0]}, which builds engines for this GPU; engines that are built already run without "
            "it. Install TensorRT whole, with the builder resources of your GPU"
        )
    return driver_trouble(title, said, instead="a TensorRT for that CUDA, like tensorrt-cu12")


def trouble_of(flavour: Flavour) -> str | None:
    """Ask an installed TensorRT for a builder, in a process of its own; why it has none, or None where it has.

    A process of its own, since libraries that lack something may take theirs along.
    """
    command = [sys.executable, "-c", _TRIAL, flavour.name]
    try:
        ran = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return f"{flavour.title} makes no builder within {_SECONDS:.0f} s"
    except OSError as error:
        return f"{flavour.title} cannot be asked: {error}"
    answers = [line.removeprefix(_MARK) for line in ran.stdout.splitlines() if line.startswith(_MARK)]
    if answers and not (said := json.loads(answers[0])):
        return None  # whether it dies at its exit is nobody's concern
    end = said if answers else f"its process ended with code {ran.returncode}"
    heard = f"{ran.stderr.strip()}\n{end}"
    return known_trouble(flavour.title, heard) or f"{flavour.title} makes no builder: {heard.splitlines()[-1]}"
