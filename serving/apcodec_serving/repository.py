"""A model repository on disk: a folder for each model, with its ``config.pbtxt`` and its only version, ``1``."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from apcodec_deploy.backends.base import CUDA, ONNXRUNTIME, BackendOptions
from apcodec_deploy.bundle import Bundle
from apcodec_deploy.cuda.driver import driver_library
from apcodec_deploy.errors import DeviceError, OutputError, ServingError
from apcodec_deploy.families import GRAPHS
from apcodec_deploy.files import folder_written_whole
from apcodec_deploy.machine import available_cpus
from apcodec_deploy.precision import AUTO, FLOAT32
from apcodec_deploy.windows import WindowLayout
from apcodec_serving.configs import Placement, config_text
from apcodec_serving.interface import DECODE, ENCODE, STREAM_DECODE, STREAM_ENCODE
from apcodec_serving.plain import plain_models
from apcodec_serving.profiles import Profile
from apcodec_serving.runtime import runtime_models
from apcodec_serving.settings import Settings

OURS = frozenset({ENCODE, DECODE, STREAM_ENCODE, STREAM_DECODE, *(f"apcodec_{graph}" for graph in GRAPHS)})
"""Names of the models that a repository of ours may hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingOptions:
    """What the user wants to be served.

    Attributes:
        profile: How the machine is divided among requests.
        backend: What runs the model.
        window: As in ``Codec.encode``: text, or None for the model's own.
        max_seconds: The most audio of one request, all of its rows together.
        plain: ONNX graphs alone.
    """

    profile: Profile
    backend: BackendOptions
    window: str | None = None
    max_seconds: float
    plain: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.max_seconds < 1e9:
            raise ServingError(f"at most {self.max_seconds:g} s in a request; a number of seconds above 0 is expected")
        if not self.plain:
            return
        if self.backend.name not in (AUTO, ONNXRUNTIME) or self.backend.engines is not None or self.window is not None:
            raise ServingError(
                f"--plain has ONNX graphs only, on whole clips: leave out --engines, --window and --backend other "
                f"than {ONNXRUNTIME}"
            )

    @property
    def placement(self) -> Placement:
        """Where instances run on this machine: on its GPUs, if there are any and they would do."""
        cpus = available_cpus()
        threads = self.backend.threads or self.profile.threads_of(cpus)
        return Placement(profile=self.profile, cpus=cpus, threads=threads, gpus=self._gpus())

    def _gpus(self) -> tuple[int, ...] | None:
        if self.backend.device.startswith(CUDA):
            return (self.backend.index,)
        if not self.backend.may_be_gpu:
            return None
        try:
            driver_library()
        except DeviceError:
            return None
        return ()


def write_repository(bundle: Bundle, output: Path, options: ServingOptions, *, overwrite: bool = False) -> list[str]:
    """Write a repository. It appears whole or not at all.

    Args:
        bundle: The model, which must stay where it is, unless ``options.plain``, which copies its graphs.
        output: The folder, which must not exist unless ``overwrite``.
        options: What is to be served, and how.
        overwrite: Replace a repository of ours. A folder with anything else in it is never replaced.

    Returns:
        The names of its models.

    Raises:
        ApcodecError: A window or a precision that the model does not have, a damaged bundle, ``--plain`` for a model
            that carries a state.
        MissingDependencyError: Triton's client is not installed, which defines what a configuration is.
        OutputError: It cannot be written there.
    """
    output = output.resolve()  # what a link points to is replaced, not the link
    _check_target(output, overwrite=overwrite)
    layout, placement = bundle.spec.layout(options.window), options.placement
    if options.plain:
        if not isinstance(layout, WindowLayout):
            raise ServingError(
                f"{bundle.name} carries a state from call to call, which plain ONNX graphs in Triton do not: leave out "
                "--plain"
            )
        precision = FLOAT32 if options.backend.precision == AUTO else options.backend.precision
        configs, files = plain_models(bundle, placement, precision)
    else:
        configs, files = runtime_models(bundle, placement, _settings(bundle, options, placement))
    texts = {f"{name}/config.pbtxt": config_text(config).encode() for name, config in configs.items()}
    with folder_written_whole(output) as folder:
        for name, data in {**files, **texts}.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)
    return sorted(configs)


def _settings(bundle: Bundle, options: ServingOptions, placement: Placement) -> Settings:
    asked = options.backend
    return Settings(
        bundle=bundle.place,
        fingerprint=bundle.fingerprint,
        backend=asked.name,
        device=asked.device,
        precision=asked.precision,
        threads=str(placement.threads),
        engines="" if asked.engines is None else os.path.abspath(asked.engines),
        window=options.window or "",
        max_seconds=f"{options.max_seconds:g}",
    )


def _check_target(output: Path, *, overwrite: bool) -> None:
    if not os.path.lexists(output):
        return
    if not overwrite:
        raise OutputError(f"{output} exists; --overwrite replaces a repository")
    try:
        names = {path.name for path in output.iterdir()}
    except OSError as error:
        raise OutputError(
            f"{output} exists and is no repository, so it is not replaced; choose another place"
        ) from error
    if foreign := sorted(names - OURS):
        raise OutputError(
            f"{output} holds more than 'apcodec triton' writes ({', '.join(foreign)}), so it is not replaced"
        )
