"""Bundles to TensorRT engines: ``apcodec build``. Needs the extra ``rtx`` or ``tensorrt``."""
