"""ONNX Runtime, without its telemetry.

From 1.32 on its import alone writes a device id and a queue of events about the process into the user's home. A tool
for private recordings does not; who wants it sets ``ORT_DISABLE_TELEMETRY=0``. Import ONNX Runtime from here.
"""

from __future__ import annotations

import os

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime

__all__ = ["onnxruntime"]
