"""Engines on disk: what they were built from, for what, and whether they may run here. Needs no TensorRT to be read."""
