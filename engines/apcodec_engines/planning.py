"""What is to be built, and whether it is there already: settled before anything is compiled."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from apcodec_deploy.bundle import Bundle
from apcodec_deploy.cuda.device import Gpu
from apcodec_deploy.cuda.opening import open_device
from apcodec_deploy.engines.flavour import AUTO, FLAVOURS, Flavour, TensorRT, flavour_named
from apcodec_deploy.engines.manifest import FUSED, MANIFEST, Identity, Target
from apcodec_deploy.engines.store import PRIVATE, StoredSet, check_private, graph_keys, sets_of, slot
from apcodec_deploy.errors import ApcodecError, BuildError, DeviceError, EngineError, OutputError
from apcodec_deploy.precision import FLOAT16, FLOAT32, ON_GPU, precision_named
from apcodec_engines.compiler import FLAGS
from apcodec_engines.profiles import load_profile

COMPUTE_CAPABILITIES = ("8.0", "8.6", "8.9", "12.0", "12.1")
"""What TensorRT-RTX compiles for ahead of time: Ampere, Ada and Blackwell for desktops; not Hopper."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildOptions:
    """What to build.

    Attributes:
        precision: Of the networks; ``auto`` for half precision where the bundle has it and its export advised it.
        flavour: ``tensorrt``, ``rtx``, or ``auto`` for TensorRT where it and a GPU are here, else TensorRT-RTX.
        profile: The name of a shipped profile, or a TOML file; ``auto`` for the one that suits the model.
        parts: Whether each graph becomes an engine of its own.
        out: Where to put the engines; the user's cache where None.
        force: Build even where a set is up to date.
        device: Number of the GPU; where None, the first one or none.
    """

    precision: str = AUTO
    flavour: str = AUTO
    profile: str = AUTO
    parts: bool = False
    out: Path | None = None
    force: bool = False
    device: int | None = None


def gpu_at_hand(index: int | None) -> tuple[Gpu | None, str]:
    """The GPU of a number; or the first one, or None and why there is none that works.

    Raises:
        ApcodecError: There is no GPU of the number that was asked for.
    """
    try:
        return open_device(index or 0).gpu, ""
    except ApcodecError as error:
        if index is not None:
            raise
        return None, str(error)


def choose_flavour(name: str, gpu: Gpu | None, without: str = "") -> Flavour:
    """The flavour that was asked for, or the one that can build here.

    Args:
        name: Which one, or ``auto``.
        gpu: The GPU at hand.
        without: Why there is none.

    Raises:
        EngineError: There is none of that name, TensorRT is asked for without a GPU, or none is installed.
    """
    if name != AUTO:
        flavour = flavour_named(name)
        if flavour.name == "tensorrt" and gpu is None:
            raise EngineError(
                f"TensorRT tunes engines on the GPU that runs them: {without or 'there is none'}; --flavour rtx"
            )
        return flavour
    for flavour in FLAVOURS.values():
        ahead = flavour.name == "rtx"
        suits = gpu is None or gpu.compute_capability in COMPUTE_CAPABILITIES if ahead else gpu is not None
        if suits and flavour.installed:
            return flavour
    here = f"on {gpu.name} (compute capability {gpu.compute_capability})" if gpu else "without a GPU"
    why = f" ({without})" if without else ""
    raise EngineError(
        f"no TensorRT that can build {here} is installed{why}. GPUs of compute capability "
        f"{', '.join(COMPUTE_CAPABILITIES)}: pip install 'apcodec-deploy[rtx]'; others: 'apcodec-deploy[tensorrt]'"
    )


def staleness(path: Path, wanted: Identity, gpu: Gpu | None = None) -> tuple[str, ...]:
    """Why the set at a place is not the one that is wanted; empty if it is, to the last byte.

    A set that was built where it could not be run is not good enough where it can be.
    """
    if not (path / MANIFEST).exists():
        return ("there are no engines yet",)
    try:
        stored = StoredSet.open(path)
        found = [f"the engines are stale: {reason}" for reason in stored.manifest.identity.differences(wanted)]
        for direction in FUSED:
            for engine in stored.manifest.chain(direction):
                stored.read(engine)
        runs_here = gpu is not None and not wanted.target.refusal(gpu.name, gpu.compute_capability)
        if gpu is not None and runs_here and not stored.manifest.checked_on(gpu.name):
            found.append(f"the engines are stale: they were not checked on {gpu.name}")
    except EngineError as error:
        return (str(error),)
    return tuple(found)


def wanted_identity(bundle: Bundle, options: BuildOptions, tensorrt: TensorRT, gpu: Gpu | None) -> Identity:
    """What decides whether engines that are there will do.

    Raises:
        EngineError: The profile is none.
        BuildError: No engines are built in that precision.
        BundleError: The bundle lacks the precision.
        DeviceError: TensorRT has no GPU to build on.
    """
    precision = precision_named(options.precision)
    if precision == AUTO:
        precision = FLOAT16 if _advised(bundle) else FLOAT32
    if precision not in ON_GPU:
        raise BuildError(
            f"no engines are built in {precision}, which runs on the CPU only; choose {' or '.join(ON_GPU)}"
        )
    if tensorrt.ahead_of_time:
        target = Target(gpu=None, compute_capabilities=COMPUTE_CAPABILITIES)
    elif gpu is not None:
        target = Target(gpu=gpu.name, compute_capabilities=(gpu.compute_capability,))
    else:
        raise DeviceError(f"{tensorrt.title} needs the GPU that will run the engines, and there is none here")
    return Identity(
        graphs=graph_keys(bundle, precision),
        flavour=tensorrt.flavour.name,
        version=tensorrt.version,
        precision=precision,
        # A direction that is one graph is one engine either way.
        parts=options.parts and any(len(chain) > 1 for chain in bundle.spec.chains.values()),
        profile=load_profile(options.profile, bundle.spec),
        target=target,
        flags=FLAGS,
    )


def _advised(bundle: Bundle) -> bool:
    return FLOAT16 in bundle.precisions and bool(bundle.variant(FLOAT16)["judgement"]["advised"])


def place(bundle: Bundle, options: BuildOptions, identity: Identity) -> Path:
    """Where the set goes: a directory that is there, and the user's own where it is in the cache."""
    path = options.out if options.out is not None else slot(bundle, identity)
    try:
        if options.out is None:
            sets_of(bundle).mkdir(parents=True, exist_ok=True, mode=PRIVATE)
        # What goes elsewhere may be for others to run, an image's service user for one.
        path.mkdir(parents=True, exist_ok=True, mode=PRIVATE if options.out is None else 0o755)
    except OSError as error:
        raise OutputError(f"{path} cannot be made: {error.strerror or error}; name a folder with --out") from error
    check_private(path)
    return path
