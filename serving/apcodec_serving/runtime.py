"""The models that are this runtime, for Triton's Python backend: every rate, exact lengths, windows, any backend."""

from __future__ import annotations

from apcodec_deploy.bundle import Bundle
from apcodec_serving.configs import Config, Files, Placement
from apcodec_serving.interface import Interface, Tensor, interfaces
from apcodec_serving.settings import Settings

_MODEL = """from apcodec_serving.python_backend import {service} as TritonPythonModel

__all__ = ["TritonPythonModel"]
"""


def runtime_models(bundle: Bundle, placement: Placement, settings: Settings) -> tuple[dict[str, Config], Files]:
    """The configuration of each model, and the files beside the configurations."""
    found = interfaces(bundle.spec)
    configs = {each.name: _config(each, placement, settings) for each in found}
    return configs, {f"{each.name}/1/model.py": _MODEL.format(service=each.service).encode() for each in found}


def _config(interface: Interface, placement: Placement, settings: Settings) -> Config:
    def ragged(tensor: Tensor) -> Config:
        # Requests of unlike lengths come in one call; the runtime runs each length by itself.
        return {**tensor.config(), "allow_ragged_batch": True}

    return {
        "name": interface.name,
        "backend": "python",
        "input": [ragged(tensor) if -1 in tensor.dims else tensor.config() for tensor in interface.inputs],
        "output": [tensor.config() for tensor in interface.outputs],
        "parameters": {name: {"string_value": value} for name, value in settings.parameters().items()},
        **(placement.for_streams() if interface.streams else placement.for_clips()),
    }
